"""The text form of a call: replies, summaries, statistics, and missing nodes."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any, TextIO

import pytest
from support.rendering import load, make_action, make_call, make_reply, titled, varied_call

from collective.clients.render.console import Console
from collective.clients.render.formatting import Paint
from collective.clients.render.labels import label, wants
from collective.clients.render.progress import bar, bar_width
from collective.clients.render.records import NodeResult, of_reply
from collective.clients.render.replies import ReplyWriter
from collective.clients.render.view import Screen, View
from collective.ddl import Action
from collective.fleet.aggregates import AggregateResult
from collective.messages import Reply


@pytest.mark.parametrize(
    ("statuscode", "reason", "expected"),
    [
        (1, "denied", "Request Denied"),
        (5, "timeout", "Timed Out"),
        (5, "crashed", "Agent Crashed"),
        (5, "interrupted", "Action Interrupted"),
        (5, "busy", "Node Busy"),
        (5, "expired", "Request Expired"),
        (5, "filtered", "Request Filtered"),
        (5, "not_evaluated", "Filter Not Evaluated"),
        (1, None, "Request Aborted"),
        (2, None, "Unknown Action"),
        (5, None, "Unknown Request Status"),
        (5, "of a later version", "Unknown Request Status"),
        (0, "timeout", ""),
    ],
)
def test_each_reason_has_its_own_heading(statuscode: int, reason: str | None, expected: str) -> None:
    """MCollective's labels stay for what actions decide; what the node decided is named."""
    assert label(statuscode, reason=reason) == expected
    stream = io.StringIO()
    show_reply(stream, make_reply("web1", {}, statuscode, reason=reason), make_action())
    assert stream.getvalue().split("\n")[0] == f"{'web1':<40} {expected}"


def show_reply(stream: TextIO, reply: Reply, action: Action) -> None:
    """Write one reply as the text form does."""
    ReplyWriter(Screen(stream), View(), action).show([of_reply(reply, action)])


def _records(*replies: Reply) -> list[NodeResult]:
    return [of_reply(reply, make_action()) for reply in replies]


@pytest.fixture
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def _reply_text(given: dict[str, Any]) -> str:
    stream = io.StringIO()
    reply = make_reply(given["sender"], given["data"], given["statuscode"], statusmsg=given["statusmsg"])
    show_reply(stream, reply, make_action(titled(given["outputs"])))
    return stream.getvalue()


def _bar(given: dict[str, Any]) -> Any:
    if "columns" in given:
        return {"width": bar_width(given["columns"])}
    return bar(given["current"], given["total"], given["width"])


def _footer(given: dict[str, Any]) -> Any:
    if "aggregate" in given:
        return {"text": _aggregates(AggregateResult("summary", "value", given["aggregate"]["display_as"], {}))}
    senders = [f"n{number}" for number in range(given["responses"])]
    discovery = given.get("discoverytime", 0.0) * 1000
    call = make_call(
        make_action(),
        map(make_reply, senders),
        discovery_ms=discovery,
        total_ms=discovery + given["blocktime"] * 1000,
    )
    stream = io.StringIO()
    Console(Screen(stream)).show_end(call, verbose=given["verbose"])
    if not given["verbose"]:
        return {"text": stream.getvalue()}
    return {"lines": stream.getvalue().replace("2026-09-10 00:26:40 +0000", given["starttime"]).split("\n")}


def _summary(given: dict[str, Any]) -> Any:
    values = [(str(value).lower(), count) for value, count in _pairs(given["counts"])]
    counts = dict(sorted(values, key=lambda pair: -pair[1]))
    return {"text": _aggregates(AggregateResult("summary", "test", "test", counts))}


def _pairs(counts: Any) -> Any:
    return counts.items() if isinstance(counts, dict) else counts


def _aggregates(*results: AggregateResult) -> str:
    stream = io.StringIO()
    Console(Screen(stream)).show_aggregates(results)
    return stream.getvalue()


RUN = {
    "display_rule": lambda given: wants(given["display"], given["statuscode"]),
    "display_label": lambda given: label(given["statuscode"]),
    "display_text": lambda given: {"text": _reply_text(given)},
    "progress_bar": _bar,
    "stats_footer": _footer,
    "summary_text": _summary,
}


@pytest.mark.usefixtures("_utc")
@pytest.mark.parametrize("case", load("render"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    """The text is exactly the one of the case."""
    assert RUN[case["group"]](case["input"]) == case["expected"]


def test_contract_example() -> None:
    """A failed check and its summary look as in the documentation."""
    outputs = titled({"exitcode": "Exit Code", "perfdata": "Performance Data", "output": "Output"})
    labels = {"0": "OK", "1": "WARNING", "2": "CRITICAL", "3": "UNKNOWN"}
    action = make_action(outputs, [{"function": "summary", "output": "exitcode", "labels": labels}])
    data = {"output": "DISK CRITICAL - free space: / 24 MB (0% inode=86%);", "exitcode": 2, "perfdata": "/=4111MB"}
    failed = make_reply("dev1.my.net", data, 1, statusmsg="CRITICAL")
    replies = [make_reply(f"dev{number}.my.net", {"exitcode": 0}) for number in range(2, 48)]
    call = make_call(action, [failed, *replies], total_ms=766.11)
    stream = io.StringIO()
    Console(Screen(stream)).show(call)
    assert stream.getvalue() == (
        "dev1.my.net                              Request Aborted\n"
        "   CRITICAL\n"
        "          Exit Code: 2\n"
        "   Performance Data: /=4111MB\n"
        "             Output: DISK CRITICAL - free space: / 24 MB (0% inode=86%);\n"
        "\n"
        "Summary of Exit Code:\n"
        "\n"
        "         OK = 46\n"
        "   CRITICAL = 1\n"
        "\n"
        "Finished processing 47 / 47 hosts in 766.11 ms, 1 failed\n"
        "\n"
    )


def test_missing_nodes_are_named() -> None:
    """Silent, skipped, unexpected and rejected nodes are counted and folded; invalid names are escaped."""
    stream = io.StringIO()
    Console(Screen(stream)).show_end(varied_call())
    assert stream.getvalue().endswith(
        "Finished processing 3 / 6 hosts in 2100.00 ms, 2 failed\n\n"
        "No response from: 2 nodes\n\n   web[4,6]\n\n"
        "Not sent to: 1 node\n\n   web5\n\n"
        "Unexpected response from: 1 node\n\n   stray\n\n"
        "Rejected response from: 2 nodes\n\n   web6,evil\\x1b[31m name\n\n"
    )


def test_secret_is_masked() -> None:
    """An output marked writeOnly is printed as asterisks."""
    stream = io.StringIO()
    show_reply(stream, make_reply("n", {"t": "s3cret"}), make_action({"t": {"writeOnly": True}}))
    assert stream.getvalue() == f"{'n':<40} \n   t: ********\n\n"


@pytest.mark.parametrize(
    ("function", "number", "text"),
    [
        ("average", 1.5, "Average of Count: 1.500000"),
        ("average", 2.0, "Average of Count: 2.000000"),
        ("sum", 3, "Sum of Count: 3"),
        ("min", 0.25, "Minimum of Count: 0.250000"),
        ("max", None, "Maximum of Count: No aggregate summary could be computed"),
    ],
)
def test_numbers(function: str, number: float | None, text: str) -> None:
    """An aggregate that is one number is one line, with or without a result."""
    assert _aggregates(AggregateResult(function, "count", "Count", number)) == f"{text}\n\n"


def test_values_that_are_omitted_are_reported() -> None:
    """A line below the result has their number, so that it is not taken for that of all nodes."""
    result = AggregateResult("sum", "count", "Count", 4, {}, 47, 3)
    assert _aggregates(result).splitlines()[1:] == ["   (3 of 47 values omitted: not a number)", ""]


def test_summary_values_are_escaped() -> None:
    """Each value of a summary is one escaped line; very long values exceed the column."""
    text = _aggregates(AggregateResult("summary", "v", "V", {"a\n\x1b[2J": 2, "x" * 70: 1}))
    escaped = r"a\n\x1b[2J".rjust(60)
    assert text == f"Summary of V:\n\n   {escaped} = 2\n   {'x' * 70} = 1\n\n"


def test_colors() -> None:
    """Labels are red or yellow, counts green or red, and every colour is reset."""
    stream = io.StringIO()
    screen = Screen(stream, Paint(True))
    ReplyWriter(screen, View(), make_action()).show(_records(make_reply("n", statuscode=1)))
    ReplyWriter(screen, View(), make_action()).show(_records(make_reply("n", statuscode=3)))
    console = Console(screen)
    console.show_finish(make_call(make_action(), [make_reply("n")]))
    console.show_finish(make_call(make_action(), expected=["n"]))
    text = stream.getvalue()
    assert "\x1b[31mRequest Aborted\x1b[0m" in text
    assert "\x1b[33mMissing Request Data\x1b[0m" in text
    assert "processing \x1b[32m1\x1b[0m / \x1b[32m1\x1b[0m hosts" in text
    assert "processing \x1b[31m0\x1b[0m / \x1b[31m1\x1b[0m hosts" in text


def test_narrow_encoding() -> None:
    """A character that the encoding of the stream lacks is escaped."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show_reply(stream, make_reply("n", {"a": "é\ud800", "b": "x"}), make_action())
    stream.flush()
    assert raw.getvalue().decode() == f"{'n':<40} \n   a: \\xe9\\ud800\n   b: x\n\n"


def test_deep_value() -> None:
    """A value that is nested too deeply is cut off; the other values are printed."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    stream = io.StringIO()
    show_reply(stream, make_reply("n", {"a": deep, "b": "x"}), make_action())
    assert "(nested too deeply)" in stream.getvalue()
    assert stream.getvalue().endswith("   b: x\n\n")
