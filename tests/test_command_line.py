"""The grammar that all commands share: options in any place, environment variables, forms of output, and help pages."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.crpc_call import Captured, called
from support.json_documents import check_document

from collective import __version__, exit_codes, schemas
from collective.clients import apps, output
from collective.clients.commands import COMMANDS, GROUPS, make_parsers, rpc
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.formatting import Paint


def all_parsers() -> list[Parser]:
    """Return the parsers of all commands, their verbs, the agents' extra verbs, and of a request."""
    parsers = [rpc.make_parser(), *make_parsers()]
    parsers += [parser for agent in apps.agents() for parser in apps.make_parsers(agent)]
    return [*parsers, *(verb for parser in parsers for verb in parser.verbs.values())]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client.yaml that crpc finds, in its own folder."""
    (tmp_path / "client.yaml").write_text("{collective: production, collectives: [staging], state: state}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return tmp_path


PARSERS = {parser.prog: parser for parser in all_parsers()}


@pytest.mark.parametrize("prog", PARSERS)
def test_every_help_page_has_a_summary_and_an_example(prog: str) -> None:
    """The description begins with a sentence; an example is a command line of this command that can be parsed."""
    parser = PARSERS[prog]
    page = parser.format_help()
    assert page.startswith(f"usage: {prog}")
    if prog != "crpc AGENT ACTION":
        assert parser.description
        assert parser.description[0].isupper()
        assert parser.description.split("\n\n")[0].endswith(".")
    assert parser.examples
    assert "examples:\n  crpc " in page


def test_every_command_has_a_parser() -> None:
    """`make_parser` of a command's module is what help pages and the reference documentation are made from."""
    assert {f"crpc {name}" for name in COMMANDS} <= PARSERS.keys()
    assert sum(len(group) for group in GROUPS.values()) == len(COMMANDS)


@pytest.mark.parametrize("line", sorted({line for parser in PARSERS.values() for line in parser.examples}))
def test_every_example_is_a_valid_command_line(line: str, configured: Path, capsys: Captured) -> None:
    """With `--help` an example prints its help page, and without it the parser of its command accepts the words."""
    program, *words = shlex.split(line)
    assert program == "crpc"
    assert called([*words, "--help"], capsys)[0] == 0
    parser = next(
        (PARSERS[prog] for prog in (f"crpc {' '.join(words[:2])}", f"crpc {words[0]}") if prog in PARSERS), None
    )
    names = len(parser.prog.split()) - 1 if parser else 0
    (parser or PARSERS["crpc AGENT ACTION"]).parse_args(words[names:])


@pytest.mark.parametrize(
    "line",
    [
        "-T elsewhere ping",
        "ping -T elsewhere",
        "-vT elsewhere ping",
        "-v -Telsewhere --json ping",
        "--target=elsewhere ping",
        "--dt 3 -T elsewhere ping --limit 1",
        "-T elsewhere rpcutil ping",
        "rpcutil -T elsewhere ping",
        "rpcutil ping -T elsewhere",
        "--count -T elsewhere find",
        "-v nodes -T elsewhere list",
        "nodes list -T elsewhere",
    ],
)
def test_options_are_accepted_before_and_after_the_command(line: str, configured: Path, capsys: Captured) -> None:
    """Wherever `-T` is, its value is read, and an unknown collective is refused."""
    code, out, err = called(line.split(), capsys)
    assert (code, out) == (64, "")
    assert "'elsewhere'" in err
    assert "production, staging" in err


@pytest.mark.parametrize("line", ["--config {} --json keys", "keys --config {} -j", "--config={} nodes -j list"])
def test_the_configuration_file_is_read_wherever_its_option_is(line: str, tmp_path: Path, capsys: Captured) -> None:
    """`--config` is accepted before the command, before the verb and after it."""
    code, _, err = called(line.format(tmp_path / "none.yaml").split(), capsys)
    assert code == 78
    assert "none.yaml: cannot be read" in err


@pytest.mark.parametrize(
    ("variable", "value", "line", "message"),
    [
        ("COLLECTIVE_TARGET", "elsewhere", "find", "COLLECTIVE_TARGET: unknown collective 'elsewhere'"),
        ("COLLECTIVE_OUTPUT", "xml", "help", "COLLECTIVE_OUTPUT: invalid choice: 'xml'"),
        ("COLLECTIVE_COLOR", "blue", "help", "COLLECTIVE_COLOR: invalid choice: 'blue'"),
        ("COLLECTIVE_TIMEOUT", "soon", "ping", "COLLECTIVE_TIMEOUT: invalid duration 'soon'"),
        ("COLLECTIVE_TTL", "0", "rpcutil ping", "COLLECTIVE_TTL: invalid duration '0'"),
    ],
)
def test_an_error_names_the_environment_variable(
    variable: str,
    value: str,
    line: str,
    message: str,
    configured: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An invalid value of a variable is refused, not ignored."""
    monkeypatch.setenv(variable, value)
    code, out, err = called(line.split(), capsys)
    assert (code, out) == (64, "")
    assert err.startswith(f"crpc: {message}")


def test_the_command_line_overrides_an_environment_variable(
    configured: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COLLECTIVE_OUTPUT is the form when no option names another; an empty variable counts as unset."""
    monkeypatch.setenv("COLLECTIVE_OUTPUT", "json")
    assert json.loads(called(["help"], capsys)[1])["entries"]
    assert called(["--csv", "help"], capsys)[1].startswith("kind,name,summary,group\n")
    monkeypatch.setenv("COLLECTIVE_OUTPUT", "")
    assert called(["help"], capsys)[1].startswith("usage: ")


FOUND = Output(
    "find",
    {"collective": "production", "count": 2, "nodes": ["web1", "ü\x1b"]},
    ["node", "facts"],
    [["web1", {"a": [1]}], ["ü\x1b", None]],
    lambda: "web1\n",
)


def printed(form: str, capsys: Captured) -> str:
    """Return what is printed of FOUND in this form."""
    output.show(Parser("crpc find").parse_args(["-o", form]), FOUND)
    return capsys.readouterr().out


def test_every_form_prints_the_same_values(capsys: Captured) -> None:
    """Documents are the same in JSON and YAML; rows the same in JSONL, CSV and the table; no form prints controls."""
    document = json.loads(printed("json", capsys))
    assert document == {"schema": schemas.schema_id("find"), **FOUND.document}
    assert yaml.safe_load(printed("yaml", capsys)) == document
    lines = printed("jsonl", capsys).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"node": "web1", "facts": {"a": [1]}},
        {"node": "ü\x1b", "facts": None},
    ]
    assert list(csv.reader(io.StringIO(printed("csv", capsys)))) == [
        ["node", "facts"],
        ["web1", '{"a": [1]}'],
        ["ü\\x1b", ""],
    ]
    assert printed("table", capsys).splitlines()[2:] == ['web1   {"a": [1]}', "ü\\x1b"]
    assert printed("text", capsys) == "web1\n"


@pytest.mark.parametrize("line", ["help", "describe package", "describe package install", "schema"])
def test_documents_of_local_commands_are_valid(line: str, configured: Path, capsys: Captured) -> None:
    """A document names its schema, which is shipped, and is valid."""
    document = json.loads(called([*line.split(), "-j"], capsys)[1])
    assert check_document(document) == line.split()[0]


def test_help_lists_commands_and_agents_in_groups(configured: Path, capsys: Captured) -> None:
    """Each group has a heading, and each command and agent one line."""
    out = called(["help"], capsys)[1]
    for heading in (*GROUPS, "Agents"):
        assert f"\n{heading}:\n" in out
    assert out.index("Ask nodes:") < out.index("  ping ") < out.index("Agents:") < out.index("  package ")


@pytest.mark.parametrize("words", [["-V"], ["--version"], ["ping", "-V"], ["-V", "ping"]])
def test_the_version_is_printed_wherever_its_option_is(words: list[str], capsys: Captured) -> None:
    """`crpc -V` and `crpc --version` print the program and its version."""
    assert called(words, capsys) == (0, f"crpc {__version__}\n", "")


def test_the_package_runs_as_a_module() -> None:
    """`python -m collective` is crpc."""
    command = [sys.executable, "-m", "collective", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"crpc {__version__}\n"


@pytest.mark.parametrize(("color", "codes"), [("always", True), ("never", False), ("auto", False)])
def test_color_is_an_option_of_every_command(color: str, codes: bool, capsys: Captured) -> None:
    """`--color` decides; `auto` does not colour what is not a terminal."""
    args = Parser("crpc test").parse_args(["--color", color])
    assert (output.paint(args)("red", "x") == Paint(True)("red", "x")) is codes
    assert Parser("crpc test").parse_args(["--no-color"]).color == "never"


@pytest.mark.parametrize(
    "line",
    [
        "help",
        "describe package",
        "schema",
        "explain-filter -F role=web",
        "cost --nodes 1 --calls-per-day 1",
        "keys",
        "nodes list",
        "policy check policy.yaml",
        "audit show audit.jsonl",
    ],
)
def test_verbose_prints_more_in_every_command(
    line: str, configured: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With -v there is more than without it: at least the exit code and the duration, on standard error."""
    text = "{collective: production, state: state, key: none, registry: none}"
    (configured / "client.yaml").write_text(text)
    (configured / "policy.yaml").write_text("rules: [{name: all}]")
    (configured / "audit.jsonl").write_text("")
    monkeypatch.chdir(configured)
    code, out, err = called(line.split(), capsys)
    assert (code, err) == (0, "")
    more = called([*line.split(), "-v"], capsys)
    assert more[0] == 0
    assert len(more[1]) >= len(out)
    assert re.search(r"^crpc: exit code 0 after [0-9.]+ s$", more[2], re.MULTILINE)


def test_every_exit_code_has_a_meaning() -> None:
    """The table of meanings is complete, so that documentation can be made from it."""
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert codes == exit_codes.MEANINGS.keys()
