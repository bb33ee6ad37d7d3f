"""Changed fact files and data functions in a lab, up to the output of `crpc find`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crpc_process import Crpc, clean_environment, make_crpc, own_lab
from support.waiting import wait_until

from collective.lab.layout import Layout

FIRST, SECOND = "node01.lab", "node02.lab"
WAIT = 15.0  # seconds; the longest wait for a node that reads its facts again


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A lab of two nodes with files that tests may change."""
    layout = Layout(tmp_path_factory.mktemp("facts-lab"))
    with own_lab(layout, 2):
        yield layout


@pytest.fixture
def crpc(own: Layout) -> Crpc:
    """Run crpc against the lab of these tests."""
    return make_crpc({**clean_environment(), **own.environment()})


def hang_up(own: Layout, identity: str) -> None:
    """Send SIGHUP to a node, so that it reads its facts again."""
    os.kill(int((own.node(identity) / "pid").read_text()), signal.SIGHUP)


def find(crpc: Crpc, *words: str, expected: list[str]) -> None:
    """Wait until `crpc find` prints the expected nodes, with the exit code for them."""
    wait_until(lambda: crpc("find", *words).stdout.split() == expected, WAIT)
    done = crpc("find", *words)
    assert (done.stdout.split(), done.stderr if expected else "") == (expected, "")
    assert done.returncode == (0 if expected else 1)


@pytest.mark.parametrize("method", ["registry", "broadcast"])
def test_changed_facts_change_the_next_filter(own: Layout, crpc: Crpc, method: str) -> None:
    """After a refresh, the registry and the node use the changed facts of a facts.d folder."""
    folder = own.node(FIRST) / "facts.d"
    folder.mkdir(exist_ok=True)
    (folder / "site.txt").write_text(f"color={method}\n")
    script = folder / "disks"
    script.write_text("#!/bin/sh\necho 'disks: {count: 12}'\n")
    script.chmod(0o755)
    hang_up(own, FIRST)
    find(crpc, "--dm", method, "-F", f"color={method}", "-F", "disks.count>=12", expected=[FIRST])
    find(crpc, "--dm", method, "-F", "color=green", expected=[])


@pytest.mark.parametrize("method", ["registry", "broadcast"])
def test_an_invalid_file_does_not_change_the_next_filter(own: Layout, crpc: Crpc, method: str) -> None:
    """The node logs the invalid file and keeps its facts; the corrected file is used."""
    path = own.node(SECOND) / "facts.yaml"
    good = path.read_text()
    path.write_text("role: [")
    hang_up(own, SECOND)
    wait_until(lambda: "facts.broken" in (own.node(SECOND) / "log").read_text(), WAIT)
    find(crpc, "--dm", method, "-F", "role=db", expected=[SECOND])
    path.write_text(good + f"shape: {method}\n")
    hang_up(own, SECOND)
    find(crpc, "--dm", method, "-F", f"shape={method}", expected=[SECOND])
    path.write_text(good)


def test_a_filter_uses_data_functions(own: Layout, crpc: Crpc, tmp_path: Path) -> None:
    """Data functions run on the nodes and can be combined with facts."""
    find(crpc, "-S", "fstat('/etc/hosts').present=1", expected=[FIRST, SECOND])
    find(crpc, "-S", f"fstat('{tmp_path}/none').present=1", expected=[])
    content = f"fstat('{own.node(FIRST)}/classes.txt').md5!=0 and role=db"
    find(crpc, "-S", content, expected=[SECOND])
    find(crpc, "-S", "agent('package').version=/^1/ and fact('role').value=web", expected=[FIRST])
    find(crpc, "-S", "nrpe('check_disk').exitcode=2", expected=[SECOND])


def test_a_call_with_a_data_function_reaches_matching_nodes(crpc: Crpc) -> None:
    """A filter with a data function is sent with the call and checked on the node."""
    done = crpc("rpcutil", "ping", "-S", "nrpe('check_disk').exitcode=0", "--json")
    assert done.returncode == 0, done.stderr
    assert [reply["sender"] for reply in json.loads(done.stdout)["replies"]] == [FIRST]


def test_an_unknown_function_or_field_is_rejected(crpc: Crpc) -> None:
    """The error for an unknown data function or field is one line with exit code 64, and nothing is sent."""
    for select, message in [
        ("fstatt('/x').size=0", "unknown data function 'fstatt'"),
        ("fstat('/x').color=0", "unknown field 'color'"),
        ("fstat('x').size=0", "'x' does not match '^/"),
    ]:
        done = crpc("find", "-S", select)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (64, "", 1)
        assert message in done.stderr


def test_get_data_shows_the_values_that_a_filter_uses(crpc: Crpc) -> None:
    """`rpcutil get_data` returns the output of a data function for every node."""
    done = crpc("rpcutil", "get_data", "source=fstat", "query=/etc/hosts", "--json")
    assert done.returncode == 0, done.stderr
    replies = json.loads(done.stdout)["replies"]
    assert [(reply["data"]["present"], reply["data"]["type"]) for reply in replies] == [(1, "file")] * 2
    done = crpc("rpcutil", "get_data", "source=nosuch", "query=x")
    assert done.returncode == 2
    assert "this node has no data function 'nosuch'" in done.stdout
