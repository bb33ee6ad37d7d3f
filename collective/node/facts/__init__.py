"""Know what this node is: facts from several sources, and the classes it is configured with.

    built-in ─ fqdn ─ EC2 ─ commands ─ facts.d folders ─ files      later sources win, top-level key by key
          └──────────────────┬───────────────────────┘
    sources.py: Source(label, read) ──► store.py: Facts.current, one mapping that is replaced whole

formats.py    what files and commands say: YAML, JSON, key=value
built_in.py   what every node knows of itself
ec2.py        what EC2 knows of an instance
external.py   run a command, in a process of the runner
"""

from collective.node.facts.built_in import built_in
from collective.node.facts.store import Facts

__all__ = ["Facts", "built_in"]
