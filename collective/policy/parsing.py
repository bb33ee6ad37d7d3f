"""Parse a policy. Every error names file, line and rule; a policy with an error is rejected as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from collective import filters, lines
from collective.errors import CollectiveError, PolicyError
from collective.filters import DataTest, Filter, patterns
from collective.policy.requirements import Requirements
from collective.policy.rules import Policy, Rule
from collective.policy.time_window import TimeWindow, read_window
from collective.quick_schema import certainly_a_schema
from collective.yaml_file import FAST_LOADER, line_of, parse_yaml, read_text

if TYPE_CHECKING:
    from collective.schema_keywords import Problem

_MOST_VALUES = 100_000  # values in one file, including those repeated by YAML aliases
_GROUP = "group:"
_KEYS = (
    "name",
    "callers",
    "agents",
    "actions",
    "facts",
    "classes",
    "select",
    "inputs",
    "dry_run",
    "allow",
    "between",
    "reason",
    "max_targets",
    "max_targets_per_hour",
    "approvals",
    "approvers",
)
_COUNTS = ("max_targets", "max_targets_per_hour", "approvals")
_REQUIREMENTS = ("reason", *_COUNTS, "approvers")

Place = Sequence["str | int"]


def read(path: Path) -> Policy:
    """Return the policy in a file. Raise PolicyError with all its errors, or ConfigError when it cannot be read."""
    return parse(read_text(path), str(path))


def parse(text: str, where: str) -> Policy:
    """Return the policy in a YAML text; errors begin with `where`, the name of the file. Raise like `read`."""
    # YAML ends lines at U+2028, U+0085 and CR as well: a rule could hide behind a comment.
    if problems := lines.problems(text, where):
        raise PolicyError(problems)
    document = parse_yaml(text, where)
    reader = _PolicyParser(where, yaml.compose(text, Loader=FAST_LOADER))
    policy = reader.policy(document)
    if reader.problems:
        raise PolicyError(reader.problems)
    return replace(policy, digest=hashlib.sha256(text.encode()).hexdigest())


class _PolicyParser:
    """Converts a YAML document to a policy, and collects its errors."""

    def __init__(self, where: str, tree: yaml.Node | None) -> None:
        self._problems: list[tuple[int, str]] = []
        self._where = where
        self._tree = tree
        self._groups: Mapping[str, Any] = {}

    @property
    def problems(self) -> list[str]:
        """The error lines, in the order of the file."""
        return [f"{self._where}:{line}: {text}" for line, text in sorted(self._problems, key=lambda error: error[0])]

    def policy(self, document: Any) -> Policy:
        """Return the policy of a document; use it only if there are no `problems`."""
        if not _is_plain(document):
            self._reject((), f"must hold only strings, numbers, lists and mappings, at most {_MOST_VALUES} values")
        elif not isinstance(document, dict) or not isinstance(document.get("rules"), list):
            self._reject((), "must be a mapping with a list 'rules' and optional 'groups'")
        else:
            self._reject_unknown((), document, ("rules", "groups"))
            self._groups = self._read_groups(document.get("groups", {}))
            rules = [self._rule(number, entry) for number, entry in enumerate(document["rules"])]
            self._reject_repeated(rules)
            return Policy(tuple(rules))
        return Policy(())

    def _read_groups(self, groups: Any) -> Mapping[str, Any]:
        if not isinstance(groups, dict):
            self._reject(("groups",), f"groups: must be a mapping of names to lists of callers, not {_kind(groups)}")
            return {}
        for name, members in groups.items():
            if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
                self._reject(("groups", name), f"group '{name}': must be a list of callers, not {_kind(members)}")
            elif any(member.startswith(_GROUP) for member in members):
                self._reject(("groups", name), f"group '{name}': members must be callers, not groups")
        return groups

    def _rule(self, number: int, entry: Any) -> Rule:
        place = ("rules", number)
        if not isinstance(entry, dict):
            self._reject(place, f"must be a mapping, not {_kind(entry)}")
            return Rule(str(number + 1))
        self._reject_unknown(place, entry, _KEYS)
        name = self._one(place, entry, "name", str, "a string", str(number + 1))
        return Rule(
            name=name,
            callers=self._callers(place, entry),
            agents=self._strings(place, entry, "agents") or ("*",),
            actions=self._strings(place, entry, "actions") or ("*",),
            node=self._node(place, entry),
            inputs=self._inputs(place, entry),
            allow=self._one(place, entry, "allow", bool, "true or false", True),
            dry_run=self._one(place, entry, "dry_run", bool, "true or false", None),
            between=self._between(place, entry),
            requires=self._requires(place, entry),
        )

    def _between(self, place: Place, entry: Mapping[str, Any]) -> TimeWindow | None:
        text = self._one(place, entry, "between", str, "times such as '22:00-04:00'", None)
        try:
            return None if text is None else read_window(text)
        except ValueError as error:
            self._reject((*place, "between"), f"between: {error}")
            return None

    def _requires(self, place: Place, entry: Mapping[str, Any]) -> Requirements:
        """Return what the rule requires; requirements of a rule that denies would have no effect, and are errors."""
        if entry.get("allow") is False:
            for key in _REQUIREMENTS:
                if key in entry:
                    self._reject((*place, key), f"{key}: has no effect in a rule that denies (remove it)")
        reason = self._one(place, entry, "reason", str, "a regular expression", None)
        if reason is not None:
            try:
                patterns.check(reason)
            except ValueError as error:
                self._reject((*place, "reason"), f"reason: {error}")
                reason = None
        if "approvers" in entry and "approvals" not in entry:
            self._reject((*place, "approvers"), "approvers: has no effect without 'approvals'")
        counts = {key: self._count(place, entry, key) for key in _COUNTS}
        return Requirements(reason, **counts, approvers=self._callers(place, entry, "approvers"))

    def _count(self, place: Place, entry: Mapping[str, Any], key: str) -> int | None:
        value = entry.get(key)
        if key in entry and (type(value) is not int or value < 1):
            self._reject((*place, key), f"{key}: must be an integer from 1, not {_kind(value)}")
            return None
        return value

    def _callers(self, place: Place, entry: Mapping[str, Any], key: str = "callers") -> tuple[str, ...]:
        """Return the callers in a list, with groups replaced by their members. Only empty groups match none."""
        if not (given := self._strings(place, entry, key)):
            return ("*",)
        callers: list[str] = []
        for index, caller in enumerate(given):
            if not caller.startswith(_GROUP):
                callers.append(caller)
            elif (group := caller.removeprefix(_GROUP)) in self._groups:
                callers += self._groups[group] if isinstance(self._groups[group], list) else ()
            else:
                known = ", ".join(map(str, self._groups)) or "none"
                self._reject((*place, key, index), f"{key}: unknown group '{group}' (groups: {known})")
        return tuple(callers)

    def _node(self, place: Place, entry: Mapping[str, Any]) -> Filter:
        facts, classes = self._strings(place, entry, "facts"), self._strings(place, entry, "classes")
        read = [
            *(self._filtered((*place, "facts", index), with_fact=[text]) for index, text in enumerate(facts)),
            *(self._filtered((*place, "classes", index), with_class=[text]) for index, text in enumerate(classes)),
            self._filtered((*place, "select"), select=self._one(place, entry, "select", str, "a string", None)),
        ]
        return Filter(
            facts=tuple(fact for part in read for fact in part.facts),
            classes=tuple(name for part in read for name in part.classes),
            select=read[-1].select,
        )

    def _filtered(self, place: Place, **options: Any) -> Filter:
        try:
            found = filters.parse(**options)
        except CollectiveError as error:
            reason = str(error).removeprefix("-F ").removeprefix("-C ").removeprefix("-S ")
            self._reject(place, f"{place[2]}: {reason}")
            return Filter()
        if any(isinstance(test, DataTest) for test in filters.leaves(found)):
            self._reject(
                place, "select: data functions are not allowed in a policy (it decides before any function runs)"
            )
        return found

    def _inputs(self, place: Place, entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
        schema: Mapping[str, Any] | None = self._one(place, entry, "inputs", dict, "a JSON Schema", None)
        if schema is None:
            return None
        try:
            for problem in _schema_problems(schema):
                self._reject((*place, "inputs", *problem.path, problem.keyword), problem.described("inputs"))
        except RecursionError:
            self._reject((*place, "inputs"), "inputs: nested too deeply, or a $ref refers to itself")
        return schema

    def _strings(self, place: Place, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
        """Return a list of strings, () without the key. An empty list is an error: it could mean "any" or "none"."""
        if key not in entry:
            return ()
        value = entry[key]
        if not isinstance(value, list):
            self._reject((*place, key), f"{key}: must be a list of strings, not {_kind(value)}")
            return ()
        for index, text in enumerate(value):
            if not isinstance(text, str):
                self._reject((*place, key, index), f"{key}: must be a list of strings, but contains {_kind(text)}")
                return ()
        if not value:
            self._reject((*place, key), f"{key}: empty list (remove the key to match any)")
        return tuple(value)

    def _one(self, place: Place, entry: Mapping[str, Any], key: str, kind: type, expected: str, default: Any) -> Any:
        if key in entry and not isinstance(entry[key], kind):
            self._reject((*place, key), f"{key}: must be {expected}, not {_kind(entry[key])}")
            return default
        return entry.get(key, default)

    def _reject_unknown(self, place: Place, entry: Mapping[Any, Any], known: Iterable[str]) -> None:
        for key in entry:
            if key not in known:
                self._reject((*place, key), f"unknown key '{key}' (keys: {', '.join(known)})")

    def _reject_repeated(self, rules: Sequence[Rule]) -> None:
        """Reject a second rule with the same name, because decisions name their rule."""
        names: dict[str, int] = {}
        for number, rule in enumerate(rules):
            if rule.name in names:
                self._reject(
                    ("rules", number), f"the name '{rule.name}' is already used by rule {names[rule.name] + 1}"
                )
            names.setdefault(rule.name, number)

    def _reject(self, place: Place, text: str) -> None:
        rule = f"rule {int(place[1]) + 1}: " if place[:1] == ("rules",) else ""
        self._problems.append((line_of(self._tree, place), rule + text))


def _schema_problems(schema: Mapping[str, Any]) -> Iterable[Problem]:
    if certainly_a_schema(schema):
        return ()
    from collective import json_schema  # few policies need jsonschema, which takes 3 MB of each daemon

    return json_schema.problems(schema)


def _is_plain(document: Any) -> bool:
    """Return whether a document has only JSON values, at most _MOST_VALUES of them."""
    pending, seen = [document], 0
    while pending:
        value = pending.pop()
        seen += 1
        if seen > _MOST_VALUES or not isinstance(value, (dict, list, str, int, float, type(None))):
            return False
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                return False
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return True


def _kind(value: Any) -> str:
    """Return a description of a value for an error message; strings are quoted, and shortened to 60 characters."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:60] + "…")
    if isinstance(value, bool):
        return "true" if value else "false"
    return {dict: "a mapping", list: "a list", type(None): "null"}.get(type(value), "a number")
