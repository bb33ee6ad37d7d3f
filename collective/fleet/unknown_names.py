"""Find the names in a filter that no node of the registry has: usually they are mistyped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collective.filters import ClassTest, FactTest, Filter, leaves, look_up
from collective.filters.patterns import is_pattern
from collective.fleet.grouping import values
from collective.fleet.registry_names import summarized
from collective.registry import NodeRecord
from collective.suggestions import suggest


def unknown_names(wanted: Filter, records: Sequence[NodeRecord]) -> str:
    """Return the first name of a filter that no record has, with a suggestion: `no node has …`; empty without one.

    Also a value of a fact that no record has, if there is one that was probably meant.

    Records that lack facts or classes, because these did not fit into the registry, may have the name.
    """
    if any(record.omitted for record in records):
        return ""
    return next(_unknown(wanted, records), "")


def mistyped_fact(fact: str, records: Sequence[NodeRecord]) -> str:
    """Return that no record has a fact, with the one that was probably meant: `no node has …`; empty without one."""
    if any(record.omitted or look_up(record.facts, fact) is not None for record in records):
        return ""
    hint = suggest(fact, summarized(records).facts)
    return f"no node has the fact '{fact}' ({hint})" if hint else ""


def _unknown(wanted: Filter, records: Sequence[NodeRecord]) -> Iterator[str]:
    known, tests = summarized(records), list(leaves(wanted))
    for fact in (test.fact for test in (*wanted.facts, *tests) if isinstance(test, FactTest)):
        if all(look_up(record.facts, fact) is None for record in records):
            yield _line("fact", fact, list(known.facts))
    for name in (*wanted.classes, *(test.name for test in tests if isinstance(test, ClassTest))):
        if not is_pattern(name) and all(name not in record.classes for record in records):
            yield _line("class", name, known.classes)
    for agent in wanted.agents:
        if not is_pattern(agent) and all(agent not in record.agents for record in records):
            yield _line("agent", agent, known.agents)
    for test in (one for one in (*wanted.facts, *tests) if isinstance(one, FactTest) and one.operator == "=="):
        known_values = {value for record in records for value in values(record.facts, test.fact)}
        if test.value not in known_values and (hint := suggest(test.value, known_values)):
            yield f"no node has {test.fact}={test.value}: {hint}"


def _line(kind: str, name: str, known: Sequence[str]) -> str:
    hint = suggest(name, known)
    return f"no node has the {kind} '{name}'" + (f": {hint}" if hint else "")
