"""Take a free Elastic IP of a pool for this EC2 instance, and give it back.

A pool is the addresses with a tag: `pool=collective:pool=nat`. An address that is in use is never taken, however many
instances claim at once: EC2 refuses it, and the next one is tried. The address of a terminated instance is free. That
of a stopped one stays with it, unless `reclaim=stopped` is given.

The node's AWS credentials need the policy `eip`. A dry run returns the address that would be taken or given back.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from collective.agent import Aborted, Facts, Reply, action, time_left
from collective.agents._elastic_ips import FREE, GONE, NOT_RUNNING, ElasticIP, ElasticIPs, connect, this_instance

_MOST_ROUNDS = 5  # reads of the pool
_MOST_TRIES = 40  # attempts to take an address
_LEAST = 2.0  # seconds that must be left for an attempt


@action
def claim(pool: str, reclaim: str = "never", *, facts: Facts, deadline: float, dry_run: bool = False) -> Reply:
    """Take a free address of a pool, unless this instance has one."""
    return _Claim(pool, reclaim == "stopped", facts, deadline).run(dry_run=dry_run)


@action
def release(pool: str, *, facts: Facts, deadline: float, dry_run: bool = False) -> Reply:
    """Give the address of this instance back to the pool."""
    instance, addresses = this_instance(facts), ElasticIPs(connect(facts, time_left(deadline)))
    held = [one for one in addresses.pool(*_tag(pool)) if one.instance == instance]
    given_back = [one for one in held if dry_run or addresses.disassociate(one)]
    return {"address": held[0].address if held else None, "instance": instance, "changed": bool(given_back)}


@action
def status(pool: str, *, facts: Facts, deadline: float) -> Reply:
    """List the addresses of a pool, and the instances that have them."""
    instance, addresses = this_instance(facts), ElasticIPs(connect(facts, time_left(deadline)))
    found = addresses.pool(*_tag(pool))
    states = addresses.states([one.instance for one in found if one.instance])
    return {
        "address": next((one.address for one in found if one.instance == instance), None),
        "instance": instance,
        "free": sum(one.is_free for one in found),
        "addresses": [
            {"address": one.address, "instance": one.instance or None, "state": _state(one, states.get(one.instance))}
            for one in sorted(found, key=lambda one: one.address)
        ],
    }


class _Claim:
    """One claim of this instance."""

    def __init__(self, pool: str, reclaims: bool, facts: Facts, deadline: float) -> None:
        self._pool = pool
        self._reclaims = (GONE, *NOT_RUNNING) if reclaims else (GONE,)
        self._deadline = deadline
        self._instance = this_instance(facts)
        self._addresses = ElasticIPs(connect(facts, time_left(deadline)))
        self._tries = 0

    def run(self, *, dry_run: bool) -> Reply:
        """Take an address, and return the reply. Raises Aborted if there is none."""
        for _ in range(_MOST_ROUNDS):
            found = self._read()
            if own := [one for one in found if one.instance == self._instance]:
                return self._reply(own[0], changed=False)
            self._refuse_second_address()
            free = [one for one in found if one.is_free]
            random.shuffle(free)  # many instances claim at the same time
            unused = free or self._abandoned(found)
            if not unused:
                raise Aborted(self._all_in_use(found))
            if dry_run:
                return self._reply(unused[0], changed=True)
            if taken := self._take(unused):
                return self._reply(taken, changed=True)
        raise Aborted(f"no address of the pool '{self._pool}' after {self._tries} tries: other instances were faster")

    def _read(self) -> list[ElasticIP]:
        found = self._addresses.pool(*_tag(self._pool))
        if not found:
            raise Aborted(f"no Elastic IP has the tag '{self._pool}'")
        return found

    def _refuse_second_address(self) -> None:
        """Raise Aborted if the instance has an address already: EC2 would refuse each of the pool."""
        if other := self._addresses.of_instance(self._instance):
            raise Aborted(f"this instance has the address {other[0].address}, which is not in the pool '{self._pool}'")

    def _take(self, unused: Sequence[ElasticIP]) -> ElasticIP | None:
        """Try one address after the other; return the one that was taken."""
        for one in unused:
            if self._tries >= _MOST_TRIES or time_left(self._deadline) < _LEAST:
                return None
            self._tries += 1
            if not one.is_free and not self._addresses.disassociate(one):
                continue  # it has another holder now
            if self._addresses.associate(one, self._instance) and not self._is_lost(one):
                return one
        return None

    def _is_lost(self, taken: ElasticIP) -> bool:
        """Return whether EC2 shows another holder. A reply that does not show this one yet is not a proof."""
        found = [one for one in self._addresses.pool(*_tag(self._pool)) if one.allocation == taken.allocation]
        return bool(found and found[0].instance and found[0].instance != self._instance)

    def _abandoned(self, found: Sequence[ElasticIP]) -> list[ElasticIP]:
        """Return the addresses whose instances may lose them."""
        states = self._addresses.states([one.instance for one in found if one.instance])
        return [one for one in found if states.get(one.instance) in self._reclaims]

    def _all_in_use(self, found: Sequence[ElasticIP]) -> str:
        states = self._addresses.states([one.instance for one in found if one.instance])
        stopped = sum(state in NOT_RUNNING for state in states.values())
        hint = f", {stopped} by stopped instances (reclaim=stopped takes one of these)" if stopped else ""
        return f"no free address in the pool '{self._pool}': all {len(found)} are in use{hint}"

    def _reply(self, taken: ElasticIP, *, changed: bool) -> Reply:
        return {"address": taken.address, "instance": self._instance, "changed": changed, "tries": self._tries}


def _tag(pool: str) -> tuple[str, str]:
    tag, _, value = pool.partition("=")
    return tag, value


def _state(address: ElasticIP, state: str | None) -> str:
    return FREE if address.is_free else state or "other"
