"""Requests that wait for approvals: the folder, its command, and what is refused before anything is saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.crpc_call import Captured, called, json_document
from support.request_store_contract import CHECKS, MakeStore, plan

from collective.errors import UsageError
from collective.fleet.approvals import EXPIRES, approve
from collective.fleet.request_folder import RequestFolder
from collective.fleet.request_store import KEPT, is_id


@pytest.mark.parametrize("contract", CHECKS, ids=lambda one: one.__name__)
def test_contract(contract: Callable[[MakeStore, Path], None], tmp_path: Path) -> None:
    """A folder does what every store of requests does."""
    contract(lambda: RequestFolder(tmp_path / "requests"), tmp_path)


def test_other_files_in_the_folder_are_not_listed(tmp_path: Path) -> None:
    """What is not a plan is omitted, and cannot be found by the beginning of its name."""
    folder = RequestFolder(tmp_path)
    (tmp_path / f"{'c' * 32}.json").write_text("{}")
    (tmp_path / "feed.json").write_text("{}")
    assert folder.all() == {}
    with pytest.raises(UsageError, match="feed: neither a file nor a request"):
        folder.find("feed")
    assert [is_id(word) for word in ("abcd", "abc", "plan.json", "ABCD")] == [True, False, False, False]


def test_old_requests_are_deleted(tmp_path: Path) -> None:
    """A request is deleted some days after its approvals have expired."""
    old, over = plan(tmp_path, 100.0), 100.0 + EXPIRES + KEPT
    RequestFolder(tmp_path / "requests", lambda: over).add(old)
    kept = plan(tmp_path, 101.0)
    folder = RequestFolder(tmp_path / "requests", lambda: over + 1)
    folder.add(kept)
    assert list(folder.all()) == [kept["run"]]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The error names the file, and nothing is left behind."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/[0-9a-f]+\.json: cannot be written: "):
        RequestFolder(tmp_path / "file").add(plan(tmp_path))
    place = RequestFolder(tmp_path / "requests").add(made := plan(tmp_path))
    place.read()
    assert place.replace(approve(made, "bob", lambda _: "signature"))
    assert [file.name for file in (tmp_path / "requests").iterdir()] == [f"{made['run']}.json"]


# -- the command


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client.yaml whose requests are in a folder of their own."""
    path = tmp_path / "client.yaml"
    path.write_text("collective: scripted\ncaller: carol\nkey: none\nrequests: ./shared\n")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return path


def test_requests_are_listed(file: Path, tmp_path: Path, capsys: Captured) -> None:
    """Each line has the ID, the call, who made it, and who has approved it."""
    assert called(["request"], capsys) == (0, "no requests\n", "")
    made = approve(plan(tmp_path), "bob", lambda _: "signature")
    RequestFolder(tmp_path / "shared").add(made)
    [entry] = json_document(["request"], capsys)["requests"]
    assert (entry["id"], entry["nodes"], entry["approvers"]) == (made["run"], ["a", "b"], ["bob"])
    code, out, _ = called(["request"], capsys)
    assert (code, out.startswith(f"{made['run'][:8]}  shell run ")) == (0, True)
    assert out.endswith("on 2 nodes (a,b); by alice 0 seconds ago, expires in 24 hours, approved by bob\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("request rpcutil", "the action is missing (crpc request AGENT ACTION)"),
        ("request rpcutil ping --dry-run", "--dry-run: not allowed for a request that is sent later"),
        ("request rpcutil ping --no-results", "--no-results: not allowed for a request that is sent later"),
        ("request rpcutil ping --save-plan x", "--save-plan: not allowed for a request that is sent later"),
        ("request rpcutil ping --expires 31d", "invalid duration '31d'"),
        ("request rpcutil ping --expires 2d", "--expires: approvals are valid for at most a day"),
        ("apply 0123abcd", "0123abcd: neither a file nor a request in"),
        ("approve 0123abcd", "0123abcd: neither a file nor a request in"),
        ("approve none.json", "none.json: No such file or directory"),
    ],
)
def test_a_request_that_cannot_be_made_or_found_is_refused(
    file: Path, capsys: Captured, line: str, message: str
) -> None:
    """The error names the option or the word, and nothing is saved."""
    code, out, err = called(line.split(), capsys)
    assert (code, out, message in err) == (64, "", True), err
    assert not (file.parent / "shared").exists()


def test_a_request_that_has_expired_cannot_be_approved(file: Path, tmp_path: Path, capsys: Captured) -> None:
    """A signature would be useless, and the list says that the time is over."""
    made = plan(tmp_path, time.time() - 2 * 86400)
    RequestFolder(tmp_path / "shared").add(made)
    code, _, err = called(["approve", made["run"], "--yes"], capsys)
    assert (code, "the time for approvals is over" in err) == (64, True)
    assert ", expired, approved by no caller yet" in called(["request"], capsys)[1]
