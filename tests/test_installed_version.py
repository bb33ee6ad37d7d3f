"""A daemon notices that another version of its package is installed than the one that it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.actions import job

from collective.node.actions.fork_server import ForkServer
from collective.node.actions.runner import Runner
from collective.node.installed_version import InstalledVersion
from collective.version import __version__


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """The list of files of an installed distribution of this version."""
    file = tmp_path / f"collective_rpc-{__version__}.dist-info" / "RECORD"
    file.parent.mkdir()
    file.write_text("collective/version.py,sha256=abc,1\n")
    return file


def other_content(record: Path) -> None:
    record.write_text("collective/version.py,sha256=xyz,1\n")


def other_version(record: Path) -> None:
    record.parent.rename(record.parents[1] / "collective_rpc-99.dist-info")


@pytest.mark.parametrize("replace", [other_content, other_version, Path.unlink])
def test_another_version_is_noticed_and_logged_once(
    record: Path, replace: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Other content, another version, or none at all is a problem of the node."""
    installed = InstalledVersion(record.parents[1])
    before = installed.problems
    replace(record)
    [problem] = installed.problems
    assert before == ()
    assert problem.endswith("(restart collectived)")
    assert installed.problems == (problem,)
    assert [line.message for line in caplog.records] == ["package.replaced"]


def test_the_same_version_may_be_installed_once_more(record: Path) -> None:
    """A file that was replaced by one with the same content is not a problem, not even after another version."""
    installed, content = InstalledVersion(record.parents[1]), record.read_text()
    record.unlink()
    assert installed.problems
    record.write_text(content)
    assert installed.problems == ()


def test_a_checkout_is_not_compared(tmp_path: Path) -> None:
    """A package without a list of its files has no problem."""
    assert InstalledVersion(tmp_path).problems == ()


def test_no_action_runs_while_another_version_is_installed(record: Path, plugin: Path, fork_server: ForkServer) -> None:
    """The refusal names the restart; after the first version is back, actions run."""
    runner, content = Runner(None, fork_server, InstalledVersion(record.parents[1])), record.read_text()
    other_content(record)
    refused = runner.run(job(plugin, "fine"), 10)
    assert (refused.statuscode, refused.reason) == (5, "crashed")
    assert refused.statusmsg.startswith("the action was not started: the installed package collective-rpc was replaced")
    record.write_text(content)
    assert runner.run(job(plugin, "fine"), 10).statuscode == 0
