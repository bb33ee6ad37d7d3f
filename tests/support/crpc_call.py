"""Call `crpc` inside the process of the test."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collective.clients.crpc import main
from support.json_documents import check_document

Captured = pytest.CaptureFixture[str]


def called(arguments: list[str], capsys: Captured) -> tuple[int, str, str]:
    """Call crpc in this process; return its exit code, standard output and standard error."""
    try:
        code = main(arguments)
    except SystemExit as end:  # raised by argparse after --help
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def json_document(arguments: list[str], capsys: Captured, code: int = 0) -> dict[str, Any]:
    """Call crpc with `--json`; check the exit code and the schema of the document, and return it without `schema`."""
    found, out, _ = called([*arguments, "--json"], capsys)
    assert found == code
    document: dict[str, Any] = json.loads(out)
    check_document(document)
    del document["schema"]
    return document
