"""Requests that wait for approvals: the folder, its command, and what is refused before anything is saved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.crpc_call import Captured, called, json_document
from support.scripted_calls import network_of

from collective import Targets
from collective.errors import UsageError
from collective.fleet.approvals import approve
from collective.fleet.plan import Parties, read_saved, saved
from collective.fleet.request_folder import KEPT, RequestFolder, is_id, locked, replace_file
from collective.signing import unsigned

ALICE = Parties("scripted", "memory", "alice")


def plan(folder: Path, created: float = 100.0) -> dict[str, Any]:
    """Return a saved plan of a shell command."""
    with network_of("ab").fleet(folder) as fleet:
        found = fleet.plan("shell", "run", {"command": "true"}, targets=Targets(nodes=["a", "b"]))
    return saved(found, {}, ALICE, created, unsigned)


def age(document: dict[str, Any]) -> float:
    """Return how old a request is at the time 200."""
    return 200.0 - float(document["created"])


def test_requests_are_found_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    """The oldest is listed first; an unknown beginning and one of several requests are errors."""
    folder = RequestFolder(tmp_path / "requests")
    later, first = plan(tmp_path, 100.0), plan(tmp_path, 50.0)
    later["run"], first["run"] = "a" * 32, "ab" * 16
    for one in (later, first):
        folder.add(one, age)
    (folder.path / f"{'c' * 32}.json").write_text("{}")
    (folder.path / "notes.json").write_text("{}")
    assert list(folder.all()) == [first["run"], later["run"]]
    assert folder.find("abab").name == f"{first['run']}.json"
    for word, message in {"a": "several requests begin with it", "beef": "neither a file nor a request"}.items():
        with pytest.raises(UsageError, match=message):
            folder.find(word)
    assert [is_id(word) for word in ("abcd", "abc", "plan.json", "ABCD")] == [True, False, False, False]


def test_old_requests_are_deleted(tmp_path: Path) -> None:
    """A request is deleted some days after its approvals have expired."""
    folder = RequestFolder(tmp_path / "requests")
    old = plan(tmp_path, 200.0 - KEPT - 1)
    folder.add(old, age)
    assert folder.all() == {}
    kept = plan(tmp_path, 200.0 - KEPT + 1)
    folder.add(kept, age)
    assert list(folder.all()) == [kept["run"]]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The error names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/[0-9a-f]+\.json: cannot be written: "):
        RequestFolder(tmp_path / "file").add(plan(tmp_path), age)
    with pytest.raises(UsageError, match="cannot be written"):
        replace_file(tmp_path / "none" / "x.json", {})


def test_signatures_are_added_under_a_lock(tmp_path: Path) -> None:
    """Who has the lock reads the file with all signatures before."""
    path = RequestFolder(tmp_path / "requests").add(plan(tmp_path, time.time()), age)
    for caller in ("bob", "carol"):
        with locked(path):
            replace_file(path, approve(read_saved(path), caller, lambda _: "signature"))
    assert list(read_saved(path)["approval"]["signatures"]) == ["bob", "carol"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# -- the command


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client.yaml whose requests are in a folder of their own."""
    path = tmp_path / "client.yaml"
    path.write_text("collective: scripted\ncaller: carol\nkey: none\nrequests: shared\n")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return path


def test_requests_are_listed(file: Path, tmp_path: Path, capsys: Captured) -> None:
    """Each line has the ID, the call, who made it, and who has approved it."""
    assert called(["request"], capsys) == (0, "no requests\n", "")
    made = approve(plan(tmp_path, time.time()), "bob", lambda _: "signature")
    RequestFolder(tmp_path / "shared").add(made, age)
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
    RequestFolder(tmp_path / "shared").add(made, age)
    code, _, err = called(["approve", made["run"], "--yes"], capsys)
    assert (code, "the time for approvals is over" in err) == (64, True)
    assert ", expired, approved by no caller yet" in called(["request"], capsys)[1]
