"""Tests of one real daemon whose policy changes, whose audit log is tampered with, and whose action gets secrets."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.crpc_process import BIN, Crpc, make_crpc
from support.daemons import IDENTITY, Daemon, aws_environment, configure, daemon
from support.terminal import TmuxTerminal
from support.waiting import wait_until

CODE = '''
"""An agent that takes a secret."""

from collective.agent import action


@action
def login(password):
    """Log in, or fail with a message that quotes the password."""
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
    """Write the configuration of a node with the agent `vault`; return its folder."""
    configure(folder, collective=collective, **node)
    (folder / "agents" / "vault.py").write_text(CODE)
    (folder / "ddl" / "vault.json").write_text(json.dumps(DDL))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a node with an agent that takes a secret."""
    return prepare(tmp_path_factory.mktemp("audit"), "audit")


@pytest.fixture(scope="module")
def node(folder: Path, moto_server: str) -> Iterator[Daemon]:
    """Run the daemon of the node."""
    with daemon(folder, moto_server) as running:
        yield running


@pytest.fixture
def environment(folder: Path, moto_server: str) -> dict[str, str]:
    """Return the environment that points crpc at the node."""
    return {**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(folder)}


@pytest.fixture
def crpc(environment: dict[str, str]) -> Crpc:
    """Return a function that runs crpc as `alice`."""
    return make_crpc(environment)


def reply_of(crpc: Crpc, *words: str) -> dict[str, Any]:
    """Call an action of the node; return its reply."""
    done = crpc(*words, "-I", IDENTITY, "--json")
    (reply,) = json.loads(done.stdout)["replies"]
    found: dict[str, Any] = reply
    return found


def write_policy(folder: Path, *rules: dict[str, Any]) -> None:
    """Replace the policy of the node atomically."""
    new = folder / "policy.new"
    new.write_text(json.dumps({"rules": rules}))
    new.replace(folder / "policy.yaml")


def test_a_changed_policy_file_takes_effect_with_the_next_request(node: Daemon, crpc: Crpc, folder: Path) -> None:
    """A changed policy takes effect at once; a broken one is logged, at SIGHUP too, and the last good version stays."""
    assert reply_of(crpc, "shell", "run", "command=true")["statuscode"] == 0
    write_policy(folder, {"name": "look", "agents": ["rpcutil"]}, {"name": "no shells", "allow": False})
    denied = reply_of(crpc, "shell", "run", "command=true")
    assert (denied["statuscode"], denied["reason"]) == (1, "denied")
    assert denied["statusmsg"] == "'alice' may not call shell run here: rule 'no shells' denies it"
    (folder / "policy.yaml").write_text("rules:\n- callers: alice\n")
    os.kill(node.process.pid, signal.SIGHUP)
    node.wait_for("policy.broken")
    (broken,) = node.events("policy.broken")
    assert (broken["level"], broken["in_force"]) == ("ERROR", "the last valid version")
    assert broken["error"].startswith(f"{folder}/policy.yaml:2: rule 1: callers: must be a list of strings")
    assert reply_of(crpc, "shell", "run", "command=true")["reason"] == "denied"
    assert reply_of(crpc, "rpcutil", "ping")["statuscode"] == 0
    write_policy(folder, {"name": "true only", "inputs": {"properties": {"comand": {"const": "true"}}}})
    misspelt = reply_of(crpc, "shell", "run", "command=id")
    assert misspelt["reason"] == "denied"
    assert "rule 'true only' names the input 'comand', which shell run does not have" in misspelt["statusmsg"]
    node.wait_for("policy.unknown_input")
    assert "did you mean 'command'?" in node.events("policy.unknown_input")[0]["problem"]
    write_policy(folder, {"name": "everything"})
    assert reply_of(crpc, "shell", "run", "command=true")["statuscode"] == 0


def test_secrets_are_masked_everywhere(node: Daemon, crpc: Crpc, folder: Path) -> None:
    """Secrets do not appear in replies, JSON, the log with its tracebacks, or the audit log."""
    failed = crpc("vault", "login", "password=hunter2", "-I", IDENTITY, "-v")
    assert failed.returncode == 2
    assert "cannot log in with '********'" in failed.stdout
    good = crpc("vault", "login", "password=opensesame", "-I", IDENTITY, "--json")
    assert json.loads(good.stdout)["replies"][0]["data"] == {"token": "********", "length": 10}
    assert "RuntimeError: cannot log in with '********'" in node.log
    # The journal needs the inputs until the reply exists, to continue after a crash, and keeps the reply.
    journal = b"".join(path.read_bytes() for path in (folder / "state").glob("journal.sqlite*"))
    assert journal
    assert b"hunter2" not in journal
    written = [path for path in folder.rglob("*") if path.is_file() and not {"agents", "state"} & set(path.parts)]
    assert {folder / "log", folder / "audit.jsonl"} <= set(written)
    seen = failed.stdout + failed.stderr + good.stdout + good.stderr
    seen += "".join(path.read_text(errors="replace") for path in written)
    assert "hunter2" not in seen
    assert "opensesame" not in seen


def test_a_missing_secret_is_asked_for_without_echo(
    node: Daemon, environment: dict[str, str], needs: Callable[[str, str], None]
) -> None:
    """On a terminal, a missing secret is asked for without echo; in a script it is an error like any missing input."""
    needs("tmux", "tmux")
    terminal = TmuxTerminal({**environment, "PATH": f"{BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"})
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


def test_tampering_with_the_audit_log_is_found(node: Daemon, crpc: Crpc, folder: Path, tmp_path: Path) -> None:
    """The chain reveals removed, changed and inserted lines; a cut end is found with the head that the node reports."""
    reply_of(crpc, "shell", "run", "command=true")
    head = reply_of(crpc, "rpcutil", "daemon_stats")["data"]["audit_head"]
    reply_of(crpc, "rpcutil", "ping")
    real = folder / "audit.jsonl"
    whole = crpc("audit", "verify", str(real), "--head", head)
    assert whole.returncode == 0, whole.stdout
    lines = real.read_bytes().splitlines(keepends=True)
    quoting = next(index for index, line in enumerate(lines) if head.encode() in line)  # as the hash of the line before
    cut = quoting - 1
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
    assert crpc("audit", "verify", str(tmp_path / "cut")).returncode == 0  # only the head shows that the end is missing


def test_the_audit_chain_continues_after_a_crash(tmp_path: Path, moto_server: str) -> None:
    """After a crash the daemon continues the chain after the last whole line, and logs the torn one."""
    prepare(tmp_path, "audit-crash")
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})
    audit = tmp_path / "audit.jsonl"
    with daemon(tmp_path, moto_server):
        assert reply_of(crpc, "rpcutil", "ping")["statuscode"] == 0
    with audit.open("a") as file:
        file.write('{"event": "decision", "requ')
    (tmp_path / "log").unlink()
    with daemon(tmp_path, moto_server) as again:
        assert reply_of(crpc, "rpcutil", "ping")["statuscode"] == 0
        assert len(again.events("audit.torn")) == 1
    done = crpc("audit", "verify", str(audit))
    assert done.returncode == 0, done.stdout
    assert "a crash interrupted the write of the previous line" in done.stdout
    assert len(crpc("audit", "show", str(audit), "--caller", "alice").stdout.splitlines()) == 2
