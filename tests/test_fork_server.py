"""The fork server that starts actions: when it runs, and what it has imported."""

from __future__ import annotations

import marshal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collective.bundled import DDLS
from collective.node.actions import preloading
from collective.node.plugins import agents, plugin_set

ENDS_WHEN_IDLE = """
import os, threading
from support.footprint import descendants
from support.waiting import wait_until
from collective.node.actions.fork_server import ForkServer
server = ForkServer(idle_limit=1)
print(len(descendants(os.getpid())))
for number in range(2):
    monitor = server.start()
    print(len(descendants(os.getpid())))
    monitor.wait(2.5)  # it waits for its job longer than the limit of an idle fork server
    print(len(descendants(os.getpid())), threading.active_count())
    monitor.close()
    wait_until(lambda: not descendants(os.getpid()), 30)
    wait_until(lambda: threading.active_count() == 1, 30)
    print("ended", server.pid)
"""


def test_a_fork_server_runs_only_when_it_is_needed() -> None:
    """A fork server starts with the first process, ends when it is idle but not before that, and starts again."""
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{ENDS_WHEN_IDLE}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split("\n") == ["0", *(["2", "2 2", "ended None"] * 2), ""], done.stderr


def test_only_known_modules_are_preloaded() -> None:
    """The modules of other distributions, and those that this process has not imported, may start threads."""
    code = compile("import json, yaml, boto3\nimport not_there\nfrom collective.agents import _scripts", "x", "exec")
    plugin_set.load([agents.bundled()], [DDLS], Path("/nonexistent"))  # imports what agents need
    names = preloading.preloaded(marshal.dumps(code))
    assert {"json", "collective.agents._scripts"} <= set(names)
    assert {"yaml", "boto3", "not_there"}.isdisjoint(names)


@pytest.mark.parametrize(("agent", "limit"), [("shell", 160), (None, 280)])
def test_the_fork_server_imports_little(agent: str | None, limit: int) -> None:
    """The number of modules, for one agent or all standard agents, is limited, and there is no slow library."""
    plugins = plugin_set.load([agents.bundled()], [DDLS], Path("/nonexistent"))
    used: list[Any] = [plugins.agents[agent]] if agent else [*plugins.agents.values(), *plugins.data.values()]
    names = {name for plugin in used for name in plugin.modules}
    first = "import importlib, sys; from collective.node.actions import fork_server_main"
    code = f"{first}\nfor name in {names}: importlib.import_module(name)\nprint(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    modules = [name for name in modules if not name.startswith("__editable__")]
    assert len(modules) <= limit
    assert {"botocore", "cryptography", "jsonschema", "multiprocessing", "sqlite3"}.isdisjoint(modules)
    if agent:
        assert {"dataclasses", "hashlib", "inspect", "logging", "yaml"}.isdisjoint(modules)


def test_an_idle_daemon_imports_no_slow_library() -> None:
    """A node with the standard agents has a limited number of modules, and none that only callers and labs need."""
    code = (
        "import sys; from pathlib import Path; from collective.bundled import DDLS\n"
        "from collective.node import assembly, daemon; from collective.node.plugins import agents, plugin_set\n"
        "plugin_set.load([agents.bundled()], [DDLS], Path('/nonexistent')); print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert len(modules) <= 640
    slow = {"asyncio", "boto3", "collective.fleet", "jinja2", "jsonschema", "multiprocessing", "regex", "s3transfer"}
    assert slow.isdisjoint(modules)
