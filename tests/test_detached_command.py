"""The process in which a detached rollout goes on imports nothing from the current folder."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import pytest

from collective.clients import detached

HOSTILE = "import pathlib; pathlib.Path(__file__).with_name('ran').touch()\n"


@pytest.mark.parametrize("module", ["collective/__init__.py", "sys.py", "json.py", "site.py", "logging.py"])
def test_a_hostile_folder_is_not_imported_from(module: str, tmp_path: Path) -> None:
    """A user who can write to the folder in which an operator works cannot run code as the operator."""
    file = tmp_path / module
    file.parent.mkdir(exist_ok=True)
    file.write_text(HOSTILE)
    (tmp_path / "client.yaml").write_text("collective: lab\nkey: none\nregistry: none\n")
    args = argparse.Namespace(config=tmp_path / "client.yaml", target="unknown")
    command = detached.command(args, "0" * 32)
    done = subprocess.run(command, cwd=tmp_path, input="{}", capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "unknown collective 'unknown'" in done.stderr) == (64, True), done.stderr
    assert not file.with_name("ran").exists()
