"""The file of revoked keys: what is understood applies at once, and a line that is not understood weakens nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ssh

from collective.errors import ConfigError, SignatureError
from collective.reread import PartlyValid
from collective.signing import keys, revoked_keys
from collective.signing.allowed_signers import TrustedKey
from collective.signing.revoked_keys import RevokedKeys

PATH = Path("revoked_keys")
OLD, NEW = keys.new().public, keys.new().public


def revoked(text: str) -> RevokedKeys:
    """Return the content of a file, as a node reads it."""
    return revoked_keys.parse(text, PATH)


@pytest.mark.parametrize(
    "broken",
    [
        "ssh-dss AAAA old",
        "sk-ssh-ed25519@openssh.com AAAA token",
        "SHA256:short",
        "SHA1:Zm9v",
        "MD5:00:11",
        "serial: 7",
        "id: alice",
        "hash: SHA256:abc",
        "\udcff\udcfe",
        "@revoked * ssh-ed25519 AAAA",
        'from="10.0.0.1" ssh-ed25519 AAAA',
    ],
)
def test_a_line_that_is_not_understood_does_not_void_the_others(broken: str) -> None:
    """The lines before and after it, and the keys that were revoked before, are revoked; the line is reported."""
    with pytest.raises(PartlyValid) as caught:
        revoked(f"{broken}\n{NEW.line}\n")
    assert caught.value.problems[0].startswith("revoked_keys:1: ")
    combined = caught.value.combine(RevokedKeys(frozenset([OLD.fingerprint])))
    assert combined.fingerprints == {OLD.fingerprint, NEW.fingerprint}


def test_every_problem_is_reported_with_its_line() -> None:
    """The first one is the message, with the number of the others."""
    with pytest.raises(PartlyValid) as caught:
        revoked(f"one\n{NEW.line}\ntwo\n# note\u2028{OLD.line}\n")
    assert [problem[:16] for problem in caught.value.problems] == [f"revoked_keys:{number}: " for number in (1, 3, 4)]
    assert "(and 2 more problems)" in str(caught.value)


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0b", "\r"])
def test_a_key_before_a_hidden_separator_is_revoked(separator: str) -> None:
    """The line is reported, and the key that it begins with is revoked nevertheless."""
    with pytest.raises(PartlyValid) as caught:
        revoked(f"{NEW.line} laptop{separator}{OLD.line}\n")
    assert caught.value.combine(RevokedKeys()).fingerprints == {NEW.fingerprint}


def test_a_key_revocation_list_is_refused_by_name() -> None:
    """The binary format is another one, and the message says which lines are possible."""
    with pytest.raises(ConfigError, match=r"binary key revocation lists \(KRL\) are not supported \(a line must be"):
        revoked("SSHKRL\n\0\0\0\0\1")


@pytest.fixture
def signed(needs_ssh: None, tmp_path: Path) -> Callable[[str], tuple[bool, bool]]:
    """Return a function: whether ssh-keygen and a node accept a certificate's signature, with a revocation file."""
    authority, key = ssh.make_key(tmp_path / "authority"), ssh.make_key(tmp_path / "key")
    ssh.certify(key, authority)

    def accepts(text: str) -> tuple[bool, bool]:
        (tmp_path / "revoked").write_bytes(text.encode("utf-8", "surrogateescape"))
        armored = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", "collective", "-f", key.with_name("key-cert.pub")],
            input="x", capture_output=True, text=True, check=True,
        )  # fmt: skip
        (tmp_path / "signature").write_text(armored.stdout)
        (tmp_path / "allowed").write_text(f"alice cert-authority {ssh.line(authority)}\n")
        words = ("-Y", "verify", "-f", tmp_path / "allowed", "-I", "alice", "-n", "collective")
        files = ("-s", tmp_path / "signature", "-r", tmp_path / "revoked")
        theirs = ssh.ssh_keygen(*words, *files, stdin="x").returncode == 0
        try:
            trusted = TrustedKey(*(keys.PublicKey.from_line(ssh.line(path)) for path in (key, authority)))
            revoked(text).check(trusted)
        except (SignatureError, ConfigError):
            return theirs, False
        return theirs, True

    return accepts


@pytest.fixture
def needs_ssh() -> None:
    """Skip without OpenSSH."""
    pytest.importorskip("cryptography")
    if subprocess.run(["sh", "-c", "command -v ssh-keygen"], capture_output=True, check=False).returncode:
        pytest.skip("this test needs ssh-keygen: apt-get install openssh-client")


def test_what_is_revoked_is_what_ssh_keygen_revokes(signed: Callable[[str], tuple[bool, bool]], tmp_path: Path) -> None:
    """A line with the certificate, with its key or with its authority revokes; another certificate's does not."""
    other = ssh.make_key(tmp_path / "other")
    unrelated = ssh.certify(other, tmp_path / "authority")
    certificate = tmp_path / "key-cert.pub"
    assert signed("# nothing\n\n") == (True, True)
    assert signed(f"{ssh.line(unrelated)} another key of this authority\n") == (True, True)
    for path in (certificate, tmp_path / "key", tmp_path / "authority"):
        assert signed(f"{ssh.line(unrelated)}\n  {ssh.line(path)} lost\r\n") == (False, False), path


def test_a_certificate_of_the_same_key_is_revoked_too(
    signed: Callable[[str], tuple[bool, bool]], tmp_path: Path
) -> None:
    """The line revokes the key in the certificate, so that a newly issued certificate does not help."""
    earlier = ssh.line(tmp_path / "key-cert.pub")
    ssh.certify(tmp_path / "key", tmp_path / "authority", "-z", "7")
    assert earlier != ssh.line(tmp_path / "key-cert.pub")
    assert signed(f"{earlier}\n") == (False, False)


def test_a_revocation_list_is_refused_and_nothing_is_trusted(
    signed: Callable[[str], tuple[bool, bool]], tmp_path: Path
) -> None:
    """ssh-keygen can read its own lists; a node without a valid version trusts no signer."""
    subprocess.run(
        ["ssh-keygen", "-q", "-k", "-f", tmp_path / "krl", f"{tmp_path / 'key'}.pub"], capture_output=True, check=True
    )
    content = (tmp_path / "krl").read_bytes()
    assert signed(content.decode("utf-8", "surrogateescape"))[1] is False
