"""A full disk under the journal, then under the audit, of one real daemon: it says so, does nothing unseen, goes on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.crpc_process import Crpc, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.footprint import Weigh

Disk = Callable[[str, int], Path]


@pytest.fixture
def disk(tmp_path: Path, needs_root: Callable[[], None]) -> Iterator[Disk]:
    """Make a small disk of some KiB, by name; returns where it is mounted."""
    needs_root()
    mounted: list[Path] = []

    def mount(name: str, size: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder], check=True)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Leave no room on a disk for as long as the block takes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 4096
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2  # the last page, too
    try:
        yield
    finally:
        filler.unlink()


@dataclass
class Node:
    """Its caller, and where its actions leave their marks."""

    crpc: Crpc
    ran: Path
    asked: int = 0

    def act(self) -> dict[str, Any]:
        """Have it leave one more mark; return the reply."""
        self.asked += 1
        return self.ask("shell", "run", f"command=echo {self.asked} >> {self.ran}")

    def ask(self, *words: str) -> dict[str, Any]:
        """Return the one reply to a call."""
        done = self.crpc(*words, "-I", IDENTITY, "--json")
        (reply,) = json.loads(done.stdout)["replies"]
        found: dict[str, Any] = reply
        return found

    def marks(self) -> list[int]:
        """Return the numbers of the calls that have run."""
        return [int(line) for line in self.ran.read_text().split()]


def until_refused(node: Node, most: int = 20) -> dict[str, Any]:
    """Have a node act until it refuses: what lies on the disk already may have room for some more."""
    for _ in range(most):
        if (reply := node.act())["statuscode"]:
            return reply
    pytest.fail(f"{most} calls found room on a full disk")


def test_a_full_disk_under_journal_and_audit(tmp_path: Path, moto_server: str, disk: Disk, weigh: Weigh) -> None:
    """Every call is answered and says why not; nothing runs that is not in the audit; with room again all goes on."""
    state, log = disk("state", 1024), disk("logs", 256)
    audit = log / "audit.jsonl"
    configure(tmp_path, collective=f"full-{uuid.uuid4().hex[:8]}", state=str(state), audit=str(audit))
    client = json.loads((tmp_path / "client.yaml").read_text())
    (tmp_path / "client.yaml").write_text(json.dumps({**client, "state": "caller"}))
    node = Node(make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)}), tmp_path / "ran")
    with daemon(tmp_path, moto_server) as running:
        assert node.act()["statuscode"] == 0
        with weigh("a full disk under journal, then audit", running):
            with full(state):
                refused = until_refused(node)
                assert (refused["statuscode"], refused["reason"]) == (5, "busy")
                assert refused["statusmsg"].startswith(f"{state}/journal.sqlite: cannot be read or written: ")
                assert node.ask("rpcutil", "ping")["reason"] == "busy"
            assert node.act()["statuscode"] == 0
            with full(log):
                refused = until_refused(node)
                assert (refused["statuscode"], refused["reason"]) == (5, "crashed")
                assert refused["statusmsg"] == f"audit log {audit}: cannot be written: {os.strerror(28)}"
                assert node.ask("rpcutil", "ping")["statusmsg"] == refused["statusmsg"]
            assert node.act()["statuscode"] == 0
    assert running.events("node.internal_error") == []
    assert_all_is_audited(node, audit)


def assert_all_is_audited(node: Node, audit: Path) -> None:
    """Each mark has its line that allowed it, and was made once; the chain is whole, and tells of what is missing."""
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    allowed = {line["data"].get("command") for line in lines if line.get("verdict") == "allowed"}
    marks = node.marks()
    assert len(marks) == len(set(marks))
    assert {f"echo {mark} >> {node.ran}" for mark in marks} <= allowed
    done = node.crpc("audit", "verify", str(audit))
    assert done.returncode == 0, done.stdout
    assert re.search("earlier lines? could not be written", done.stdout)
