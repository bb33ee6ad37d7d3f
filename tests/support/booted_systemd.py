"""Run systemd as process 1 of namespaces of its own, over a copy of this machine's files.

    unshare ─► systemd (process 1)        own processes, mounts, host name, control groups; the network is the machine's
                 └─► units of the test    written to /etc/systemd/system of the copy; those of the machine are not there

The copy is an overlay in memory: what systemd and its units write is gone afterwards. The folder of the test and the
one of this project are the real ones.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
SYSTEMD = Path("/lib/systemd/systemd")
TARGET = "collective-test.target"

# $1: folder for the mounts, $2: its folder `units`, $3…: folders that are the real ones.
_BOOT = """
set -eu
place=$1 units=$2; shift 2
mount --make-rprivate /
mount -t tmpfs tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$place/root"
cd "$place/root"
rm -rf etc/systemd/system etc/systemd/system.conf.d
mkdir -p etc/systemd/system
cp "$units"/* etc/systemd/system/
: > etc/machine-id
for folder; do mkdir -p ".$folder"; mount --bind "$folder" ".$folder"; done
mount -t proc proc proc
mount --bind proc/sys proc/sys && mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
exec chroot . /usr/bin/env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_LOG_TARGET=journal \
    /lib/systemd/systemd --unit=@UNIT@
""".replace("@UNIT@", TARGET)
# Moves itself to the control group $1 first, so that it is the root of the new namespace.
_ENTER = 'echo $$ > "$1/cgroup.procs"; shift; exec unshare --pid --mount --uts --ipc --cgroup --fork --kill-child "$@"'


@dataclass(frozen=True)
class Booted:
    """A running systemd: the process number of its process 1 outside."""

    pid: int

    def run(self, *words: str | Path, check: bool = True) -> str:
        """Run a command beside it and return its output, without the last line end."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc", "--cgroup"]
        done = subprocess.run(
            [*enter, f"--root=/proc/{self.pid}/root", "--wd=/", *words], capture_output=True, text=True, check=False
        )
        assert not (check and done.returncode), done.stdout + done.stderr
        return done.stdout.strip()

    def shown(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def journal(self, unit: str) -> str:
        """Return what a unit has logged."""
        return self.run("journalctl", "--unit", unit, "--no-pager", "--output=cat", check=False)


@contextmanager
def booted(folder: Path, group: Path, units: Mapping[str, str], real: Sequence[Path] = ()) -> Iterator[Booted]:
    """Boot systemd with `units` (text by name) in the control group `group`; the block starts when it is up.

    `folder` is the folder of the test. It, the project and `real` are the real folders in the copy.
    """
    (folder / "units").mkdir()
    (folder / "place").mkdir()
    target = f"[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n[Install]\nAlias={TARGET}\n"
    for name, text in {TARGET: target, **units}.items():
        (folder / "units" / name).write_text(text)
    folders = [folder, PROJECT, Path(sys.prefix), Path(sys.base_prefix), *real]
    bound = [str(path) for path in folders if path != Path("/usr")]
    command: list[str | Path] = [
        "sh",
        "-c",
        _ENTER,
        "enter",
        group,
        "sh",
        "-c",
        _BOOT,
        "boot",
        folder / "place",
        folder / "units",
        *bound,
    ]
    with (folder / "boot.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: _is_systemd(children), 20, (folder / "boot.log").read_text)
        found = Booted(int(children.read_text().split()[0]))
        state = ("is-system-running", "--wait")
        assert found.run("systemctl", *state, check=False) in ("running", "degraded"), (folder / "boot.log").read_text()
        yield found
    finally:
        process.kill()  # and with it its process 1, which ends all others
        process.wait()


def _is_systemd(children: Path) -> bool:
    """Return whether the first child of a process is systemd, which listens on its socket."""
    pid = (children.read_text().split() or ["none"])[0]
    return Path(f"/proc/{pid}/exe").resolve().name == "systemd" and _socket(pid).is_socket()


def _socket(pid: str) -> Path:
    return Path(f"/proc/{pid}/root/run/systemd/private")
