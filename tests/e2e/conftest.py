"""A real lab for the tests that need one, and `crpc` as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collective.lab.layout import Layout

if TYPE_CHECKING:
    from support.daemons import Daemon
    from support.footprint import Measure, Measurement, Record
from support import failures, footprint
from support.crpc_process import Crpc, clean_environment, make_crpc, own_lab, own_server
from support.proxy import Proxy
from support.warm_process import Warm

# These install packages or manage services of this very machine: one after the other.
CHANGE_THE_MACHINE = ("test_apt", "test_apt_repository", "test_request", "test_rpm", "test_service")

INSTALL = ["apt-get", "-o", "DPkg::Lock::Timeout=90", "install", "-y", "--no-install-recommends"]

FIGURE, MEASURED = "figure", "measured"  # what tests have measured: they travel with their reports


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file together when several run at once, for they share a lab or a daemon."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            together = "machine" if item.path.stem in CHANGE_THE_MACHINE else item.path.stem
            item.add_marker(pytest.mark.xdist_group(together))
        if mark := item.get_closest_marker("failure"):
            item.user_properties.append((failures.PROPERTY, list(mark.args)))


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


@pytest.fixture
def environment(lab: Layout) -> dict[str, str]:
    """The environment that points at the lab."""
    return {**clean_environment(), **lab.environment()}


@pytest.fixture
def crpc(environment: dict[str, str]) -> Crpc:
    """Run crpc against the lab."""
    return make_crpc(environment)


@pytest.fixture(scope="session")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A lab of ten nodes for rollouts, whose policies may allow more callers than its operator."""
    layout = Layout(tmp_path_factory.mktemp("ten"))
    with own_lab(layout, 10):
        yield layout


@pytest.fixture
def of_ten(ten: Layout) -> dict[str, str]:
    """The environment that points at the lab of ten nodes, as its operator, whose rollouts are shared."""
    return {**clean_environment(), **ten.environment()}


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    """A short path for the socket."""
    folder = Path(tempfile.mkdtemp(prefix="warm", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def warm(lab: Layout, runtime: Path) -> Iterator[Warm]:
    """A warm process of this user."""
    found = Warm({**clean_environment(), **lab.environment(), "XDG_RUNTIME_DIR": str(runtime)})
    started = found.crpc("warm", "start")
    assert started.returncode == 0, started.stderr
    yield found
    found.crpc("warm", "stop")


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """A server for tests that look into queues; yields its URL."""
    with own_server() as url:
        yield url


@pytest.fixture
def proxy(moto_server: str) -> Iterator[Proxy]:
    """A proxy in front of that server, which counts requests and can interrupt them."""
    with Proxy(moto_server) as proxy:
        yield proxy


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
def measure(record_property: Callable[[str, object], None]) -> Measure:
    """Measure a daemon before and after a failure; a table at the end of the run shows the results."""

    @contextmanager
    def measuring(error: str, node: Daemon) -> Iterator[Measurement]:
        with footprint.measuring(error, node) as measured:
            yield measured
        record_property(MEASURED, measured.line())

    return measuring


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Record:
    """Show a figure at the end of the run."""
    return partial(record_property, FIGURE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured, and what daemons held before and after; write the results for the failure matrix."""
    if path := os.environ.get("FAILURES"):
        Path(path).write_text(json.dumps(failures.results(terminalreporter.getreports("passed"))))
    found = [entry for report in terminalreporter.getreports("passed") for entry in report.user_properties]
    figures, measured = ([text for kind, text in found if kind == selected] for selected in (FIGURE, MEASURED))
    if figures or measured:
        terminalreporter.section("measured")
        table = ["", footprint.HEADER, *measured] if measured else []
        terminalreporter.write_line("\n".join([*figures, *table]))


@pytest.fixture
def needs_root() -> Callable[[], None]:
    """Skip what only root can do; in CI that is a failure, because nothing may be skipped there unnoticed."""

    def check() -> None:
        if os.geteuid() != 0:
            if os.environ.get("CI"):
                pytest.fail("this test needs root, and CI must not leave it out")
            pytest.skip("this test needs root")

    return check
