"""The caller's key from a real ssh-agent, from files, and with passphrases."""

from __future__ import annotations

import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ssh

from collective.config import KEY_AGENT, KEY_AUTO, KEY_NONE
from collective.errors import ConfigError
from collective.signing import caller_key, key_files, sshsig
from collective.signing.caller_key import choose
from collective.signing.ssh_agent import SSHAgent

PAYLOAD = '{"type":"request"}'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with an empty .ssh."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def agent(home: Path, needs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The socket of a real agent without keys."""
    needs("ssh-agent", "openssh-client")
    socket = str(home / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()  # printed once it listens
    monkeypatch.setenv("SSH_AUTH_SOCK", socket)
    yield socket
    process.kill()
    process.wait()


def add(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True, timeout=30)


def accepted(folder: Path, key: Path, signature: str) -> bool:
    return ssh.accepts(folder, f"alice {ssh.line(key)}\n", PAYLOAD, signature)


@pytest.mark.parametrize("kind", ssh.KINDS)
def test_the_agent_signs_with_each_key_type(agent: str, home: Path, kind: str) -> None:
    """The first key of the agent is used, and ssh-keygen accepts its signature."""
    key = ssh.make_key(home / "key", kind)
    add(key)
    add(ssh.make_key(home / "second"))
    for named in (KEY_AGENT, KEY_AUTO):
        chosen = choose(named)
        assert accepted(home, key, sshsig.sign(chosen.signer, PAYLOAD))
        assert chosen.where == "'key' in the ssh agent"


def test_a_certificate_in_the_agent_signs(agent: str, home: Path) -> None:
    """A certificate is selected by its file; its private key is in the agent only."""
    key, authority = ssh.make_key(home / "key"), ssh.make_key(home / "authority")
    certificate = ssh.certify(key, authority)
    add(key)
    key.unlink()
    signature = sshsig.sign(choose(certificate).signer, PAYLOAD)
    assert ssh.accepts(home, f"alice cert-authority {ssh.line(authority)}\n", PAYLOAD, signature)


def test_a_key_in_the_agent_is_selected_by_its_public_key(agent: str, home: Path) -> None:
    """`key: …/second.pub` selects that key of the agent."""
    add(ssh.make_key(home / "first"))
    second = ssh.make_key(home / "second")
    add(second)
    second.unlink()
    assert accepted(home, second, sshsig.sign(choose(home / "second.pub").signer, PAYLOAD))


def test_an_unusable_agent_is_an_error(agent: str, home: Path) -> None:
    """No agent, a wrong socket, no keys, and a key that was removed are errors."""
    for environment, message in (
        ({}, "SSH_AUTH_SOCK is not set"),
        ({"SSH_AUTH_SOCK": "/no/such/socket"}, "ssh agent /no/such/socket: No such file"),
        ({"SSH_AUTH_SOCK": agent}, "the ssh agent has no key that can sign requests"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            choose(KEY_AGENT, environment=environment)
    add(ssh.make_key(home / "key"))
    chosen = choose(KEY_AGENT)
    subprocess.run(["ssh-add", "-q", "-D"], check=True, capture_output=True, timeout=30)
    with pytest.raises(ConfigError, match="it refused to sign"):
        chosen.signer.sign(b"data")


def test_without_an_agent_key_the_default_files_are_used(home: Path, needs: Callable[[str, str], None]) -> None:
    """Default key files are tried in the order id_ed25519, id_ecdsa, id_rsa; without any the error has a hint."""
    needs("ssh-keygen", "openssh-client")
    with pytest.raises(ConfigError, match="create one with 'ssh-keygen -t ed25519'"):
        choose(KEY_AUTO)
    for name, kind in (("id_rsa", "rsa"), ("id_ecdsa", "nistp256"), ("id_ed25519", "ed25519")):
        path = ssh.make_key(home / ".ssh" / name, kind)
        assert choose(KEY_AUTO).where == str(path)
        assert choose(KEY_AUTO, environment={"SSH_AUTH_SOCK": "/gone"}).public.line == ssh.line(path)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
@pytest.mark.parametrize("form", ["openssh", "PEM"])
def test_an_encrypted_key_needs_its_passphrase(
    home: Path, needs: Callable[[str, str], None], kind: str, form: str
) -> None:
    """A passphrase has three attempts; without a terminal it is an error."""
    needs("ssh-keygen", "openssh-client")
    path = ssh.make_key(home / "key", kind, passphrase="secret")
    if form == "PEM" and kind == "rsa":
        assert ssh.ssh_keygen("-q", "-p", "-m", "PEM", "-P", "secret", "-N", "secret", "-f", path).returncode == 0
        assert "BEGIN RSA PRIVATE KEY" in path.read_text()
    answers = iter(["wrong", "", "secret"])
    assert key_files.load(path, lambda _: next(answers)).public.line == ssh.line(path)
    with pytest.raises(ConfigError, match=f"{path}: the passphrase is wrong"):
        key_files.load(path, lambda _: "wrong")
    with pytest.raises(
        ConfigError, match=r"the key has a passphrase, and there is no terminal to prompt for it \(use the ssh agent\)"
    ):
        key_files.load(path)


def test_the_passphrase_is_read_from_the_terminal(home: Path, needs: Callable[[str, str], None]) -> None:
    """A passphrase is not read from standard input, which may be a file, and it is not echoed."""
    needs("ssh-keygen", "openssh-client")
    path = ssh.make_key(home / "key", passphrase="secret")
    program = "import pathlib, sys; from collective.signing.caller_key import choose; "
    program += "print(choose(pathlib.Path(sys.argv[1])).public.line)"
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", program, str(path)])  # noqa: S606 - no shell needed
    seen = b""
    while b"Passphrase of" not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"secret\n")
    while ssh.line(path).encode() not in seen:
        seen += os.read(terminal, 1000)
    assert os.waitpid(pid, 0)[1] == 0
    assert b"secret" not in seen


INVALID: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "cannot be read: No such file"),
    "a folder": (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    "not a key": (lambda path: path.write_text("hello"), "not a valid private key"),
    "truncated": (
        lambda path: path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"),
        "not a valid private key",
    ),
    "a weak key": (
        lambda path: ssh.ssh_keygen("-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", path),
        "1024 bits is too",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_key_file_is_reported(home: Path, needs: Callable[[str, str], None], name: str) -> None:
    """The error for an invalid key file is one line with the path and the reason."""
    needs("ssh-keygen", "openssh-client")
    write, message = INVALID[name]
    write(home / "key")
    with pytest.raises(ConfigError, match=message) as caught:
        choose(home / "key")
    assert str(caught.value).startswith(str(home / "key"))
    assert "\n" not in str(caught.value)


def test_a_public_key_without_its_private_key_is_an_error(home: Path, needs: Callable[[str, str], None]) -> None:
    """A public key is an error if its private key is missing, or if the file next to it has another key."""
    needs("ssh-keygen", "openssh-client")
    ssh.make_key(home / "other")
    ssh.make_key(home / "key").unlink()
    with pytest.raises(ConfigError, match=r"key\.pub: its private key is neither in an ssh agent nor in .*/key$"):
        choose(home / "key.pub")
    (home / "other").rename(home / "key")
    with pytest.raises(ConfigError, match=r"/key holds a different key"):
        choose(home / "key.pub")
    (home / "key.pub").write_text("hello")
    with pytest.raises(ConfigError, match=r"key\.pub: not a key"):
        choose(home / "key.pub")


def test_the_key_is_loaded_at_the_first_signature(home: Path) -> None:
    """A missing key is an error only when something is signed; `none` does not sign."""
    sign = caller_key.signing(home / "missing")
    with pytest.raises(ConfigError, match="missing: cannot be read"):
        sign(PAYLOAD)
    assert caller_key.signing(KEY_NONE)(PAYLOAD) is None


def test_an_invalid_response_of_the_agent_is_an_error(home: Path) -> None:
    """A truncated, oversized or unexpected response is one error line."""
    responses = (
        (b"", "connection closed"),
        (b"\xff\xff\xff\xff", "invalid response size: 4294967295 bytes"),
        (b"\0\0\0\1\5", "it does not list its keys"),
        (b"\0\0\0\6\x0c\xff\xff\xff\xff\0", "its response is truncated"),
    )
    for number, (response, message) in enumerate(responses):
        path = str(home / f"socket{number}")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()

            def serve(server: socket.socket = server, response: bytes = response) -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(response)

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(ConfigError, match=message):
                SSHAgent(path).identities()
            thread.join()
