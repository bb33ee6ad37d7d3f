"""Import a plugin's file by its path: the daemon does it to check the file, the worker to run it.

daemon   compiled(path) ─► code ─► imported(path, code): checked against the DDL
worker                     code ─► imported(path, code): runs exactly the code that was checked
"""

from __future__ import annotations

import importlib.util
import marshal
import sys
from pathlib import Path
from types import ModuleType


def compiled(path: Path) -> bytes:
    """Return the file at `path` as code that another process of this interpreter can run.

    Raises OSError, SyntaxError or ValueError, as reading and compiling do.
    """
    return marshal.dumps(compile(path.read_bytes(), path, "exec", dont_inherit=True))


def imported(path: Path, code: bytes | None = None) -> ModuleType:
    """Import the file at `path` as a new module, from `code` if given.

    Raises whatever the file raises, SystemExit included: the caller decides what that means.
    """
    name = f"collective_agent_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their own module while it is imported
    try:
        exec(marshal.loads(compiled(path) if code is None else code), module.__dict__)  # noqa: S102, S302 - our own
    except BaseException:
        del sys.modules[name]
        raise
    return module
