"""Copies of files in pieces, as `crpc file put` and `get` make them, to nodes in memory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.file_area import settings

from collective.clients.apps._pieces import Download, LocalFile, Upload
from collective.clients.apps.file import exit_code
from collective.fleet.call import Call
from collective.fleet.targets import Targets
from collective.testing import Network, memory_fleet

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Five nodes, whose files are in the folders of the test."""
    for name in ("settings", "read", "write"):
        (tmp_path / name).mkdir()
    (tmp_path / "settings" / "file.yaml").write_text(json.dumps(settings(tmp_path)))
    with memory_fleet(tmp_path, {f"node{number}": {} for number in range(5)}) as network:
        yield network


def asking(network: Network) -> Callable[[str, Mapping[str, Any], Targets], Call]:
    return lambda action, inputs, targets: network.fleet.call("file", action, inputs, targets=targets)


def local_file(folder: Path, content: bytes = CONTENT) -> LocalFile:
    (folder / "local").write_bytes(content)
    return LocalFile.read(folder / "local")


def upload(network: Network, source: LocalFile, remote: Path, piece: int = 131072, **more: Any) -> Upload:
    made = Upload(asking(network), source, {"path": str(remote)}, piece)
    made.run(Targets(), **more)
    return made


def test_a_file_travels_to_five_nodes_and_back(network: Network, tmp_path: Path) -> None:
    """A file of several pieces arrives byte for byte, and comes back into one folder per node."""
    sent = upload(network, local_file(tmp_path), tmp_path / "write" / "copy")
    assert {node: one.error for node, one in sent.transfers.items()} == {f"node{number}": "" for number in range(5)}
    assert (tmp_path / "write" / "copy").read_bytes() == CONTENT
    fetched = Download(asking(network), str(tmp_path / "write" / "copy"), tmp_path / "copies", 131072)
    fetched.run(Targets())
    assert exit_code(list(fetched.transfers.values())) == 0
    copies = {path.parent.name: path.read_bytes() for path in (tmp_path / "copies").glob("*/*")}
    assert copies == {f"node{number}": CONTENT for number in range(5)}
    assert list((tmp_path / "staging").iterdir()) == []


def test_an_interrupted_upload_leaves_the_old_file(network: Network, tmp_path: Path) -> None:
    """If the caller stops in the middle, the old file of every node is whole."""
    remote = tmp_path / "write" / "copy"
    remote.write_text("old")
    asked: list[str] = []
    ask = asking(network)

    def interrupted(action: str, inputs: Mapping[str, Any], targets: Targets) -> Call:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(action)
        return ask(action, inputs, targets)

    made = Upload(interrupted, local_file(tmp_path), {"path": str(remote)}, 131072)
    with pytest.raises(KeyboardInterrupt):
        made.run(Targets())
    assert remote.read_text() == "old"


def test_a_dry_run_of_an_upload_sends_no_content(network: Network, tmp_path: Path) -> None:
    """A dry run reports for each node whether the file would change, and leaves it as it is."""
    remote = tmp_path / "write" / "copy"
    remote.write_bytes(CONTENT)
    same = Upload(
        lambda action, inputs, targets: network.fleet.call("file", action, inputs, targets=targets, dry_run=True),
        local_file(tmp_path),
        {"path": str(remote)},
    )
    same.run(Targets(), dry_run=True)
    assert {one.changed for one in same.transfers.values()} == {False}
    same.source = local_file(tmp_path, b"other")
    same.run(Targets(), dry_run=True)
    assert {one.changed for one in same.transfers.values()} == {True}
    assert remote.read_bytes() == CONTENT


def test_a_failed_node_counts_as_failed(network: Network, tmp_path: Path) -> None:
    """A path that is not allowed fails on every node, and decides the exit code."""
    sent = upload(network, local_file(tmp_path), Path("/etc/passwd"))
    assert all("not below an allowed folder" in one.error for one in sent.transfers.values())
    assert exit_code(list(sent.transfers.values())) == 2
    fetched = Download(asking(network), str(tmp_path / "read" / "none"), tmp_path / "copies")
    fetched.run(Targets())
    assert {one.error for one in fetched.transfers.values()} == {f"{tmp_path}/read/none: does not exist"}


def test_a_file_that_changes_while_it_is_fetched_is_not_kept(network: Network, tmp_path: Path) -> None:
    """If the remote file changes between two pieces, there is an error and no copy."""
    remote = tmp_path / "read" / "log"
    remote.write_bytes(CONTENT)
    ask = asking(network)

    def changing(action: str, inputs: Mapping[str, Any], targets: Targets) -> Call:
        if inputs.get("offset"):
            remote.write_bytes(CONTENT + b"more")
            os.utime(remote, (time.time(), time.time() + 5))
        return ask(action, inputs, targets)

    fetched = Download(changing, str(remote), tmp_path / "copies", 131072)
    fetched.run(Targets(nodes=["node1"]))
    assert fetched.transfers["node1"].error == f"{remote}: changed while it was read"
    assert list((tmp_path / "copies" / "node1").iterdir()) == []


@pytest.mark.parametrize("content", ["AAAA", ""], ids=["more", "nothing"])
def test_a_node_that_sends_without_end_is_not_asked_again(network: Network, tmp_path: Path, content: str) -> None:
    """A copy ends when a node has sent more than the size that it has announced, or a piece without content."""
    (tmp_path / "read" / "log").write_bytes(b"1234567")
    asked, ask = [], asking(network)

    def endless(action: str, inputs: Mapping[str, Any], targets: Targets) -> Call:
        asked.append(action)
        call = ask(action, {**inputs, "offset": 0} if action == "read" else inputs, targets)
        for reply in call.wait().replies.values():
            if action == "read":
                reply.data.update(content=content, truncated=True)  # type: ignore[attr-defined]
        return call

    fetched = Download(endless, str(tmp_path / "read" / "log"), tmp_path / "copies")
    fetched.run(Targets(nodes=["node1"]))
    assert "the node sends more than its size" in fetched.transfers["node1"].error
    assert len(asked) <= 4
