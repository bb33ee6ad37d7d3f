"""Decide which replies a caller accepts: by the keys of known nodes, and by who is in the registry."""

from __future__ import annotations

from collective.errors import NotFound, TransportError
from collective.fleet.known_nodes import KnownNodes
from collective.messages import Envelope, Reply
from collective.registry import Nodes


class ReplyVerifier:
    """Verifies replies with the `known` keys; new keys come from the `registry` if there is one.

    Without a registry, or while its table does not exist, the first key of a node is learned from its reply.
    """

    def __init__(self, known: KnownNodes, registry: Nodes | None) -> None:
        self._known = known
        self._registry = registry

    def verify(self, reply: Reply, envelope: Envelope) -> None:
        """Check that `reply` was signed by the node that it names. Raises SignatureError."""
        learn = reply.sender not in self._known.keys and not self._has_registry()
        self._known.verify(reply, envelope, learn=learn)

    def _has_registry(self) -> bool:
        """Read the registry, which adds the keys of new nodes; return False if there is none."""
        try:
            if self._registry is not None:
                self._registry.read()
        except NotFound:
            return False
        except TransportError:
            return True  # it may have the key: a key from a reply must not come first
        return self._registry is not None
