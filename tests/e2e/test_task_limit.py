"""A real daemon that cannot start any further thread or process for a while."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import failures
from support.daemons import Daemon, daemon
from support.signed_node import SignedNode, signed_node
from support.task_limit import task_limit
from support.waiting import wait_until

from collective import messages
from collective.messages import Reply

UNABLE = re.compile("started: |can't start new thread|Resource temporarily unavailable")
PLACES: dict[str, Any] = {"max_actions": 2, "agent_limits": {"shell": 2}}


def answers(node: SignedNode, count: int) -> list[Reply]:
    """Return the next `count` replies."""
    found: list[Reply] = []

    def arrived() -> bool:
        deliveries = node.receive(node.replies_queue, 1.0)
        found.extend(messages.decode_reply(messages.unseal(one.body).content) for one in deliveries)
        return len(found) >= count

    wait_until(arrived, 60)
    return found


def meets(folder: Path, name: str, other: str) -> str:
    """Return a command that ends only while another one runs at the same time."""
    return f"touch {folder}/{name}; until [ -e {folder}/{other} ]; do sleep 0.05; done"


def starved(running: Daemon) -> bool:
    """Return whether the daemon, or a process of an action, has met the limit."""
    failed = any(line["event"] == "outcome" and line["statuscode"] for line in running.audit)
    return failed or "raise TasksMax" in running.log or "Resource temporarily unavailable" in running.log


@pytest.mark.failure(failures.RESOURCE, "no further thread or process can be started for a while (pids.max)")
@pytest.mark.parametrize("room", [0, 2])
def test_nothing_is_lost_without_threads(tmp_path: Path, moto_server: str, room: int) -> None:
    """Each request runs at most once and is answered once, OK only if it ran; afterwards all places are free again."""
    ran = tmp_path / "ran"
    ran.touch()
    with signed_node(tmp_path, moto_server, **PLACES) as node, daemon(tmp_path, moto_server) as running:
        node.send(node.request(data={"command": "true"}))  # starts the fork server
        assert node.reply().statuscode == 0
        requests = [node.request(data={"command": f"echo {number} >> {ran}"}) for number in range(3)]
        with task_limit(running.process.pid) as limit:
            limit.leave(room)
            node.send(*requests, node.request("rpcutil", "ping"))
            wait_until(lambda: starved(running), 30)
            limit.lift()
            found = answers(node, 4)
            node.send(*(node.request(data={"command": meets(tmp_path, *names)}) for names in ("ab", "ba")))
            assert [one.statusmsg for one in answers(node, 2)] == ["OK", "OK"]
            node.send(node.request("rpcutil", "daemon_stats"))
            assert node.reply().data["running"] == 1
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0
    assert Counter(one.action for one in found) == {"run": 3, "ping": 1}
    told = {one.request: one.statuscode for one in found}
    # The monitor, the worker, or the command could not be started.
    assert set(told.values()) <= {0, 1, 5}
    assert [one.statusmsg for one in found if one.statuscode and not UNABLE.search(one.statusmsg)] == []
    written = [int(line) for line in ran.read_text().split()]
    assert len(written) == len({*written})
    # An action that lacks a thread to read the output of its command has failed, although the command ran.
    assert {number for number, one in enumerate(requests) if told[one.id] == 0} <= {*written}
    ended = [line for line in running.audit if line["event"] == "outcome" and line["request"] in told]
    assert {line["request"]: line["statuscode"] for line in ended} == told
    assert len(ended) == len(told)
