"""Read a policy: every fault is named with file, line and rule, and one fault refuses the whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from collective import filters, json_schema
from collective.errors import CollectiveError, PolicyError
from collective.filters import DataTest, Filter
from collective.policy.rules import Policy, Rule
from collective.yaml_file import FAST_LOADER, parse_yaml, read_text

_MOST_VALUES = 100_000  # of one file, those that aliases repeat included
_GROUP = "group:"
_KEYS = ("name", "callers", "agents", "actions", "facts", "classes", "select", "inputs", "allow")

Place = Sequence["str | int"]


def read(path: Path) -> Policy:
    """Return the policy in a file; raise PolicyError with all its faults, or ConfigError when it cannot be read."""
    return parse(read_text(path), str(path))


def parse(text: str, where: str) -> Policy:
    """Return the policy in a YAML text from `where`, a file; raise like `read`."""
    document = parse_yaml(text, where)
    reader = _PolicyParser(where, yaml.compose(text, Loader=FAST_LOADER))
    policy = reader.policy(document)
    if reader.problems:
        raise PolicyError(reader.problems)
    return policy


class _PolicyParser:
    """Turns a document into a policy, and collects what is wrong with it."""

    def __init__(self, where: str, tree: yaml.Node | None) -> None:
        self._problems: list[tuple[int, str]] = []
        self._where = where
        self._tree = tree
        self._groups: Mapping[str, Any] = {}

    @property
    def problems(self) -> list[str]:
        """What is wrong, a line each, from the top of the file to its end."""
        return [f"{self._where}:{line}: {text}" for line, text in sorted(self._problems, key=lambda error: error[0])]

    def policy(self, document: Any) -> Policy:
        """Return the policy that a document means; only what has no faults is worth having."""
        if not _is_plain(document):
            self._refuse((), "must hold texts, numbers, lists and mappings only, 100000 values at most")
        elif not isinstance(document, dict) or not isinstance(document.get("rules"), list):
            self._refuse((), "must hold the key 'rules' with a list, and may hold 'groups'")
        else:
            self._refuse_unknown((), document, ("rules", "groups"))
            self._groups = self._read_groups(document.get("groups", {}))
            rules = [self._rule(number, entry) for number, entry in enumerate(document["rules"])]
            self._refuse_repeated(rules)
            return Policy(tuple(rules))
        return Policy(())

    def _read_groups(self, groups: Any) -> Mapping[str, Any]:
        if not isinstance(groups, dict):
            self._refuse(("groups",), f"must hold names with lists of callers, not {_kind(groups)}")
            return {}
        for name, members in groups.items():
            if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
                self._refuse(("groups", name), f"group '{name}': must be a list of callers, not {_kind(members)}")
            elif any(member.startswith(_GROUP) for member in members):
                self._refuse(("groups", name), f"group '{name}': its members are callers, not other groups")
        return groups

    def _rule(self, number: int, entry: Any) -> Rule:
        place = ("rules", number)
        if not isinstance(entry, dict):
            self._refuse(place, f"must hold keys and values, not {_kind(entry)}")
            return Rule(str(number + 1))
        self._refuse_unknown(place, entry, _KEYS)
        name = self._one(place, entry, "name", str, "a text", str(number + 1))
        return Rule(
            name=name,
            callers=self._callers(place, entry),
            agents=self._texts(place, entry, "agents") or ("*",),
            actions=self._texts(place, entry, "actions") or ("*",),
            node=self._node(place, entry),
            inputs=self._inputs(place, entry),
            allow=self._one(place, entry, "allow", bool, "true or false", True),
        )

    def _callers(self, place: Place, entry: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the callers, groups replaced by their members: a group without any makes the rule hold for nobody."""
        if not (given := self._texts(place, entry, "callers")):
            return ("*",)
        callers: list[str] = []
        for index, caller in enumerate(given):
            if not caller.startswith(_GROUP):
                callers.append(caller)
            elif (group := caller.removeprefix(_GROUP)) in self._groups:
                callers += self._groups[group] if isinstance(self._groups[group], list) else ()
            else:
                there = ", ".join(map(str, self._groups)) or "none"
                self._refuse((*place, "callers", index), f"callers: there is no group '{group}': there are {there}")
        return tuple(callers)

    def _node(self, place: Place, entry: Mapping[str, Any]) -> Filter:
        facts, classes = self._texts(place, entry, "facts"), self._texts(place, entry, "classes")
        read = [
            *(self._filtered((*place, "facts", index), with_fact=[text]) for index, text in enumerate(facts)),
            *(self._filtered((*place, "classes", index), with_class=[text]) for index, text in enumerate(classes)),
            self._filtered((*place, "select"), select=self._one(place, entry, "select", str, "a text", None)),
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
            said = str(error).removeprefix("-F ").removeprefix("-C ").removeprefix("-S ")
            self._refuse(place, f"{place[2]}: {said}")
            return Filter()
        if any(isinstance(test, DataTest) for test in filters.leaves(found)):
            self._refuse(place, "select: data functions have no place in a policy: it decides before anything is run")
        return found

    def _inputs(self, place: Place, entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
        schema: Mapping[str, Any] | None = self._one(place, entry, "inputs", dict, "a JSON Schema", None)
        try:
            if schema is not None:
                json_schema.check_schema(schema, "inputs")
        except CollectiveError as error:
            self._refuse((*place, "inputs"), str(error))
        except RecursionError:
            self._refuse((*place, "inputs"), "inputs: is nested too deeply, or a $ref leads back to itself")
        return schema

    def _texts(self, place: Place, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
        """Return a list of texts, () when it is not given; an empty one could mean any or none, and is a fault."""
        if key not in entry:
            return ()
        value = entry[key]
        if not isinstance(value, list):
            self._refuse((*place, key), f"{key}: must be a list of texts, not {_kind(value)}")
            return ()
        for index, text in enumerate(value):
            if not isinstance(text, str):
                self._refuse((*place, key, index), f"{key}: must hold texts, not {_kind(text)}")
                return ()
        if not value:
            self._refuse((*place, key), f"{key}: is an empty list: leave it out to mean any")
        return tuple(value)

    def _one(self, place: Place, entry: Mapping[str, Any], key: str, kind: type, said: str, default: Any) -> Any:
        if key in entry and not isinstance(entry[key], kind):
            self._refuse((*place, key), f"{key}: must be {said}, not {_kind(entry[key])}")
            return default
        return entry.get(key, default)

    def _refuse_unknown(self, place: Place, entry: Mapping[Any, Any], known: Iterable[str]) -> None:
        for key in entry:
            if key not in known:
                self._refuse((*place, key), f"'{key}': no such key: there are {', '.join(known)}")

    def _refuse_repeated(self, rules: Sequence[Rule]) -> None:
        """Refuse a second rule of one name: decisions name their rule."""
        names: dict[str, int] = {}
        for number, rule in enumerate(rules):
            if rule.name in names:
                self._refuse(("rules", number), f"'{rule.name}' is the name of rule {names[rule.name] + 1} already")
            names.setdefault(rule.name, number)

    def _refuse(self, place: Place, text: str) -> None:
        rule = f"rule {int(place[1]) + 1}: " if place[:1] == ("rules",) else ""
        self._problems.append((_line(self._tree, place), rule + text))


def _line(tree: yaml.Node | None, place: Place) -> int:
    """Return the line, from 1, of a place in a document, or of what is nearest to it."""
    line = 0
    for step in place:
        if isinstance(tree, yaml.MappingNode):
            found = next(((key, value) for key, value in tree.value if key.value == str(step)), None)
            if found is None:
                break
            line, tree = found[0].start_mark.line, found[1]
        elif isinstance(tree, yaml.SequenceNode) and isinstance(step, int) and step < len(tree.value):
            tree = tree.value[step]
            line = tree.start_mark.line
    return line + 1


def _is_plain(document: Any) -> bool:
    """Tell whether a document has only what JSON has, in a size that can be looked at."""
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
    """Return what a value is, for people; texts are quoted as far as they are short."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:60] + "…")
    if isinstance(value, bool):
        return "true" if value else "false"  # what YAML 1.1 reads in `on`, `no`, `y`
    return {dict: "keys and values", list: "a list", type(None): "nothing"}.get(type(value), "a number")
