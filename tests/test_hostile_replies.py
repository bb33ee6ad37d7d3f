"""Replies that break the DDL or carry control characters break no view, and reach no terminal, file or shell raw."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
import yaml
from support.harmful_text import HARMFUL
from support.json_documents import check_document
from support.rendering import FinishedCall, make_action, make_call, make_reply
from support.views import printed

ESCAPES = "\x1b[2J\x1b]0;title\x07\x1b]8;;http://evil\x1b\\\x9b31m\x1bPq\x1b\\\x1b[?1049h\r\x08\x00"
HIDDEN = "\u202ereversed\u200b\u2066\ufeff\u2028\u00ad"
HARM = frozenset(HARMFUL)
OUR_COLORS = re.compile("\x1b\\[(?:0|1|31|32|33)m")
VALUES: dict[str, Any] = {
    "escapes": ESCAPES,
    "hidden": HIDDEN,
    "long": "x" * 1024 * 100,
    "lines": "line\n" * 20_000,
    "formula": '=HYPERLINK("http://evil")',
    "surrogate": "\udfff\ud800",
    "null": None,
    "boolean": True,
    "number": 10**400,
    "float": 1e308,
    "list": [ESCAPES, [HIDDEN, {"a": [1, None]}]],
    "mapping": {ESCAPES: HIDDEN, "": "", "a.b": "c"},
    "empty": "",
    "spaces": " \t \n\n ",
}
FORMS = ("text", "json", "jsonl", "yaml", "table", "csv")
VIEWS = [
    *(["-o", form] for form in FORMS),
    *(["-o", form, "--fields", "declared,data.x.y,statusmsg"] for form in FORMS),
    ["--no-group"],
    ["--diff"],
    ["--diff", "--json"],
    ["--group-by", "declared,statusmsg"],
    ["--group-by", "declared", "--yaml"],
    ["--where", "declared=/e/ or statuscode>=0"],
    ["--sort", "declared,elapsed_ms"],
    ["--table", "--wide"],
    ["--jmespath", "replies[].data"],
    ["--names"],
    ["--folded"],
    ["--count"],
    ["-v"],
    ["-q"],
]


def hostile_call(value: Any, name: str = "declared") -> FinishedCall:
    """Return a call with a usual reply, and replies that have `value` wherever a node can put it."""
    text = value if isinstance(value, str) else "message"
    action = make_action(
        {"declared": {"type": "string"}, "times": {"type": "number", "volatile": True}},
        [{"function": "summary", "output": "declared"}, {"function": "average", "output": "times"}],
        display="always",
    )
    call = make_call(
        action,
        [
            make_reply("web1", {"declared": "usual", "times": 1}),
            make_reply("web2", {name: value, "times": value}),
            make_reply("web3", {name: value, "times": 3, "undeclared": value, text[:300]: 1}, 1, statusmsg=text),
            make_reply("web4", {name: value}, 5, statusmsg=text, reason=text[:100]),
        ],
        expected=["web1", "web2", "web3", "web4", "web5"],
        stopped=text[:100],
    )
    call.outcomes.reject(f"evil{text[:100]}")
    return call


@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
@pytest.mark.parametrize("value", VALUES)
def test_no_view_is_broken_or_raw(value: str, view: list[str]) -> None:
    """Every view of every value is printed, without any character that a terminal interprets or hides."""
    call = hostile_call(VALUES[value])
    for columns in (None, 80):
        text = printed(call, *view, columns=columns, color=True)
        assert text
        assert not HARM & {*OUR_COLORS.sub("", text)}


@pytest.mark.parametrize("value", VALUES)
def test_documents_can_be_parsed(value: str) -> None:
    """JSON and YAML have the value as it was; the document fits its schema; CSV has a row for each node."""
    call = hostile_call(VALUES[value])
    document = json.loads(printed(call, "--json"))
    check_document(document)
    assert document["replies"][1]["data"]["declared"] == VALUES[value]
    assert [json.loads(line)["event"] for line in printed(call, "--jsonl").splitlines()] == ["reply"] * 4 + ["end"]
    if value not in ("surrogate",):  # YAML has no halves of surrogate pairs
        assert yaml.load(printed(call, "--yaml"), yaml.CSafeLoader) == document
    csv.field_size_limit(2**24)
    rows = list(csv.reader(io.StringIO(printed(call, "--csv"))))
    assert [row[0][:4] for row in rows] == ["Node", "web1", "web2", "web3", "web4", "web5", "evil"]
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@", "\t"))]


@pytest.mark.parametrize("value", ["x" * 2**20, "a line of output\n" * 60_000], ids=["one line", "many lines"])
def test_a_megabyte_is_cut_on_a_terminal_only(value: str) -> None:
    """A long value takes some lines on a terminal, and is complete in a pipe and with -v."""
    call = hostile_call(value)
    length = len(value)
    assert len(printed(call, columns=80)) < 20_000
    assert len(printed(call, "--table", columns=80)) < 2_000
    assert len(printed(call)) > length
    assert len(printed(call, "-v", columns=80)) > length
