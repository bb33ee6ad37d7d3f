"""Import an agent's file by its path. Shared by the daemon, which checks it, and by the process that runs it.

daemon   compiled(path) ─► code ─► imported(path, code): checked against its DDL
worker                     code ─► imported(path, code): the very code that was checked, whatever the file says now
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
from pathlib import Path
from types import ModuleType


def compiled(path: Path) -> bytes:
    """Return the file at `path` as code that another process of this interpreter can run.

    Raises what reading and compiling raise: OSError, SyntaxError, ValueError.
    """
    return marshal.dumps(compile(path.read_bytes(), path, "exec", dont_inherit=True))


def imported(path: Path, code: bytes | None = None) -> ModuleType:
    """Import the file at `path` afresh, under a name that no other module has; from `code`, when it is given.

    Raises whatever the file raises, SystemExit included: the caller decides what that means.
    """
    name = f"collective_agent_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up while it is being made
    try:
        exec(marshal.loads(compiled(path) if code is None else code), module.__dict__)  # noqa: S102, S302 - our own
    except BaseException:
        del sys.modules[name]
        raise
    return module
