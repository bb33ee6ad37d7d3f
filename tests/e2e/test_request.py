"""One request, end to end: crpc through SQS to actions on several real daemons, and back."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import failures
from support.crpc_process import NODES, Crpc, suspended

from collective.lab.layout import Layout
from collective.signing import key_files, keys

FINISHED = r"Finished processing 5 / 5 hosts in [0-9.]+ ms\n"


def test_ping_names_every_node(crpc: Crpc) -> None:
    """`crpc ping` prints one line per node and the statistics, and exits with 0."""
    done = crpc("ping")
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"^(\S+) +time=[0-9.]+ ms$", done.stdout, re.MULTILINE)) == NODES
    assert "5 replies" in done.stdout
    assert done.stderr == ""


def test_ping_compares_clocks(crpc: Crpc) -> None:
    """`crpc ping -v` compares each node's clock with the caller's, and the caller's with the server's."""
    done = crpc("ping", "-v", "-I", "node01.lab")
    assert re.search(r"^node01\.lab +time=[0-9.]+ ms  clock=[+-]0\.[0-9]+ s$", done.stdout, re.MULTILINE)
    clock = r"^clock of this machine: [+-][0-9.]+ s relative to AWS \(allowed: 300 s\)$"
    assert re.search(clock, done.stdout, re.MULTILINE)


def test_find_prints_names_and_nothing_else(crpc: Crpc) -> None:
    """`crpc find` prints one name per line, sorted."""
    done = crpc("find")
    assert (done.returncode, done.stdout, done.stderr) == (0, "".join(f"{name}\n" for name in NODES), "")


def test_install_shows_only_the_summary(crpc: Crpc, needs_root: Callable[[], None]) -> None:
    """Five nodes that share one machine install a package, and the output is only a summary."""
    needs_root()
    subprocess.run(["apt-get", "remove", "-y", "zsh"], capture_output=True, check=True, timeout=100)
    done = crpc("package", "install", "package=zsh")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = r" +Nodes: 5 / 5\n +Versions: 5 \* 5\.\S+\n +Elapsed Time: [0-9.]+ s\n"
    assert re.fullmatch(rf"\n---- package agent summary ----\n{summary}\n", done.stdout)
    assert done.stderr == ""
    assert subprocess.run(["zsh", "-c", "exit 7"], check=False).returncode == 7


def test_a_package_that_does_not_exist_fails_on_every_node(crpc: Crpc, needs_root: Callable[[], None]) -> None:
    """Each failed host is shown with a message and a hint, and the exit code is 2."""
    needs_root()
    done = crpc("package", "install", "package=no-such-package")
    assert done.returncode == 2
    pattern = r"^node\[01-05\]\.lab \(5\) +Request Aborted\n +Unable to locate package no-such-package: .*refresh"
    assert re.search(pattern, done.stdout, re.MULTILINE)


def test_of_five_checks_only_the_critical_one_is_shown(crpc: Crpc) -> None:
    """A critical check is shown with its host and titles and a summary with labels, and the exit code is 2."""
    done = crpc("nrpe", "runcommand", "command=check_disk")
    assert done.returncode == 2
    assert re.findall(r"^(node\S+)", done.stdout, re.MULTILINE) == ["node05.lab"]
    assert re.search(r"^node05\.lab {31}Request Aborted\n   CRITICAL\n", done.stdout)
    assert re.search(r"^ +Exit Code: 2$", done.stdout, re.MULTILINE)
    assert "Summary of Exit Code:\n\n         OK = 4\n   CRITICAL = 1\n" in done.stdout


def test_shell_shows_the_output_of_each_node(crpc: Crpc) -> None:
    """The replies of an action with display `always` are shown, also when they are ok."""
    done = crpc("shell", "run", "command=hostname -f", "--yes", "--no-group")
    assert done.returncode == 0
    assert sorted(re.findall(r"^(node\S+)", done.stdout, re.MULTILINE)) == NODES
    assert re.search(r"Finished processing 5 / 5", done.stdout)


def test_json_is_one_document_and_nothing_else(crpc: Crpc) -> None:
    """Standard output parses as the contract's document, whatever is wrong with the nodes."""
    done = crpc("nrpe", "runcommand", "command=check_disk", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 2
    assert document["outcomes"] == {"ok": 4, "failed": 1, "silent": 0, "skipped": 0, "unexpected": 0, "rejected": 0}
    assert sorted(reply["sender"] for reply in document["replies"]) == NODES
    assert document["aggregates"][0]["result"] == {"0": 4, "2": 1}
    assert document["caller"] == "operator@lab"


def test_an_earlier_call_chooses_the_next_ones_nodes(crpc: Crpc) -> None:
    """The nodes that were ok in a written document, or those that failed, are the nodes of the next call."""
    first = crpc("nrpe", "runcommand", "command=check_disk", "--json").stdout
    good = crpc("find", "--nodes", "-", stdin=first)
    bad = crpc("find", "--nodes", "-", "--nodes-from", "failed", stdin=first)
    assert sorted(good.stdout.split()) == NODES[:4]
    assert bad.stdout.split() == ["node05.lab"]


def test_filters_choose_nodes(crpc: Crpc) -> None:
    """Facts, classes, ranges and expressions select nodes, alone and together."""
    assert crpc("find", "-F", "role=web").stdout.split() == ["node01.lab", "node04.lab"]
    assert crpc("find", "-C", "role::db").stdout.split() == ["node02.lab", "node05.lab"]
    assert crpc("find", "-I", "node[01-03].lab").stdout.split() == NODES[:3]
    assert crpc("find", "-S", "environment=production and not role=db").stdout.split() == ["node01.lab", "node03.lab"]
    assert crpc("find", "-W", "role=web environment=staging").stdout.split() == ["node04.lab"]
    no_match = crpc("rpcutil", "ping", "-F", "role=mail")
    assert (no_match.returncode, no_match.stdout) == (1, "")
    assert no_match.stderr == "crpc: no node matches the filter (5 nodes alive)\n"


def test_broadcast_discovery_finds_the_same_nodes(crpc: Crpc) -> None:
    """Discovery by broadcast finds the nodes that the registry has."""
    assert crpc("find", "--dm", "broadcast", "-F", "role=web").stdout.split() == ["node01.lab", "node04.lab"]


@pytest.mark.failure(failures.SIGNAL, "SIGSTOP of a daemon")
def test_a_stopped_node_is_named_as_silent(crpc: Crpc, lab: Layout) -> None:
    """SIGSTOP leaves a node registered and unresponsive: it is named, and the exit code is 3."""
    with suspended(lab, "node03.lab"):
        done = crpc("rpcutil", "ping", "-t", "3")
    assert done.returncode == 3
    assert re.search(r"Finished processing 4 / 5 hosts", done.stdout)
    assert re.search(r"No response from: 1 node\n\n +node03\.lab\n", done.stdout)
    assert crpc("rpcutil", "ping", "-I", "node03.lab").returncode == 0


def test_an_unresponsive_node_is_named_long_before_the_timeout(crpc: Crpc, lab: Layout) -> None:
    """A node that leaves its queue unread is named long before the timeout of a slow action."""
    with suspended(lab, "node02.lab"):
        done = crpc("shell", "run", "command=true", "--yes", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 3
    assert document["silent"] == ["node02.lab"]
    assert document["timing_ms"]["total"] < 60_000  # the action's own timeout is 180 s


def test_an_unknown_node_is_reported_at_once(crpc: Crpc) -> None:
    """A name without a queue is reported at once, because a literal name needs no discovery."""
    done = crpc("rpcutil", "ping", "-I", "node99.lab")
    assert done.returncode == 3
    assert "node99.lab: there is no such node" in done.stderr


def test_a_caller_without_a_rule_is_denied(crpc: Crpc, lab: Layout, tmp_path: Path) -> None:
    """The reply to a caller without a rule names the caller and the reason, and the exit code is 2."""
    mallory = keys.new()
    key_files.write_new(tmp_path / "key", mallory.text())
    text = (lab.folder / "client.yaml").read_text().replace("operator@lab", "mallory@lab")
    (tmp_path / "client.yaml").write_text(text)
    allowed = lab.folder / "allowed_signers"
    before = allowed.read_text()
    crpc("keys", "trust", mallory.public.line, "--as", "mallory@lab", "--file", str(allowed))
    done = crpc("rpcutil", "ping", "-I", "node01.lab", "--json", COLLECTIVE_CONFIG=str(tmp_path))
    allowed.write_text(before)
    assert done.returncode == 2
    reply = json.loads(done.stdout)["replies"][0]
    assert (reply["statuscode"], reply["reason"]) == (1, "denied")
    assert "'mallory@lab' may not call rpcutil ping here: no rule allows it" in reply["statusmsg"]


@pytest.mark.parametrize("words", [("help",), ("--help",), ("ping", "--help"), ("rpcutil", "ping", "--help")])
def test_help_is_no_error(crpc: Crpc, words: tuple[str, ...]) -> None:
    """Asking for help prints to standard output and exits 0."""
    done = crpc(*words)
    assert done.returncode == 0
    assert re.search(r"^usage: crpc", done.stdout, re.MULTILINE)
    assert done.stderr == ""


def test_describe_prints_the_ddl(crpc: Crpc) -> None:
    """`crpc describe` prints an agent, and one of its actions with inputs and outputs."""
    assert "runcommand" in crpc("describe", "nrpe").stdout
    page = crpc("describe", "package", "install").stdout
    assert "package" in page
    assert "version" in page
    assert crpc("describe", "nosuch").returncode == 64
