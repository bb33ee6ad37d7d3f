"""Say which nodes a request is for, and decide whether a node is one of them: the same code on both sides.

options ── parse ──► Filter ── to_data ──► the wire ── Filter.from_data ──► Filter ── matches ──► bool
                      │
                      └── to_options, select_text, explain: for people

values.py    Filter and its tests, to and from the wire's data
checks.py    what its parts may be
patterns.py  regular expressions: which text is one, and a limit on what it may cost
options.py   -F -C -A -I -W into values
select.py    -S into a tree
printing.py  values back into options, and into English
match.py     a filter and a node: yes or no
"""

from collective.filters.match import Node, leaves, look_up, matches, uses_data
from collective.filters.options import parse
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
    "parse",
    "select_text",
    "to_options",
    "uses_data",
]
