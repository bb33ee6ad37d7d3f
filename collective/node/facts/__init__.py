"""The facts of this node, from several sources, and its classes.

    built-in ─ fqdn ─ EC2 ─ commands ─ facts.d folders ─ files      later sources win, per top-level key
          └──────────────────┬───────────────────────┘
    sources.py: Source(label, read) ──► store.py: Facts.current, one mapping, replaced as a whole

built_in.py   facts of every machine
ec2.py        facts from EC2 instance metadata
ec2_source.py the same, with those that the APIs of AWS have (ec2_api.py, in a process of the runner)
external.py   run a command in a process of the runner
"""

from collective.node.facts.built_in import built_in
from collective.node.facts.store import Facts

__all__ = ["Facts", "built_in"]
