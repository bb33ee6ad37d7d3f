"""The folder of the warm process is this user's alone, and so are the folders above it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collective.clients.warm import launch, place
from collective.errors import ConfigError

OTHER_USER = 4711


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")
def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `sudo -E` root has XDG_RUNTIME_DIR of a user, who could lead root elsewhere: nothing is created there."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    os.chown(tmp_path, OTHER_USER, -1)
    with pytest.raises(ConfigError, match=f"warm: .*writable by user {OTHER_USER}"):
        launch.start(1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701])
def test_a_folder_that_others_can_enter_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    """Neither is a server started there, nor is a command line given to one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = Path(place.folder())
    folder.mkdir(mode=0o700)
    assert place.is_private(str(folder))
    folder.chmod(mode)
    assert not place.is_private(str(folder))
    with pytest.raises(ConfigError, match="no other user can enter"):
        launch.start(1.0)
    folder.rmdir()
    (tmp_path / "real").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "real")
    assert not place.is_private(str(folder))
