"""Tables and CSV have one row for every node."""

from __future__ import annotations

import csv
import io
from typing import TextIO

import pytest
from support.rendering import FinishedCall, make_action, make_call, make_reply, titled, varied_call

from collective.clients.render.table import rows, write_csv_rows, write_rows
from collective.clients.render.view import Screen, View


def write_table(call: FinishedCall, stream: TextIO, columns: int | None = None) -> None:
    """Write the rows of a call as a table, on a terminal of some columns or elsewhere."""
    heading, *body = rows(call, View())
    write_rows(heading, body, Screen(stream, columns=columns))


def write_csv(call: FinishedCall, stream: TextIO) -> None:
    """Write the rows of a call as CSV."""
    heading, *body = rows(call, View())
    write_csv_rows(heading, body, stream)


def test_every_node_has_one_row() -> None:
    """Nodes that answered come first, by arrival; then silent, skipped and rejected nodes."""
    assert [row[:2] for row in rows(varied_call(), View())] == [
        ["Node", "Status"],
        ["web2", "ok"],
        ["web1", "failed"],
        ["stray", "failed"],
        ["web3", "ok"],
        ["web4", "silent"],
        ["web6", "rejected"],
        ["web5", "skipped"],
        ["evil\x1b[31m name", "rejected"],
    ]


def test_sorted_by_identity() -> None:
    """With `by_identity` all nodes are sorted, including those that did not answer."""
    names = [row[0] for row in rows(varied_call(), View(sort=("sender",)))[1:]]
    assert names == sorted(names)
    assert len(names) == 8


def test_columns() -> None:
    """Columns have the titles and the order of the DDL, unknown outputs come last, and secrets are masked."""
    table = rows(varied_call(), View())
    assert table[0] == ["Node", "Status", "Message", "Ensure", "Size", "Token", "zzz"]
    assert table[1] == ["web2", "ok", "OK", "1.0", 3, "********", None]
    assert table[3] == ["stray", "failed", "no", ["a", "b"], None, None, {"k": [1, None]}]
    assert table[5] == ["web4", "silent", "no response", None, None, None, None]


def test_table() -> None:
    """A table has one line per node, and control characters are escaped."""
    action = make_action(titled({"ensure": "Ensure"}))
    call = make_call(
        action,
        [make_reply("web1", {"ensure": "5.10"}), make_reply("web2", {"ensure": "\x1b[2Ja\nb"}, 1)],
    )
    stream = io.StringIO()
    write_table(call, stream)
    assert stream.getvalue() == (
        "Node  Status  Message  Ensure\n"
        "----  ------  -------  -----------\n"
        "web1  ok      OK       5.10\n"
        "web2  failed  no       \\x1b[2Ja\\nb\n"
    )


def test_versions_are_not_numbers() -> None:
    """Values that look like numbers are printed unchanged."""
    call = make_call(make_action(titled({"ensure": "Ensure"})), [make_reply("n", {"ensure": "5.10"})])
    stream = io.StringIO()
    write_table(call, stream)
    assert stream.getvalue().splitlines()[-1] == "n     ok      OK       5.10"


def test_empty_table() -> None:
    """The table of a call without nodes is only a heading."""
    stream = io.StringIO()
    write_table(make_call(make_action()), stream)
    assert stream.getvalue().splitlines()[0].split() == ["Node", "Status", "Message"]


def test_csv_can_be_parsed() -> None:
    """CSV keeps commas, quotes and newlines; surrogates and control characters are escaped."""
    action = make_action(titled({"a": "A, or B"}))
    values = ['x,"y"', "one\ntwo", "\x1b\ud800\r\x00", ""]
    call = make_call(action, [make_reply(f"n{at}", {"a": value}) for at, value in enumerate(values)])
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    write_csv(call, stream)
    stream.seek(0)
    found = list(csv.reader(stream))
    assert found[0] == ["Node", "Status", "Message", "A, or B"]
    assert [row[3] for row in found[1:]] == ['x,"y"', "one\ntwo", r"\x1b\ud800\r\x00", ""]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", r"\r=1"),
        (" =1", "' =1"),
        ('"=1', "'\"=1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;=1", "a;'=1"),
        ("one\n=1", "one\n'=1"),
        ("=1\n=2;=3", "'=1\n'=2;'=3"),
        ("-5", "-5"),
        (-5, "-5"),
        ("+1.5e-3", "+1.5e-3"),
        ("-.5%", "-.5%"),
        ("load=0.1;-5;10", "load=0.1;-5;10"),
        ("a=b", "a=b"),
        ("/=4111MB;3706", "/=4111MB;3706"),
        ("2026-11-27", "2026-11-27"),
    ],
)
def test_csv_has_no_formulas(value: object, cell: str) -> None:
    """What a spreadsheet would compute is text for it; numbers stay numbers."""
    action = make_action(titled({"a": "=Title"}))
    stream = io.StringIO()
    write_csv(make_call(action, [make_reply("n", {"a": value})]), stream)
    stream.seek(0)
    heading, row = csv.reader(stream)
    assert (heading[3], row[3]) == ("'=Title", cell)
