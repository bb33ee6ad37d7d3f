"""Standard streams that are closed, or cannot be written."""

from __future__ import annotations

import os
import sys


def open_closed() -> None:
    """Open /dev/null for standard streams that the parent process closed (`2>&-`).

    Otherwise, the next file or socket would take the stream's descriptor, and with it what children print.
    """
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - open until the process ends
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def discard_output() -> None:
    """Discard what is still buffered for standard output, because the interpreter would try to write it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
