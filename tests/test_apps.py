"""Tests of the extra verbs of agents that need no node: the Nagios line, the shell command line, and followed jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from support.rendering import make_action, make_call, make_reply

from collective.clients import apps
from collective.clients.apps import _package_console, _tail, nrpe, shell
from collective.clients.apps._tail import TailedJob, poll
from collective.clients.commands import COMMANDS
from collective.messages import Reply


def test_every_extra_verb_has_a_summary() -> None:
    """Every extra verb has a summary; `nrpe check` and `shell run` have the name of a command as well."""
    assert apps.agents() == ["file", "nrpe", "package", "puppet", "shell"]
    for agent in apps.agents():
        for name, verb in apps.verbs(agent).items():
            assert name not in COMMANDS or (agent, name) in (("nrpe", "check"), ("shell", "run"))
            assert verb.about
    assert apps.verbs("service") == apps.verbs("_tail") == {}


# -- package


def test_changes_of_packages_end_with_a_summary_of_versions() -> None:
    """The summary has the lines of MCollective: nodes, versions with their number of nodes, and the duration."""
    same = [make_reply(f"web{number}", {"ensure": "4.2.6-3.el5"}) for number in range(3)]
    older = make_reply("db1", {"ensure": "4.2.5"}, 1)
    call = make_call(make_action(), [*same, older], expected=["web0", "web1", "web2", "db1", "db2"], total_ms=16330.0)
    assert _package_console.summary(call) == (
        "\n---- package agent summary ----\n"
        "           Nodes: 4 / 5\n"
        "        Versions: 3 * 4.2.6-3.el5, 1 * 4.2.5\n"
        "    Elapsed Time: 16.33 s\n\n"
    )
    nothing = make_call(make_action(), [make_reply("web1", {}, 1)])
    assert "        Versions: none\n" in _package_console.summary(nothing)


# -- nrpe check


def test_nagios_line_has_counts_and_performance_data() -> None:
    """The line is the example of the contract, with the performance data after the bar."""
    call = make_call(
        make_action(),
        [
            *(make_reply(f"web{number}", {"exitcode": 0}) for number in range(45)),
            make_reply("db1", {"exitcode": 1}, 1),
        ],
    )
    states = nrpe.count(call.outcomes)
    assert nrpe.line(states, 0.612054) == (
        "OK: 45 WARNING: 1 CRITICAL: 0 UNKNOWN: 0|total=46 ok=45 warn=1 crit=0 unknown=0 checktime=0.612054"
    )
    assert nrpe.worst(states) == 1


@pytest.mark.parametrize(
    "reply",
    [
        make_reply("a", {"exitcode": 3}, 1),
        make_reply("a", {"exitcode": 127}, 1),
        make_reply("a", {"exitcode": "0"}),
        make_reply("a", {}, 1, reason="denied"),
        make_reply("a", {"exitcode": 0}, 5, reason="crashed"),
    ],
)
def test_a_reply_without_a_check_result_is_unknown(reply: Reply) -> None:
    """A node that denies the request, or whose plugin is broken, counts as UNKNOWN."""
    assert nrpe.count(make_call(make_action(), [reply]).outcomes) == {3: 1}


@pytest.mark.parametrize(
    ("codes", "state"), [("00", 0), ("01", 1), ("012", 2), ("03", 3), ("31", 1), ("32", 2), ("", 3)]
)
def test_the_worst_state_is_the_result(codes: str, state: int) -> None:
    """CRITICAL is worse than WARNING, UNKNOWN and OK, in this order; silent nodes, or no nodes at all, are UNKNOWN."""
    replies = [make_reply(f"web{place}", {"exitcode": int(code)}) for place, code in enumerate(codes)]
    assert nrpe.worst(nrpe.count(make_call(make_action(), replies).outcomes)) == state
    silent = make_call(make_action(), [make_reply("a", {"exitcode": 0})], expected=["a", "b"])
    assert nrpe.worst(nrpe.count(silent.outcomes)) == 3


def test_unknown_nodes_are_grouped_by_reason() -> None:
    """The reasons tell a check that is not configured on any node from one that fails on all of them."""
    replies = [make_reply(node, {"exitcode": 3, "output": "No such command: x"}, 1) for node in ("a1", "a2")]
    replies += [make_reply("b", {}, 1, reason="denied", statusmsg="may not"), make_reply("c", {"exitcode": 0})]
    outcomes = make_call(make_action(), replies, expected=["a1", "a2", "b", "c", "d"]).outcomes
    assert nrpe.unknown(outcomes) == {"no response": ["d"], "No such command: x": ["a1", "a2"], "may not": ["b"]}


# -- shell run


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["uname -a"], ["command=uname -a"]),
        (["ls", "user=nobody"], ["command=ls", "user=nobody"]),
        (["@file"], ["command=@@file"]),
        (["[ a = b ]"], ["command=[ a = b ]"]),
        (["command=ls"], ["command=ls"]),
        (["A=1 env"], ["command=A=1 env"]),
        (["user=bob smith"], ["user=bob smith"]),
        (["comand=ls"], ["comand=ls"]),  # a misspelt input that the DDL refuses, not a command line
        ([], []),
    ],
)
def test_a_first_argument_that_is_not_an_input_is_the_command_line(words: list[str], expected: list[str]) -> None:
    """An argument that looks like KEY=VALUE is an input; any other first argument becomes `command=`."""
    assert shell.inputs(words) == expected


# -- shell run --tail


class PolledNodes:
    """Nodes that answer each poll of their job with the next of the given `replies`; None: no reply."""

    def __init__(self, **replies: list[Mapping[str, Any] | None]) -> None:
        self.replies = replies
        self.shown: list[str] = []
        self.pauses: list[float] = []

    def follow(self) -> list[TailedJob]:
        """Follow the jobs until all have ended."""
        jobs = [TailedJob(node, "handle") for node in self.replies]
        poll(jobs, self.request, lambda *line: self.shown.append(" ".join(line)), self.pauses.append)
        return jobs

    def request(self, nodes: Sequence[str], action: str, data: Mapping[str, Any]) -> dict[str, Reply]:
        """Return the next replies of some nodes, which are asked with one request."""
        assert action == "statuses"
        assert [job["handle"] for job in data["jobs"]] == ["handle"] * len(nodes)
        found = {node: self._reply(node, job) for node, job in zip(nodes, data["jobs"], strict=True)}
        return {node: reply for node, reply in found.items() if reply is not None}

    def _reply(self, node: str, job: Mapping[str, Any]) -> Reply | None:
        status = self.replies[node].pop(0)
        if status is None:
            return None
        if "statusmsg" in status:
            return make_reply(node, {}, 1, statusmsg=status["statusmsg"])
        stdout, stderr = str(status.get("stdout", "")), str(status.get("stderr", ""))
        offsets = {
            "stdout_offset": job["stdout_offset"] + len(stdout),
            "stderr_offset": job["stderr_offset"] + len(stderr),
        }
        progress = {"status": "running", **status, "stdout": stdout, "stderr": stderr, **offsets}
        return make_reply(node, {"jobs": {} if "unknown" in status else {"handle": progress}})


ENDED = {"status": "failed", "exitcode": 2}


def test_lines_are_shown_when_they_are_complete() -> None:
    """Each line is shown once; a last line without a newline is shown after the job has ended."""
    nodes = PolledNodes(
        a=[{"stdout": "one\ntw"}, {"stdout": "o\n", "stderr": "oops\n"}, {**ENDED, "stdout": "end"}, ENDED]
    )
    [job] = nodes.follow()
    assert nodes.shown == ["a stdout one", "a stdout two", "a stderr oops", "a stdout end"]
    assert (job.exitcode, job.end) == (2, "exited with code 2")
    assert nodes.replies == {"a": []}


def test_pauses_grow_while_there_is_no_output() -> None:
    """Pauses grow up to 5 s without output, and are 1 s again after the next line."""
    nodes = PolledNodes(a=[*[{}] * 8, {"stdout": "x\n"}, ENDED])
    nodes.follow()
    assert nodes.pauses[:7] == sorted(nodes.pauses[:7])
    assert (max(nodes.pauses), nodes.pauses[-1]) == (5.0, 1.0)


def test_a_node_may_miss_some_polls() -> None:
    """A node counts as silent after four polls in a row without a reply; the other jobs are followed meanwhile."""
    nodes = PolledNodes(a=[None, None, None, {}, *[None] * 4], b=[{"stdout": "b\n"}] * 9 + [ENDED])
    silent, other = nodes.follow()
    assert (silent.end, silent.exitcode, other.exitcode) == ("no response", None, 2)
    assert _tail._exit_code([silent]) == 3  # noqa: SLF001 - the exit code of the command
    assert len(nodes.shown) == 9


def test_a_job_that_the_node_does_not_know_has_ended() -> None:
    """A job that is not in the reply of its node has ended, and its exit code is unknown."""
    [job] = PolledNodes(a=[{"unknown": True}]).follow()
    assert (job.exitcode, job.end) == (None, "job 'handle' does not exist on this node")
