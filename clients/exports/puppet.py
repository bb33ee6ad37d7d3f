"""What programs that Puppet runs print about one node: data for `$trusted['external']`, and node classification.

    trusted_external_command CERTNAME    JSON, a mapping                  Puppet 6.11 and later
    external_nodes CERTNAME              YAML: classes, parameters        an external node classifier (ENC)

Everything is below one name, so that a fact cannot become a variable of Puppet. Puppet evaluates nothing in either.
"""

from __future__ import annotations

import json
import re
from typing import Any

from collective.clients.exports.nodes import ExportedNode

_CLASS = re.compile(r"[a-z][a-z0-9_]*(?:::[a-z][a-z0-9_]*)*")  # Puppet language: "Reserved words and acceptable names"
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def as_external_data(node: ExportedNode | None) -> str:
    """Return JSON with the variable `collective`; an empty object for an unknown node, which Puppet accepts."""
    return _json({"collective": _known(node)} if node else {})


def as_enc(node: ExportedNode | None) -> str:
    """Return YAML with the classes of the node that have a name of Puppet, and the parameter `collective`.

    It is written as JSON, which YAML includes.
    """
    if node is None:
        return _json({"classes": [], "parameters": {}})
    classes = sorted({name for name in node.classes if _CLASS.fullmatch(name)})
    return _json({"classes": classes, "parameters": {"collective": _known(node)}})


def _known(node: ExportedNode) -> dict[str, Any]:
    return {
        "identity": node.identity,
        "address": node.address,
        "version": node.version,
        "classes": list(node.classes),
        "agents": list(node.agents),
        "facts": dict(node.facts),
    }


def _json(value: Any) -> str:
    """Return JSON that is also YAML: characters beyond 16 bits as they are, and those that YAML refuses escaped."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace").decode()
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"
