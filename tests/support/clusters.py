"""Machines that join a cluster on a table in memory, in virtual time.

world = ClusterWorld(tmp_path)
web1 = world.machine("web1")
world.run(60)                       seconds of virtual time, in which each machine takes its steps
web1.started, web1.kill(), web1.boot(lose_data=True)
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from collective.cluster.command import ClusterCommand, ClusterCommands
from collective.cluster.holding import HeldPlace
from collective.cluster.joining import ClusterJoin, JoinWaiting, new_process
from collective.cluster.place_file import KeptPlace, PlaceFile
from collective.cluster.state import (
    ClusterBeginning,
    ClusterMachine,
    ClusterPlace,
    ClusterState,
    StoredCluster,
    decode,
    encode,
)
from collective.cluster.steps import Joiner, Start
from collective.cluster.words import PeerForm
from collective.errors import ClusterRefused, CollectiveError, Unreachable, UsageError


@dataclass
class MemoryCluster:
    """A cluster's item in memory; every access raises `error`, if there is one."""

    stored: StoredCluster = field(default_factory=StoredCluster)
    error: CollectiveError | None = None
    taken: list[tuple[str, str]] = field(default_factory=list)  # who has taken whose place

    def read(self) -> StoredCluster:
        """Return the cluster."""
        self._check()
        return self.stored

    def write(self, stored: StoredCluster, state: ClusterState) -> bool:
        """Store a state that follows from `stored`, as text, as a table does."""
        self._check()
        if stored.version != self.stored.version:
            return False
        before = {place.number: place for place in self.stored.state.places} if self.stored.state else {}
        beats = dict(self.stored.beats)
        for place in state.places:
            old = before.get(place.number)
            if old is None or old.process != place.process:
                beats[place.number] = 0
            if old is not None and old.identity != place.identity and not old.vacant:
                self.taken.append((place.identity, old.identity))
        self.stored = StoredCluster(stored.version + 1, decode(encode(state), "memory"), beats)
        return True

    def renew(self, place: ClusterPlace) -> bool:
        """Count one renewal."""
        self._check()
        state = self.stored.state
        now = next((one for one in state.places if one.number == place.number), None) if state else None
        if now is None or now.process != place.process:
            return False
        self.stored = replace(
            self.stored, beats={**self.stored.beats, place.number: self.stored.beats[place.number] + 1}
        )
        return True

    def _check(self) -> None:
        if self.error:
            raise self.error


@dataclass
class JoiningMachine:
    """A machine: its disk is a folder. `clock_offset` and `clock_rate` make its clock differ from the others'."""

    world: ClusterWorld
    identity: str
    folder: Path
    size: int = 3
    ready: bool = False
    clock_offset: float = 0.0
    clock_rate: float = 1.0
    runs: bool = False
    start: Start | None = None
    error: Exception | None = None
    join: ClusterJoin | None = None
    held: HeldPlace | None = None
    starts: list[Start] = field(default_factory=list)
    last_renewal: float = 0.0
    _next: float = 0.0

    @property
    def started(self) -> bool:
        """Whether its program runs."""
        return self.runs and self.start is not None

    def clock(self) -> float:
        """Return the time of its own clock."""
        return self.clock_offset + self.world.now * self.clock_rate

    def boot(self, *, lose_data: bool = False, lose_disk: bool = False) -> JoiningMachine:
        """Start `crpc cluster join`, at the first time or again."""
        if lose_disk:
            self.file.remove()
        machine = ClusterMachine(self.identity, f"10.0.0.{len(self.world.machines)}")
        me = Joiner(
            "c", machine, self.size, new_process(), has_data=not (lose_data or lose_disk), needs_ready=self.ready
        )
        self.join = ClusterJoin(me, self.world.table, self.file, JoinWaiting(clock=self.clock))
        self.runs, self.start, self.held, self.error, self._next = True, None, None, None, self.world.now
        return self

    @property
    def file(self) -> PlaceFile:
        """The file of its place."""
        self.folder.mkdir(exist_ok=True)
        return PlaceFile(self.folder, "c")

    def kill(self) -> None:
        """Let it do nothing any more, as after a power failure."""
        self.runs = False

    def end(self) -> None:
        """End the command cleanly."""
        if self.held:
            self.held.release()
        elif self.join:
            self.join.withdraw()
        self.runs = False

    def step(self) -> None:
        """Do what it does now, if it is time to."""
        if not self.runs or self.world.now < self._next:
            return
        try:
            pause = self._renew() if self.held else self._join()
        except Unreachable:
            pause = 2.0
        except (ClusterRefused, UsageError) as error:
            self.error, self.runs, pause = error, False, 0.0
        self._next = self.world.now + pause * self.world.random.uniform(0.9, 1.1)

    def _renew(self) -> float:
        assert self.held is not None
        self.held.renew()
        if self.held.problem:
            raise ClusterRefused("c", self.held.problem)
        self.last_renewal = self.world.now
        return 5.0

    def _join(self) -> float:
        assert self.join is not None
        found = self.join.step()
        if not isinstance(found, Start):
            return 1.0
        self.start = found
        self.starts.append(found)
        self.held = HeldPlace("c", self.world.table, found, lambda _seconds: None)
        self.file.write(KeptPlace(found.place.token, started=True))
        if self.world.programs_start:
            self.held.report_started()
        return 5.0


class ClusterWorld:
    """The machines, a table, and the time, which moves in steps of half a second."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder = folder
        self.random = random.Random(seed)  # noqa: S311 - a test
        self.table = MemoryCluster()
        self.now = 0.0
        self.machines: dict[str, JoiningMachine] = {}
        self.taken: list[tuple[str, str, float]] = []  # successor, machine before, seconds since its last renewal
        self.programs_start = True  # false: they die before they are ready

    def machine(self, identity: str, **settings: object) -> JoiningMachine:
        """Return a new machine that joins now."""
        self.machines[identity] = JoiningMachine(self, identity, self.folder / identity, **settings)  # type: ignore[arg-type]
        return self.machines[identity].boot()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.5
            for machine in self.random.sample(list(self.machines.values()), len(self.machines)):
                machine.step()
            for successor, before in self.table.taken:
                self.taken.append((successor, before, self.now - self.machines[before].last_renewal))
            self.table.taken.clear()

    @property
    def state(self) -> ClusterState:
        """What the table has."""
        assert self.table.stored.state is not None
        return self.table.stored.state

    @property
    def holders(self) -> list[str]:
        """The identities in the places."""
        return [place.identity for place in self.state.places]


TOKEN, OTHER = "0" * 32, "f" * 32
WEB1, WEB2 = ClusterMachine("web1", "10.0.0.1"), ClusterMachine("web2", "fe80::2")


def started_first(first: bool = True, forming: bool = True, replaces: tuple[ClusterMachine, ...] = ()) -> Start:
    """Return what `web1` gets in a cluster of two."""
    mine = ClusterPlace(0, WEB1, TOKEN, TOKEN, replaces=replaces)
    state = ClusterState(TOKEN, 2, "web1", (mine, ClusterPlace(1, WEB2, OTHER, OTHER)))
    state = ClusterState(TOKEN, 2, "web1", state.places, ClusterBeginning(WEB1, TOKEN, (WEB1, WEB2)))
    return Start(state, mine, first, forming)


@dataclass
class HeldCommand:
    """A program, its place, and the table that this is in."""

    command: ClusterCommand
    held: HeldPlace
    table: MemoryCluster


def cluster_command(program: str, start: Start | None = None, **settings: Any) -> HeldCommand:
    """Return a program of a cluster of two, in the place of `web1`."""
    start = start or started_first()
    table = MemoryCluster(StoredCluster(1, start.state, {0: 0, 1: 0}))
    held = HeldPlace("c", table, start, lambda _seconds: None)
    commands = ClusterCommands(program, form=PeerForm("{name}=http://{host}:2380"), **settings)
    return HeldCommand(ClusterCommand(commands, held, lambda _line: None, lambda _seconds: None), held, table)
