"""The agent puppet with Debian's Puppet: what its own programs write is what the agent reads."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collective.agent import Aborted
from collective.agents import puppet

pytestmark = [
    pytest.mark.skipif("PUPPET" not in os.environ, reason="installs Puppet: make puppet"),
    pytest.mark.timeout(240),
]
MANIFEST = """
file {{ '{folder}/made': ensure => file, content => 'x' }}
file {{ '{folder}/noop': ensure => file, content => 'x', noop => true }}
exec {{ '/bin/false': }}
notify {{ 'hello': }}
file {{ '{folder}': ensure => directory }}
"""
# Takes the lock of a run as Puppet does, tells so, and keeps it until its standard input is closed.
LOCK = """
require 'puppet'
require 'puppet/util/pidlock'
exit 1 unless Puppet::Util::Pidlock.new(ARGV[0]).lock
puts 'locked'
STDOUT.flush
STDIN.read
"""


@pytest.fixture
def settings(tmp_path: Path, needs: Callable[[str, str], None]) -> dict[str, Any]:
    """Settings whose command is Puppet with folders of its own, so that the state of this machine stays as it is."""
    needs("puppet", "puppet")
    folders = " ".join(f"--{name}dir={tmp_path / name}" for name in ("conf", "var", "public"))
    command = tmp_path / "puppet"
    command.write_text(f'#!/bin/sh\nexec /usr/bin/puppet "$@" {folders}\n')
    command.chmod(0o755)
    return {"command": str(command)}


def later() -> float:
    return time.monotonic() + 60


def apply(settings: dict[str, Any], text: str) -> int:
    """Apply a manifest; return the exit code."""
    command = [settings["command"], "apply", "--detailed-exitcodes", "--execute", text]
    return subprocess.run(command, capture_output=True, check=False, timeout=120).returncode


def test_the_last_run_is_read_from_the_files_of_puppet(settings: dict[str, Any], tmp_path: Path) -> None:
    """Counts, times and resources are those of a real run that changed, skipped and failed something."""
    before = puppet.status(settings=settings, deadline=later())
    assert (before["enabled"], before["applying"], before["lastrun"]) == (True, False, 0)
    with pytest.raises(Aborted, match="Puppet has not run yet"):
        puppet.last_run_summary(settings=settings, deadline=later())
    began = int(time.time())
    (tmp_path / "made-by-puppet").mkdir()
    assert apply(settings, MANIFEST.format(folder=tmp_path / "made-by-puppet")) == 6  # changes and failures
    found = puppet.last_run_summary(settings=settings, deadline=later())
    counts = {name: found[f"{name}_resources"] for name in ("changed", "failed", "out_of_sync")}
    assert counts == {"changed": 2, "failed": 1, "out_of_sync": 4}
    assert began <= found["lastrun"] <= time.time()
    assert found["config_version"] != ""
    assert found["total_time"] > 0
    assert puppet.status(settings=settings, deadline=later())["lastrun"] == found["lastrun"]
    made = f"File[{tmp_path / 'made-by-puppet'}/made]"
    changed = puppet.resources(settings=settings, deadline=later())
    assert (changed["count"], changed["resources"]) == (2, [made, "Notify[hello]"])
    assert puppet.resources("failed", settings=settings, deadline=later())["resources"] == ["Exec[/bin/false]"]
    assert puppet.resources("out_of_sync", settings=settings, deadline=later())["count"] == 4


def test_puppet_itself_disables_and_enables(settings: dict[str, Any]) -> None:
    """The message is the one in Puppet's lock, a disabled agent starts no run, and dry runs change nothing."""
    message = "upgrade of db1 & 'web'; $(id)"
    assert puppet.disable(message, settings=settings, deadline=later(), dry_run=True)["changed"] is True
    assert puppet.status(settings=settings, deadline=later())["enabled"] is True
    disabled = puppet.disable(message, settings=settings, deadline=later())
    assert (disabled["changed"], disabled["disable_message"]) == (True, message)
    assert puppet.disable(message, settings=settings, deadline=later())["changed"] is False
    with pytest.raises(Aborted, match="Puppet is disabled: upgrade of db1"):
        puppet.runonce(settings=settings, deadline=later())
    assert puppet.enable(settings=settings, deadline=later(), dry_run=True)["changed"] is True
    enabled = puppet.enable(settings=settings, deadline=later())
    assert (enabled["changed"], enabled["enabled"], enabled["disable_message"]) == (True, True, "")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a run with Puppet's own code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ruby", "-e", LOCK, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield
        process.communicate(timeout=20)


def test_a_run_that_is_going_on_is_seen_by_its_lock(settings: dict[str, Any], tmp_path: Path) -> None:
    """While Puppet holds its lock no other run starts; the lock of a process that has ended counts for nothing."""
    with locked(tmp_path / "var" / "state" / "agent_catalog_run.lock"):
        assert puppet.status(settings=settings, deadline=later())["applying"] is True
        with pytest.raises(Aborted, match="applying a catalog already"):
            puppet.runonce(settings=settings, deadline=later())
    assert (tmp_path / "var" / "state" / "agent_catalog_run.lock").exists()
    assert puppet.status(settings=settings, deadline=later())["applying"] is False


def test_a_run_is_started_with_options_that_puppet_accepts(settings: dict[str, Any]) -> None:
    """Puppet starts with the options of `runonce`, and connects to the server and the port that were given."""
    options: dict[str, Any] = {"noop": True, "environment": "test", "tags": "a,b::c", "splay": False}
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        port = server.getsockname()[1]
        reply = puppet.runonce(**options, server=f"127.0.0.1:{port}", settings=settings, deadline=later())
        words = f"--noop --environment=test --tags=a,b::c --server=127.0.0.1 --masterport={port}"
        assert words in reply["summary"]
        connection, _ = server.accept()
        connection.close()
