"""One real daemon whose policy changes, whose audit is tampered with, and that is told secrets."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.crpc_process import BIN, Crpc, make_crpc
from support.daemons import IDENTITY, Daemon, aws_environment, configure, daemon, wait_until
from support.terminal import Terminal

CODE = '''
"""An agent that is told a secret."""

from collective.agent import action


@action
def login(password):
    """Log in, or fail and quote what it was told."""
    if password == "hunter2":
        raise RuntimeError(f"cannot log in with {password!r}")
    return {"token": password, "length": len(password)}
'''
SECRET = {"type": "string", "title": "Password", "writeOnly": True}
DDL = {
    "metadata": {"name": "vault", "description": "For the test", "version": "1"},
    "actions": {
        "login": {
            "description": "Log in",
            "display": "always",
            "input": {"type": "object", "required": ["password"], "properties": {"password": SECRET}},
            "output": {"type": "object", "properties": {"token": {**SECRET, "title": "Token"}, "length": {}}},
        }
    },
}


def prepare(folder: Path, collective: str, **node: Any) -> Path:
    configure(folder, collective=collective, **node)
    (folder / "agents" / "vault.py").write_text(CODE)
    (folder / "ddl" / "vault.json").write_text(json.dumps(DDL))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's configuration, with an agent that takes a secret."""
    return prepare(tmp_path_factory.mktemp("audit"), "audit")


@pytest.fixture(scope="module")
def node(folder: Path, moto_server: str) -> Iterator[Daemon]:
    """Its daemon."""
    with daemon(folder, moto_server) as running:
        yield running


@pytest.fixture
def environment(folder: Path, moto_server: str) -> dict[str, str]:
    """What points crpc at it."""
    return {**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(folder)}


@pytest.fixture
def crpc(environment: dict[str, str]) -> Crpc:
    """Its caller, `alice`."""
    return make_crpc(environment)


def ask(crpc: Crpc, *words: str) -> dict[str, Any]:
    """Return the one reply to a call."""
    done = crpc(*words, "-I", IDENTITY, "--json")
    (reply,) = json.loads(done.stdout)["replies"]
    found: dict[str, Any] = reply
    return found


def write_policy(folder: Path, *rules: dict[str, Any]) -> None:
    """Put another policy in the place of the one that is there."""
    new = folder / "policy.new"
    new.write_text(json.dumps({"rules": rules}))
    new.replace(folder / "policy.yaml")


def test_a_policy_that_changes_on_disk_is_in_force(node: Daemon, crpc: Crpc, folder: Path) -> None:
    """With the next request; a broken version changes nothing and is said, and so at a SIGHUP without any request."""
    assert ask(crpc, "shell", "run", "command=true")["statuscode"] == 0
    write_policy(folder, {"name": "look", "agents": ["rpcutil"]}, {"name": "no shells", "allow": False})
    denied = ask(crpc, "shell", "run", "command=true")
    assert (denied["statuscode"], denied["reason"]) == (1, "denied")
    assert denied["statusmsg"] == "'alice' may not call shell run here: rule 'no shells' denies it"
    (folder / "policy.yaml").write_text("rules:\n- callers: alice\n")
    os.kill(node.process.pid, signal.SIGHUP)
    node.wait_for("policy.broken")
    (broken,) = node.events("policy.broken")
    assert (broken["level"], broken["in_force"]) == ("ERROR", "the last valid version")
    assert broken["error"].startswith(f"{folder}/policy.yaml:2: rule 1: callers: must be a list of strings")
    assert ask(crpc, "shell", "run", "command=true")["reason"] == "denied"
    assert ask(crpc, "rpcutil", "ping")["statuscode"] == 0
    write_policy(folder, {"name": "everything"})
    assert ask(crpc, "shell", "run", "command=true")["statuscode"] == 0


def test_no_secret_is_seen_anywhere(node: Daemon, crpc: Crpc, folder: Path) -> None:
    """Not in the reply, its JSON, the node's log with its traceback, nor the audit."""
    failed = crpc("vault", "login", "password=hunter2", "-I", IDENTITY, "-v")
    assert failed.returncode == 2
    assert "cannot log in with '********'" in failed.stdout
    good = crpc("vault", "login", "password=opensesame", "-I", IDENTITY, "--json")
    assert json.loads(good.stdout)["replies"][0]["data"] == {"token": "********", "length": 10}
    assert "RuntimeError: cannot log in with '********'" in node.log
    # The journal is left out: what is to be run after a crash must be there, in a file that only root reads.
    written = [path for path in folder.rglob("*") if path.is_file() and not {"agents", "state"} & set(path.parts)]
    assert {folder / "log", folder / "audit.jsonl"} <= set(written)
    seen = failed.stdout + failed.stderr + good.stdout + good.stderr
    seen += "".join(path.read_text(errors="replace") for path in written)
    assert "hunter2" not in seen
    assert "opensesame" not in seen


def test_a_missing_secret_is_asked_for_without_echo(
    node: Daemon, environment: dict[str, str], needs: Callable[[str, str], None]
) -> None:
    """On a terminal; in a script it is missing like any other input."""
    needs("tmux", "tmux")
    terminal = Terminal({**environment, "PATH": f"{BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"})
    try:
        terminal.type(f"crpc vault login -I {IDENTITY}; echo ended with $?")
        wait_until(lambda: "Password:" in terminal.screen(), 30, terminal.screen)
        terminal.type("opensesame")
        wait_until(lambda: "ended with 0" in terminal.screen(), 60, terminal.screen)
        assert "opensesame" not in terminal.screen()
    finally:
        terminal.close()
    done = make_crpc(environment)("vault", "login", "-I", IDENTITY)
    assert (done.returncode, done.stderr) == (
        64,
        "crpc: vault login: required input 'password' is missing (inputs: password)\n",
    )


def test_tampering_with_the_audit_is_found(node: Daemon, crpc: Crpc, folder: Path, tmp_path: Path) -> None:
    """Removed, changed and inserted lines by the chain; a cut tail by the head that the node tells."""
    ask(crpc, "shell", "run", "command=true")
    head = ask(crpc, "rpcutil", "daemon_stats")["data"]["audit_head"]
    ask(crpc, "rpcutil", "ping")
    real = folder / "audit.jsonl"
    whole = crpc("audit", "verify", str(real), "--head", head)
    assert whole.returncode == 0, whole.stdout
    lines = real.read_bytes().splitlines(keepends=True)
    cut = next(index for index, line in enumerate(lines) if head.encode() in line) - 1  # the next line quotes it
    copies = {
        "removed": [*lines[:1], *lines[2:]],
        "changed": [*lines[:1], lines[1].replace(b'"statuscode": ', b'"statuscode": 1'), *lines[2:]],
        "inserted": [*lines[:2], lines[0], *lines[2:]],
        "beheaded": lines[1:],
        "cut": lines[:cut],
    }
    for name, tampered in copies.items():
        path = tmp_path / name
        path.write_bytes(b"".join(tampered))
        done = crpc("audit", "verify", str(path), "--head", head)
        assert done.returncode == 2, (name, done.stdout)
        assert f"{path}:" in done.stdout
    assert crpc("audit", "verify", str(tmp_path / "cut")).returncode == 0  # nothing else could tell


def test_the_chain_goes_on_after_a_crash(tmp_path: Path, moto_server: str) -> None:
    """The next daemon begins after the last whole line, and tells of the torn one."""
    prepare(tmp_path, "audit-crash")
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})
    audit = tmp_path / "audit.jsonl"
    with daemon(tmp_path, moto_server):
        assert ask(crpc, "rpcutil", "ping")["statuscode"] == 0
    with audit.open("a") as file:
        file.write('{"event": "decision", "requ')
    (tmp_path / "log").unlink()
    with daemon(tmp_path, moto_server) as again:
        assert ask(crpc, "rpcutil", "ping")["statuscode"] == 0
        assert len(again.events("audit.torn")) == 1
    done = crpc("audit", "verify", str(audit))
    assert done.returncode == 0, done.stdout
    assert "a crash interrupted the write of the previous line" in done.stdout
    assert len(crpc("audit", "show", str(audit), "--caller", "alice").stdout.splitlines()) == 2
