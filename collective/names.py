"""Derive the names of queues, topics and tables, and check names chosen by users.

    <collective>_requests            the topic for broadcasts to all nodes
    <collective>_node_<slug>         one node's queue
    <collective>_reply_<slot>        one caller slot's queue
    <collective>_nodes               the registry's table
    <collective>_runs                the table of shared runs
    <collective>_ec2                 the queue and the rule of EventBridge for events of EC2

Limits: SQS queue names have at most 80 characters of [A-Za-z0-9_-], tag values 256 (SQS developer guide); SNS topic
names 256; DynamoDB table names 255.
"""

from __future__ import annotations

import re

from collective.errors import UsageError
from collective.text import escape_controls

QUEUE_NAME_LIMIT = 80
_COLLECTIVE = re.compile(r"[a-z0-9-]{1,20}")
# Not '-' first: names of nodes become arguments of other programs, such as ssh and hooks of clusters.
_IDENTITY = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,254}")
# The characters of a name on an `allowed_signers` line with a plain key; patterns are for certificates only.
_CALLER = re.compile(r'[^\s,"*?!#]{1,255}')
_SLOT = re.compile(r"[A-Za-z0-9-]{1,50}")
_SLUG_LENGTH = 40
_DIGEST_LENGTH = 10
_SHOWN = 260  # characters of a refused name in an error
_NODE_SLUG = re.compile(rf"[A-Za-z0-9-]{{1,{_SLUG_LENGTH}}}-[0-9a-f]{{{_DIGEST_LENGTH}}}")

# Names of `crpc` commands, present and planned, that no agent can have.
COMMANDS = frozenset(
    """apply approve audit check cluster commands completion config cost ddl describe diff doctor explain-filter
    export facts find freeze group groups help inventory jobs keys lab mcp motd new nodes ping plan playbook plugin
    policy prompt provision report request retry revoke run run-local runs schema serve setup show ssh template thaw
    version warm watch""".split()
)
# Policies use the agent name `data` for data functions.
RESERVED = COMMANDS | {"data"}


def check_collective(name: str) -> str:
    """Return `name` if it is valid for a collective; raise UsageError otherwise."""
    if not _COLLECTIVE.fullmatch(name):
        raise UsageError(f"invalid collective name '{name}': use 1 to 20 characters of a-z, 0-9 and '-'")
    return name


def check_identity(name: str) -> str:
    """Return `name` if it is valid for a node; raise UsageError otherwise."""
    if not _IDENTITY.fullmatch(name) or name in (".", ".."):  # those two would lead `crpc file get` to other folders
        rule = "use 1 to 255 characters of A-Z, a-z, 0-9, '_', '.' and '-', no '-' first, and not '.' or '..'"
        raise UsageError(f"invalid identity '{_shown(name)}': {rule}")
    return name


def check_caller(name: str) -> str:
    """Return `name` if it is valid for a caller; raise UsageError otherwise."""
    if not _CALLER.fullmatch(name):
        raise UsageError(f"invalid caller '{_shown(name)}': use 1 to 255 characters except whitespace and ,\"*?!#")
    return name


def _shown(name: str) -> str:
    """Return a refused name for an error: it may be a line of a large file."""
    return escape_controls(name[:_SHOWN] + ("…" if len(name) > _SHOWN else ""))


def slug(name: str, length: int = _SLUG_LENGTH) -> str:
    """Return `name` with characters that queue names cannot have replaced by `-`, cut to `length` characters."""
    return re.sub(r"[^A-Za-z0-9-]", "-", name)[:length]


def topic(collective: str) -> str:
    """Return the name of the topic for broadcasts to all nodes of `collective`."""
    return f"{collective}_requests"


def table(collective: str) -> str:
    """Return the name of the registry's table."""
    return f"{collective}_nodes"


def runs_table(collective: str) -> str:
    """Return the name of the table of shared runs."""
    return f"{collective}_runs"


def ec2_events(collective: str) -> str:
    """Return the name of the queue for events of EC2, and of the rule that sends them there."""
    return f"{collective}_ec2"


def node_queue(collective: str, identity: str) -> str:
    """Return the name of a node's queue: a readable slug, and a digest that makes it unique."""
    import hashlib  # takes 2 ms, which the completion of a line need not wait for

    digest = hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{node_queues(collective)}{slug(identity)}-{digest}"


def is_node_queue(name: str, collective: str) -> bool:
    """Return whether `name` has the form of a node queue of `collective`; other queues are never touched."""
    prefix = node_queues(collective)
    return name.startswith(prefix) and _NODE_SLUG.fullmatch(name[len(prefix) :]) is not None


def node_queues(collective: str) -> str:
    """Return the prefix of all node queue names."""
    return f"{collective}_node_"


def tags(collective: str, identity: str | None = None) -> dict[str, str]:
    """Return the tags of a collective's resources, or of those of one node, for bills and IAM conditions."""
    return {"collective": collective} | ({"collective:identity": identity} if identity else {})


def reply_queue(collective: str, slot: str) -> str:
    """Return the name of the reply queue of a caller's reply slot."""
    return f"{collective}_reply_{slot}"


def is_reply_queue(name: str, collective: str) -> bool:
    """Return whether `name` is a reply queue of `collective`; nodes reply to no other queue."""
    prefix = reply_queue(collective, "")
    return name.startswith(prefix) and _SLOT.fullmatch(name[len(prefix) :]) is not None
