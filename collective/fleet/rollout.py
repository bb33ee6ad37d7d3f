"""Decide which nodes to send to, when to look again and when to stop: a state machine without clock or network.

    waiting ── sent ──► working ── answered ──► ok, or failed
       │                 ▲ │ └──── timed out ─► silent ── answered late ──► ok, or failed
       │                 │ └ failed or silent, may be repeated ─► retrying ─┐
       └── stopped ──►   └────────────────── sent again ────────────────────┘
           skipped

A `Pace` sets how fast nodes move from waiting to working. Its settings combine:

* waves, batch, order_by: nodes are sent to in waves (`waves.py`). The next wave begins when every node of the wave
  before has its outcome, the pause is over, and the gate is passed. A percentage is of the expected nodes, or of the
  nodes of a rank, rounded up.
* concurrency N: at most N nodes work at the same time. A node that has answered or timed out makes room for the next.
* per: the same for each group of nodes. A percentage is of the group, rounded down, to at least one.
* rate: at most N nodes are sent to in each period.
* max_fail N or N%: no further nodes are sent to once N have failed or are silent; working nodes are still waited for.
  A percentage is rounded down, to at least one. Without concurrency and waves, max_fail also limits concurrency: the
  number of working nodes never exceeds the number that may still fail, so no more than N can ever fail. max_silent,
  wave_max_fail and wave_max_silent work in the same way.
* retry N: a failed or silent node is sent to again, at most N times, after a delay that doubles. It keeps its place in
  its wave, its group and the concurrency, and counts as failed only when no retry is left. Nothing is repeated after
  the rollout has stopped.

Without these settings all nodes are sent to at once. Within a wave, nodes are sent to in the order of their names; one
whose group is full lets others go first. Times are in seconds, by a clock of the caller's that never runs backwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, KeysView, Mapping
from itertools import islice
from types import MappingProxyType

from collective.fleet.budgets import Budgets
from collective.fleet.grouping import Facts, NodeGroups
from collective.fleet.pace import Pace
from collective.fleet.progress import MAX_AWAITED, CallProgress
from collective.fleet.rate import RateLimit
from collective.fleet.waves import PlannedWave, plan_waves

_NEVER = float("inf")
_NO_FACTS: Facts = MappingProxyType({})


class Rollout:
    """The nodes of one call, each in one state. A node times out `timeout` seconds after it was sent to.

    `facts` has the facts of each node, for order_by and per. `stopped` is the reason why no further nodes are sent to;
    else it is empty. With `gated`, `at_gate` becomes true before each wave but the first, and the rollout waits for
    `pass_gate` or `stop`. While `held` (by a gate) or `paused` (by a person) is true, no node is sent to.
    """

    def __init__(
        self, nodes: Collection[str], pace: Pace, timeout: float, facts: Facts = _NO_FACTS, *, gated: bool = False
    ) -> None:
        self.stopped = ""
        self._total = len(nodes)
        self.waves: tuple[PlannedWave, ...] = plan_waves(nodes, pace.sizes, pace.order_by, facts)
        self.wave = 0  # the number of the current wave, from 1
        self.at_gate = False
        self.held = False
        self.paused = False
        self._gated = gated
        self.timeout = timeout
        self._pace = pace
        self._waiting = dict.fromkeys(node for wave in self.waves for node in wave.nodes)
        self._left: dict[str, None] = {}  # nodes of the current wave that were not sent to
        self._working: dict[str, float] = {}  # by node, the time of sending; oldest first
        self._retrying: dict[str, float] = {}  # by node, the time of the next attempt
        self._attempts: dict[str, int] = {}
        self._groups = NodeGroups(nodes, pace.per, facts)
        self._rate = RateLimit(pace.rate)
        self._budgets = Budgets(pace.limits, len(nodes))
        self._limits_concurrency = pace.concurrency is None and not pace.sizes
        self._resume: float | None = None  # the end of the pause after this wave
        self._alarm = _NEVER  # when to check again although no node has answered or timed out
        self._given_up: list[str] = []
        if self.waves:
            self._begin_wave()

    @property
    def working(self) -> Mapping[str, float]:
        """The nodes that work, with the time of sending; oldest first."""
        return MappingProxyType(self._working)

    @property
    def retrying(self) -> KeysView[str]:
        """The nodes that will be sent to again."""
        return self._retrying.keys()

    @property
    def waiting(self) -> Collection[str]:
        """The nodes not sent to, in the planned order."""
        return self._waiting.keys()

    def progress(self, elapsed: float) -> CallProgress:
        """Return the counts of nodes by state; another thread may call this while nodes change their states."""
        working, retrying, waiting = list(self._working), len(self._retrying), len(self._waiting)
        failed, silent, limit = self._budgets.failed, self._budgets.silent, self._pace.max_fail
        return CallProgress(
            total=self._total,
            ok=max(0, self._total - waiting - len(working) - retrying - silent - failed),
            failed=failed,
            silent=silent,
            running=len(working),
            retrying=retrying,
            waiting=waiting,
            awaited=tuple(working[:MAX_AWAITED]),
            wave=self.wave,
            waves=len(self.waves),
            max_fail=None if limit is None else limit.floor(self._total),
            paused=self.held or self.at_gate or self.paused,
            elapsed=elapsed,
        )

    @property
    def over(self) -> bool:
        """Whether no node works and none will be sent to."""
        return not self._working and not self._retrying and (bool(self.stopped) or not self._waiting)

    def due(self, now: float) -> list[str]:
        """Return the nodes to send to now; `sent` must be called for those that were."""
        self._alarm = _NEVER
        if self.stopped or self.held or self.paused:
            return []
        if not (self._left or self._working or self._retrying) and self._waiting:
            self._end_wave(now)
        again = [node for node, at in self._retrying.items() if at <= now]
        new = self._fitting(self._room())
        most = self._rate.room(now)
        if most is not None and len(again) + len(new) > most:
            self._alarm = self._rate.next()
        later = [at for at in self._retrying.values() if at > now]
        self._alarm = min([self._alarm, *later])
        return [*again, *new][:most]

    def sent(self, nodes: Iterable[str], now: float) -> None:
        """Record that nodes were sent to; their timeouts start now."""
        count = 0
        for node in nodes:
            count += 1
            if self._retrying.pop(node, None) is None:
                del self._waiting[node], self._left[node]
                self._groups.begin(node)
            self._attempts[node] = self._attempts.get(node, 0) + 1
            self._working[node] = now
        self._rate.started(count, now)

    def extend(self, nodes: Iterable[str], now: float) -> None:
        """Start the timeouts of working nodes again, because the next step of their work begins."""
        for node in nodes:
            if self._working.pop(node, None) is not None:
                self._working[node] = now

    def answered(self, node: str, ok: bool, *, now: float = 0.0, repeatable: bool = False) -> None:
        """Record a node's reply, even if it is late; nodes not sent to and second replies are ignored.

        `repeatable`: the failure may pass, so that the node is sent to again if a retry is left.
        """
        if node in self._retrying:
            if not ok:
                return
            del self._retrying[node]
            self._groups.end(node)
        elif node in self._working:
            del self._working[node]
            if not ok and repeatable and self._retry(node, now):
                return
            self._groups.end(node)
        elif not self._budgets.is_silent(node):
            return
        (self._budgets.succeed if ok else self._budgets.fail)(node)
        self._check_budgets()

    def give_up(self, nodes: Iterable[str], now: float = 0.0, *, repeatable: bool = False) -> None:
        """Stop waiting for nodes: they are silent unless they answer late, or a retry is left."""
        for node in nodes:
            if self._working.pop(node, None) is None or (repeatable and self._retry(node, now)):
                continue
            self._groups.end(node)
            self._budgets.silence(node)
            self._given_up.append(node)
        self._check_budgets()

    def take_given_up(self) -> list[str]:
        """Return the nodes that have become silent since the last call."""
        given_up, self._given_up = self._given_up, []
        return given_up

    def restore(self, ended: Mapping[str, bool | None], now: float) -> None:
        """Go on after another caller, which has reached the nodes in `ended`: they are not reached again.

        The value is True for OK, False for failed, None for silent. The rate begins again as if all had just started.
        """
        last = max(
            (number for number, wave in enumerate(self.waves) if not ended.keys().isdisjoint(wave.nodes)), default=0
        )
        for number, wave in enumerate(self.waves[: last + 1]):
            if number:
                self._begin_wave()
            for node in wave.nodes:
                if node in ended:
                    del self._waiting[node]
                    self._restore_outcome(node, ended[node])
        begun = [node for wave in self.waves[: last + 1] for node in wave.nodes]
        self._left = {node: None for node in begun if node in self._waiting}
        self._rate.started(len(ended), now)
        self._check_budgets()

    def _restore_outcome(self, node: str, ok: bool | None) -> None:
        if ok is None:
            self._budgets.silence(node)
        elif not ok:
            self._budgets.fail(node)

    def expire(self, now: float) -> None:
        """Stop waiting for the nodes that have timed out."""
        over = []
        for node, since in self._working.items():
            if now < since + self.timeout:
                break
            over.append(node)
        self.give_up(over, now, repeatable=True)

    def stop(self, reason: str) -> None:
        """Send to no further nodes, and repeat nothing. The first reason is kept."""
        self.stopped = self.stopped or reason
        self.at_gate = self.held = False
        self._retrying.clear()

    def pass_gate(self) -> None:
        """Begin the next wave."""
        if self.at_gate:
            self._begin_wave()

    def wake(self) -> float:
        """Return the latest time to check again without a reply: the next timeout, or the end of a pause or delay.

        It depends on the last call of `due`. At a gate, and while held, it is infinity when no node works.
        """
        if self._working:
            return min(self._alarm, next(iter(self._working.values())) + self.timeout)
        if self.at_gate or self.held or self.paused:
            return _NEVER
        return float("-inf") if self._alarm == _NEVER else self._alarm

    # -- how many, and which

    def _room(self) -> int:
        """Return how many more nodes may work, without regard to groups and rate."""
        busy = len(self._working) + len(self._retrying)
        if self._pace.concurrency is not None:
            return self._pace.concurrency - busy
        left = self._budgets.room() if self._limits_concurrency else None
        return len(self._left) if left is None else left - busy

    def _fitting(self, room: int) -> list[str]:
        """Return the next nodes of this wave that may start."""
        if room <= 0:
            return []
        return list(islice(self._groups.fitting(self._left) if self._groups else self._left, room))

    def _end_wave(self, now: float) -> None:
        """Begin the next wave after the pause and the gate."""
        if self._resume is None:
            self._resume = now + self._pace.pause
        if now < self._resume:
            self._alarm = self._resume
        elif self._gated:
            self.at_gate = True
        else:
            self._begin_wave()

    def _begin_wave(self) -> None:
        nodes = self.waves[self.wave].nodes
        self.wave += 1
        self.at_gate, self._resume = False, None
        self._left = dict.fromkeys(nodes)
        self._budgets.begin_wave(len(nodes))

    # -- what happened

    def _retry(self, node: str, now: float) -> bool:
        """Plan the next attempt of a node, and return True; return False when there is none."""
        attempts = self._attempts[node]
        if self.stopped or attempts > self._pace.retry:
            return False
        self._retrying[node] = now + self._pace.retry_delay * 2.0 ** (attempts - 1)
        return True

    def _check_budgets(self) -> None:
        if not self.stopped and (reason := self._budgets.exceeded()):
            self.stop(reason)
