"""What is printed of a call: golden files for each view, and the rules that hold for all of them."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from support.rendering import load, make_action, make_call, make_reply, titled
from support.views import of_case, printed

from collective.clients.render.width import width

CASES = load("views")
COMPLETE = {"--wide", "--names", "--folded", "-v"}  # the options whose output is not cut
FITTED = [case for case in CASES if not COMPLETE & {*case.get("options", ())}]
FORMS = ("text", "json", "jsonl", "yaml", "table", "csv")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_view_is_exactly_the_one_of_its_file(case: dict[str, Any]) -> None:
    """Each file has replies, options and the size of a terminal, and the lines that are printed."""
    assert of_case(case) == case["lines"]


@pytest.mark.parametrize("columns", [40, 60, 80, 132])
@pytest.mark.parametrize("form", ["text", "table"])
@pytest.mark.parametrize("case", FITTED, ids=lambda case: case["id"])
def test_a_view_fits_the_terminal(case: dict[str, Any], form: str, columns: int) -> None:
    """No value, name or cell makes a line wider than the terminal; only the fixed words of a line may."""
    options = [word for word in case.get("options", ()) if word not in ("--table", "--csv")]
    lines = of_case({**case, "options": [*options, "-o", form], "columns": columns, "color": False})
    fixed = re.compile(r"Finished processing|(No response|Not sent)|.*more lines \(use|.*: +$")
    labels = re.compile(r".*(Request Aborted|Timed Out|Missing Request Data|Node Busy|most common reply|are the same)$")
    wide = [
        line for line in lines if width(line) > columns and not fixed.match(line.strip()) and not labels.match(line)
    ]
    assert wide == []


def test_volatile_outputs_break_groups_when_they_are_asked_for() -> None:
    """`--group-by` with a volatile output, and `--fields` with other outputs, group by what is named."""
    outputs = {"pid": {"volatile": True}, "version": {}}
    call = make_call(make_action(outputs), [make_reply(f"n{one}", {"pid": one, "version": "1"}) for one in (1, 2)])
    everything = ("--display", "all", "-q")
    assert printed(call, *everything).splitlines()[0].split() == ["n[1-2]", "(2)"]
    assert printed(call, "--group-by", "pid", "-q").count("pid:") == 2
    assert printed(call, "--group-by", "version", "-q").count("version:") == 1


def test_the_document_has_groups_only_when_they_are_asked_for() -> None:
    """`groups` has values, nodes, and with --diff the differences from the first group."""
    action = make_action(titled({"version": "Version"}))
    replies = [
        make_reply("n1", {"version": "1"}),
        make_reply("n2", {"version": "2"}),
        make_reply("n3", {"version": "1"}),
    ]
    call = make_call(action, replies)
    assert "groups" not in json.loads(printed(call, "--json"))
    assert json.loads(printed(call, "--json", "--group-by", "version"))["groups"] == [
        {"count": 2, "nodes": ["n1", "n3"], "values": {"version": "1"}},
        {"count": 1, "nodes": ["n2"], "values": {"version": "2"}},
    ]
    last = json.loads(printed(call, "--json", "--diff"))["groups"][1]
    assert last["differences"] == [{"field": "version", "usual": "1", "found": "2"}]


def test_fields_and_where_act_on_documents() -> None:
    """The document keeps its form: fewer replies, in their order, and of their data what is named."""
    action = make_action(titled({"version": "Version", "size": "Size"}))
    replies = [make_reply(f"n{one}", {"version": {"major": one}, "size": one}) for one in (3, 1, 2)]
    call = make_call(action, replies, expected=["n1", "n2", "n3", "n4"])
    document = json.loads(printed(call, "--json", "--fields", "version.major", "--where", "size>1", "--sort", "size"))
    assert [(one["sender"], one["data"]) for one in document["replies"]] == [
        ("n2", {"version.major": 2}),
        ("n3", {"version.major": 3}),
    ]
    assert document["outcomes"]["ok"] == 3
    assert document["silent"] == ["n4"]
    lines = [json.loads(line) for line in printed(call, "--jsonl", "--where", "size>1").splitlines()]
    assert [line.get("sender") for line in lines] == ["n3", "n2", None]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("replies[].data.version", "1\n2\n"),
        ("outcomes.ok", "2\n"),
        ("replies[0].data", '{\n  "version": "1"\n}\n'),
        ("nonsense", "null\n"),
        ("replies[].data", '[\n  {\n    "version": "1"\n  },\n  {\n    "version": "2"\n  }\n]\n'),
    ],
)
def test_jmespath(expression: str, text: str) -> None:
    """As text, strings and numbers are lines, everything else is JSON."""
    call = make_call(make_action(), [make_reply("n1", {"version": "1"}), make_reply("n2", {"version": "2"})])
    assert printed(call, "--jmespath", expression) == text


@pytest.mark.parametrize("form", FORMS)
def test_names_and_counts_have_every_form(form: str) -> None:
    """`--names`, `--folded` and `--count` print the same nodes in each form."""
    call = make_call(make_action(), [make_reply("n2"), make_reply("n1", {}, 1)], expected=["n1", "n2", "n3"])
    assert {"n1", "n2"} <= set(re.findall(r"n\d", printed(call, "--names", "-o", form)))
    assert "n3" not in printed(call, "--names", "-o", form)
    assert "2" in printed(call, "--count", "-o", form)
    assert "n[1-2]" in printed(call, "--folded", "-o", form) or form in ("json", "yaml")


def calls_per_reply(count: int, *options: str, columns: int | None = None) -> float:
    """Return how many Python functions are called for each of `count` different replies of 2 KB."""
    action = make_action(
        {"output": {}, "version": {}}, [{"function": "summary", "output": "version"}], display="always"
    )
    text = "".join(f"line {number} of the output of a command\n" for number in range(50))
    replies = [
        make_reply(f"n{one:05}", {"output": f"{one}\n{text}", "version": one % 3}, one % 7 == 0) for one in range(count)
    ]
    call = make_call(action, replies)
    calls = 0

    def count_calls(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count_calls)
    try:
        printed(call, *options, columns=columns)
    finally:
        sys.setprofile(None)
    return calls / count


@pytest.mark.parametrize("columns", [None, 80])
@pytest.mark.parametrize(
    "options", [["-o", form] for form in FORMS] + [["--diff"], ["--group-by", "version"], ["--folded"]]
)
def test_the_work_for_a_reply_does_not_grow(options: list[str], columns: int | None) -> None:
    """With four times the replies, each costs the same number of function calls."""
    calls_per_reply(20, *options, columns=columns)  # what is imported at first use
    few, many = calls_per_reply(50, *options, columns=columns), calls_per_reply(200, *options, columns=columns)
    assert many < 1.2 * few


def test_the_option_display_selects_replies_in_every_form() -> None:
    """Without it only the text form omits replies; with it every form does, and nodes without a reply stay."""
    replies = [make_reply("n1", {"version": "1"}), make_reply("n2", {"version": "2"}, 1)]
    call = make_call(make_action(titled({"version": "Version"})), replies, expected=["n1", "n2", "n3"])
    for form in ("json", "yaml", "jsonl", "csv", "table"):
        assert "n1" in printed(call, "-o", form)
        shown = printed(call, "-o", form, "--display", "failed")
        assert ("n1" in shown, "n2" in shown, "n3" in shown) == (False, True, True), form
    assert printed(call, "--names", "--display", "failed") == "n2\n"
