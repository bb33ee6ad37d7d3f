"""The agent file: its cases on real files, transfers in pieces, and what interrupts them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import files, load, perform

from collective.agent import Aborted
from collective.agents import _staging, _transfers, file
from collective.clients.apps._pieces import Download, LocalFile, Upload
from collective.clients.apps.file import exit_code
from collective.errors import Failed
from collective.fleet.call import Call
from collective.fleet.targets import Targets
from collective.testing import Network, memory_fleet

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes


@pytest.fixture
def area(tmp_path: Path) -> Path:
    """A folder with the folders `read` and `write` that the cases use."""
    for name in ("read", "write"):
        (tmp_path / name).mkdir()
    return tmp_path


def settings(area: Path) -> dict[str, Any]:
    staging = str(area / "staging")
    return {"read": [str(area / "read")], "write": [str(area / "write")], "staging": staging, "max_size": 10**9}


@pytest.mark.parametrize("case", load("file"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any], area: Path) -> None:
    """Each case in tests/cases/file returns the expected reply and leaves the expected files."""
    case = json.loads(json.dumps(case).replace("@TMP@", str(area)))
    for name, text in case["files"].items():
        (area / name).parent.mkdir(exist_ok=True)
        (area / name).write_text(text)
    for name, target in case.get("links", {}).items():
        (area / name).symlink_to(target)
    before = files(area)
    perform(file, case)
    assert not case.get("dry_run") or files(area) == before
    for name, text in case.get("after", {}).items():
        path = area / name
        assert (path.read_text() if path.exists() else None) == text
    assert [path.name for path in (area / "write").iterdir() if path.name.endswith("-new")] == []


def test_a_new_file_has_the_usual_mode_and_an_old_one_keeps_its_mode(area: Path) -> None:
    """A new file gets mode 0644; without a mode in the request a replaced file keeps its mode."""
    path = area / "write" / "conf"
    inputs: dict[str, Any] = {
        "sha256": hashlib.sha256(b"a").hexdigest(),
        "size": 1,
        "content": base64.b64encode(b"a").decode(),
    }
    file.put(str(path), **inputs, settings=settings(area), caller="alice")
    assert path.stat().st_mode & 0o7777 == 0o644
    path.write_text("b")
    path.chmod(0o600)
    file.put(str(path), **inputs, settings=settings(area), caller="alice")
    assert (path.read_text(), path.stat().st_mode & 0o7777) == ("a", 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")
def test_a_hard_link_in_a_folder_of_another_user_is_not_read(area: Path) -> None:
    """The user of a folder cannot have the node read a file that the user cannot read."""
    secret, folder = area / "secret", area / "read" / "theirs"
    secret.write_text("secret")
    folder.mkdir()
    (folder / "link").hardlink_to(secret)
    assert file.read(str(folder / "link"), settings=settings(area))["content"] == "secret"
    os.chown(folder, 4711, 4711)
    for action in (file.read, file.status):
        with pytest.raises(Aborted, match="several names"):
            action(str(folder / "link"), settings=settings(area))
    os.chown(secret, 4711, 4711)
    assert file.read(str(folder / "link"), settings=settings(area))["content"] == "secret"


@pytest.mark.parametrize("action", ["put", "backup"])
def test_setuid_is_not_kept(area: Path, action: str) -> None:
    """A user that owns a folder cannot make a program setuid which an operator puts there as root, or its backup."""
    path = area / "write" / "tool"
    path.write_text("b")
    path.chmod(0o6777)
    inputs: dict[str, Any] = {
        "sha256": hashlib.sha256(b"a").hexdigest(),
        "size": 1,
        "content": base64.b64encode(b"a").decode(),
    }
    more: dict[str, Any] = {"owner": "root", "group": "root"} if os.geteuid() == 0 else {}
    reply = file.put(str(path), **inputs, **more, backup=action == "backup", settings=settings(area), caller="alice")
    written = Path(reply["backup"]) if action == "backup" else path
    assert written.stat().st_mode & 0o7777 == 0o777
    file.put(str(path), **inputs, mode="4755", settings=settings(area), caller="alice")
    assert path.stat().st_mode & 0o7777 == 0o4755


def test_a_last_piece_that_is_sent_again_does_no_harm(area: Path) -> None:
    """A caller that has not seen the reply sends the last piece again: the file is complete, and not written again."""
    path = area / "write" / "conf"
    whole: dict[str, Any] = {"sha256": hashlib.sha256(b"ab").hexdigest(), "size": 2, "transfer": "0" * 32}
    pieces = [{**whole, "offset": at, "content": base64.b64encode(b"ab"[at : at + 1]).decode()} for at in (0, 1)]
    replies = [file.put(str(path), **piece, settings=settings(area), caller="alice") for piece in (*pieces, pieces[1])]
    assert [(reply["changed"], reply["complete"]) for reply in replies] == [(False, False), (True, True), (False, True)]
    assert path.read_bytes() == b"ab"


def test_missing_folders_are_reported_when_the_agent_is_loaded(area: Path) -> None:
    """The check of the setup names each folder of the settings that does not exist."""
    assert list(file.setup(settings(area))) == []
    missing = {"read": ["/no/such/folder"], "write": [str(area)]}
    assert list(file.setup(missing)) == [
        "folder '/no/such/folder' in settings/file.yaml does not exist (create it, or remove it there)"
    ]


def test_an_interrupted_write_leaves_the_old_file(area: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new file cannot be completed, the old one is whole, and nothing is left beside it."""
    path = area / "write" / "conf"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Aborted, match=r"conf: cannot be written: No space left on device$"):
        file.template(str(path), "new", settings=settings(area), facts={})
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["conf"]


def test_leftovers_of_killed_actions_are_removed(area: Path) -> None:
    """Incomplete files and pieces that are older than a day are removed by the next write; newer ones stay."""
    old, new = area / "write" / ".conf.1.collective-new", area / "write" / ".conf.2.collective-new"
    (area / "staging").mkdir(mode=0o700)
    pieces = area / "staging" / ("f" * 32)
    for path in (old, new, pieces):
        path.write_text("part")
    for path in (old, pieces):
        os.utime(path, (1, 1))
    inputs: dict[str, Any] = {
        "sha256": hashlib.sha256(b"a").hexdigest(),
        "size": 1,
        "content": base64.b64encode(b"a").decode(),
    }
    file.put(str(area / "write" / "conf"), **inputs, settings=settings(area), caller="alice")
    assert (old.exists(), new.exists(), pieces.exists()) == (False, True, False)


def test_pieces_are_kept_where_only_the_node_can_write(area: Path) -> None:
    """A staging folder that other users can replace is refused."""
    open_to_all = area / "open"
    piece = _transfers.Piece(b"", 0, "0" * 32, 1, "0" * 64)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with (
        pytest.raises(Aborted, match="writable by all users"),
        _transfers.staged(open_to_all / "in" / ("0" * 32), piece),
    ):
        pass


def test_a_shared_staging_folder_is_refused_and_not_changed(area: Path) -> None:
    """A folder that others can read or write stays as it is, with all its files, however old they are."""
    shared = area / "staging"
    shared.mkdir()
    old = shared / ("f" * 32)
    old.write_text("of another program")
    os.utime(old, (1, 1))
    for mode in (0o755, 0o1777, 0o770):
        shared.chmod(mode)
        with pytest.raises(Aborted, match=r"must be a folder owned by the node's user with mode 0700"):
            begin(area, "alice", 1)
        assert (shared.stat().st_mode & 0o7777, old.read_text()) == (mode, "of another program")


def test_only_pieces_are_removed_from_the_staging_folder(area: Path) -> None:
    """An old file with another name than that of a transfer stays."""
    (area / "staging").mkdir(mode=0o700)
    other = area / "staging" / "notes.txt"
    other.write_text("x")
    os.utime(other, (1, 1))
    begin(area, "alice", 1)
    assert other.exists()


def begin(area: Path, caller: str, number: int, content: bytes = b"a", size: int = 10**8) -> Mapping[str, Any]:
    """Send the first piece of a transfer that stays unfinished."""
    inputs: dict[str, Any] = {"sha256": "0" * 64, "size": size, "transfer": f"{number:032x}"}
    inputs["content"] = base64.b64encode(content).decode()
    return file.put(str(area / "write" / "conf"), **inputs, settings=settings(area), caller=caller)


def idle(area: Path, count: int, seconds: float = _staging.MOST_IDLE + 5) -> None:
    """Make the last piece of the first `count` transfers of alice older than that."""
    for number in range(count):
        path = _staging.staging_path(area / "staging", "alice", f"{number:032x}")
        os.utime(path, (0, time.time() - seconds - count + number))


def test_one_caller_cannot_fill_the_staging_folder(area: Path) -> None:
    """Transfers beyond the number of a caller are refused as busy; another caller still has its own share."""
    for number in range(_staging.CALLER_MOST):
        begin(area, "alice", number)
    with pytest.raises(Failed, match="this caller has 20 other unfinished transfers of 20 bytes") as refused:
        begin(area, "alice", 99)
    assert refused.value.reason == "busy"
    assert begin(area, "alice", 3)["received"] == 1  # a piece of a transfer that is there already
    begin(area, "bob", 3)
    assert len(list((area / "staging").iterdir())) == _staging.CALLER_MOST + 1


def test_the_oldest_idle_transfer_of_the_same_caller_is_replaced(area: Path) -> None:
    """An interrupted transfer makes room for a new one of its caller, and for that caller only."""
    for number in range(_staging.CALLER_MOST):
        begin(area, "alice", number)
    idle(area, 2)
    begin(area, "bob", 0)
    begin(area, "alice", 99)
    there = [_staging.staging_path(area / "staging", "alice", f"{number:032x}").exists() for number in (0, 1, 2, 99)]
    assert there == [False, True, True, True]


def test_all_callers_together_are_limited(area: Path) -> None:
    """The number of transfers of all callers is limited too, and none of another caller is removed for a new one."""
    for number in range(_staging.MOST):
        begin(area, f"caller{number // 10}", number)
    with pytest.raises(Failed, match="all callers together have 100 other unfinished transfers"):
        begin(area, "alice", 0)
    assert len(list((area / "staging").iterdir())) == _staging.MOST


def test_bytes_of_unfinished_transfers_are_limited(area: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece that would exceed the bytes of its caller or of all is refused; a single large file is accepted."""
    monkeypatch.setattr(_staging, "CALLER_LARGEST", 10)
    monkeypatch.setattr(_staging, "LARGEST", 25)
    begin(area, "alice", 0, b"a" * 15)
    with pytest.raises(Failed, match="of 15 bytes, and this one needs 1 bytes; limits: 20 transfers, 10 bytes"):
        begin(area, "alice", 1)
    begin(area, "bob", 0, b"b" * 10)
    with pytest.raises(Failed, match="all callers together have 2 other unfinished transfers of 25 bytes"):
        begin(area, "carol", 0)
    idle(area, 1)
    begin(area, "alice", 1)
    begin(area, "carol", 0)


def test_a_caller_cannot_reach_a_transfer_of_another(area: Path) -> None:
    """The same transfer name of two callers is two transfers."""
    begin(area, "alice", 0)
    with pytest.raises(Aborted, match="a piece is missing: 0 bytes received"):
        file.put(
            str(area / "write" / "conf"), "0" * 64, 9, "YQ==", 1, f"{0:032x}", settings=settings(area), caller="bob"
        )


# -- the client


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


@pytest.mark.parametrize("spelling", ["read//secret", "read/./secret", "./read/secret", "read/secret/", "/read/secret"])
def test_a_file_has_one_spelling(area: Path, spelling: str) -> None:
    """A policy can deny a path with a pattern, so another spelling of the same path is refused."""
    (area / "read" / "secret").write_text("x")
    with pytest.raises(Aborted, match=f"not allowed: use '{area}/read/secret'"):
        file.read(f"{area}/{spelling}", settings=settings(area))


def test_an_allowed_folder_that_others_can_replace_is_refused(area: Path) -> None:
    """Other users could put a link to any folder in its place, so nothing below it is read or written."""
    (area / "shared").mkdir()
    (area / "shared" / "conf").mkdir()
    (area / "shared" / "conf" / "old").write_text("x")
    (area / "link").symlink_to(area / "shared" / "conf")
    (area / "shared").chmod(0o777)
    for folder in (area / "shared" / "conf", area / "link"):
        allowed = {**settings(area), "write": [str(folder)]}
        for act in (file.read, file.status, file.remove):
            with pytest.raises(Aborted, match=f"not allowed: {area}/shared: writable by all users"):
                act(str(folder / "old"), settings=allowed)
        assert [line.partition(":")[0] for line in file.setup(allowed)] == [
            f"folder '{folder}' in settings/file.yaml can be replaced by other users"
        ]
    (area / "shared").chmod(0o755)
    (area / "shared" / "conf").chmod(0o777)
    assert file.read(str(area / "link" / "old"), settings={**settings(area), "read": [str(area / "link")]})


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
