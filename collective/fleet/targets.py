"""Describe which nodes a call is for.

    Targets.select(facts=["role=web"], identities=["web[01-20]"])   nodes that match
    Targets(nodes=["web1", "web2"])                                 nodes by name
    Targets.select(facts=["role=web"]).limited("10%", seed=1)       a random tenth of the nodes that match

A filter and a list of names combine: a node must be in both.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from collective import filters, names
from collective.errors import UsageError
from collective.filters import Filter
from collective.fleet.amounts import Amount, AmountLike, read_amount
from collective.fleet.node_sets import NodeSet

_NO_FILTER = Filter()
METHODS = ("registry", "broadcast", "ec2")


@dataclass(frozen=True, init=False)
class Targets:
    """The nodes that a call is for; without arguments, every node of the collective.

    `filter` is what nodes must match, `nodes` a list of names (None: any). `method` is the discovery method,
    `registry`, `broadcast` or `ec2`, which is the nodes on EC2 instances (None: the registry if there is one).
    `discovery_timeout` limits a broadcast discovery, in seconds (None: as configured). `limit` (`N` or `"N%"`) selects
    some of the matching nodes at random; the same `limit_seed` selects the same nodes. `sets` is what nodes must be
    in, see `node_sets`.

    Raises UsageError for an invalid value.
    """

    filter: Filter
    nodes: tuple[str, ...] | None
    method: str | None
    discovery_timeout: float | None
    limit: Amount | None
    limit_seed: int | None
    sets: NodeSet | None

    def __init__(
        self,
        filter: Filter = _NO_FILTER,  # noqa: A002 - the field's word
        nodes: Iterable[str] | None = None,
        method: str | None = None,
        discovery_timeout: float | None = None,
        limit: AmountLike = None,
        limit_seed: int | None = None,
        sets: NodeSet | None = None,
    ) -> None:
        if method is not None and method not in METHODS:
            raise UsageError(f"method '{method}': must be one of {', '.join(METHODS)}")
        if limit is None and limit_seed is not None:
            raise UsageError("limit_seed: has no effect without limit (set limit)")
        identities = None if nodes is None else tuple(sorted({names.check_identity(node) for node in nodes}))
        object.__setattr__(self, "filter", filter)
        object.__setattr__(self, "nodes", identities)
        object.__setattr__(self, "method", method)
        object.__setattr__(self, "discovery_timeout", discovery_timeout)
        object.__setattr__(self, "limit", None if limit is None else read_amount("limit", limit))
        object.__setattr__(self, "limit_seed", limit_seed)
        object.__setattr__(self, "sets", sets)

    @classmethod
    def select(
        cls,
        facts: Iterable[str] = (),
        classes: Iterable[str] = (),
        agents: Iterable[str] = (),
        identities: Iterable[str] = (),
        expression: str | None = None,
        nodes: Iterable[str] | None = None,
    ) -> Targets:
        """Return the targets that match all arguments, each in the syntax of an option of `crpc`.

        `facts` as `-F` (`role=web`), `classes` as `-C`, `agents` as `-A`, `identities` as `-I` (any of them matches;
        `/regex/` and `web[01-20]` are allowed), `expression` as `-S`, `nodes` as the names in the file of `--nodes`.

        Raises UsageError, pointing at the column, for a syntax error.
        """
        wanted = filters.parse(
            with_fact=facts, with_class=classes, with_agent=agents, with_identity=identities, select=expression
        )
        return cls(wanted, nodes)

    def limited(self, limit: AmountLike, seed: int | None = None) -> Targets:
        """Return these targets, limited to `limit` (`N` or `"N%"`) nodes, selected at random."""
        return Targets(self.filter, self.nodes, self.method, self.discovery_timeout, limit, seed, self.sets)

    @property
    def unrestricted(self) -> bool:
        """Whether these targets are every node of the collective."""
        return self.filter == _NO_FILTER and self.nodes is None and self.limit is None and self.sets is None

    @property
    def only_names(self) -> list[str] | None:
        """The identities, if these targets are only names, which need no discovery; else None."""
        if self.filter == _NO_FILTER:
            return list(self.nodes) if self.nodes else None
        literal = self.filter.literal_identities
        if not literal or self.filter.identity_patterns or self.filter != Filter(identities=self.filter.identities):
            return None
        return sorted(literal & set(self.nodes)) if self.nodes else sorted(literal)

    def sample(self, nodes: Iterable[str]) -> list[str]:
        """Return `nodes`, sorted; with a limit, only those selected at random.

        The order of `nodes` does not matter. With the same seed, a larger limit selects the nodes of a smaller limit
        and more.
        """
        identities = sorted(nodes)
        if self.limit is None:
            return identities
        shuffled = list(identities)
        random.Random(self.limit_seed).shuffle(shuffled)  # noqa: S311 - must be repeatable, not secret
        return sorted(shuffled[: self.limit.floor(len(identities))])


EVERY_NODE = Targets()
