"""Say who may do what on this node: rules from `policy.yaml`; the first that matches wins, deny when none does.

    rules:
      - {name: operators, callers: ["alice@example.com", "*@ops.example.com"], agents: [package], actions: [status]}
      - {callers: ["*"], agents: [shell], allow: false}

`callers`, `agents` and `actions` are names or globs, each of them anything when left out; a rule allows unless it
says `allow: false`. Without a file only `rpcutil` is allowed.
"""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective.config import read_yaml
from collective.errors import Aborted, ConfigError
from collective.messages import Request

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """One line of a policy. Its parts are names or globs."""

    name: str
    callers: tuple[str, ...] = ("*",)
    agents: tuple[str, ...] = ("*",)
    actions: tuple[str, ...] = ("*",)
    allow: bool = True

    def matches(self, request: Request) -> bool:
        """Tell whether this rule speaks about `request`: whole names, case-sensitive."""
        parts = ((self.callers, request.caller), (self.agents, request.agent), (self.actions, request.action))
        return all(any(fnmatch.fnmatchcase(value, glob) for glob in globs) for globs, value in parts)


ONLY_RPCUTIL = (Rule("default (there is no policy file)", agents=("rpcutil",)),)


@dataclass(frozen=True)
class Policy:
    """The rules in force, in order."""

    rules: Sequence[Rule]

    def check(self, request: Request) -> str:
        """Return the name of the rule that allows `request`; raise Aborted (`denied`) naming the one that does not."""
        rule = next((rule for rule in self.rules if rule.matches(request)), None)
        if rule is not None and rule.allow:
            return rule.name
        why = f"rule '{rule.name}'" if rule else "no rule"
        said = "denies it" if rule else "allows it"
        what = f"{request.agent} {request.action}"
        raise Aborted(f"'{request.caller}' may not call {what} here: {why} {said}", reason="denied")


def load(path: Path) -> Policy:
    """Read a policy; without a file, the default. Raise ConfigError naming file and rule."""
    if not path.exists():
        log.warning("policy.missing", extra={"path": str(path), "fault": "only rpcutil is allowed: write one"})
        return Policy(ONLY_RPCUTIL)
    document = read_yaml(path)
    if not isinstance(document, dict) or document.keys() != {"rules"} or not isinstance(document["rules"], list):
        raise ConfigError(f"{path}: must hold one key, 'rules', with a list")
    return Policy([_rule(path, number, entry) for number, entry in enumerate(document["rules"], start=1)])


def _rule(path: Path, number: int, entry: Any) -> Rule:
    where = f"{path}: rule {number}"
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: must hold keys and values, not {type(entry).__name__}")
    for key in entry:
        if key not in Rule.__dataclass_fields__:
            raise ConfigError(f"{where}: {key}: no such key: there are {', '.join(Rule.__dataclass_fields__)}")
    allow = entry.get("allow", True)
    if not isinstance(allow, bool):
        raise ConfigError(f"{where}: allow: must be true or false, not {allow!r}")
    return Rule(
        name=str(entry.get("name", number)),
        callers=_globs(where, entry, "callers"),
        agents=_globs(where, entry, "agents"),
        actions=_globs(where, entry, "actions"),
        allow=allow,
    )


def _globs(where: str, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = entry.get(key, ["*"])
    if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
        raise ConfigError(f"{where}: {key}: must be a list of texts, not {value!r}")
    return tuple(value)
