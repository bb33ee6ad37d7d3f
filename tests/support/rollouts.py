"""Ask a real `crpc` about its calls and rollouts, and read what the actions of a rollout have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.crpc_process import Completed, Crpc
from support.json_documents import check_document


def document(crpc: Crpc, *words: str) -> dict[str, Any]:
    """Run crpc with --json; return its valid document, with the exit code as `exit` and standard error as `stderr`."""
    done = crpc(*words, "--json")
    return {**printed(done, done.returncode), "exit": done.returncode, "stderr": done.stderr}


def printed(done: Completed, code: int = 0) -> dict[str, Any]:
    """Return the valid document that crpc has printed."""
    assert (done.returncode, done.stdout != "") == (code, True), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    check_document(found)
    return found


def listed(crpc: Crpc, *words: str) -> list[dict[str, Any]]:
    """Return the rollouts, the newest first."""
    runs: list[dict[str, Any]] = printed(crpc("run", "list", "--all", "-o", "json", *words))["runs"]
    return runs


def lines(path: Path) -> list[str]:
    """Return the lines of a file that actions write to; none before the first."""
    return path.read_text().split() if path.exists() else []
