"""The options of every command that select, cut and store its output; and what they refuse before anything is done."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
import yaml
from support.crpc_call import Captured, called

from collective import schemas
from collective.clients.output import Output
from collective.clients.render.view import Screen, View
from collective.errors import UsageError


def test_a_file_has_the_form_of_its_suffix(tmp_path: Path, capsys: Captured) -> None:
    """The screen has the form of -o, and the file the one of its suffix, or that of the screen."""
    code, out, _ = called(["schema", "--output-file", str(tmp_path / "a.json")], capsys)
    assert (code, out.startswith("{")) == (0, False)
    assert json.loads((tmp_path / "a.json").read_text())["schema"] == schemas.schema_id("schema")
    called(["schema", "--output-file", str(tmp_path / "a.csv")], capsys)
    with (tmp_path / "a.csv").open() as stream:
        assert len(list(csv.reader(stream))) == len(schemas.names()) + 1
    _, out, _ = called(["schema", "--output-file", str(tmp_path / "a")], capsys)
    assert (tmp_path / "a").read_text() == out


def test_a_log_file_is_a_copy_without_colors(tmp_path: Path, capsys: Captured) -> None:
    """What is printed is appended, errors included."""
    log = tmp_path / "log"
    log.write_text("before\n")
    _, out, _ = called(["schema", "--count", "--color", "always", "--log-file", str(log)], capsys)
    assert log.read_text() == f"before\n{out}"
    _, _, err = called(["schema", "nonsense", "--log-file", str(log)], capsys)
    assert log.read_text().endswith(err)


def test_rows_are_selected_cut_and_sorted(capsys: Captured) -> None:
    """The text form of chosen rows is a table; a document has them as objects."""
    words = ["help", "--where", "name=/^(ping|find)$/", "--fields", "name,kind", "--sort=-name"]
    assert [line.split() for line in called(words, capsys)[1].splitlines()[2:]] == [
        ["ping", "command"],
        ["find", "command"],
    ]
    document = json.loads(called([*words, "--json"], capsys)[1])
    assert document == {
        "schema": schemas.schema_id("rows"),
        "rows": [{"name": "ping", "kind": "command"}, {"name": "find", "kind": "command"}],
    }
    assert json.loads(called(["help", "--where", "name=ping", "--count", "--json"], capsys)[1])["count"] == 1


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("--fields nonsense", "--fields: unknown field 'nonsense' (fields: "),
        ("--fields kinde", "--fields: unknown field 'kinde' (did you mean 'kind'?)"),
        ("--fields a,,b", "--fields: empty name in 'a,,b' (use names separated by commas)"),
        ("--where ping", "--where 'ping': 'ping' is not compared with a value (use ping=…)"),
        ("--where fstat('/x').y=1", "data functions such as 'fstat' are for -S only"),
        ("--where name=", "--where 'name=': column 6: missing value after '='"),
        ("--jmespath a[", "--jmespath 'a[': Invalid jmespath expression: Incomplete expression"),
        ("--jmespath a -o csv", "--jmespath: not allowed with -o csv (use text, json or yaml)"),
        ("--sort name --jsonl", "--sort: not allowed with -o jsonl, whose lines are printed as they arrive (use json)"),
        ("--output-file /nope/x", "--output-file /nope/x: the folder /nope does not exist"),
        ("--output-file /", "--output-file /: is a folder"),
        ("--log-file /nope/x", "--log-file /nope/x: No such file or directory"),
    ],
)
def test_a_wrong_option_is_refused(line: str, error: str, capsys: Captured) -> None:
    """The error is one line that names the option, and the exit code is 64."""
    code, out, err = called(["help", *line.split()], capsys)
    assert (code, out) == (64, "")
    assert err.startswith("crpc: ")
    assert error in err


def test_names_are_those_of_the_nodes_in_the_rows() -> None:
    """Each node once, or folded; an output whose rows are not nodes has no names."""
    view = View(only="names")
    rows = [(1, "web1"), (1, "web2"), (2, "web2")]
    found = Output("rollout-preview", {}, ("wave", "node"), rows, str)
    assert found.shown(view).text() == "web1\nweb2\n"
    assert found.shown(View(only="folded")).text() == "web[1-2]\n"
    with pytest.raises(UsageError, match="--names: not available for this output, whose rows are not nodes"):
        Output("sent", {}, ("request_id",), [], str).shown(view)


@pytest.mark.parametrize("line", ["help ping", "help package", "schema client"])
@pytest.mark.parametrize("option", ["-o table", "--count", "--fields name", "--where name=x", "--sort name"])
def test_a_page_without_rows_refuses_what_needs_rows(line: str, option: str, capsys: Captured) -> None:
    """Nothing is printed but one line; the exit code is 64."""
    code, out, err = called([*line.split(), *option.split()], capsys)
    assert (code, out, err.count("\n")) == (64, "", 1)


def test_a_form_of_the_environment_does_not_refuse_a_help_page(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """The variable is for the commands that have the form."""
    monkeypatch.setenv("COLLECTIVE_OUTPUT", "json")
    assert called(["help", "ping"], capsys)[1].startswith("usage: crpc ping")


def test_a_schema_has_the_forms_of_a_document(capsys: Captured) -> None:
    """JSON as it is in the file, on one line, as YAML, and what an expression finds."""
    document = schemas.load("client")
    assert json.loads(called(["schema", "client"], capsys)[1]) == document
    [line] = called(["schema", "client", "--jsonl"], capsys)[1].splitlines()
    assert json.loads(line) == yaml.safe_load(called(["schema", "client", "--yaml"], capsys)[1]) == document
    assert called(["schema", "client", "--jmespath", "title"], capsys)[1] == f"{document['title']}\n"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("--names --count", "--count: not allowed with --names"),
        ("--count --folded", "--folded: not allowed with --count"),
        ("--names --fields value", "--fields: not allowed with --names"),
        ("--folded --group-by value", "--group-by: not allowed with --folded"),
        ("--count --diff", "--diff: not allowed with --count"),
        ("--no-group --group-by value", "--group-by: not allowed with --no-group"),
        ("--names --jmespath a", "--jmespath: not allowed with --names"),
        ("--output-file result.html", "--output-file result.html: unknown form '.html' (use .json, "),
        ("--where not", "--where 'not': column 4: missing field"),
        ("--jq a", "unknown option '--jq' (did you mean '--jmespath'?)"),
    ],
)
def test_an_option_without_effect_is_refused(
    line: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Options that exclude each other, and a file in a form that the command does not have, are errors."""
    (tmp_path / "client.yaml").write_text("{collective: production, state: state, key: none}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    code, _, err = called(["rpcutil", "get_fact", "fact=role", *line.split()], capsys)
    assert (code, error in err) == (64, True), err


def test_names_are_those_of_the_rows() -> None:
    """A column with identities has the names of nodes; other rows have none."""
    found = Output("x", {}, ["identity", "age"], [["n2", 1], ["n1", 2]], str)
    assert found.shown(View(only="folded")).rows == [["n[1-2]"]]
    with pytest.raises(UsageError, match="--names: not available for this output"):
        Output("x", {}, ["age"], [[1]], str).shown(View(only="names"))


def test_a_table_has_dates_and_other_forms_numbers() -> None:
    """Seconds since 1970 are written as local time in a table; numbers in other columns, and ages, are not."""
    found = Output("x", {}, ["node", "time", "size", "seen"], [["n1", 1795842929.9, 1795842929, 12.5]], str)
    texts = {}
    for form in ("table", "csv"):
        stream = io.StringIO()
        found.write(form, Screen(stream))
        texts[form] = stream.getvalue().splitlines()[-1]
    assert re.fullmatch(r"n1 +2026-11-\d\d \d\d:\d\d:\d\d +1795842929 +12.5", texts["table"])
    assert texts["csv"] == "n1,1795842929.9,1795842929,12.5"
