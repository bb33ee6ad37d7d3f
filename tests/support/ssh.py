"""Keys, certificates, signatures and their verification by the real ssh-keygen, for tests."""

from __future__ import annotations

import base64
import subprocess
import textwrap
from pathlib import Path

from collective.signing import NAMESPACE

KINDS = {
    "ed25519": ("-t", "ed25519"),
    "nistp256": ("-t", "ecdsa", "-b", "256"),
    "nistp384": ("-t", "ecdsa", "-b", "384"),
    "nistp521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
}


def ssh_keygen(*words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run ssh-keygen; return the completed process."""
    return subprocess.run(["ssh-keygen", *words], input=stdin, capture_output=True, text=True, check=False, timeout=60)


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Create a key pair; return the path of the private key (the public key is beside it as `.pub`)."""
    done = ssh_keygen("-q", *KINDS[kind], "-N", passphrase, "-C", path.name, "-f", path)
    assert done.returncode == 0, done.stderr
    return path


def certify(key: Path, authority: Path, *options: str, names: str = "alice", valid: str = "-1h:+1h") -> Path:
    """Sign a key with an authority; return the path of the certificate."""
    named = ("-n", names) if names else ()
    done = ssh_keygen("-q", "-s", authority, "-I", "for a test", *named, "-V", valid, *options, f"{key}.pub")
    assert done.returncode == 0, done.stderr
    return key.with_name(f"{key.name}-cert.pub")


def line(key: Path) -> str:
    """Return the type and the base64 text of a public key."""
    text = (key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")).read_text()
    return " ".join(text.split()[:2])


def sign(key: Path, payload: str, namespace: str = NAMESPACE) -> str:
    """Return a signature by ssh-keygen, in the form that envelopes carry."""
    done = ssh_keygen("-q", "-Y", "sign", "-n", namespace, "-f", key, stdin=payload)
    assert done.returncode == 0, done.stderr
    return "".join(done.stdout.splitlines()[1:-1])


def accepts(folder: Path, allowed: str, payload: str, signature: str, caller: str = "alice") -> bool:
    """Return whether ssh-keygen accepts the signature of `caller` for a payload."""
    armored = f"-----BEGIN SSH SIGNATURE-----\n{textwrap.fill(signature, 70)}\n-----END SSH SIGNATURE-----\n"
    (folder / "allowed").write_text(allowed)
    (folder / "signature").write_text(armored)
    words = ("-Y", "verify", "-f", folder / "allowed", "-I", caller, "-n", NAMESPACE, "-s", folder / "signature")
    return ssh_keygen(*words, stdin=payload).returncode == 0


def damaged(signature: str, place: int = -1) -> str:
    """Return a signature with one bit changed."""
    data = bytearray(base64.b64decode(signature))
    data[place] ^= 1
    return base64.b64encode(data).decode()
