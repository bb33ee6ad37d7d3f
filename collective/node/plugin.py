"""Import an agent's file by its path. Shared by the daemon, which checks it, and by the process that runs it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def import_agent(path: Path) -> ModuleType:
    """Import the file at `path` afresh, under a name that no other module has.

    Raises whatever the file raises, SystemExit included: the caller decides what that means.
    """
    name = f"collective_agent_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up while it is being made
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
