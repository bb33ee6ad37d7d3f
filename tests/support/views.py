"""Read the cases of tests/cases/views: replies, options and the size of a terminal; and print them as `crpc` does.

{"outputs": {…}, "aggregate": […], "display": "always",       the DDL of the action; all are optional
"replies": [{"nodes": "web[01-46]", "data": {…}, "statuscode": 1, "statusmsg": "…", "reason": "…"}],
"each": {"pid": [1, 2]}                                      in a reply: outputs with a value of its own for each node
"silent": "web47", "skipped": "web[48-49]",
"options": ["--diff"], "columns": 80, "color": false,        columns: null: not a terminal
"lines": ["…"]}                                              what is expected
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from collective.clients.commands import rpc
from collective.clients.parser import Parser
from collective.clients.render.formatting import Paint
from collective.clients.render.view import Screen
from collective.clients.results import CallOutput
from collective.messages import Reply
from collective.nodesets import unfold
from support.rendering import FinishedCall, make_action, make_call, make_reply


def call_of(case: Mapping[str, Any]) -> FinishedCall:
    """Return the finished call of a case."""
    action = make_action(case.get("outputs"), case.get("aggregate", ()), display=case.get("display", "failed"))
    replies = [reply for given in case.get("replies", ()) for reply in _replies(given)]
    silent, skipped = (unfold(case[key]) if key in case else [] for key in ("silent", "skipped"))
    expected = [*(reply.sender for reply in replies), *silent, *skipped]
    call = make_call(action, replies, expected=expected, total_ms=2345.6)
    call.outcomes.skip(skipped)
    return call


def printed(call: FinishedCall, *options: str, columns: int | None = None, color: bool = False) -> str:
    """Return what `crpc` prints of a call with these options."""
    args = _parser().parse_args(["package", "install", *options], argparse.Namespace())
    stream = io.StringIO()
    CallOutput(call, args).write(args.output, Screen(stream, Paint(color), columns))
    return stream.getvalue()


def of_case(case: Mapping[str, Any]) -> list[str]:
    """Return the lines that are printed for a case."""
    text = printed(call_of(case), *case.get("options", ()), columns=case["columns"], color=case.get("color", False))
    return text.split("\n")


@cache
def _parser() -> Parser:
    return rpc.make_parser()


def _replies(given: Mapping[str, Any]) -> Iterator[Reply]:
    names = given.get("names") or unfold(given["nodes"])
    for place, node in enumerate(names):
        each = {name: values[place] for name, values in given.get("each", {}).items()}
        more = {key: given[key] for key in ("statusmsg", "reason") if key in given}
        yield make_reply(node, {**given.get("data", {}), **each}, given.get("statuscode", 0), **more)
