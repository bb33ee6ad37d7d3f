"""One row per node, as a table or CSV: nobody is left out."""

from __future__ import annotations

import csv
import io

from support.rendering import make_action, make_call, make_reply, titled, varied_call

from collective.clients.render.table import rows, write_csv, write_table


def test_every_node_has_one_row() -> None:
    """Those that answered come first, in order of arrival; then the silent, skipped and rejected."""
    assert [row[:2] for row in rows(varied_call())] == [
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
    """Sorted, the nodes that did not answer stand among the others."""
    names = [row[0] for row in rows(varied_call(), by_identity=True)[1:]]
    assert names == sorted(names)
    assert len(names) == 8


def test_columns() -> None:
    """Outputs stand under the DDL's titles in its order, unknown ones after them, and secrets are masked."""
    table = rows(varied_call())
    assert table[0] == ["Node", "Status", "Message", "Ensure", "Size", "Token", "zzz"]
    assert table[1] == ["web2", "ok", "OK", "1.0", "3", "********", ""]
    assert table[3] == ["stray", "failed", "no", '["a", "b"]', "", "", '{"k": [1, null]}']
    assert table[5] == ["web4", "silent", "no response", "", "", "", ""]


def test_table() -> None:
    """A table has one line per node, and nothing in it commands a terminal."""
    action = make_action(titled({"ensure": "Ensure"}))
    call = make_call(
        action,
        [make_reply("web1", {"ensure": "5.10"}), make_reply("web2", {"ensure": "\x1b[2Ja\nb"}, 1)],
    )
    stream = io.StringIO()
    write_table(call, stream)
    assert stream.getvalue() == (
        "Node    Status    Message    Ensure\n"
        "------  --------  ---------  -----------\n"
        "web1    ok        OK         5.10\n"
        "web2    failed    no         \\x1b[2Ja\\nb\n"
    )


def test_versions_are_no_numbers() -> None:
    """A column of values that look like numbers is shown as it came."""
    call = make_call(make_action(titled({"ensure": "Ensure"})), [make_reply("n", {"ensure": "5.10"})])
    stream = io.StringIO()
    write_table(call, stream)
    assert stream.getvalue().splitlines()[-1] == "n       ok        OK         5.10"


def test_empty_table() -> None:
    """A call that nobody answered is a heading."""
    stream = io.StringIO()
    write_table(make_call(make_action()), stream)
    assert stream.getvalue().splitlines()[0].split() == ["Node", "Status", "Message"]


def test_csv_can_be_read_again() -> None:
    """CSV keeps commas, quotes and newlines; a lone surrogate or escape does not break it."""
    action = make_action(titled({"a": "A, or B"}))
    values = ['x,"y"', "one\ntwo", "\x1b\ud800\r\x00", ""]
    call = make_call(action, [make_reply(f"n{at}", {"a": value}) for at, value in enumerate(values)])
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    write_csv(call, stream)
    stream.seek(0)
    found = list(csv.reader(stream))
    assert found[0] == ["Node", "Status", "Message", "A, or B"]
    assert [row[3] for row in found[1:]] == ['x,"y"', "one\ntwo", r"\x1b\ud800\r\x00", ""]
