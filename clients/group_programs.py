"""Run the programs that name the nodes of a group, in any language.

    command   {"group": "cmdb", "collective": "production"} on standard input  ─►  names as JSON on standard output
    choria    PROGRAM REQUEST REPLY PROTOCOL, Choria's external discovery protocol, version 1

The filter in a request of Choria is empty: the other target options are applied to the nodes that the program names.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from collective.errors import ConfigError, UsageError
from collective.names import check_identity
from collective.processes import end_command

PROGRAM_SECONDS = 30.0  # for a program to name its nodes
MOST_OUTPUT = 16 * 1024 * 1024  # bytes
_REQUEST = "io.choria.choria.discovery.v1.external_request"
_SCHEMA = "https://choria.io/schemas/choria/discovery/v1/external_request.json"
_NO_FILTER: Mapping[str, Any] = {"fact": [], "cf_class": [], "agent": [], "compound": [], "identity": []}


def run_program(kind: str, group: str, words: Sequence[str], collective: str) -> tuple[str, ...]:
    """Return the names from the program `words` of a group; `kind` is `command` or `choria`. Raises ConfigError."""
    where = f"groups.{group}.{kind}: {words[0]}"
    output = KINDS[kind](where, words, group, collective)
    if len(output) > MOST_OUTPUT:
        raise ConfigError(f"{where}: more than {MOST_OUTPUT} bytes")
    try:
        found: Any = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: printed no valid JSON: {error}") from None
    return _names(found, where)


def _command(where: str, words: Sequence[str], group: str, collective: str) -> bytes:
    """Return what a program prints."""
    return _run(where, words, json.dumps({"group": group, "collective": collective}).encode(), os.environ)


def _choria(where: str, words: Sequence[str], _group: str, collective: str) -> bytes:
    """Return what a program writes to its reply file."""
    document = {"$schema": _SCHEMA, "protocol": _REQUEST, "collective": collective, "timeout": PROGRAM_SECONDS,
                "filter": _NO_FILTER, "options": {}}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="collective-") as folder:
        request, reply = Path(folder, "request"), Path(folder, "reply")
        request.write_text(json.dumps(document), encoding="utf-8")
        reply.touch()
        variables = {"CHORIA_EXTERNAL_REQUEST": str(request), "CHORIA_EXTERNAL_REPLY": str(reply)}
        environment = {**os.environ, **variables, "CHORIA_EXTERNAL_PROTOCOL": _REQUEST}
        _run(where, [*words, str(request), str(reply), _REQUEST], b"", environment)
        try:
            with reply.open("rb") as file:
                output = file.read(MOST_OUTPUT + 1)
        except OSError as error:
            raise ConfigError(f"{where}: its reply cannot be read: {error.strerror}") from None
    if not output.strip():
        raise ConfigError(f"{where}: wrote no reply (write JSON to the file named by CHORIA_EXTERNAL_REPLY)")
    return output


KINDS: Mapping[str, Callable[[str, Sequence[str], str, str], bytes]] = {"command": _command, "choria": _choria}


def _run(where: str, words: Sequence[str], given: bytes, environment: Mapping[str, str]) -> bytes:
    """Run a program and return its standard output. Raises ConfigError unless it ends with exit code 0."""
    try:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            list(words), stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )
    except OSError as error:
        raise ConfigError(f"{where}: cannot be run: {error.strerror}") from None
    try:
        output, errors = process.communicate(given, PROGRAM_SECONDS)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{where}: no result within {PROGRAM_SECONDS:.0f} s") from None
    finally:
        end_command(process)
    if process.returncode:
        last = (errors.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise ConfigError(f"{where}: exit code {process.returncode}: {last[:300]}")
    return output


def _names(found: Any, where: str) -> tuple[str, ...]:
    if isinstance(found, dict) and found.get("error"):
        raise ConfigError(f"{where}: {str(found['error'])[:300]}")
    nodes = found.get("nodes") if isinstance(found, dict) else found
    if not isinstance(nodes, list) or not all(isinstance(node, str) for node in nodes):
        raise ConfigError(f"{where}: must print a list of names, or an object with 'nodes'")
    try:
        return tuple(sorted({check_identity(node) for node in nodes}))
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from None
