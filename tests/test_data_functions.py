"""Data functions: their results, case by case, and the code and DDL that are rejected."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import CASES, assert_same

from collective import data_ddl
from collective.bundled import DDLS
from collective.catalog import Catalog
from collective.errors import Aborted, DDLError, InvalidInput, UnknownAction, UsageError
from collective.filters import matches, parse
from collective.node.plugins import agents, data_functions, loading
from collective.node.plugins.data_functions import DataFunctions
from collective.policy import KnownNode
from collective.testing import fake_commands

STANDARD = data_functions.load([agents.bundled()], [DDLS], Path("/nonexistent"))
FSTAT = STANDARD["fstat"]


def cases() -> list[Any]:
    return [
        pytest.param(json.loads(path.read_text()), id=path.stem) for path in sorted((CASES / "data").glob("*.json"))
    ]


def call(name: str, query: str, **available: Any) -> dict[str, Any]:
    """Call a function as a node does: its query and result are checked by its DDL."""
    function = STANDARD[name]
    available = {"settings": {}, "deadline": time.monotonic() + 20, **available}
    checked = function.ddl.check_input({"query": query})
    return function.ddl.check_output(function.function(**checked, **loading.supplied(function.function, available)))


@contextmanager
def created(folder: Path, what: dict[str, Any] | None) -> Iterator[str]:
    """Create the file that a case of fstat describes; yield its path."""
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


@pytest.mark.parametrize("path", ["/etc//hosts", "/etc/./hosts", "/etc/hosts/", "//etc/hosts", "/./etc/hosts"])
def test_a_file_has_one_spelling(path: str) -> None:
    """A policy can deny the query `/etc/hosts`, so other spellings of it are refused, with a hint."""
    with pytest.raises(Aborted, match="use '/etc/hosts'"):
        call("fstat", path)
    with pytest.raises(Aborted, match=r"use a path without '\.\.'"):
        call("fstat", "/etc/default/../hosts")
    assert call("fstat", "/")["type"] == "directory"


@pytest.mark.parametrize("case", cases())
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    """The function returns the result of each case in tests/cases/data."""
    available = {key: case[key] for key in ("facts", "agents", "settings") if key in case}
    if "nrpe" in case:
        (tmp_path / "nrpe.cfg").write_text("\n".join(case["nrpe"]))
        available["settings"] = {"config": str(tmp_path / "nrpe.cfg")}
    commands = fake_commands(case["commands"]) if "commands" in case else nullcontext()
    with commands, created(tmp_path, case.get("make")) as path:
        result = call(case["function"], case.get("query", path), **available)
    assert_same(case["function"], case["expected"], result)


@pytest.mark.parametrize(
    "select",
    [
        "fstat('/nope').md5=/./",
        "fstat('/nope').md5=~^",
        "fstat('/nope').md5!=x",
        "fstat('/nope').sha256=/./",
        *(
            f"fstat('/nope').{name}{part}<60"
            for name in ("mtime", "ctime", "atime")
            for part in ("", "_age", "_seconds")
        ),
        "fstat('/nope').size<10",
        "fstat('/nope').uid=0",
        "fstat('/nope').mode<1000",
        "fstat('/nope').type!=file",
        "fstat('/etc').md5=/./",
        "fact('nope').value=false",
        "fact('nope').value!=x",
        "fact('nope').value_encoding=/./",
        "agent('nope').version<5",
        "agent('nope').timeout<60",
    ],
)
def test_an_absent_value_matches_nothing(select: str) -> None:
    """What does not exist has no digest, age or version that a comparison could match; `not` matches it."""

    def answer(name: str, query: str) -> dict[str, Any]:
        return call(name, query, facts={}, agents={})

    node = KnownNode({}, frozenset())
    assert not matches(parse(select=select), node, answer)
    assert matches(parse(select=f"not {select}"), node, answer)


def test_file_times_are_utc_text_unix_seconds_and_ages(tmp_path: Path) -> None:
    """The UTC time, the Unix seconds and the age of a file describe the same time."""
    path = tmp_path / "file"
    path.touch()
    os.utime(path, (1000, 86400))
    result = call("fstat", str(path))
    assert (result["mtime"], result["mtime_seconds"]) == ("1970-01-02 00:00:00", 86400)
    assert abs(result["mtime_age"] - (time.time() - 86400)) <= 2
    assert result["atime_seconds"] == 1000


def test_a_file_that_takes_too_long_has_no_digest(tmp_path: Path) -> None:
    """A huge file has a size but no digest, so a filter on the digest is false instead of blocking the node."""
    path = tmp_path / "file"
    path.write_text("x")
    result = call("fstat", str(path), deadline=time.monotonic())
    assert result["size"] == 1
    assert not {"md5", "sha256"} & result.keys()


@pytest.mark.parametrize("query", ["etc/hosts", "", "/etc/\0hosts", "~/x"])
def test_fstat_needs_an_absolute_path(query: str) -> None:
    """The DDL rejects any other path, on the caller and on the node."""
    with pytest.raises(InvalidInput):
        call("fstat", query)


def test_a_query_that_looks_like_an_option_is_rejected() -> None:
    """A query that a command would read as an option is rejected."""
    for function in ("package", "service"):
        with pytest.raises(InvalidInput):
            call(function, "--help")


def test_without_a_service_manager_the_service_function_fails() -> None:
    """An unknown provider is an error, not an unknown service."""
    with pytest.raises(Aborted, match="unknown provider 'magic'"):
        call("service", "cron", settings={"provider": "magic"})


def test_the_standard_data_functions_are_loaded() -> None:
    """Each one agrees with its DDL, and the catalog of callers has the same names."""
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
    """Write code and DDL to `data` in a folder, and load them."""
    (folder / "data").mkdir()
    if code is not None:
        (folder / "data" / "mount.py").write_text(code)
    if ddl is not None:
        (folder / "data" / "mount.json").write_text(json.dumps(ddl))
    return data_functions.load([folder], [folder], folder / "settings")


def test_code_and_ddl_that_agree_are_loaded_with_the_settings(tmp_path: Path) -> None:
    """A custom data function is loaded with the settings file of its name."""
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "mount.yaml").write_text("a: 1")
    loaded = load(tmp_path)
    assert loaded.problems == ()
    assert (loaded.find("mount").settings, loaded.find("mount").ddl.timeout) == ({"a": 1}, 5.0)


INVALID: dict[str, tuple[str | None, Any, str]] = {
    "no DDL": (CODE, None, "no DDL found (create mount.json"),
    "no code": (None, DDL, "no code found (create mount.py"),
    "unmarked": (CODE.replace("@data\n", ""), DDL, "must have one @data function, 'mount' as in"),
    "misnamed": (CODE.replace("mount", "umount"), DDL, "not umount"),
    "two": (CODE + CODE.replace("mount(", "other("), DDL, "not mount, other"),
    "another input": (
        CODE.replace("query", "path"),
        DDL,
        "the inputs differ: ['path'] in the code, ['query'] in the DDL",
    ),
    "unknown supply": (CODE.replace("facts", "node"), DDL, "unknown keyword-only parameter 'node'"),
    "exits": ("raise SystemExit(3)", DDL, "cannot be imported: SystemExit: 3"),
    "a query of numbers": (CODE, {**DDL, "query": {"type": "integer"}}, "$.query.type"),
    "no fields": (CODE, {**DDL, "output": {"type": "object", "properties": {}}}, "$.output.properties"),
    "bad pattern": (CODE, {**DDL, "query": {"type": "string", "pattern": "("}}, "is not a regular expression: "),
    "another name": (CODE, {**DDL, "metadata": {**DDL["metadata"], "name": "x"}}, "(must be the file's name, 'mount')"),
    "unknown word": (CODE, {**DDL, "inputs": {}}, "unknown key 'inputs'"),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_data_function_is_rejected(tmp_path: Path, name: str) -> None:
    """One line names the file and the error; a call of the function gets the same line."""
    code, ddl, message = INVALID[name]
    loaded = load(tmp_path, code, ddl)
    assert list(loaded) == []
    (error,) = loaded.problems
    assert error.startswith(str(tmp_path / "data" / "mount."))
    assert message in error
    with pytest.raises(UnknownAction, match="data function 'mount' failed to load on this node: "):
        loaded.find("mount")


def test_the_error_for_an_invalid_ddl_names_the_file(tmp_path: Path) -> None:
    """The error has the path of the file."""
    path = tmp_path / "mount.json"
    path.write_text("{")
    with pytest.raises(DDLError, match=r"mount\.json: cannot be read as JSON"):
        data_ddl.read(path)


# -- on the caller


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("fstatt('/x').size>0", "unknown data function 'fstatt' (did you mean 'fstat'"),
        ("fstat('/x').sise>0", "unknown field 'sise' (did you mean 'size'?)"),
        ("environment=x or not fstat('x').size>0", "input 'query': 'x' does not match"),
        ("fstat('/x').size<big", "fstat('/x').size: is a number, so it cannot be compared with 'big'"),
        ("service('nginx').status!=runing", "never has the value 'runing' (did you mean 'running'?"),
        ("service('nginx').enabled=yes", "never has the value 'yes' (values: true, false"),
        ("fstat('/x').present=yes", "never has the value 'yes' (values: 0, 1"),
    ],
)
def test_an_unknown_function_or_field_is_rejected_before_sending(select: str, message: str) -> None:
    """A misspelled function or field would otherwise match no node, without an error."""
    with pytest.raises(UsageError, match=re.sub(r"([()?])", r"\\\1", message)):
        Catalog().check_filter(parse(select=select))


def test_the_catalog_has_data_functions_of_configured_folders(tmp_path: Path) -> None:
    """Custom data functions are found like custom agents."""
    load(tmp_path)
    Catalog([tmp_path]).check_filter(parse(select="mount('/srv').mounted=true and fstat('/x').size>0"))
