"""Data functions: what they answer, case by case, and which pairs of code and DDL are refused."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import CASES, assert_same

from collective import catalog, data_ddl
from collective.catalog import Catalog
from collective.errors import Aborted, DDLError, InvalidInput, UnknownAction, UsageError
from collective.filters import parse
from collective.node.plugins import agents, data_functions, loading
from collective.node.plugins.data_functions import DataFunctions
from collective.testing import fake_commands

STANDARD = data_functions.load([agents.bundled()], [catalog.bundled()], Path("/nonexistent"))
FSTAT = STANDARD["fstat"]


def cases() -> list[Any]:
    return [
        pytest.param(json.loads(path.read_text()), id=path.stem) for path in sorted((CASES / "data").glob("*.json"))
    ]


def ask(name: str, query: str, **available: Any) -> dict[str, Any]:
    """Ask a function as a node does: the query and the answer are checked by its DDL."""
    function = STANDARD[name]
    available = {"settings": {}, "deadline": time.monotonic() + 20, **available}
    checked = function.ddl.check_input({"query": query})
    return function.ddl.check_output(function.function(**checked, **loading.supplied(function.function, available)))


@contextmanager
def made(folder: Path, what: dict[str, Any] | None) -> Iterator[str]:
    """Make the file that a case of fstat describes; yield its path."""
    path = folder / "file"
    kind = what["type"] if what else None
    server = socket.socket(socket.AF_UNIX)
    if kind == "file":
        path.write_text(what["content"] if what else "")
    elif kind == "directory":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to("/nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        server.bind(str(path))
    if what and "mode" in what:
        path.chmod(int(what["mode"], 8))
    with server:
        yield str(path)


@pytest.mark.parametrize("case", cases())
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    """What tests/cases/data describes is what the function answers."""
    available = {key: case[key] for key in ("facts", "agents", "settings") if key in case}
    if "nrpe" in case:
        (tmp_path / "nrpe.cfg").write_text("\n".join(case["nrpe"]))
        available["settings"] = {"config": str(tmp_path / "nrpe.cfg")}
    commands = fake_commands(case["commands"]) if "commands" in case else nullcontext()
    with commands, made(tmp_path, case.get("make")) as path:
        answer = ask(case["function"], case.get("query", path), **available)
    assert_same(case["function"], case["expected"], answer)


def test_times_are_unix_seconds_text_in_utc_and_ages(tmp_path: Path) -> None:
    """All three speak of the same moment."""
    path = tmp_path / "file"
    path.touch()
    os.utime(path, (1000, 86400))
    answer = ask("fstat", str(path))
    assert (answer["mtime"], answer["mtime_seconds"]) == ("1970-01-02 00:00:00", 86400)
    assert abs(answer["mtime_age"] - (time.time() - 86400)) <= 2
    assert answer["atime_seconds"] == 1000


def test_a_file_too_large_for_the_time_has_no_digest_and_all_else(tmp_path: Path) -> None:
    """The size of a huge file can be asked; its digest makes a filter false instead of holding the node."""
    path = tmp_path / "file"
    path.write_text("x")
    answer = ask("fstat", str(path), deadline=time.monotonic())
    assert answer["size"] == 1
    assert not {"md5", "sha256"} & answer.keys()


@pytest.mark.parametrize("query", ["etc/hosts", "", "/etc/\0hosts", "~/x"])
def test_fstat_wants_an_absolute_path(query: str) -> None:
    """The DDL refuses all else, on both sides."""
    with pytest.raises(InvalidInput):
        ask("fstat", query)


def test_an_option_is_no_package() -> None:
    """What would become a command's option is refused before it is one."""
    for function in ("package", "service"):
        with pytest.raises(InvalidInput):
            ask(function, "--help")


def test_a_node_without_a_service_manager_has_no_answer() -> None:
    """It does not pretend that every service is unknown."""
    with pytest.raises(Aborted, match="unknown provider 'magic'"):
        ask("service", "cron", settings={"provider": "magic"})


def test_the_standard_functions_serve() -> None:
    """Every one agrees with its DDL, and callers know the same ones."""
    assert STANDARD.problems == ()
    assert set(STANDARD) == {"agent", "fact", "fstat", "nrpe", "package", "service"} == set(Catalog().data_paths)


# -- loading

CODE = "from collective.agent import data\n@data\ndef mount(query, *, facts):\n    return {'mounted': True}\n"
DDL: dict[str, Any] = {
    "metadata": {"name": "mount", "description": "Mounts", "version": "1"},
    "query": {"type": "string", "pattern": "^/"},
    "output": {"type": "object", "properties": {"mounted": {"type": "boolean"}}},
}


def load(folder: Path, code: str | None = CODE, ddl: Any = DDL) -> DataFunctions:
    """Write a pair into the folder's own folder `data` and load it."""
    (folder / "data").mkdir()
    if code is not None:
        (folder / "data" / "mount.py").write_text(code)
    if ddl is not None:
        (folder / "data" / "mount.json").write_text(json.dumps(ddl))
    return data_functions.load([folder], [folder], folder / "settings")


def test_a_pair_that_agrees_serves_with_the_settings_of_its_name(tmp_path: Path) -> None:
    """Users' own functions are found as the standard ones are."""
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "mount.yaml").write_text("a: 1")
    loaded = load(tmp_path)
    assert loaded.problems == ()
    assert (loaded.find("mount").settings, loaded.find("mount").ddl.timeout) == ({"a": 1}, 5.0)


REFUSED: dict[str, tuple[str | None, Any, str]] = {
    "no DDL": (CODE, None, "there is no DDL: write mount.json"),
    "no code": (None, DDL, "there is no code: write mount.py"),
    "unmarked": (CODE.replace("@data\n", ""), DDL, "must mark one function with @data, 'mount' as"),
    "misnamed": (CODE.replace("mount", "umount"), DDL, ": umount"),
    "two": (CODE + CODE.replace("mount(", "other("), DDL, ": mount, other"),
    "another input": (CODE.replace("query", "path"), DDL, "code takes ['path'], DDL says ['query']"),
    "unknown supply": (CODE.replace("facts", "node"), DDL, "nobody supplies the keyword-only parameter 'node'"),
    "exits": ("raise SystemExit(3)", DDL, "cannot be imported: SystemExit: 3"),
    "a query of numbers": (CODE, {**DDL, "query": {"type": "integer"}}, "$.query.type"),
    "no fields": (CODE, {**DDL, "output": {"type": "object", "properties": {}}}, "$.output.properties"),
    "bad pattern": (CODE, {**DDL, "query": {"type": "string", "pattern": "("}}, "is not a 'regex'"),
    "another name": (CODE, {**DDL, "metadata": {**DDL["metadata"], "name": "x"}}, "(must be the file's name, 'mount')"),
    "unknown word": (CODE, {**DDL, "inputs": {}}, "'inputs' was unexpected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_pair_that_disagrees_is_left_out(tmp_path: Path, name: str) -> None:
    """One line names the file and the fault; asking says why the function is not there."""
    code, ddl, said = REFUSED[name]
    loaded = load(tmp_path, code, ddl)
    assert list(loaded) == []
    (error,) = loaded.problems
    assert error.startswith(str(tmp_path / "data" / "mount."))
    assert said in error
    with pytest.raises(UnknownAction, match="has left the data function 'mount' out: "):
        loaded.find("mount")


def test_an_unreadable_ddl_is_named(tmp_path: Path) -> None:
    """With its path."""
    path = tmp_path / "mount.json"
    path.write_text("{")
    with pytest.raises(DDLError, match=r"mount\.json: cannot be read as JSON"):
        data_ddl.read(path)


# -- the caller's side


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("fstatt('/x').size>0", "unknown data function 'fstatt' (did you mean 'fstat'"),
        ("fstat('/x').sise>0", "unknown field 'sise' (it has name, output, present"),
        ("environment=x or not fstat('x').size>0", "input 'query': 'x' does not match"),
    ],
)
def test_what_no_ddl_knows_is_refused_before_anything_is_sent(select: str, said: str) -> None:
    """A misspelt function or field would match no node, in silence."""
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        Catalog().check_filter(parse(select=select))


def test_a_caller_knows_functions_of_its_own_folders(tmp_path: Path) -> None:
    """As it knows agents."""
    load(tmp_path)
    Catalog([tmp_path]).check_filter(parse(select="mount('/srv').mounted=true and fstat('/x').size>0"))
