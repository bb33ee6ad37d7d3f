"""Count failed and silent nodes, in all and in the current wave, and tell when too many are.

A budget of silent nodes is separate: with it, budgets of failed nodes count failed nodes only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collective.fleet.amounts import Amount
from collective.text import plural


@dataclass(frozen=True)
class Limits:
    """How many nodes may fail or be silent before a rollout stops: in all, and in each wave."""

    max_fail: Amount | None = None
    max_silent: Amount | None = None
    wave_max_fail: Amount | None = None
    wave_max_silent: Amount | None = None


class Budgets:
    """The failed and silent nodes of a rollout of `total` nodes."""

    def __init__(self, limits: Limits, total: int) -> None:
        self._limits = limits
        self._total = total
        self._wave_size = total
        self._wave = 0
        self._failed = self._wave_failed = self._wave_silent = 0
        self._silent: dict[str, int] = {}  # the wave, by node

    @property
    def failed(self) -> int:
        """The number of failed nodes."""
        return self._failed

    @property
    def silent(self) -> int:
        """The number of silent nodes."""
        return len(self._silent)

    def begin_wave(self, size: int) -> None:
        """Start the counts of a wave of `size` nodes."""
        self._wave += 1
        self._wave_size = size
        self._wave_failed = self._wave_silent = 0

    def is_silent(self, node: str) -> bool:
        """Return whether a node is silent."""
        return node in self._silent

    def silence(self, node: str) -> None:
        """Record that a node is silent."""
        self._silent[node] = self._wave
        self._wave_silent += 1

    def fail(self, node: str) -> None:
        """Record that a node has failed; it may have been silent before, in an earlier wave."""
        self._failed += 1
        self._wave_failed += self._forget_silence(node)

    def succeed(self, node: str) -> None:
        """Record that a node has answered OK; it may have been silent before."""
        self._forget_silence(node)

    def room(self) -> int | None:
        """Return how many more nodes may fail or be silent, in all and in this wave; None without any limit."""
        left = [limit - count for count, limit, _, _ in self._counts()]
        return max(0, min(left)) if left else None

    def exceeded(self) -> str:
        """Return why the rollout must stop; empty when it may go on."""
        for count, limit, what, option in self._counts():
            if count >= limit:
                return f"{plural(count, 'node')} {what}, {option} is {limit}"
        return ""

    def _forget_silence(self, node: str) -> bool:
        """Return whether a node belongs to the current wave; one that was not silent does."""
        wave = self._silent.pop(node, None)
        self._wave_silent -= wave == self._wave
        return wave in (None, self._wave)

    def _counts(self) -> Iterator[tuple[int, int, str, str]]:
        """Yield each limit: the count, the limit in nodes, what is counted, and the option."""
        limits, wave = self._limits, f" in wave {self._wave}"
        silent = len(self._silent)
        if limits.max_fail:
            both = not limits.max_silent
            yield self._failed + both * silent, limits.max_fail.floor(self._total), _what(both), "max-fail"
        if limits.max_silent:
            yield silent, limits.max_silent.floor(self._total), "silent", "max-silent"
        if limits.wave_max_fail:
            both = not (limits.wave_max_silent or limits.max_silent)
            count = self._wave_failed + both * self._wave_silent
            yield count, limits.wave_max_fail.floor(self._wave_size), _what(both) + wave, "wave-max-fail"
        if limits.wave_max_silent:
            yield self._wave_silent, limits.wave_max_silent.floor(self._wave_size), "silent" + wave, "wave-max-silent"


def _what(both: bool) -> str:
    return "failed or silent" if both else "failed"
