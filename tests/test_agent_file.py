"""The agent file: its cases on real files, and what interrupts it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import files, load, perform
from support.file_area import settings

from collective.agent import Aborted
from collective.agents import file


@pytest.fixture
def area(tmp_path: Path) -> Path:
    """A folder with the folders `read` and `write` that the cases use."""
    for name in ("read", "write"):
        (tmp_path / name).mkdir()
    return tmp_path


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


def test_backups_of_one_second_have_different_names(area: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second change within the same second does not replace the backup of the first one."""
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101T000000Z")
    path = area / "write" / "conf"
    path.write_text("0")
    kept = []
    for text in (b"1", b"2", b"3"):
        content: dict[str, Any] = {
            "sha256": hashlib.sha256(text).hexdigest(),
            "size": 1,
            "content": base64.b64encode(text).decode(),
        }
        reply = file.put(str(path), **content, backup=True, settings=settings(area), caller="alice")
        kept.append(Path(reply["backup"]))
    assert [one.read_text() for one in kept] == ["0", "1", "2"]
    assert [one.name for one in kept] == [f"conf.backup-20260101T000000Z{end}" for end in ("", "-2", "-3")]


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
