"""The dynamic inventory of Ansible: what a program prints for `--list` and for `--host NAME`.

    {"_meta": {"hostvars": {NODE: {"ansible_host": …, "collective": {…}}}}, GROUP: {"hosts": [NODE, …]}, …}

Facts are below the variable `collective`: a fact named `ansible_connection` must not become a variable. Ansible
evaluates `{{ … }}` in variables; strings that have it are marked as unsafe, which Ansible never evaluates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from collective.clients.exports.groups import groups_of
from collective.clients.exports.nodes import ExportedNode

RESERVED = frozenset({"all", "ungrouped", "localhost", "_meta"})  # identities that Ansible understands in another way
_TEMPLATE = re.compile(r"\{[{%#]")
_UNSAFE = "__ansible_unsafe"


def as_list(nodes: Sequence[ExportedNode], facts: Sequence[str]) -> str:
    """Return the JSON text of `--list`."""
    usable = [node for node in nodes if node.identity not in RESERVED]
    names = {name: {"hosts": members} for name, members in groups_of(usable, facts).items()}
    variables = {node.identity: _variables(node) for node in usable}
    every = {"hosts": [node.identity for node in usable]}
    return json.dumps({"_meta": {"hostvars": variables}, "all": every, **names}, indent=2, sort_keys=True) + "\n"


def as_host(nodes: Sequence[ExportedNode], name: str) -> str:
    """Return the JSON text of `--host`; an empty object for a name that is not among the nodes, as Ansible expects."""
    found = [_variables(node) for node in nodes if node.identity == name and name not in RESERVED]
    return json.dumps(found[0] if found else {}, indent=2, sort_keys=True) + "\n"


def _variables(node: ExportedNode) -> dict[str, Any]:
    known = {
        "identity": node.identity,
        "version": node.version,
        "classes": list(node.classes),
        "agents": list(node.agents),
        "facts": node.facts,
    }
    return {**({"ansible_host": node.address} if node.address else {}), "collective": _marked(known)}


def _marked(value: Any) -> Any:
    """Return a value in which strings that Ansible would evaluate are marked, and keys cannot mark anything."""
    if isinstance(value, str):
        text = _valid(value)
        return {_UNSAFE: text} if _TEMPLATE.search(text) else text
    if isinstance(value, Mapping):
        return {_key(key): _marked(one) for key, one in value.items()}
    return [_marked(one) for one in value] if isinstance(value, (list, tuple)) else value


def _key(key: str) -> str:
    """Return the key of a fact; Ansible gives keys such as `__ansible_vault` a meaning, and evaluates some."""
    return _TEMPLATE.sub("__", _valid(f"_{key}" if key.startswith("__ansible") else key))


def _valid(text: str) -> str:
    """Return `text` without surrogates, for which Ansible would refuse the whole inventory."""
    return text.encode("utf-8", "replace").decode()
