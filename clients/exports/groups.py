"""Names of groups and labels that other tools accept, from the facts and classes of nodes.

    role=web     role_web           class role::web     class_role__web

Two values whose names would be equal (`a-b`, `a.b`) get a digest each, so that their nodes are never mixed.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from collective.clients.exports.nodes import ExportedNode
from collective.errors import UsageError
from collective.filters import look_up

LONGEST_GROUP = 100  # characters of the name of a group; a longer one is cut and gets a digest
LONGEST_LABEL = 1000  # characters of the value of a label
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")


def groups_of(nodes: Iterable[ExportedNode], facts: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of nodes by group, both sorted: a group for each value of `facts`, and for each class."""
    members: dict[tuple[str, str], list[str]] = defaultdict(list)
    for node in nodes:
        for key in sorted({*(("class", name) for name in node.classes), *_values(node, facts)}):
            members[key].append(node.identity)
    names = _names(list(members))
    return dict(sorted((names[key], sorted(found)) for key, found in members.items()))


def label_names(facts: Sequence[str], reserved: Iterable[str]) -> dict[str, str]:
    """Return the name of a label for each fact. Raises UsageError if it is taken."""
    taken = set(reserved)
    found = {}
    for fact in facts:
        name = safe(fact)
        if name in taken or name.startswith("__"):
            raise UsageError(f"--facts: '{fact}' cannot be a label, '{name}' has another meaning (use another fact)")
        taken.add(name)
        found[fact] = name
    return found


def text_of(value: object) -> str | None:
    """Return a fact that is a string, number or boolean as text; None for others and for empty strings."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) or None if isinstance(value, (str, int, float)) else None


def safe(text: str) -> str:
    """Return `text` with other characters than letters, digits and `_` replaced; it does not begin with a digit."""
    name = _UNSAFE.sub("_", text)
    return f"_{name}" if name[:1].isdigit() else name


def _values(node: ExportedNode, facts: Sequence[str]) -> set[tuple[str, str]]:
    found = {fact: text_of(look_up(node.facts, fact)) for fact in facts}
    return {(fact, text) for fact, text in found.items() if text is not None}


def _names(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return a different name for each kind and value."""
    plain = {key: safe(f"{key[0]}_{key[1]}") for key in keys}
    counts: dict[str, int] = defaultdict(int)
    for name in plain.values():
        counts[name] += 1
    return {
        key: name if counts[name] == 1 and len(name) <= LONGEST_GROUP else f"{name[:LONGEST_GROUP]}_{_digest(key)}"
        for key, name in plain.items()
    }


def _digest(key: tuple[str, str]) -> str:
    return hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).hexdigest()[:8]
