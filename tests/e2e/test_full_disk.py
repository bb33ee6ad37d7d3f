"""Test of one real daemon with a full disk under its journal, then under its audit log."""

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
from support import failures
from support.crpc_process import Crpc, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.footprint import Measure

Disk = Callable[[str, int], Path]


@pytest.fixture
def disk(tmp_path: Path, needs_root: Callable[[], None]) -> Iterator[Disk]:
    """Return a function that mounts a small file system of `size` KiB and returns its folder."""
    needs_root()
    mounted: list[Path] = []

    def mount(name: str, size: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k,mode=755", "tmpfs", folder], check=True)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill a file system for the time of the block."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        size = 4096
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2  # fill the last page as well
    try:
        yield
    finally:
        filler.unlink()


@dataclass
class AppendingNode:
    """A node, and the file in which its actions leave numbered lines."""

    crpc: Crpc
    ran: Path
    calls: int = 0

    def append(self) -> dict[str, Any]:
        """Call an action that appends one more line; return the reply."""
        self.calls += 1
        return self.reply_of("shell", "run", f"command=echo {self.calls} >> {self.ran}")

    def reply_of(self, *words: str) -> dict[str, Any]:
        """Call an action of the node; return its reply."""
        done = self.crpc(*words, "-I", IDENTITY, "--json")
        (reply,) = json.loads(done.stdout)["replies"]
        found: dict[str, Any] = reply
        return found

    def lines(self) -> list[int]:
        """Return the numbers of the calls that have run."""
        return [int(line) for line in self.ran.read_text().split()]


def until_refused(node: AppendingNode, most: int = 20) -> dict[str, Any]:
    """Call the node until it refuses: the files that exist may have room for a few more entries."""
    for _ in range(most):
        if (reply := node.append())["statuscode"]:
            return reply
    pytest.fail(f"{most} calls succeeded on a full disk")


@pytest.mark.failure(failures.DISK, "no space for the journal, then for the audit log")
def test_a_full_disk_under_journal_and_audit(tmp_path: Path, moto_server: str, disk: Disk, measure: Measure) -> None:
    """Each call gets a reply with the reason, nothing runs without an audit line, and free space ends the problem."""
    state, log = disk("state", 1024), disk("logs", 256)
    audit = log / "audit.jsonl"
    configure(tmp_path, collective=f"full-{uuid.uuid4().hex[:8]}", state=str(state), audit=str(audit))
    client = json.loads((tmp_path / "client.yaml").read_text())
    (tmp_path / "client.yaml").write_text(json.dumps({**client, "state": "caller"}))
    node = AppendingNode(
        make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)}), tmp_path / "ran"
    )
    with daemon(tmp_path, moto_server) as running:
        assert node.append()["statuscode"] == 0
        with measure("a full disk under journal, then audit", running):
            with full(state):
                refused = until_refused(node)
                assert (refused["statuscode"], refused["reason"]) == (5, "busy")
                assert refused["statusmsg"].startswith(f"{state}/journal.sqlite: cannot be read or written: ")
                assert node.reply_of("rpcutil", "ping")["reason"] == "busy"
            assert node.append()["statuscode"] == 0
            with full(log):
                refused = until_refused(node)
                assert (refused["statuscode"], refused["reason"]) == (5, "crashed")
                assert refused["statusmsg"] == f"audit log {audit}: cannot be written: {os.strerror(28)}"
                assert node.reply_of("rpcutil", "ping")["statusmsg"] == refused["statusmsg"]
            assert node.append()["statuscode"] == 0
    assert running.events("node.internal_error") == []
    assert_every_run_is_audited(node, audit)


def assert_every_run_is_audited(node: AppendingNode, audit: Path) -> None:
    """Check that each run happened once and has an audit line that allowed it, and that the chain records its gap."""
    entries = [json.loads(line) for line in audit.read_text().splitlines()]
    allowed = {line["data"].get("command") for line in entries if line.get("verdict") == "allowed"}
    ran = node.lines()
    assert len(ran) == len(set(ran))
    assert {f"echo {number} >> {node.ran}" for number in ran} <= allowed
    done = node.crpc("audit", "verify", str(audit))
    assert done.returncode == 0, done.stdout
    assert re.search("earlier lines? could not be written", done.stdout)
