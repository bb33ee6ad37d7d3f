"""The fork server that starts actions: when it runs, and what it has imported."""

from __future__ import annotations

import marshal
import subprocess
import sys
from pathlib import Path

from collective import catalog
from collective.node.actions import preloading
from collective.node.plugins import agents, plugin_set

ENDS_WHEN_IDLE = """
import os
from support.footprint import descendants
from support.waiting import wait_until
from collective.node.actions.fork_server import ForkServer
server = ForkServer(idle_limit=1)
connection, remote = server.pipe()
print(len(descendants(os.getpid())))
for number in range(2):
    process = server.start(remote.recv_bytes, ())
    print(len(descendants(os.getpid())))
    process.join(2.5)  # the process runs longer than the limit of an idle fork server
    print(len(descendants(os.getpid())), process.is_alive())
    connection.send_bytes(b"end")
    process.join()
    wait_until(lambda: not descendants(os.getpid()), 30)
    print("ended", process.exitcode)
"""


def test_a_fork_server_runs_only_when_it_is_needed() -> None:
    """A fork server starts with the first process, outlives no idle period and no running process, and starts again."""
    folder = str(Path(__file__).parent)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{ENDS_WHEN_IDLE}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    # The fork server, the standard library's resource tracker, and the process.
    assert done.stdout.split("\n") == ["0", *(["3", "3 True", "ended 0"] * 2), ""], done.stderr


def test_only_known_modules_are_preloaded() -> None:
    """The modules of other distributions, and those that this process has not imported, may start threads."""
    code = compile("import json, yaml, boto3\nimport not_there\nfrom collective.agents import _scripts", "x", "exec")
    plugin_set.load([agents.bundled()], [catalog.bundled()], Path("/nonexistent"))  # imports what agents need
    names = preloading.preloaded([marshal.dumps(code), b""])
    assert {"json", "collective.agents._scripts"} <= set(names)
    assert {"yaml", "boto3", "not_there"}.isdisjoint(names)
    assert names[-1] == "collective.node.actions.frozen"


def test_the_fork_server_imports_little() -> None:
    """A new fork server with all standard agents has at most 250 modules, and no library besides PyYAML."""
    plugins = plugin_set.load([agents.bundled()], [catalog.bundled()], Path("/nonexistent"))
    names = preloading.preloaded(plugins.worker_codes)
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert len(modules) <= 250
    assert {"botocore", "cryptography", "jsonschema", "sqlite3"}.isdisjoint(modules)
