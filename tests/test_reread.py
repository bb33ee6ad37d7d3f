"""Files that are read again when their content changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collective.errors import ConfigError
from collective.reread import NoValidVersion, PartlyValid, ReloadedFile, ReloadEvents

EVENTS = ReloadEvents("test.read", "test.broken")


def number(text: str, path: Path) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{path}: not a number") from None


def reloaded(path: Path, otherwise: int | None = None) -> ReloadedFile[int]:
    return ReloadedFile(
        path, number, events=EVENTS, missing=lambda: 0, otherwise=NoValidVersion("the default", otherwise)
    )


def test_a_change_with_the_same_size_and_time_is_detected(tmp_path: Path) -> None:
    """The content is compared, not the size or the modification time."""
    path = tmp_path / "number"
    file = reloaded(path)
    for text in ("1", "2", "3"):
        path.write_text(text)
        os.utime(path, (1, 1))
        assert file.value() == int(text)


def test_a_missing_file_is_a_valid_version(tmp_path: Path) -> None:
    """After a file is deleted, its last content is not used, also if an invalid file follows."""
    path = tmp_path / "number"
    path.write_text("7")
    file = reloaded(path)
    assert file.value() == 7
    path.unlink()
    assert file.value() == 0
    path.write_text("seven")
    assert file.value() == 0


def test_without_a_valid_version_the_default_applies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged once with what applies instead; without a default, `value` raises."""
    path = tmp_path / "number"
    path.write_text("one")
    file = reloaded(path, otherwise=5)
    assert [file.value(), file.value()] == [5, 5]
    (record,) = caplog.records
    assert (record.getMessage(), vars(record)["in_force"]) == ("test.broken", "the default")
    with pytest.raises(ConfigError, match="number: not valid"):
        reloaded(path).value()


def test_valid_parts_apply_together_with_the_last_valid_version(tmp_path: Path) -> None:
    """Each problem is logged; a file that has never been valid as a whole has no value."""

    def words(text: str, path: Path) -> frozenset[str]:
        found = frozenset(text.split())
        if "?" in found:
            raise PartlyValid([f"{path}: ?"], lambda before: before | found - {"?"})
        return found

    path = tmp_path / "words"
    path.write_text("? a")
    file: ReloadedFile[frozenset[str]] = ReloadedFile(
        path, words, events=EVENTS, missing=frozenset, otherwise=NoValidVersion("nothing")
    )
    with pytest.raises(ConfigError, match="words: not valid"):
        file.value()
    for text, value in (("a", "a"), ("b ?", "ab"), ("c ?", "abc"), ("c", "c")):
        path.write_text(text)
        assert file.value() == frozenset(value)


def test_a_file_that_the_guard_refuses_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The last valid version stays in force until the guard accepts the file again."""
    path = tmp_path / "number"
    path.write_text("1")
    refusal: list[str] = []
    file = ReloadedFile(
        path,
        number,
        events=EVENTS,
        missing=lambda: 0,
        otherwise=NoValidVersion("nothing"),
        guard=lambda _path: next(iter(refusal), None),
    )
    assert file.value() == 1
    path.write_text("2")
    refusal.append("number: writable by all users")
    assert [file.value(), file.value()] == [1, 1]
    refusal.clear()
    assert file.value() == 2
    assert [record.getMessage() for record in caplog.records] == ["test.broken"]
