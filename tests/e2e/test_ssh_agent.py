"""Where the caller's key comes from: a real ssh-agent, files, passphrases."""

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
    """An empty home folder of the user, with .ssh."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def agent(home: Path, needs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real agent without keys; yields its socket."""
    needs("ssh-agent", "openssh-client")
    socket = str(home / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()  # it listens now
    monkeypatch.setenv("SSH_AUTH_SOCK", socket)
    yield socket
    process.kill()
    process.wait()


def add(key: Path) -> None:
    subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True, timeout=30)


def accepted(folder: Path, key: Path, signature: str) -> bool:
    return ssh.accepts(folder, f"alice {ssh.line(key)}\n", PAYLOAD, signature)


@pytest.mark.parametrize("kind", ssh.KINDS)
def test_the_agent_signs_with_each_kind_of_key(agent: str, home: Path, kind: str) -> None:
    """Its first key is taken, and ssh-keygen accepts what it signs."""
    key = ssh.make_key(home / "key", kind)
    add(key)
    add(ssh.make_key(home / "second"))
    for named in (KEY_AGENT, KEY_AUTO):
        chosen = choose(named)
        assert accepted(home, key, sshsig.sign(chosen.signer, PAYLOAD))
        assert chosen.where == "'key' in the ssh agent"


def test_a_certificate_in_the_agent_signs(agent: str, home: Path) -> None:
    """Named by its file; the private half never leaves the agent."""
    key, authority = ssh.make_key(home / "key"), ssh.make_key(home / "authority")
    certificate = ssh.certify(key, authority)
    add(key)
    key.unlink()
    signature = sshsig.sign(choose(certificate).signer, PAYLOAD)
    assert ssh.accepts(home, f"alice cert-authority {ssh.line(authority)}\n", PAYLOAD, signature)


def test_one_of_many_keys_is_named_by_its_public_half(agent: str, home: Path) -> None:
    """`key: …/second.pub` is the agent's second key."""
    add(ssh.make_key(home / "first"))
    second = ssh.make_key(home / "second")
    add(second)
    second.unlink()
    assert accepted(home, second, sshsig.sign(choose(home / "second.pub").signer, PAYLOAD))


def test_an_agent_that_does_not_help_is_said_to(agent: str, home: Path) -> None:
    """No agent, none that answers, no keys, and a key that has been taken out again."""
    for environment, said in (
        ({}, "SSH_AUTH_SOCK is not set"),
        ({"SSH_AUTH_SOCK": "/no/such/socket"}, "ssh agent /no/such/socket: No such file"),
        ({"SSH_AUTH_SOCK": agent}, "the ssh agent has no key that can sign requests"),
    ):
        with pytest.raises(ConfigError, match=re.escape(said)):
            choose(KEY_AGENT, environment=environment)
    add(ssh.make_key(home / "key"))
    chosen = choose(KEY_AGENT)
    subprocess.run(["ssh-add", "-q", "-D"], check=True, capture_output=True, timeout=30)
    with pytest.raises(ConfigError, match="it refuses to sign: is the key still in it"):
        chosen.signer.sign(b"data")


def test_without_an_agents_key_the_usual_files_are_looked_for(home: Path, needs: Callable[[str, str], None]) -> None:
    """id_ed25519 before id_ecdsa before id_rsa; none of them is an error that says what to do."""
    needs("ssh-keygen", "openssh-client")
    with pytest.raises(ConfigError, match="make one with 'ssh-keygen -t ed25519'"):
        choose(KEY_AUTO)
    for name, kind in (("id_rsa", "rsa"), ("id_ecdsa", "nistp256"), ("id_ed25519", "ed25519")):
        path = ssh.make_key(home / ".ssh" / name, kind)
        assert choose(KEY_AUTO).where == str(path)
        assert choose(KEY_AUTO, environment={"SSH_AUTH_SOCK": "/gone"}).public.line == ssh.line(path)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
@pytest.mark.parametrize("form", ["openssh", "PEM"])
def test_a_passphrase_is_asked_for(home: Path, needs: Callable[[str, str], None], kind: str, form: str) -> None:
    """Three times at most, then, and when nobody can be asked, it is an error."""
    needs("ssh-keygen", "openssh-client")
    path = ssh.make_key(home / "key", kind, passphrase="secret")
    if form == "PEM" and kind == "rsa":
        assert ssh.ssh_keygen("-q", "-p", "-m", "PEM", "-P", "secret", "-N", "secret", "-f", path).returncode == 0
        assert "BEGIN RSA PRIVATE KEY" in path.read_text()
    answers = iter(["wrong", "", "secret"])
    assert key_files.load(path, lambda _: next(answers)).public.line == ssh.line(path)
    with pytest.raises(ConfigError, match=f"{path}: the passphrase is wrong"):
        key_files.load(path, lambda _: "wrong")
    with pytest.raises(ConfigError, match="it has a passphrase, and nobody can be asked for it: use the ssh agent"):
        key_files.load(path)


def test_the_passphrase_is_asked_for_on_the_terminal(home: Path, needs: Callable[[str, str], None]) -> None:
    """Not on standard input, which may be a file; what is typed is not shown."""
    needs("ssh-keygen", "openssh-client")
    path = ssh.make_key(home / "key", passphrase="secret")
    program = "import pathlib, sys; from collective.signing.caller_key import choose; "
    program += "print(choose(pathlib.Path(sys.argv[1])).public.line)"
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", program, str(path)])  # noqa: S606 - no shell is wanted
    seen = b""
    while b"Passphrase of" not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"secret\n")
    while ssh.line(path).encode() not in seen:
        seen += os.read(terminal, 1000)
    assert os.waitpid(pid, 0)[1] == 0
    assert b"secret" not in seen


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "not there": (lambda _: None, "cannot be read: No such file"),
    "a folder": (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    "no key": (lambda path: path.write_text("hello"), "no private key that can be read"),
    "cut short": (
        lambda path: path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"),
        "no private key that can",
    ),
    "a weak key": (
        lambda path: ssh.ssh_keygen("-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", path),
        "1024 bits is too",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_holds_no_key_is_named(home: Path, needs: Callable[[str, str], None], name: str) -> None:
    """In one line, with what is wrong."""
    needs("ssh-keygen", "openssh-client")
    write, said = FAULTS[name]
    write(home / "key")
    with pytest.raises(ConfigError, match=said) as caught:
        choose(home / "key")
    assert str(caught.value).startswith(str(home / "key"))
    assert "\n" not in str(caught.value)


def test_a_public_key_without_its_private_half_is_named(home: Path, needs: Callable[[str, str], None]) -> None:
    """Neither in the agent nor beside it; or beside it lies another one."""
    needs("ssh-keygen", "openssh-client")
    ssh.make_key(home / "other")
    ssh.make_key(home / "key").unlink()
    with pytest.raises(ConfigError, match=r"key\.pub: its private half is neither in an ssh agent nor in .*/key$"):
        choose(home / "key.pub")
    (home / "other").rename(home / "key")
    with pytest.raises(ConfigError, match=r"the key in .*/key is another one"):
        choose(home / "key.pub")
    (home / "key.pub").write_text("hello")
    with pytest.raises(ConfigError, match=r"key\.pub: no key"):
        choose(home / "key.pub")


def test_nothing_is_looked_for_before_it_is_needed(home: Path) -> None:
    """A key that is not there is no trouble for who sends nothing; `none` signs nothing."""
    sign = caller_key.signing(home / "missing")
    with pytest.raises(ConfigError, match="missing: cannot be read"):
        sign(PAYLOAD)
    assert caller_key.signing(KEY_NONE)(PAYLOAD) is None


def test_an_agent_that_talks_nonsense_is_named(home: Path) -> None:
    """Its socket may be anybody's: an answer cut short, too long, or of another kind is one line."""
    for answer, said in (
        (b"", "it hangs up"),
        (b"\xff\xff\xff\xff", "an answer of 4294967295 bytes"),
        (b"\0\0\0\1\5", "it lists no keys"),
        (b"\0\0\0\6\x0c\xff\xff\xff\xff\0", "its answer is cut short"),
    ):
        path = str(home / f"socket{len(said)}")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()

            def serve(server: socket.socket = server, answer: bytes = answer) -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(ConfigError, match=said):
                SSHAgent(path).identities()
            thread.join()
