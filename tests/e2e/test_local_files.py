"""A real daemon keeps the files for people who log in current."""

from __future__ import annotations

import json
import os
import signal
import stat
import uuid
from pathlib import Path

from support.crpc_process import make_crpc
from support.daemons import aws_environment, configure, daemon
from support.waiting import wait_until


def test_a_daemon_keeps_its_local_files_current(tmp_path: Path, moto_server: str) -> None:
    """The prompt changes with the facts, without a restart; the facts are closed to other users."""
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps({"customer": "acme", "role": "$(id)"}))
    configure(
        tmp_path,
        collective=f"login-{uuid.uuid4().hex[:8]}",
        facts=["facts.json"],
        local_files="cache",
        prompt_facts=["role", "customer"],
    )
    prompt = tmp_path / "cache" / "prompt"
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})
    umask = os.umask(0o077)
    try:
        with daemon(tmp_path, moto_server) as node:
            wait_until(lambda: prompt.exists() and prompt.read_text() == "__id_ acme\n", 30)
            assert stat.S_IMODE(prompt.stat().st_mode) == 0o644
            assert stat.S_IMODE(prompt.parent.stat().st_mode) == 0o755
            assert stat.S_IMODE((prompt.parent / "facts.json").stat().st_mode) == 0o600
            facts.write_text(json.dumps({"customer": "acme", "role": "db"}))
            node.process.send_signal(signal.SIGHUP)
            wait_until(lambda: prompt.read_text() == "db acme\n", 30)
            assert crpc("facts", "local", "role").stdout == "db\n"
            assert "  role         db\n" in crpc("motd").stdout
            assert crpc("prompt").stdout == "db acme\n"
    finally:
        os.umask(umask)
