"""Compatibility with OpenSSH: each side accepts signatures of the other, and both reject the same, with ssh-keygen.

Cases are in tests/cases/allowed_signers, one per file:

{"about": one sentence, "lines": [of allowed_signers, with {key}, {authority}, {other}, {certificate}, {blob}],
 "signer": "key" (default) or "certificate", "certificate": {"names", "valid", "options"}, "caller": "alice" (default),
 "accepted": true or "error": a part of the error or "broken": the beginning of the error for the file,
 "ssh_keygen": true where OpenSSH is less strict}
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import ssh
from support.agent_cases import load

from collective.errors import ConfigError, SignatureError
from collective.signing import allowed_signers, key_files, sshsig
from collective.signing.caller_key import choose
from collective.signing.sshsig import Signature

PAYLOAD = '{"type":"request","caller":"alice"}'
CASES = load("allowed_signers", keyed="lines")


@pytest.fixture(scope="session")
def openssh(needs: Callable[[str, str], None]) -> None:
    """The tools of OpenSSH."""
    needs("ssh-keygen", "openssh-client")


@pytest.fixture(scope="session")
def made(openssh: None, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A key of each type, and another Ed25519 key."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: ssh.make_key(folder / name, name) for name in ssh.KINDS} | {"other": ssh.make_key(folder / "other")}


def verify(allowed: str, payload: str, signature: str, caller: str = "alice", when: float | None = None) -> None:
    """Verify a signature as a node does. Raise SignatureError or ConfigError."""
    claimed = Signature.read(signature)
    signers = allowed_signers.parse(allowed, Path("allowed_signers"))
    claimed.verify(payload, signers.signer(claimed.signer, caller, time.time() if when is None else when).key)


@pytest.mark.parametrize("kind", ssh.KINDS)
def test_each_side_accepts_signatures_of_the_other(made: Mapping[str, Path], tmp_path: Path, kind: str) -> None:
    """Both sides accept signatures of every key type, and reject changed payloads, signatures and callers."""
    allowed = f"alice {ssh.line(made[kind])}\n"
    by_collective = sshsig.sign(key_files.load(made[kind]), PAYLOAD)
    by_ssh_keygen = ssh.sign(made[kind], PAYLOAD)
    for signature in (by_collective, by_ssh_keygen):
        assert ssh.accepts(tmp_path, allowed, PAYLOAD, signature)
        verify(allowed, PAYLOAD, signature)
        for payload, changed, caller in (
            (PAYLOAD.replace("alice", "alicf"), signature, "alice"),
            (PAYLOAD, ssh.damaged(signature), "alice"),
            (PAYLOAD, signature, "bob"),
        ):
            assert not ssh.accepts(tmp_path, allowed, payload, changed, caller)
            with pytest.raises(SignatureError):
                verify(allowed, payload, changed, caller)


@pytest.mark.parametrize("kind", ssh.KINDS)
@pytest.mark.parametrize("authority", ["ed25519", "nistp256", "rsa"])
def test_each_side_accepts_certificates_of_the_other(
    made: Mapping[str, Path], tmp_path: Path, kind: str, authority: str
) -> None:
    """Both sides accept certificates of every key type, from authorities of several key types."""
    key = ssh.make_key(tmp_path / "key", kind)
    certificate = ssh.certify(key, made[authority])
    allowed = f"alice cert-authority {ssh.line(made[authority])}\n"
    by_collective = sshsig.sign(choose(certificate, environment={}).signer, PAYLOAD)
    by_ssh_keygen = ssh.sign(certificate, PAYLOAD)
    for signature in (by_collective, by_ssh_keygen):
        assert ssh.accepts(tmp_path, allowed, PAYLOAD, signature)
        verify(allowed, PAYLOAD, signature)
        assert not ssh.accepts(tmp_path, allowed, PAYLOAD + " ", signature)
        with pytest.raises(SignatureError, match="is not valid"):
            verify(allowed, PAYLOAD + " ", signature)


def test_a_signature_for_another_namespace_is_rejected(made: Mapping[str, Path], tmp_path: Path) -> None:
    """A signature of a git commit is not valid for a request."""
    allowed = f"alice {ssh.line(made['ed25519'])}\n"
    signature = ssh.sign(made["ed25519"], PAYLOAD, namespace="git")
    assert not ssh.accepts(tmp_path, allowed, PAYLOAD, signature)
    with pytest.raises(SignatureError, match="the namespace 'git', not 'collective'"):
        verify(allowed, PAYLOAD, signature)


def test_an_authority_that_signs_with_sha1_is_rejected(made: Mapping[str, Path], tmp_path: Path) -> None:
    """A certificate with a SHA-1 signature is rejected, because it can be forged."""
    key = ssh.make_key(tmp_path / "key")
    certificate = ssh.certify(key, made["rsa"], "-t", "ssh-rsa")
    signature = sshsig.sign(choose(certificate, environment={}).signer, PAYLOAD)
    with pytest.raises(SignatureError, match="algorithm 'ssh-rsa' is not valid for a key of type ssh-rsa"):
        verify(f"alice cert-authority {ssh.line(made['rsa'])}", PAYLOAD, signature)


def test_a_forged_certificate_is_rejected(made: Mapping[str, Path], tmp_path: Path) -> None:
    """A certificate that names a trusted authority but was signed by another key is rejected."""
    key = ssh.make_key(tmp_path / "key")
    certificate = ssh.certify(key, made["other"])
    kind, packed = ssh.line(certificate).split()
    true, forged = ssh.line(made["ed25519"]).split()[1], ssh.line(made["other"]).split()[1]
    blob = base64.b64decode(packed).replace(base64.b64decode(forged), base64.b64decode(true))
    certificate.write_text(f"{kind} {base64.b64encode(blob).decode()}\n")
    signature = sshsig.sign(choose(certificate, environment={}).signer, PAYLOAD)
    with pytest.raises(SignatureError, match="is not valid"):
        verify(f"alice cert-authority {ssh.line(made['ed25519'])}", PAYLOAD, signature)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(made: Mapping[str, Path], tmp_path: Path, case: dict[str, Any]) -> None:
    """Each case has the expected result, which is that of ssh-keygen unless the case is marked as stricter."""
    key = ssh.make_key(tmp_path / "key")
    described = case.get("certificate", {})
    given = {name: value for name, value in described.items() if name != "options"}
    certificate = ssh.certify(key, made["ed25519"], *described.get("options", ()), **given)
    places = {
        "{key}": ssh.line(key),
        "{blob}": ssh.line(key).split()[1],
        "{authority}": ssh.line(made["ed25519"]),
        "{other}": ssh.line(made["other"]),
        "{certificate}": ssh.line(certificate),
    }
    allowed = "".join(f"{line}\n" for line in case["lines"])
    for place, text in places.items():
        allowed = allowed.replace(place, text)
    signature = ssh.sign(certificate if case.get("signer") == "certificate" else key, PAYLOAD)
    caller = case.get("caller", "alice")
    if "broken" in case:
        with pytest.raises(ConfigError) as caught:
            verify(allowed, PAYLOAD, signature, caller)
        assert str(caught.value).startswith(f"allowed_signers{case['broken']}"), caught.value
    elif "error" in case:
        with pytest.raises(SignatureError) as refused:
            verify(allowed, PAYLOAD, signature, caller)
        assert case["error"] in str(refused.value)
    else:
        verify(allowed, PAYLOAD, signature, caller)
    expected = case.get("ssh_keygen", case.get("accepted", False))
    assert ssh.accepts(tmp_path, allowed, PAYLOAD, signature, caller) == expected


def test_a_key_must_be_valid_at_the_given_time(made: Mapping[str, Path], tmp_path: Path) -> None:
    """The last second is included for lines and excluded for certificates, as in ssh-keygen."""
    allowed = f'alice valid-after="20300101000000Z",valid-before="20300101000010Z" {ssh.line(made["rsa"])}\n'
    signature = ssh.sign(made["rsa"], PAYLOAD)
    begins = 1893456000  # 2030-01-01, UTC
    for when in (begins, begins + 10.9):
        verify(allowed, PAYLOAD, signature, when=when)
    for when in (begins - 0.1, begins + 11):
        with pytest.raises(SignatureError):
            verify(allowed, PAYLOAD, signature, when=when)
    key = ssh.make_key(tmp_path / "key")
    certificate = ssh.certify(key, made["ed25519"], valid="20300101000000Z:20300101000010Z")
    signed = ssh.sign(certificate, PAYLOAD)
    allowed = f"alice cert-authority {ssh.line(made['ed25519'])}\n"
    verify(allowed, PAYLOAD, signed, when=begins + 9.9)
    for when in (begins - 0.1, begins + 10):
        with pytest.raises(SignatureError):
            verify(allowed, PAYLOAD, signed, when=when)


def test_fingerprints_are_those_of_ssh_keygen(made: Mapping[str, Path]) -> None:
    """Users compare them with the output of `ssh-keygen -l`."""
    for name in ssh.KINDS:
        shown = ssh.ssh_keygen("-l", "-f", made[name]).stdout.split()[1]
        assert key_files.load(made[name]).public.fingerprint == shown
