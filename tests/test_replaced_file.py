"""Tests of files that are replaced atomically."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collective.replaced_file import replace_file


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_replaced_file_has_the_content_and_the_mode(tmp_path: Path, mode: int) -> None:
    """A replaced file has the new content and the mode that is asked for, whatever the umask is."""
    path = tmp_path / "file"
    before = os.umask(0o077)
    try:
        replace_file(path, b"old")
        replace_file(path, b"new", mode, durable=True)
    finally:
        os.umask(before)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A link that another user has put into the folder is replaced, and what it leads to keeps its content."""
    other, link = tmp_path / "other", tmp_path / "file"
    other.write_text("of another user")
    link.symlink_to(other)
    replace_file(link, b"new")
    assert (other.read_text(), link.read_bytes(), link.is_symlink()) == ("of another user", b"new", False)


def test_a_file_that_cannot_be_replaced_leaves_nothing(tmp_path: Path) -> None:
    """A path that cannot be replaced, such as a folder, is kept, and no temporary file remains."""
    folder = tmp_path / "file"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(folder, b"new")
    assert list(tmp_path.iterdir()) == [folder]
