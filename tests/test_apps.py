"""Extra verbs of agents, as far as no node is needed: a line for Nagios, a line of shell, and following jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from support.rendering import make_action, make_call, make_reply

from collective.clients import apps
from collective.clients.apps import _tail, nrpe, shell
from collective.clients.apps._tail import TailedJob, rounds
from collective.clients.commands import COMMANDS
from collective.clients.render.console import together
from collective.messages import Reply


def test_every_verb_says_what_it_is_for() -> None:
    """Each agent with verbs has some, none has the name of a command, and other agents have none."""
    assert apps.agents() == ["nrpe", "shell"]
    for agent in apps.agents():
        assert apps.verbs(agent)
        for name, verb in apps.verbs(agent).items():
            assert name not in COMMANDS
            assert verb.about
    assert apps.verbs("package") == apps.verbs("_following") == {}


# -- nrpe check


def test_a_line_for_nagios() -> None:
    """The contract's own example, to the character; performance data follow the bar."""
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
def test_what_is_no_result_of_a_check_is_unknown(reply: Reply) -> None:
    """A node that refused, or whose plugin is broken, is not fine."""
    assert nrpe.count(make_call(make_action(), [reply]).outcomes) == {3: 1}


@pytest.mark.parametrize(
    ("codes", "state"), [("00", 0), ("01", 1), ("012", 2), ("03", 3), ("31", 1), ("32", 2), ("", 3)]
)
def test_the_worst_state_counts(codes: str, state: int) -> None:
    """Critical before warning before unknown before fine; nobody at all is unknown, and so are silent nodes."""
    replies = [make_reply(f"web{place}", {"exitcode": int(code)}) for place, code in enumerate(codes)]
    assert nrpe.worst(nrpe.count(make_call(make_action(), replies).outcomes)) == state
    silent = make_call(make_action(), [make_reply("a", {"exitcode": 0})], expected=["a", "b"])
    assert nrpe.worst(nrpe.count(silent.outcomes)) == 3


def test_why_nodes_are_unknown_is_told_alike_ones_together() -> None:
    """The line has no room for it, and a check that no node knows looks like one that fails on all."""
    replies = [make_reply(node, {"exitcode": 3, "output": "No such command: x"}, 1) for node in ("a1", "a2")]
    replies += [make_reply("b", {}, 1, reason="denied", statusmsg="may not"), make_reply("c", {"exitcode": 0})]
    outcomes = make_call(make_action(), replies, expected=["a1", "a2", "b", "c", "d"]).outcomes
    assert nrpe.unknown(outcomes) == {"no response": ["d"], "No such command: x": ["a1", "a2"], "may not": ["b"]}


# -- shell run


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["uname -a"], ["command=uname -a"]),
        (["ls", "user=nobody"], ["command=ls", "user=nobody"]),
        (["@file"], ["command=@@file"]),
        (["[ a = b ]"], ["command=[ a = b ]"]),
        (["command=ls"], ["command=ls"]),
        (["A=1 env"], ["command=A=1 env"]),
        (["user=bob smith"], ["user=bob smith"]),
        (["comand=ls"], ["comand=ls"]),  # a mistake that the DDL finds, not a line that sets a variable
        ([], []),
    ],
)
def test_a_first_word_that_is_no_input_is_the_line(words: list[str], meant: list[str]) -> None:
    """What looks like KEY=VALUE is one."""
    assert shell.inputs(words) == meant


def test_what_many_nodes_say_alike_is_said_once() -> None:
    """Under their folded names, where the first of them stood; another status is another thing to say."""
    replies = [
        make_reply("web1", {"stdout": "a"}),
        make_reply("web3", {"stdout": "b"}),
        make_reply("web2", {"stdout": "a"}),
        make_reply("web4", {"stdout": "a"}, 1),
    ]
    assert [reply.sender for reply in together(replies)] == ["web[1-2]", "web3", "web4"]


# -- shell run --tail


class Nodes:
    """Nodes that answer questions about their job with what `said` has for each round; None: no answer."""

    def __init__(self, **said: list[Mapping[str, Any] | None]) -> None:
        self.said = said
        self.shown: list[str] = []
        self.pauses: list[float] = []

    def follow(self) -> list[TailedJob]:
        """Follow the jobs to their ends."""
        jobs = [TailedJob(node, "handle") for node in self.said]
        rounds(jobs, self.ask, lambda *line: self.shown.append(" ".join(line)), self.pauses.append)
        return jobs

    def ask(self, node: str, action: str, data: Mapping[str, Any]) -> Reply | None:
        """Answer for the first round that is left."""
        assert (action, data["handle"]) == ("status", "handle")
        told = self.said[node].pop(0)
        if told is None:
            return None
        if "statusmsg" in told:
            return make_reply(node, {}, 1, statusmsg=told["statusmsg"])
        stdout, stderr = str(told.get("stdout", "")), str(told.get("stderr", ""))
        offsets = {
            "stdout_offset": data["stdout_offset"] + len(stdout),
            "stderr_offset": data["stderr_offset"] + len(stderr),
        }
        return make_reply(node, {"status": "running", **told, "stdout": stdout, "stderr": stderr, **offsets})


ENDED = {"status": "failed", "exitcode": 2}


def test_lines_are_shown_when_they_are_complete() -> None:
    """Each once; the last one without its newline when the job has ended and all of it was read."""
    nodes = Nodes(a=[{"stdout": "one\ntw"}, {"stdout": "o\n", "stderr": "oops\n"}, {**ENDED, "stdout": "end"}, ENDED])
    [job] = nodes.follow()
    assert nodes.shown == ["a stdout one", "a stdout two", "a stderr oops", "a stdout end"]
    assert (job.exitcode, job.end) == (2, "ended with exit code 2")
    assert nodes.said == {"a": []}


def test_the_less_is_said_the_longer_are_the_pauses() -> None:
    """Up to a bound, and short again with the next line."""
    nodes = Nodes(a=[*[{}] * 8, {"stdout": "x\n"}, ENDED])
    nodes.follow()
    assert nodes.pauses[:7] == sorted(nodes.pauses[:7])
    assert (max(nodes.pauses), nodes.pauses[-1]) == (5.0, 0.5)


def test_a_node_may_miss_some_rounds() -> None:
    """It is given up after four in a row; the others are followed all the while."""
    nodes = Nodes(a=[None, None, None, {}, *[None] * 4], b=[{"stdout": "b\n"}] * 9 + [ENDED])
    silent, other = nodes.follow()
    assert (silent.end, silent.exitcode, other.exitcode) == ("no response", None, 2)
    assert _tail._exit_code([silent]) == 3  # noqa: SLF001 - what the command ends with
    assert len(nodes.shown) == 9


def test_a_job_that_is_gone_has_ended() -> None:
    """The node says why."""
    [job] = Nodes(a=[{"statusmsg": "job 'handle' does not exist on this node"}]).follow()
    assert (job.exitcode, job.end) == (None, "job 'handle' does not exist on this node")
