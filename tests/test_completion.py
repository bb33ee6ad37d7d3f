"""Completion finds the words of a command line in the parsers of --help, the DDLs and the names of the registry."""

from __future__ import annotations

import argparse
import shlex
import subprocess
from pathlib import Path

import pytest
from support.completing import VALUES, configure
from support.crpc_call import Captured, called
from support.crpc_process import BIN

from collective.clients.commands import COMMANDS, make_parsers
from collective.clients.completion.bash_line import read_line
from collective.clients.completion.values import SOURCES
from collective.clients.parser import Parser
from collective.clients.view_options import FORMS
from collective.fleet.ddl_cache import FetchedDDLs

MOST_MODULES = 190  # that the completion of a word imports
BREAKS = " \t\n\"'@><=;|&(:"  # bash's default


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that crpc finds, with names of the registry."""
    configure(tmp_path)
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("COLLECTIVE_LAB", str(tmp_path / "lab"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completed(capsys: Captured, *words: str) -> list[str]:
    """Return the candidates for the last word, as zsh gets them, without descriptions."""
    code, out, err = called(["__complete", "zsh", *words], capsys)
    assert (code, err) == (0, "")
    return [line.partition("\t")[0] for line in out.splitlines()]


# A command line up to the cursor, and what completes its last word.
CASES: dict[str, list[str]] = {
    "pac": ["package"],
    "no": ["nodes"],
    "-T prod": ["production"],
    "-T staging pac": ["package"],
    "--target=": ["--target=production", "--target=staging"],
    "package ins": ["install"],
    "nrpe ch": ["check"],
    "package install ": ["package=", "version="],
    "package install package=zsh ": ["version="],
    "package install package=zsh -v ver": ["version="],
    "rpcutil get_fact fact=role --display ": ["ok", "failed", "all"],
    "find -o ": list(FORMS),
    "find --output=j": ["--output=json", "--output=jsonl"],
    "find -jv --with-f": ["--with-fact"],
    "find --limit": ["--limit", "--limit-seed"],
    "find --one --limit": ["--limit-seed"],
    "find -F ": ["role=", "os.name=", "place="],
    "find -F role=": ["role=db", "role=web"],
    "find -F role!=w": ["role!=web"],
    "find -F role=~": [],
    "find --with-fact=role=w": ["--with-fact=role=web"],
    "find -C ": ["apache", "mysql::server"],
    "find -A ": ["package", "rpcutil"],
    "find -I web": ["web01.lab", "web02.lab"],
    "find -I @": ["@front"],
    "up": ["up"],
    "up ": ["version="],
    "up --fie": ["--fields"],
    "fetch": ["fetch"],
    "fetch ": ["script=", "args=", "interpreter=", "user=", "timeout="],
    "fetch --fie": ["--fields"],
    "webs -1 --with-f": ["--with-fact"],
    "jobs wait la": ["last"],
    "jobs wait 0a": ["0a1b2c3d"],
    "show 0a": ["0a1b2c3d"],
    "show last web0": ["web01.lab", "web02.lab"],
    "retry la": ["last"],
    "diff last 0a": ["0a1b2c3d"],
    "audit show --run 0a": [],
    "lab node node0": ["node01.lab"],
    "lab node --folder lab al": ["all"],
    "lab node node01.lab re": ["reload"],
    "report hardw": ["hardware"],
    "report show hardw": ["hardware"],
    "run-local package ins": ["install"],
    "run-local package install pack": ["package="],
    "config use st": ["staging"],
    "find -W 'apache ro'": ["apache role="],
    "find -S 'role=web and (r'": ["role=web and (role="],
    "find -S 'role=web a'": ["role=web apache", "role=web and"],
    "facts o": ["os.name"],
    "inventory web0": ["web01.lab", "web02.lab"],
    "nodes pr": ["prune"],
    "nodes trust web01": ["web01.lab"],
    "nodes prune --dry": ["--dry-run"],
    "schema cli": ["client"],
    "completion ": ["bash", "zsh", "fish"],
    "describe pack": ["package"],
    "describe package ins": ["install"],
    "help nodes tr": ["trust"],
    "help package ins": ["install"],
    "find --nodes cl": ["client.yaml"],
    "find --nodes=st": ["--nodes=state/"],
    "shell script script=@st": ["script=@state/"],
    "policy check state/": ["state/names_production.json", "state/runs/"],
    "find web": [],
    "find -- -": [],
    "nosuch x": [],
    "nosuch --x": [],
    "package nosuch x": [],
    "nodes nosuch x": [],
    "--nosuch pac": [],
}


@pytest.mark.parametrize("line", CASES)
def test_the_last_word_is_completed(configured: Path, capsys: Captured, line: str) -> None:
    """The candidates are those of the place in the command line; an unknown place has none, and no error."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    assert completed(capsys, *words) == CASES[line]


def test_an_input_with_named_values(configured: Path, capsys: Captured) -> None:
    """The values of an enum, of a boolean and of examples complete an input."""
    assert completed(capsys, "service", "disable", "now=") == []
    (configured / "ddl").mkdir()
    schema = (
        '{"ensure": {"enum": ["up", "down"]}, "force": {"type": "boolean"}, "n": {"type": "integer", "default": 3}}'
    )
    ddl = f'{{"actions": {{"set": {{"input": {{"properties": {schema}, "required": ["force"]}}}}}}}}'
    (configured / "ddl" / "acme.json").write_text(ddl)
    assert completed(capsys, "acme", "set", "") == ["force=", "ensure=", "n="]
    assert completed(capsys, "acme", "set", "ensure=") == ["ensure=up", "ensure=down"]
    assert completed(capsys, "acme", "set", "force=t") == ["force=true"]
    assert completed(capsys, "acme", "set", "n=") == ["n=3"]


def test_an_agent_whose_ddl_was_fetched_is_completed(configured: Path, capsys: Captured) -> None:
    """DDLs that were fetched from nodes are read like those of the configuration."""
    ddl = '{"metadata": {"description": "Set it"}, "actions": {"set": {"input": {"properties": {"it": {}}}}}}'
    FetchedDDLs(configured / "state", "production").store("faraway", ddl, "1", "web01.lab")
    assert completed(capsys, "far") == ["faraway"]
    assert completed(capsys, "faraway", "set", "") == ["it="]
    assert completed(capsys, "-T", "staging", "far") == []


def test_each_option_of_each_command_is_completed(configured: Path, capsys: Captured) -> None:
    """The options are those of the parsers: there is no second list."""
    for name in COMMANDS:
        shown = completed(capsys, name, "--")
        parser = next(one for one in make_parsers() if one.prog == f"crpc {name}")
        known = [*parser.options.items(), *(one for verb in parser.verbs.values() for one in verb.options.items())]
        assert set(shown) == {
            option for option, action in known if option.startswith("--") and action.help is not argparse.SUPPRESS
        }


def test_every_kind_of_value_is_known(configured: Path) -> None:
    """What parsers name with `completed_by` exists."""

    def kinds(parser: Parser) -> set[str]:
        found = {vars(one).get("completed_by", "file") for one in parser._actions}  # noqa: SLF001
        return found.union(*(kinds(verb) for verb in parser.verbs.values()))

    assert {kind for parser in make_parsers() for kind in kinds(parser)} <= set(SOURCES)


@pytest.mark.parametrize("broken", ["{", "[]", '{"nodes": 1}', '{"facts": []}'])
def test_without_valid_files_there_are_no_candidates(configured: Path, capsys: Captured, broken: str) -> None:
    """A configuration or list of names that cannot be read is not an error while a line is typed."""
    (configured / "state" / "names_production.json").write_text(broken)
    assert completed(capsys, "find", "-I", "web") == []
    (configured / "client.yaml").write_text(broken)
    assert completed(capsys, "find", "-I", "") == []
    assert completed(capsys, "pac") == ["package"]


@pytest.mark.parametrize("words", [[], ["bash"], ["bash", ""], ["zsh"], ["csh", "pac"], ["fish"]])
def test_a_wrong_call_prints_nothing(configured: Path, capsys: Captured, words: list[str]) -> None:
    """The scripts never see an error."""
    code, out, err = called(["__complete", *words], capsys)
    assert (code, err) == (0, "")
    assert "\x1b" not in out


def test_what_a_terminal_would_interpret_is_no_candidate(configured: Path, capsys: Captured) -> None:
    """Values of facts come from nodes: control characters never reach the terminal."""
    assert completed(capsys, "find", "-F", "place=") == [f"place={value}" for value in VALUES]


# A line as typed in bash, the words before the cursor, the current word, and what replaces it for one candidate.
BASH = [
    ("crpc pac", [], "pac", "package", "package "),
    ("crpc find -F role=", ["find", "-F"], "role=", "role=web", "web "),
    ("crpc find -F role=w", ["find", "-F"], "role=w", "role=a b", "a\\ b "),
    ("crpc find -F 'role=w", ["find", "-F"], "role=w", "role=it's", "role=it'\\''s"),
    ("crpc find -F role='w", ["find", "-F"], "role=w", "role=web", "web"),
    ('crpc find -F "role=w', ["find", "-F"], "role=w", "role=$x", "role=\\$x"),
    ('crpc find -F "role=w', ["find", "-F"], "role=w", "role=!x", None),
    ("crpc find 'a b' c\\ d ", ["find", "a b", "c d"], "", "$(x)", "\\$\\(x\\) "),
    ('crpc "a\\"b" ', ['a"b'], "", "é", "é "),
    ("crpc find -C mysql::", ["find", "-C"], "mysql::", "mysql::server", "server "),
    ("crpc find --nodes ~/x", ["find", "--nodes"], "~/x", "~/xy", "~/xy "),
    ("crpc find --nodes ", ["find", "--nodes"], "", "~x", "\\~x "),
]


@pytest.mark.parametrize(("line", "words", "current", "candidate", "inserted"), BASH)
def test_a_line_of_bash(line: str, words: list[str], current: str, candidate: str, inserted: str | None) -> None:
    """Quotes and bash's word breaks are read as bash does, and what is inserted is quoted for it."""
    from collective.clients.completion import Candidate

    typed = read_line(line, BREAKS)
    assert (typed.words, typed.current) == (words, current)
    assert typed.replacements([Candidate(candidate)]) == ([] if inserted is None else [inserted])


SLOW = """boto3 botocore jsonschema cryptography importlib.metadata importlib.resources zipfile hashlib tabulate
asyncio jmespath jinja2 regex colorama collective.clients.displays collective.fleet.fleet collective.ddl"""
COUNT = """
import sys
before = set(sys.modules)
from collective.clients.crpc import main
slow, *words = sys.argv[1:]
main(words)
imported = set(sys.modules) - before
print(len(imported), *sorted(set(slow.split()) & imported), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "line",
    [
        "pac",
        "package ins",
        "package install ",
        "package install --",
        "find -F ro",
        "find -F role=",
        "find -S 'role=web and '",
        "find -I web",
        "find -I @",
        "find -T ",
        "nodes ",
        "show ",
        "jobs wait ",
        "report ",
        "config use ",
        "lab node ",
        "up ",
        "fetch ",
    ],
)
def test_completion_needs_few_modules(configured: Path, line: str) -> None:
    """A Tab takes less than 0.1 s because few modules are imported for any kind of word, none of them a slow one.

    A module takes 0.3 ms on average; the number does not depend on how busy the machine is.
    """
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    command = [str(BIN / "python"), "-c", COUNT, SLOW, "__complete", "zsh", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    number, *slow = ended.stderr.split()
    assert ended.stdout != ""
    assert slow == []
    assert int(number) < MOST_MODULES
