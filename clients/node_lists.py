"""Read the file of `--nodes`: identities, one per line, or a JSON document that `crpc` printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from collective import lines
from collective.clients.input_files import STDIN, Sources
from collective.errors import UsageError
from collective.names import check_identity

_LIMIT = 64 * 1024 * 1024  # characters; more than the document of ten thousand long replies


def read_nodes(source: str, chosen: str | None = None, sources: Sources | None = None) -> list[str]:
    """Return the identities in the file `source` (`-`: standard input), in their order, without duplicates.

    `chosen` selects nodes from the document of a call: ok (also for None), failed, silent or all.
    Raises UsageError for a file that is unreadable or has another content.
    """
    where = "standard input" if source == STDIN else source
    text = (sources or Sources()).read(source, f"--nodes {where}", _LIMIT)
    if text.lstrip().startswith(("{", "[")):
        names = _from_json(text, where, chosen)
    elif chosen is not None:
        raise UsageError(f"--nodes-from {chosen}: {where} is a plain list of names, not the JSON of a call")
    else:
        names = _from_lines(text, where)
    for number, name in enumerate(names, start=1):
        try:
            check_identity(name)
        except UsageError as error:
            raise UsageError(f"{where}: name {number}: {error}") from None
    return list(dict.fromkeys(names))


def _from_lines(text: str, where: str) -> list[str]:
    if problems := lines.problems(text, f"--nodes {where}"):
        raise UsageError(problems[0])
    return [line for _, line in lines.numbered(text) if line and not line.startswith("#")]


def _from_json(text: str, where: str, chosen: str | None) -> list[str]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--nodes {where}: invalid JSON: {error}") from None
    if isinstance(document, dict) and "replies" in document:
        return _of_call(document, where, chosen or "ok")
    nodes = document.get("nodes") if isinstance(document, dict) else document
    if not isinstance(nodes, list):
        raise UsageError(f"--nodes {where}: JSON, but neither a list of nodes nor the document of a call")
    return [_name(entry, where) for entry in nodes]


def _of_call(document: Mapping[str, Any], where: str, chosen: str) -> list[str]:
    """Return the `chosen` nodes of a call's document."""
    replies, silent = document["replies"], document.get("silent", [])
    if not isinstance(replies, list) or not isinstance(silent, list):
        raise UsageError(f"--nodes {where}: JSON, but neither a list of nodes nor the document of a call")
    outcomes = {"ok": (True,), "failed": (False,), "all": (True, False)}.get(chosen, ())
    names = [
        _name(reply, where)
        for reply in replies
        if isinstance(reply, dict) and (reply.get("statuscode") == 0) in outcomes
    ]
    if chosen in ("silent", "all"):
        names += [_name(entry, where) for entry in silent]
    return names


def _name(entry: Any, where: str) -> str:
    """Return the name in an entry of a list: a string, or an object with `sender`, `certname` or `identity`."""
    if isinstance(entry, str) and entry:
        return entry
    if isinstance(entry, dict):
        for key in ("sender", "certname", "identity"):
            if isinstance(entry.get(key), str):
                return str(entry[key])
    raise UsageError(f"--nodes {where}: {json.dumps(entry)} is not the name of a node")
