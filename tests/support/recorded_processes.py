"""Record the arguments of every process that Python code starts, as the interpreter reports them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_recording: list[list[list[str]]] = []  # the lists of the blocks that are open; an audit hook cannot be removed


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and _recording:
        line = arguments[1]
        words = [line] if isinstance(line, (str, bytes, os.PathLike)) else line
        for one in _recording:
            one.append([os.fsdecode(word) for word in words])


sys.addaudithook(_hook)


@contextmanager
def recorded_processes() -> Iterator[list[list[str]]]:
    """Yield a list that gets the arguments of each process that is started in the block."""
    found: list[list[str]] = []
    _recording.append(found)
    try:
        yield found
    finally:
        _recording.remove(found)
