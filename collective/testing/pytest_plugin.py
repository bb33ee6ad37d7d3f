"""The plug-in for pytest, which is active wherever this package is installed: fixtures for tests of agents.

    agent            agent("load").call("status", limit=100)
    fake_commands    with fake_commands({"uptime": {"stdout": "up 3 days"}}) as calls: …
    memory_fleet     memory_fleet({"web1": {"role": "web"}}) → Network with nodes in memory
    agent_case       each file tests/cases/AGENT/*.json of the mark `agent_cases`

    @pytest.mark.agent_cases("load")
    def test_load(agent, agent_case):
        agent("load").check(agent_case)

The agents are in the folder of the ini option `collective_folder`, by default that of pytest's configuration file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collective.testing.agents import AgentUnderTest
    from collective.testing.nodes import Network

_FOLDER = "collective_folder"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option."""
    parser.addini(_FOLDER, "folder with agents, ddl and settings", default=".")


def pytest_configure(config: pytest.Config) -> None:
    """Describe the mark."""
    config.addinivalue_line("markers", "agent_cases(agent): run the test with each case file of an agent")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Call a test that has the mark `agent_cases` once for each file."""
    mark = metafunc.definition.get_closest_marker("agent_cases")
    if mark is None or "agent_case" not in metafunc.fixturenames:
        return
    folder = metafunc.definition.path.parent / "cases" / mark.args[0]
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise pytest.UsageError(f"{folder}: no cases (create a file such as {folder / 'works.json'})")
    metafunc.parametrize("agent_case", paths, ids=[path.stem for path in paths])


@pytest.fixture
def agent(pytestconfig: pytest.Config) -> Callable[[str], AgentUnderTest]:
    """A function that loads an agent by name; its `call` calls an action."""
    from collective.testing.agents import agent as load

    return lambda name: load(name, _folder(pytestconfig))


@pytest.fixture
def fake_commands() -> Callable[..., Any]:
    """A context manager that replaces commands; see `collective.testing.fake_commands`."""
    from collective.testing.commands import fake_commands as replaced

    return replaced


@pytest.fixture
def memory_fleet(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Callable[..., Network]]:
    """A function that starts nodes in memory, given as facts by identity, with the agents of the folder."""
    from collective.testing.nodes import memory_fleet as started

    folder = _folder(pytestconfig)
    with ExitStack() as stack:

        def start(nodes: Mapping[str, Mapping[str, Any]], **settings: Any) -> Network:
            return stack.enter_context(
                started(tmp_path, nodes, code=[folder / "agents"], ddls=[folder / "ddl"], **settings)
            )

        yield start


def _folder(config: pytest.Config) -> Path:
    return Path(config.rootpath) / str(config.getini(_FOLDER))
