"""What `crpc ping` prints of the times of nodes, with `--slow` only those of slow ones."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.rendering import make_action, make_call, make_reply

from collective.clients.commands import ping
from collective.clients.render.view import Screen

TIMES = {"web1": 0.010, "web2": 0.011, "web3": 0.012, "web4": 0.013, "web5": 0.900}
Ping = Callable[..., str]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Ping:
    """Return what is printed with some options of nodes that answer after some seconds."""

    def text(*options: str, times: dict[str, float] = TIMES) -> str:
        args = ping.make_parser().parse_args(list(options))
        call: Any = make_call(make_action(display="always"), [make_reply(name, {}) for name in times])
        shown = ping.PingOutput(call, args)
        for name, seconds in times.items():
            monkeypatch.setattr(time, "time", lambda seconds=seconds: call.started + seconds)
            shown.on_reply(call.outcomes.replies[name])
        stream = io.StringIO()
        shown.write(args.output, Screen(stream))
        return stream.getvalue()

    return text


def test_only_slow_nodes_are_rows(printed: Ping) -> None:
    """Every form with rows, and the names, have the slow nodes only."""
    assert [line.split(",")[0] for line in printed("--slow", "-o", "csv").splitlines()[1:]] == ["web5"]
    assert printed("--slow", "--names") == "web5\n"
    assert printed("--slow", "--count") == "1\n"
    assert printed("--names", "--sort", "sender").split() == list(TIMES)


def test_without_a_slow_node_this_is_stated(printed: Ping) -> None:
    """An empty list could also mean that nothing was measured."""
    even = dict.fromkeys(TIMES, 0.01)
    assert printed("--slow", times=even).startswith("no node is much slower than the others\n")
    assert "much slower" not in printed("--slow")
