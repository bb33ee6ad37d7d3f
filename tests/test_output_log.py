"""What actions and their commands write reaches the daemon's log: a bounded part, without secrets."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collective.node.actions.output_log import LIMIT, OutputLog

PLUGIN = """
import os, subprocess
from collective.agent import Aborted

def floods(): subprocess.run(["head", "-c", str(200_000_000), "/dev/zero"]); return {"done": True}
def shows(token): subprocess.run(["sh", "-c", 'echo "$0 on stdout"; echo "$0 on stderr" >&2', token]); return {}
def aborts(token): raise Aborted("refused", data={"tried": [f"login {token}", {token: 1}], "port": 22})
def environment(): return {name: os.environ.get(name) for name in ("HOME", "USER", "LOGNAME", "SHELL", "PATH")}
"""
CALL = """
import json, sys
from collective.node.actions.job import ActionJob
from collective.node.actions.runner import Runner
path, action, data, secrets = sys.argv[1:]
if __name__ == "__main__":
    result = Runner().run(ActionJob(path, action, json.loads(data), {}, tuple(json.loads(secrets))), 30)
    print(json.dumps([result.statuscode, result.statusmsg, result.data]))
"""


@pytest.fixture
def plugin_path(tmp_path: Path) -> Path:
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return path


def call(plugin: Path, action: str, data: dict[str, Any], env: dict[str, str] | None = None) -> tuple[list[Any], str]:
    """Run an action as a daemon does whose standard error is a pipe; return the result and the daemon's log."""
    script = plugin.with_name("call.py")
    script.write_text(CALL)
    command = [sys.executable, str(script), str(plugin), action, json.dumps(data), json.dumps(list(data.values()))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=env)
    return json.loads(done.stdout), done.stderr


def test_much_output_of_an_action_is_cut(plugin_path: Path) -> None:
    """200 MB to descriptor 1 make at most 64 KiB of log, and a line with the number of bytes."""
    result, log = call(plugin_path, "floods", {})
    assert result == [0, "OK", {"done": True}]
    assert len(log) < LIMIT + 200
    assert log.endswith("\n[… the action wrote 200000000 bytes, the rest is omitted …]\n")


def test_secrets_in_the_output_of_commands_are_masked(plugin_path: Path) -> None:
    """A secret input that a command prints is not in the daemon's log."""
    _, log = call(plugin_path, "shows", {"token": "s3cret"})
    assert sorted(log.splitlines()) == ["******** on stderr", "******** on stdout"]


def test_secrets_in_the_data_of_a_failure_are_masked(plugin_path: Path) -> None:
    """A secret input in the data of Aborted is masked at any depth, also as a key."""
    result, _ = call(plugin_path, "aborts", {"token": "s3cret"})
    assert result == [1, "refused", {"tried": ["login ********", {"********": 1}], "port": 22}]


def test_an_action_has_the_environment_of_its_user(plugin_path: Path) -> None:
    """HOME, USER, LOGNAME, SHELL and PATH are set, although the daemon was started without an environment."""
    result, _ = call(plugin_path, "environment", {}, env={"HOME": "/elsewhere", "USER": "somebody"})
    entry = pwd.getpwuid(os.geteuid())
    assert result[2] == {
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": entry.pw_shell,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }


def test_a_secret_at_the_limit_is_masked() -> None:
    """Where the output is cut, no part of a secret is left."""
    log = OutputLog(["s3cret"])
    log._kept = bytearray(b"x" * (LIMIT - 3) + b"s3cret")  # noqa: SLF001 - without 64 KiB through a pipe
    assert log.text() == "x" * (LIMIT - 3) + "***"
