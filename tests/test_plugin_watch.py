"""Changed files of plug-ins are noticed, each change once, and not while they are being written."""

from __future__ import annotations

from pathlib import Path

from collective.node.service.plugin_watch import PluginWatch


def test_a_change_counts_once_and_when_it_has_settled(tmp_path: Path) -> None:
    """The first look after a change only remembers it; the second one reports it, if nothing changed meanwhile."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "mount.py"
    path.write_text("1")
    watch = PluginWatch([tmp_path, tmp_path / "missing"], 10)
    assert [watch.changed(), watch.changed()] == [False, False]
    path.write_text("12")
    assert watch.changed() is False
    path.write_text("123")
    assert [watch.changed(), watch.changed(), watch.changed()] == [False, True, False]


def test_new_deleted_and_replaced_files_are_changes(tmp_path: Path) -> None:
    """Permissions count as well, because they decide whether a file is loaded."""
    watch = PluginWatch([tmp_path], 10)

    def noticed() -> bool:
        return [watch.changed(), watch.changed()] == [False, True]

    path = tmp_path / "load.py"
    path.write_text("x")
    assert noticed()
    path.chmod(0o700)
    assert noticed()
    (tmp_path / "new").write_text("x")
    (tmp_path / "new").replace(path)
    assert noticed()
    path.unlink()
    assert noticed()
    (tmp_path / "load.pyc").write_text("compiled")
    assert not noticed()
