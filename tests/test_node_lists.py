"""`--nodes` reads names, one per line, or the JSON of an earlier command.

Examples are in cases/nodes, one a file:

{"about": one sentence, "text": the content of the file, "chosen": --nodes-from (ok), "identity": -I, if any,
 "expected": {"names": […]} or {"error": a part of the message}}

An identity is applied by discovery, as in crpc, here with a registry in memory.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import load

from collective import Targets
from collective.clients.node_lists import read_nodes
from collective.config import ClientConfig
from collective.errors import UsageError
from collective.fleet.fleet import Fleet
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.transport.memory import MemoryTransport


def discovered(nodes: list[str], identities: list[str]) -> list[str]:
    """Return the nodes that crpc would select for this list and these identities; all are registered."""
    registry = MemoryRegistry()
    for name in nodes:
        registry.put(NodeRecord(name, "1", agents={"rpcutil": "1"}))
    with Fleet(ClientConfig("p"), MemoryTransport(), registry) as fleet:
        return fleet.discover(Targets.select(identities=identities, nodes=nodes))


@pytest.mark.parametrize("case", load("nodes", keyed="text"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    """The file gives the names that the case expects, in order, or an error that begins with its name."""
    path = tmp_path / "nodes"
    path.write_bytes(case["text"].encode())
    if "error" in case["expected"]:
        with pytest.raises(UsageError) as caught:
            read_nodes(str(path), case.get("chosen"))
        assert case["expected"]["error"] in str(caught.value)
        assert str(path) in str(caught.value)
        return
    names = read_nodes(str(path), case.get("chosen"))
    if "identity" in case:
        names = discovered(names, case["identity"])
    assert names == case["expected"]["names"]


def test_names_are_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads standard input, and errors name it so."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n"))
    assert read_nodes("-") == ["one"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\nt wo\n"))
    with pytest.raises(UsageError, match=r"^standard input: name 2: invalid identity 't wo'"):
        read_nodes("-")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file, a directory and a file that is not UTF-8 are refused."""
    (tmp_path / "bytes").write_bytes(b"\xff")
    names = {"missing": "cannot be read: No such file", ".": "cannot be read: Is a", "bytes": "not UTF-8 text"}
    for name, message in names.items():
        with pytest.raises(UsageError, match=rf"--nodes .*: {message}"):
            read_nodes(str(tmp_path / name), "ok")


def test_an_endless_file_is_refused() -> None:
    """A limited number of bytes is read from a device."""
    with pytest.raises(UsageError, match=r"^--nodes /dev/zero: too long \(the limit is 67108864 bytes\)"):
        read_nodes("/dev/zero")


@pytest.mark.parametrize("text", ["x" * 100_000, f'[{{"a": "{"x" * 100_000}"}}]'])
def test_an_error_quotes_the_beginning_of_a_long_line(tmp_path: Path, text: str) -> None:
    """A file that is not a list of nodes does not fill the terminal."""
    (tmp_path / "long").write_text(text)
    with pytest.raises(UsageError) as refused:
        read_nodes(str(tmp_path / "long"))
    assert len(str(refused.value)) < 1000


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """JSON that is nested too deeply to be parsed is refused."""
    (tmp_path / "deep").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="invalid JSON"):
        read_nodes(str(tmp_path / "deep"), "ok")
