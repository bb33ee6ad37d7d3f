"""The commands in docs/security.md prove with ssh-keygen who signed a request, from the files of a real daemon."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.crpc_process import BIN, Completed, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon

from collective.signing import key_files, keys
from collective.signing.allowed_signers import signer_line

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text()
COMPRESSED = "true " * 2000


def run(folder: Path, commands: str) -> Completed:
    """Run commands of the document with this folder and the caller name `alice`."""
    commands = re.sub("/(var/log|etc)/collective", str(folder), commands).replace("alice@example.com", "alice")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-c", commands], env=environment, capture_output=True, text=True, check=False)


def test_openssh_verifies_the_signed_requests_of_the_audit_log(
    tmp_path: Path, moto_server: str, needs: Callable[[str, str], None]
) -> None:
    """Kept envelopes are verified, compressed or not; a changed payload is rejected."""
    needs("ssh-keygen", "openssh-client")
    alice = keys.new()
    key_files.write_new(tmp_path / "alice", alice.text())
    (tmp_path / "allowed_signers").write_text(signer_line("alice", alice.public))
    configure(tmp_path, "proof", accept_unsigned=False, allowed_signers="allowed_signers", audit_envelopes="envelopes")
    client = json.loads((tmp_path / "client.yaml").read_text())
    (tmp_path / "client.yaml").write_text(json.dumps({**client, "key": "alice"}))
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})
    chapter = DOCUMENT.partition("## Proving who asked")[2].partition("\n## ")[0]
    prove, show = re.findall(r"```sh\n(.*?)```", chapter, re.DOTALL)
    good = f'Good "collective" signature for alice with ED25519 key {alice.public.fingerprint}'

    with daemon(tmp_path, moto_server):
        assert crpc("shell", "run", "command=true", "-I", IDENTITY).returncode == 0
        proved = run(tmp_path, prove)
        assert (proved.returncode, proved.stderr, proved.stdout.splitlines()) == (0, "", ["alice", good])
        assert crpc("shell", "run", f"command={COMPRESSED}", "-I", IDENTITY).returncode == 0
        proved = run(tmp_path, prove + show)
        assert proved.stdout.splitlines()[:2] == ["alice", good]
        assert json.loads(proved.stdout.splitlines()[2])["data"]["command"] == COMPRESSED

    for payload in (tmp_path / "envelopes").glob("*.payload"):
        payload.write_text(payload.read_text() + " ")
    assert "Signature verification failed" in run(tmp_path, prove).stderr
