"""The facts of this node, from several sources, and its classes.

    built-in ─ fqdn ─ EC2 ─ commands ─ facts.d folders ─ files      later sources win, per top-level key
          └──────────────────┬───────────────────────┘
    sources.py: Source(label, read) ──► store.py: Facts.current, one mapping, replaced as a whole

built_in.py   facts of every machine
ec2_source.py facts of an EC2 instance: from its metadata and from the APIs of AWS
ec2_api.py    asks these APIs, in a process of the runner
external.py   run a command in a process of the runner
"""

from collective.node.facts.built_in import built_in
from collective.node.facts.store import Facts

__all__ = ["Facts", "built_in"]
