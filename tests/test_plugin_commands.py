"""Commands that others bring: entry points of packages, and programs `crpc-NAME` on PATH."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.completing import configure
from support.crpc_call import Captured, called, json_document
from support.crpc_process import make_crpc

from collective.clients import apps, lookup
from collective.fleet.ddl_cache import FetchedDDLs

USAGE, CONFIGURATION = 64, 78
MODULE = """
from collective.clients.parser import Parser

def make_parser():
    parser = Parser("crpc {name}", description="Count.", examples=["crpc {name} 3"])
    parser.add_argument("number", type=int)
    parser.add_argument("--twice", action="store_true", help="count twice")
    return parser

def run(arguments):
    return make_parser().parse_args(arguments).number
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of PATH; crpc is configured."""
    configure(tmp_path)
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a package with a command, as pip leaves it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install(name: str, command: str, code: str | None = None, *, group: str = "collective.commands") -> None:
        module = f"{name}_{tmp_path.name.replace('-', '_')}"
        (site / f"{module}.py").write_text(MODULE.format(name=command) if code is None else code)
        info = site / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{command} = {module}\n")

    return install


def program(folder: Path, name: str, mode: int = 0o755) -> Path:
    """Write a program that prints its name and arguments, and exits with 5."""
    file = folder / f"crpc-{name}"
    file.write_text(f"#!{sys.executable}\nimport sys\nprint({name!r}, sys.argv[1:])\nsys.exit(5)\n")
    file.chmod(mode)
    return file


def test_a_program_on_path_is_a_command(path: Path) -> None:
    """`crpc foo` replaces itself with `crpc-foo`: arguments, output and exit code are the program's."""
    program(path, "foo")
    crpc = make_crpc(dict(os.environ))
    ended = crpc("foo", "--own", "x y", "-j")
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, "foo ['--own', 'x y', '-j']\n", "")
    assert crpc("-T", "staging", "foo").stdout == "foo ['-T', 'staging']\n"
    assert crpc("foo", "--help").stdout == crpc("help", "foo").stdout == "foo ['--help']\n"


def test_a_program_without_an_interpreter_is_run_by_sh(path: Path) -> None:
    """A script without `#!` runs, as from a shell; its arguments are not interpreted."""
    program(path, "plain").write_text('printf "%s," "$@"\nexit 3\n')
    ended = make_crpc(dict(os.environ))("plain", "$(id)", "x y")
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "$(id),x y,", "")


def test_a_program_never_takes_the_name_of_a_command_or_agent(path: Path, capsys: Captured) -> None:
    """Commands of crpc and agents are preferred; their names are not listed a second time."""
    for name in ("schema", "package", "acme", "foo"):
        program(path, name)
    (path.parent / "ddl").mkdir()
    (path.parent / "ddl" / "acme.json").write_text("{}")
    assert "client" in called(["schema"], capsys)[1]
    assert called(["package"], capsys)[0] == USAGE
    assert called(["acme", "x"], capsys)[0] == CONFIGURATION
    program(path, "faraway")
    FetchedDDLs(path.parent / "state", "production").store("faraway", "{}", "1", "web1")
    assert lookup.is_agent(["faraway"])
    assert not lookup.is_agent(["faraway", "-T", "staging"])
    (path / "crpc-faraway").unlink()
    entries = json_document(["help"], capsys)["entries"]
    assert [one for one in entries if one["kind"] == "plug-in"] == [
        {"kind": "plug-in", "name": "foo", "summary": f"{path}/crpc-foo", "group": "Plug-ins"}
    ]


def test_an_invalid_configuration_is_reported_before_a_program_runs(path: Path, capsys: Captured) -> None:
    """Which agents there are is not known then, so a program might take the place of one."""
    program(path, "foo")
    (path.parent / "client.yaml").write_text("{")
    code, out, err = called(["foo"], capsys)
    assert (code, out) == (CONFIGURATION, "")
    assert "client.yaml" in err


@pytest.mark.parametrize(
    ("entry", "mode", "message"),
    [
        ("", 0o755, "crpc-foo: not run: '' in PATH depends on the current folder (use an absolute path)"),
        (".", 0o755, "crpc-foo: not run: '.' in PATH depends on the current folder (use an absolute path)"),
        ("bin", 0o755, "bin/crpc-foo: not run: 'bin' in PATH depends on the current folder (use an absolute path)"),
        ("{path}", 0o777, "crpc-foo: not run: {path}: writable by all users (use 'chmod o-w {path}')"),
        ("{path}", 0o1777, "crpc-foo: not run: {path}: writable by all users (use 'chmod o-w {path}')"),
    ],
)
def test_a_program_in_an_unsafe_folder_is_not_run(
    path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, entry: str, mode: int, message: str
) -> None:
    """A folder that depends on where crpc is called, or that others can write to, is skipped, with the reason."""
    program(path, "foo")
    monkeypatch.chdir(path.parent if entry == "bin" else path)
    monkeypatch.setenv("PATH", entry.format(path=path))
    path.chmod(mode)
    code, out, err = called(["foo"], capsys)
    assert (code, out) == (USAGE, "")
    first, second = err.splitlines()
    assert first.endswith(message.format(path=path))
    assert second == "crpc: unknown agent 'foo' (run 'crpc help' for a list)"
    assert "Plug-ins" not in called(["help"], capsys)[1]


def test_a_program_that_others_can_change_is_not_run(path: Path, capsys: Captured) -> None:
    """The program itself is checked, too, and what a link leads to."""
    link = path / "crpc-foo"
    link.symlink_to(program(path.parent, "real", 0o757))
    code, out, err = called(["foo"], capsys)
    assert (code, out) == (USAGE, "")
    assert f"{link}: writable by all users" in err


@pytest.mark.parametrize("name", ["../foo", "a/b", "Foo", "-foo", "foo.sh"])
def test_only_plain_names_are_looked_up(path: Path, capsys: Captured, name: str) -> None:
    """A word with a slash or another character is never a program."""
    (path / "a").mkdir()
    for file in ("crpc-Foo", "crpc-foo.sh", "crpc--foo", "crpc-a/b"):
        (path / file).parent.mkdir(exist_ok=True)
        (path / file).write_text("#!/bin/sh\necho ran\n")
        (path / file).chmod(0o755)
    code, out, _ = called([name], capsys)
    assert (code, out) == (USAGE, "")


def test_a_package_brings_a_command(path: Path, package: Callable[..., None], capsys: Captured) -> None:
    """The command is run, listed, suggested and completed as those of crpc; a program of that name is not used."""
    package("acme", "count")
    program(path, "count")
    assert called(["count", "3"], capsys) == (3, "", "")
    assert called(["-T", "staging", "count", "3"], capsys)[0] == USAGE  # the command has no option -T
    assert called(["help", "count"], capsys)[1].startswith("usage: crpc count")
    assert re.search("Plug-ins:\n  count +from the package acme 1.2\n", called(["help"], capsys)[1])
    code, _, err = called(["cuont", "3"], capsys)
    assert (code, err) == (
        USAGE,
        "crpc: there is neither an agent nor a command 'cuont' (did you mean 'count'?)\n",
    )
    assert called(["__complete", "zsh", "cou"], capsys)[1] == "count\tfrom the package acme 1.2\n"
    assert called(["__complete", "zsh", "count", "--tw"], capsys)[1] == "--twice\tcount twice\n"


def test_two_packages_with_one_command_are_refused(path: Path, package: Callable[..., None], capsys: Captured) -> None:
    """Neither is preferred: the error names both."""
    package("acme", "count")
    package("zeta", "count")
    code, _, err = called(["count", "3"], capsys)
    assert code == CONFIGURATION
    assert "from the package acme 1.2, and from the package zeta 1.2 (uninstall one" in err


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_like_this", "cannot be loaded: ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("x = 1", "has no function 'run'"),
    ],
)
def test_a_broken_package_is_one_line(
    path: Path, package: Callable[..., None], capsys: Captured, code: str, message: str
) -> None:
    """The line names the package; commands of crpc are not affected."""
    package("acme", "count", code)
    found, _, err = called(["count", "3"], capsys)
    assert (found, err.count("\n")) == (CONFIGURATION, 1)
    assert err.startswith("crpc: command 'count' from the package acme 1.2: ")
    assert message in err
    assert called(["schema"], capsys)[0] == 0


def test_entry_points_are_not_read_for_commands_of_crpc(path: Path) -> None:
    """Neither a command of crpc nor a standard agent waits for the list of installed packages."""
    script = (
        "import json, sys\nfrom collective.clients.crpc import main\nmain(json.loads(sys.argv[1]))\n"
        "sys.exit('importlib.metadata' in sys.modules)"
    )
    for words in (["schema"], ["describe", "package"], ["help", "ping"], ["package", "nosuch"], ["help"]):
        crpc = make_crpc(dict(os.environ), [sys.executable, "-c", script, json.dumps(words)])
        assert crpc().returncode == 0


VERBS = """
from collective.clients.apps import ExtraVerb
def watch(arguments):
    print("watching", *arguments)
    return 5
VERBS = {"watch": ExtraVerb("Print the load every minute", watch)}
"""


@pytest.fixture
def load_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that has the DDL of the agent load."""
    action = {"description": "Show it", "input": {"type": "object"}, "output": {"type": "object"}}
    metadata = {"name": "load", "description": "Report the load", "version": "1.0.0"}
    (tmp_path / "ddl").mkdir()
    (tmp_path / "ddl" / "load.json").write_text(json.dumps({"metadata": metadata, "actions": {"status": action}}))
    (tmp_path / "client.yaml").write_text("collective: c\nstate: state\nregistry: none\nddls: [ddl]\n")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))


@pytest.mark.usefixtures("load_agent")
def test_a_package_brings_verbs_of_an_agent(package: Callable[..., None], capsys: Captured) -> None:
    """The entry point has the agent's name; the verb gets the words behind it, and the help pages have it."""
    package("acme", "load", VERBS, group="collective.verbs")
    assert called(["load", "watch", "now"], capsys) == (5, "watching now\n", "")
    for words in (["help"], ["help", "load"], ["describe", "load"]):
        assert "Print the load every minute" in called(words, capsys)[1]


@pytest.mark.usefixtures("load_agent")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nosuch", "cannot be loaded: ModuleNotFoundError: No module named 'nosuch'"),
        ("", "has no table 'VERBS' with an ExtraVerb for each name"),
        ("VERBS = {'watch': print}", "has no table 'VERBS' with an ExtraVerb for each name"),
    ],
)
def test_verbs_that_cannot_be_loaded_are_an_error(
    package: Callable[..., None], code: str, message: str, capsys: Captured
) -> None:
    """The line names the agent and the package."""
    package("acme", "load", code, group="collective.verbs")
    found, _, err = called(["load", "watch"], capsys)
    assert (found, err.count("\n")) == (CONFIGURATION, 1)
    assert err.startswith("crpc: verbs of 'load' from the package acme 1.2: ")
    assert message in err


def test_a_package_changes_no_verbs_of_standard_agents(package: Callable[..., None]) -> None:
    """Entry points with the name of a standard agent have no effect, with or without verbs of its own."""
    package("acme", "service", VERBS, group="collective.verbs")
    package("other", "nrpe", VERBS, group="collective.verbs")
    assert apps.verbs("service") == {}
    assert list(apps.verbs("nrpe")) == ["check"]
