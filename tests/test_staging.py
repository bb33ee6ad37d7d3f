"""The folder of unfinished transfers on a node: who can use it, and how much of it."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.file_area import settings

from collective.agent import Aborted
from collective.agents import _staging, _transfers, file
from collective.errors import Failed


@pytest.fixture
def area(tmp_path: Path) -> Path:
    """A folder with the folder `write`, in which files are replaced."""
    (tmp_path / "write").mkdir()
    return tmp_path


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
