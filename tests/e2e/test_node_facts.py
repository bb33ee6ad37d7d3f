"""Facts that change on a node's disk, and data functions, in a lab: from files to the answer of `crpc find`."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crpc_process import Crpc, clean_environment, make_crpc, own_lab

from collective.lab.layout import Layout

FIRST, SECOND = "node01.lab", "node02.lab"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A lab of two nodes, whose files these tests may change."""
    layout = Layout(tmp_path_factory.mktemp("facts-lab"))
    with own_lab(layout, 2):
        yield layout


@pytest.fixture
def crpc(own: Layout) -> Crpc:
    """Run crpc against the lab of these tests."""
    return make_crpc({**clean_environment(), **own.environment()})


def hang_up(own: Layout, identity: str) -> None:
    """Have a node read its facts again."""
    os.kill(int((own.node(identity) / "pid").read_text()), signal.SIGHUP)


def find(crpc: Crpc, *words: str, expected: list[str]) -> None:
    """Look for nodes until they are the expected ones, or the time is up: a refresh takes its moment."""
    until = time.monotonic() + 15
    while True:
        done = crpc("find", *words)
        if done.stdout.split() == expected or time.monotonic() > until:
            break
        threading.Event().wait(0.1)
    assert (done.stdout.split(), done.stderr if expected else "") == (expected, "")
    assert done.returncode == (0 if expected else 1)


def log_has(own: Layout, identity: str, text: str) -> bool:
    """Wait until a node's log has a text."""
    until = time.monotonic() + 15
    path = own.node(identity) / "log"
    while text not in path.read_text() and time.monotonic() < until:
        threading.Event().wait(0.05)
    return text in path.read_text()


@pytest.mark.parametrize("method", ["registry", "broadcast"])
def test_changed_facts_change_the_next_filter(own: Layout, crpc: Crpc, method: str) -> None:
    """After one refresh the registry and the node itself both know; a file in facts.d counts like any other."""
    folder = own.node(FIRST) / "facts.d"
    folder.mkdir(exist_ok=True)
    (folder / "site.txt").write_text(f"colour={method}\n")
    script = folder / "disks"
    script.write_text("#!/bin/sh\necho 'disks: {count: 12}'\n")
    script.chmod(0o755)
    hang_up(own, FIRST)
    find(crpc, "--dm", method, "-F", f"colour={method}", "-F", "disks.count>=12", expected=[FIRST])
    find(crpc, "--dm", method, "-F", "colour=green", expected=[])


@pytest.mark.parametrize("method", ["registry", "broadcast"])
def test_a_broken_file_does_not_change_the_next_filter(own: Layout, crpc: Crpc, method: str) -> None:
    """The node says which file is broken, and stays what it was; mended, it counts again."""
    path = own.node(SECOND) / "facts.yaml"
    good = path.read_text()
    path.write_text("role: [")
    hang_up(own, SECOND)
    assert log_has(own, SECOND, "facts.broken")
    find(crpc, "--dm", method, "-F", "role=db", expected=[SECOND])
    path.write_text(good + f"shape: {method}\n")
    hang_up(own, SECOND)
    find(crpc, "--dm", method, "-F", f"shape={method}", expected=[SECOND])
    path.write_text(good)


def test_a_filter_looks_at_files(own: Layout, crpc: Crpc, tmp_path: Path) -> None:
    """Data functions are asked on the nodes, and combine with facts."""
    find(crpc, "-S", "fstat('/etc/hosts').present=1", expected=[FIRST, SECOND])
    find(crpc, "-S", f"fstat('{tmp_path}/none').present=1", expected=[])
    content = f"fstat('{own.node(FIRST)}/classes.txt').md5!=0 and role=db"
    find(crpc, "-S", content, expected=[SECOND])
    find(crpc, "-S", "agent('package').version=/^1/ and fact('role').value=web", expected=[FIRST])
    find(crpc, "-S", "nrpe('check_disk').exitcode=2", expected=[SECOND])


def test_a_call_goes_to_the_nodes_whose_data_match(crpc: Crpc) -> None:
    """The filter travels with the call too, and holds on the node."""
    done = crpc("rpcutil", "ping", "-S", "nrpe('check_disk').exitcode=0", "--json")
    assert done.returncode == 0, done.stderr
    assert [reply["sender"] for reply in json.loads(done.stdout)["replies"]] == [FIRST]


def test_what_no_ddl_knows_is_refused(crpc: Crpc) -> None:
    """One line, exit 64, nothing sent."""
    for select, said in [
        ("fstatt('/x').size=0", "unknown data function 'fstatt'"),
        ("fstat('/x').colour=0", "unknown field 'colour'"),
        ("fstat('x').size=0", "'x' does not match '^/"),
    ]:
        done = crpc("find", "-S", select)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1)
        assert said in done.stderr


def test_get_data_shows_what_a_filter_sees(crpc: Crpc) -> None:
    """For every node."""
    done = crpc("rpcutil", "get_data", "source=fstat", "query=/etc/hosts", "--json")
    assert done.returncode == 0, done.stderr
    replies = json.loads(done.stdout)["replies"]
    assert [(reply["data"]["present"], reply["data"]["type"]) for reply in replies] == [(1, "file")] * 2
    done = crpc("rpcutil", "get_data", "source=nosuch", "query=x")
    assert done.returncode == 2
    assert "this node has no data function 'nosuch'" in done.stdout
