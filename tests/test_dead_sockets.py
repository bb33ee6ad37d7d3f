"""What a daemon leaves in the temporary folder when it is killed is removed at the next start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from collective.node.actions.dead_sockets import remove_abandoned_sockets


def test_only_folders_with_dead_sockets_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a dead socket is removed; one with a listener, another file, a young or open one is kept."""
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sockets = []
    for name in ("dead", "alive", "mixed", "young", "open", "empty"):
        folder = tmp_path / f"pymp-{name}"
        folder.mkdir(mode=0o700)
        if name != "empty":
            one = socket.socket(socket.AF_UNIX)
            one.bind(f"pymp-{name}/listener-x")
            one.listen()
            sockets.append(one)
            if name != "alive":
                one.close()
    (tmp_path / "pymp-mixed" / "file").write_text("")
    (tmp_path / "pymp-open").chmod(0o755)
    for folder in tmp_path.iterdir():
        if folder.name != "pymp-young":
            os.utime(folder, (0, 0))
    remove_abandoned_sockets()
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["pymp-alive", "pymp-empty", "pymp-mixed", "pymp-open", "pymp-young"]
    for one in sockets:
        one.close()


def test_the_fork_server_of_another_program_keeps_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real fork server whose socket is examined starts a process afterwards, and prints no error."""
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('forkserver')\n"
        "    for _ in range(2):\n"
        "        one = context.Process(target=print, args=('started',))\n"
        "        one.start()\n"
        "        one.join()\n"
        "        print('ended', one.exitcode, flush=True)\n"
        "        input()\n"
    )
    with tempfile.TemporaryDirectory(prefix="fs-") as folder:  # a short name: the path of a socket is limited
        monkeypatch.setattr(tempfile, "tempdir", folder)
        with subprocess.Popen(
            [sys.executable, program], env={**os.environ, "TMPDIR": folder}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as running:  # fmt: skip
            assert running.stdin
            assert running.stdout
            assert [running.stdout.readline() for _ in range(2)] == ["started\n", "ended 0\n"]
            for one in Path(folder).glob("pymp-*"):
                os.utime(one, (0, 0))
            remove_abandoned_sockets()
            rest, _ = running.communicate("\n\n", timeout=30)
    assert rest == "started\nended 0\n"
