"""A real lab for the tests that need one, and `crpc` as a user runs it: in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from collective.lab import control
from collective.lab.layout import Layout

if TYPE_CHECKING:
    from daemons import Daemon
    from footprint import Weigh, Weighed

BIN = Path(sys.executable).parent
NODES = [f"node0{number}.lab" for number in range(1, 6)]

# These install packages or manage services of this very machine: one after the other.
CHANGE_THE_MACHINE = ("test_apt", "test_request", "test_rpm", "test_service")

INSTALL = ["apt-get", "-o", "DPkg::Lock::Timeout=90", "install", "-y", "--no-install-recommends"]

Completed = subprocess.CompletedProcess[str]
Record = Callable[[str], None]
FIGURE, WEIGHED = "figure", "weighed"  # what tests have measured: they travel with their reports


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file together when several run at once, for they share a lab or a daemon."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            together = "machine" if item.path.stem in CHANGE_THE_MACHINE else item.path.stem
            item.add_marker(pytest.mark.xdist_group(together))


class Crpc(Protocol):
    """Run `crpc` with some words; `env` is added to the environment."""

    def __call__(self, *words: str, stdin: str = "", **env: str) -> Completed:
        """Return how it ended."""


def make_crpc(environment: dict[str, str], by: Sequence[str] = ()) -> Crpc:
    """Return a function that runs crpc in `environment`, `by` another command or none."""

    def crpc(*words: str, stdin: str = "", **env: str) -> Completed:
        return subprocess.run(
            [*by, BIN / "crpc", *words],
            env={**environment, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    return crpc


def on_a_terminal(environment: dict[str, str], answer: str, *words: str) -> tuple[int, str]:
    """Run crpc on a terminal of its own where somebody types `answer`; return its exit code and what it shows there."""
    master, slave = os.openpty()
    with subprocess.Popen([BIN / "crpc", *words], env=environment, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        os.write(master, answer.encode())
        shown = b""
        while True:
            try:
                shown += os.read(master, 4096)
            except OSError:  # the terminal's other end is closed
                break
        os.close(master)
    return process.returncode, shown.decode()


def begin(crpc: Crpc, *words: str) -> Callable[[], Completed]:
    """Begin to run crpc; return how to wait for its end."""
    result: list[Completed] = []
    caller = threading.Thread(target=lambda: result.append(crpc(*words)))
    caller.start()

    def wait() -> Completed:
        caller.join(110)
        return result[0]

    return wait


def clean_environment() -> dict[str, str]:
    """Return this process's environment without anything that points at a fleet or an account."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "COLLECTIVE_", "XDG_")) and name != "NO_COLOR"
    }


@pytest.fixture(scope="session")
def nagios_plugins() -> None:
    """Debian's Nagios plugins, before a lab is made that would do without."""
    needed = Path("/usr/lib/nagios/plugins/check_disk")
    if not needed.exists() and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run([*INSTALL, "monitoring-plugins-basic"], capture_output=True, check=True, timeout=110)
    if not needed.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("this test needs monitoring-plugins-basic")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A lab of five nodes that the whole session shares: leave it as you found it."""
    layout = Layout(tmp_path_factory.mktemp("lab"))
    with own_lab(layout, 5):
        yield layout


class own_lab:  # noqa: N801 - used like a function
    """Run a lab of one's own for a block; the environment of the tests themselves stays as it was."""

    def __init__(self, layout: Layout, nodes: int) -> None:
        self._before = dict(os.environ)
        self._running = control.running(layout, nodes)

    def __enter__(self) -> dict[str, str]:
        try:
            return {**clean_environment(), **self._running.__enter__()}
        finally:
            os.environ.clear()
            os.environ.update(self._before)

    def __exit__(self, *_: object) -> None:
        self._running.__exit__(None, None, None)


@pytest.fixture
def environment(lab: Layout) -> dict[str, str]:
    """The environment that points at the lab."""
    return {**clean_environment(), **lab.environment()}


@pytest.fixture
def crpc(environment: dict[str, str]) -> Crpc:
    """Run crpc against the lab."""
    return make_crpc(environment)


@contextmanager
def own_server() -> Iterator[str]:
    """Run a server that knows nothing yet; yields its URL."""
    process = subprocess.Popen([sys.executable, "-m", "collective.lab.cloud"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        yield process.stdout.readline().strip()
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """A server for tests that look into queues; yields its URL."""
    with own_server() as url:
        yield url


@pytest.fixture(scope="session")
def needs() -> Callable[[str, str], None]:
    """Make sure of a command and the Debian package that brings it; without it, skip, and in CI fail."""

    def check(command: str, package: str) -> None:
        if shutil.which(command):
            return
        if os.geteuid() == 0 and shutil.which("apt-get"):
            subprocess.run([*INSTALL, package], capture_output=True, check=True, timeout=110)
        elif os.environ.get("CI"):
            pytest.fail(f"this test needs {command}, and CI must not leave it out")
        else:
            pytest.skip(f"this test needs {command}: apt-get install {package}")

    return check


@pytest.fixture
def weigh(record_property: Callable[[str, object], None]) -> Weigh:
    """Weigh a daemon before and after a fault; a table at the end of the run shows what was found."""
    import footprint  # it imports this module

    @contextmanager
    def weighing(fault: str, node: Daemon) -> Iterator[Weighed]:
        with footprint.weighing(fault, node) as weighed:
            yield weighed
        record_property(WEIGHED, weighed.line())

    return weighing


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    """Show a figure at the end of the run."""
    return partial(record_property, FIGURE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured, and what daemons held before and after."""
    found = [entry for report in terminalreporter.getreports("passed") for entry in report.user_properties]
    figures, weighed = ([text for kind, text in found if kind == wanted] for wanted in (FIGURE, WEIGHED))
    if weighed:
        import footprint

        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join([*figures, "", footprint.HEADER, *weighed]))


@pytest.fixture
def needs_root() -> Callable[[], None]:
    """Skip what only root can do; in CI that is a failure, for nothing may be left out there unseen."""

    def check() -> None:
        if os.geteuid() != 0:
            if os.environ.get("CI"):
                pytest.fail("this test needs root, and CI must not leave it out")
            pytest.skip("this test needs root")

    return check
