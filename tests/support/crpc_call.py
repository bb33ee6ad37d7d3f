"""Call `crpc` inside the process of the test."""

from __future__ import annotations

import pytest

from collective.clients.crpc import main

Captured = pytest.CaptureFixture[str]


def called(arguments: list[str], capsys: Captured) -> tuple[int, str, str]:
    """Call crpc in this process; return its exit code, standard output and standard error."""
    try:
        code = main(arguments)
    except SystemExit as end:  # raised by argparse after --help
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err
