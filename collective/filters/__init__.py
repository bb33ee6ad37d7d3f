"""Filters: select nodes by facts, classes, agents and identity; used by callers and nodes alike.

options ── parse ──► Filter ── to_data ──► the wire ── Filter.from_data ──► Filter ── matches ──► bool
                      │
                      └── to_options, select_text, explain: for display

values.py    Filter and its tests, to and from data on the wire
checks.py    which names, operators and values are valid
patterns.py  regular expressions, with limits on size and time
options.py   parse -F -C -A -I -W into values
select.py    parse -S into a tree
printing.py  format values as options and in English
match.py     match a filter against a node
ordering.py  order values: numbers, units, versions
paths.py     reach nested facts
"""

from collective.filters.match import Node, leaves, matches, no_data, uses_data
from collective.filters.options import parse
from collective.filters.partial import may_differ, may_match
from collective.filters.paths import look_up
from collective.filters.patterns import Budget
from collective.filters.printing import explain, select_text, to_options
from collective.filters.values import AllOf, AnyOf, ClassTest, DataTest, FactTest, Filter, Not, Select

__all__ = [
    "AllOf",
    "AnyOf",
    "Budget",
    "ClassTest",
    "DataTest",
    "FactTest",
    "Filter",
    "Node",
    "Not",
    "Select",
    "explain",
    "leaves",
    "look_up",
    "matches",
    "may_differ",
    "may_match",
    "no_data",
    "parse",
    "select_text",
    "to_options",
    "uses_data",
]
