"""Read `--nodes`: literal names, one a line, or the JSON of an earlier call."""

from __future__ import annotations

import json
from typing import Any

from collective.clients.input_files import STDIN, Sources
from collective.errors import UsageError
from collective.names import check_identity

_LONGEST = 64 * 1024 * 1024  # characters: more than the document of ten thousand long replies


def read_nodes(source: str, chosen: str | None = None, sources: Sources | None = None) -> list[str]:
    """Return the names in the file `source` (`-`: standard input), in order, each once.

    `chosen` says which nodes of an earlier call's document are meant: ok (when it is None), failed, silent or all.
    """
    where = "standard input" if source == STDIN else source
    text = (sources or Sources()).read(source, f"--nodes {where}", _LONGEST)
    if text.lstrip().startswith(("{", "[")):
        names = _from_json(text, where, chosen)
    elif chosen is not None:
        raise UsageError(f"--nodes-from {chosen}: {where} is a plain list of names, not the JSON of a call")
    else:
        names = [line for line in text.splitlines() if line and not line.startswith("#")]
    for number, name in enumerate(names, start=1):
        try:
            check_identity(name)
        except UsageError as error:
            raise UsageError(f"{where}: name {number}: {error}") from None
    return list(dict.fromkeys(names))


def _from_json(text: str, where: str, chosen: str | None) -> list[str]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--nodes {where}: looks like JSON and is not: {error}") from None
    if isinstance(document, list):
        return [_name(entry, where) for entry in document]
    replies, silent = document.get("replies"), document.get("silent", [])
    if not isinstance(replies, list) or not isinstance(silent, list):
        raise UsageError(f"--nodes {where}: JSON, but neither a list nor the document of a call")

    def wanted(reply: dict[str, Any]) -> bool:
        answered_ok = reply.get("statuscode") == 0
        return chosen == "all" or (chosen in (None, "ok") and answered_ok) or (chosen == "failed" and not answered_ok)

    names = [_name(reply, where) for reply in replies if isinstance(reply, dict) and wanted(reply)]
    if chosen in ("silent", "all"):
        names += [_name(entry, where) for entry in silent]
    return names


def _name(entry: Any, where: str) -> str:
    """Return the name in a list's entry: a text, or an object that calls it sender, certname or identity."""
    if isinstance(entry, str) and entry:
        return entry
    if isinstance(entry, dict):
        for key in ("sender", "certname", "identity"):
            if isinstance(entry.get(key), str):
                return str(entry[key])
    raise UsageError(f"--nodes {where}: {json.dumps(entry)} names no node")
