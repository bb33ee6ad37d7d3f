"""Import a plugin's file in a process of its own first: one that hangs, or ends its process, does so there.

    daemon: code ─► fork server ─► worker: imports the file, calls nothing ─► daemon: imports it as well

It is the fork server of actions (actions/runner.py), with an import as the job. It ends soon after the last plugin.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from collective.node.actions.fork_server import ForkServer
from collective.node.actions.job import IMPORT_ONLY, TIMEOUT, ActionJob
from collective.node.actions.runner import Runner

IMPORT_LIMIT = 20.0  # seconds; on a busy machine with a slow disk, large libraries take long
_IDLE = 5.0  # seconds until the fork server ends


def problem(path: Path, code: bytes) -> str | None:
    """Return why the daemon must not import the file at `path` with the compiled `code`; None if it may.

    An exception is not such a reason: the daemon reports it when it imports the file.
    """
    result = _runner().run(ActionJob(str(path), IMPORT_ONLY, {}, {}, code=code), IMPORT_LIMIT)
    if result.reason == TIMEOUT:
        return f"import took longer than {IMPORT_LIMIT:g} s (wait and connect in functions, not at module level)"
    return f"cannot be imported in a process of its own: {result.statusmsg}" if result.statuscode else None


@cache
def _runner() -> Runner:
    return Runner(fork_server=ForkServer(_IDLE))
