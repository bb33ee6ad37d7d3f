"""Read the file of `--nodes`: identities, one per line, or a JSON document that `crpc` printed.

A line can also be an expression as in `-I`: a range, a group, or sets with operators (`@web-prod!web07.my.net`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from collective import lines
from collective.clients.input_files import STDIN, Sources
from collective.errors import UsageError
from collective.names import check_identity

_LIMIT = 64 * 1024 * 1024  # bytes; more than the document of ten thousand long replies
_SHOWN = 200  # characters of an entry that an error quotes
_OUTCOMES = {"ok": (True,), "failed": (False,), "all": (True, False)}  # of the nodes that answered, by choice
_LISTS = {  # the lists of a document, or mappings of names to reasons, that belong to a choice; each may be missing
    "failed": ("not_evaluated",),
    "silent": ("silent",),
    "skipped": ("skipped",),
    "not_asked": ("not_asked",),
    "unreached": ("silent", "skipped", "not_asked", "not_evaluated"),
    "all": ("silent", "skipped", "not_evaluated"),
}
CHOICES = ("ok", "failed", "silent", "skipped", "not_asked", "unreached", "all")


def read_nodes(source: str, chosen: str | None = None, sources: Sources | None = None) -> list[str]:
    """Return the identities in the file `source` (`-`: standard input), in their order, without duplicates.

    Lines that are expressions are among them as they are: see `is_set`.
    `chosen`, one of CHOICES, selects nodes from the document of a call; None is the same as ok.
    Raises UsageError for a file that is unreadable or has another content.
    """
    where = "standard input" if source == STDIN else source
    text = (sources or Sources()).read(source, f"--nodes {where}", _LIMIT).removeprefix("\ufeff")  # as editors write
    if text.lstrip().startswith(("{", "[")):
        names = _from_json(text, where, chosen)
    elif chosen is not None:
        raise UsageError(f"--nodes-from {chosen}: {where} is a plain list of names, not the JSON of a call")
    else:
        names = _from_lines(text, where)
        if any(map(is_set, names)):
            return list(dict.fromkeys(names))
    for number, name in enumerate(names, start=1):
        try:
            check_identity(name)
        except UsageError as error:
            raise UsageError(f"{where}: name {number}: {error}") from None
    return list(dict.fromkeys(names))


def is_set(line: str) -> bool:
    """Return whether a line stands for several nodes: a group, a range, or names with operators."""
    return any(character in line for character in "@&![")


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
        raise _neither(where)
    if chosen is not None:
        raise UsageError(f"--nodes-from {chosen}: {where} is a list of nodes, not the JSON of a call")
    return [_name(entry, where) for entry in nodes]


def _of_call(document: Mapping[str, Any], where: str, chosen: str) -> list[str]:
    """Return the `chosen` nodes of a call's document."""
    lists = [document.get(key, []) for key in _LISTS.get(chosen, ())]
    if not isinstance(document["replies"], list) or not all(isinstance(entries, (list, dict)) for entries in lists):
        raise _neither(where)
    outcomes = _OUTCOMES.get(chosen, ())
    names = [
        _name(reply, where)
        for reply in document["replies"]
        if isinstance(reply, dict) and (reply.get("statuscode") == 0) in outcomes
    ]
    return names + [_name(entry, where) for entries in lists for entry in entries]


def _neither(where: str) -> UsageError:
    return UsageError(f"--nodes {where}: JSON, but neither a list of nodes nor the document of a call")


def _name(entry: Any, where: str) -> str:
    """Return the name in an entry of a list: a string, or an object with `sender`, `certname` or `identity`."""
    if isinstance(entry, str) and entry:
        return entry
    if isinstance(entry, dict):
        for key in ("sender", "certname", "identity"):
            if isinstance(entry.get(key), str):
                return str(entry[key])
    raise UsageError(f"--nodes {where}: {json.dumps(entry)[:_SHOWN]} is not the name of a node")
