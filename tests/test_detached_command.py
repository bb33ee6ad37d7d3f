"""The process in which a detached rollout goes on imports nothing from the current folder."""

from __future__ import annotations

import argparse
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from collective.clients import detached
from collective.clients.commands import retry
from collective.config import ClientConfig
from collective.fleet.steering.run_log import RunEntry
from collective.testing.run_store import MemoryRunStore

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


class EndsAfterTheLook(MemoryRunStore):
    """A store with one run, which the process in the background takes and ends right after the first look at it.

    This process reads a pipe.
    """

    def __init__(self, pipe: Path) -> None:
        super().__init__(time.time)
        self.looks = 0
        self.pipe = pipe
        os.mkfifo(pipe)

    def runs(self) -> list[RunEntry]:
        """Return the run; the process has ended when the first look has."""
        self.looks += 1
        if self.looks > 1:
            return [RunEntry("0" * 32, 0.0, {}, {"event": "end"})]
        children = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children").read_text().split()
        [reader] = [pid for pid in children if str(self.pipe) in Path(f"/proc/{pid}/cmdline").read_text()]
        self.pipe.write_text("")
        os.waitid(os.P_PID, int(reader), os.WEXITED | os.WNOWAIT)
        return []


def test_a_process_that_has_done_all_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process may take the run, go on with it and end between a look at the record and one at the process."""
    monkeypatch.setattr(detached, "command", lambda _args, _run: ["cat", str(tmp_path / "pipe")])
    args = retry.make_parser().parse_args(["--quiet"])
    config, store = ClientConfig("lab", state=tmp_path), EndsAfterTheLook(tmp_path / "pipe")
    assert detached.spawn(args, config, store, "0" * 32, detached.Handover({})) == 0
    assert (capsys.readouterr().out, store.looks) == (f"{'0' * 32}\n", 2)
