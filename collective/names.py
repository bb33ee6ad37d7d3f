"""Derive the names of queues, topics and tables, and say which names people may choose.

    <collective>_requests            the topic that reaches every node
    <collective>_node_<slug>         one node's queue
    <collective>_reply_<slot>        one caller slot's queue
    <collective>_nodes               the registry's table

SQS developer guide: a queue's name has at most 80 characters of [A-Za-z0-9_-], a tag's value 256. SNS: a topic's name
has at most 256 characters; DynamoDB: a table's 255.
"""

from __future__ import annotations

import hashlib
import re

from collective.errors import UsageError

QUEUE_NAME_LIMIT = 80
_COLLECTIVE = re.compile(r"[a-z0-9-]{1,20}")
_IDENTITY = re.compile(r"[A-Za-z0-9_.-]{1,255}")
# What a name on the line of a plain key in `allowed_signers` may be made of: patterns are for certificates.
_CALLER = re.compile(r'[^\s,"*?!#]{1,255}')
_SLOT = re.compile(r"[A-Za-z0-9-]{1,50}")
_SLUG_LENGTH = 40
_DIGEST_LENGTH = 10
_NODE_SLUG = re.compile(rf"[A-Za-z0-9-]{{1,{_SLUG_LENGTH}}}-[0-9a-f]{{{_DIGEST_LENGTH}}}")

# `crpc` commands, those to come as well: no agent may take one of these names …
_COMMANDS = """audit completion cost describe diff doctor explain-filter facts find help inventory keys lab new nodes
    ping plan policy report retry run runs serve setup show ssh watch""".split()
# … nor this one: policies call data functions so.
RESERVED = frozenset({*_COMMANDS, "data"})


def check_collective(name: str) -> str:
    """Return `name` when a collective may have it; raise UsageError otherwise."""
    if not _COLLECTIVE.fullmatch(name):
        raise UsageError(f"'{name}' is no name for a collective: 1 to 20 characters of a-z, 0-9 and '-'")
    return name


def check_identity(name: str) -> str:
    """Return `name` when a node may have it; raise UsageError otherwise."""
    if not _IDENTITY.fullmatch(name):
        raise UsageError(f"'{name}' is no identity: letters, digits, '_', '.' and '-' only, 255 at most")
    return name


def check_caller(name: str) -> str:
    """Return `name` when a caller may have it; raise UsageError otherwise."""
    if not _CALLER.fullmatch(name):
        raise UsageError(f"'{name}': a caller's own name, without blanks, commas, quotes and patterns, 255 at most")
    return name


def slug(name: str, length: int = _SLUG_LENGTH) -> str:
    """Return `name` cut down to the characters that a queue's name may have."""
    return re.sub(r"[^A-Za-z0-9-]", "-", name)[:length]


def topic(collective: str) -> str:
    """Return the name of the topic that reaches every node of `collective`."""
    return f"{collective}_requests"


def table(collective: str) -> str:
    """Return the name of the registry's table."""
    return f"{collective}_nodes"


def node_queue(collective: str, identity: str) -> str:
    """Return the name of a node's queue: a readable slug and a digest, so that no two identities share one."""
    digest = hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{node_queues(collective)}{slug(identity)}-{digest}"


def is_node_queue(name: str, collective: str) -> bool:
    """Tell whether `name` is what a node of `collective` calls its queue: nothing else may be taken for one."""
    prefix = node_queues(collective)
    return name.startswith(prefix) and _NODE_SLUG.fullmatch(name[len(prefix) :]) is not None


def node_queues(collective: str) -> str:
    """Return what the name of each node's queue begins with."""
    return f"{collective}_node_"


def tags(collective: str, identity: str | None = None) -> dict[str, str]:
    """Return the tags of what belongs to `collective`, or to one of its nodes: for bills, and for IAM's conditions."""
    return {"collective": collective} | ({"collective:identity": identity} if identity else {})


def reply_queue(collective: str, slot: str) -> str:
    """Return the name of the queue that replies to the caller slot `slot` go to."""
    return f"{collective}_reply_{slot}"


def is_reply_queue(name: str, collective: str) -> bool:
    """Tell whether `name` is a reply queue of `collective`: nothing else may be answered to."""
    prefix = reply_queue(collective, "")
    return name.startswith(prefix) and _SLOT.fullmatch(name[len(prefix) :]) is not None
