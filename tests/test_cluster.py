"""Clusters that form themselves: what each machine decides, in virtual time and on a table in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.clusters import ClusterWorld, JoiningMachine

from collective.cluster.joining import leave
from collective.cluster_lease import LEASE, REPLACE_AFTER
from collective.errors import ClusterRefused, Unreachable, UsageError

SEEDS = [int(word) for word in os.environ.get("CLUSTER_SEEDS", "1 2 3").split()]


@pytest.fixture
def world(tmp_path: Path) -> ClusterWorld:
    """A world without machines."""
    return ClusterWorld(tmp_path)


def formed(world: ClusterWorld, size: int = 3, **settings: object) -> list[JoiningMachine]:
    """Return the machines of a cluster that has formed."""
    machines = [world.machine(f"web{number}", size=size, **settings) for number in range(1, size + 1)]
    world.run(20)
    assert all(machine.started for machine in machines)
    return machines


@pytest.mark.parametrize("seed", SEEDS)
def test_exactly_one_of_the_machines_that_start_at_once_begins(tmp_path: Path, seed: int) -> None:
    """All get the same peers, and one of them is the first."""
    world = ClusterWorld(tmp_path, seed)
    machines = formed(world, 5)
    starts = [machine.start for machine in machines]
    assert sum(bool(start and start.first) for start in starts) == 1
    assert all(start and start.forming for start in starts)
    beginnings = {start.state.beginning.machines for start in starts if start and start.state.beginning}
    assert len(beginnings) == 1
    assert len(beginnings.pop()) == 5


def test_nothing_starts_before_the_cluster_is_complete(world: ClusterWorld) -> None:
    """Two of three machines wait, however long that takes."""
    two = [world.machine(name) for name in ("web1", "web2")]
    world.run(600)
    assert not any(machine.started for machine in two)
    world.machine("web3")
    world.run(20)
    assert all(machine.started for machine in world.machines.values())


def test_a_machine_that_dies_while_the_cluster_forms_is_forgotten(world: ClusterWorld) -> None:
    """Another machine gets its place, and the peers are those that are there."""
    world.machine("web1")
    world.machine("web2")
    world.run(5)
    world.machines["web1"].kill()
    world.run(LEASE + 5)
    world.machine("web3")
    world.machine("web4")
    world.run(20)
    assert sorted(world.holders) == ["web2", "web3", "web4"]
    assert all(world.machines[name].started for name in world.holders)


def test_the_others_start_when_the_first_one_dies_before_it_started(world: ClusterWorld) -> None:
    """Without --ready the others need not wait for it, and its place goes to a spare, which has to remove it."""
    formed(world)
    [first] = [one for one in world.machines.values() if one.start and one.start.first]
    first.kill()
    spare = world.machine("web4")
    world.run(REPLACE_AFTER + 20)
    assert spare.started
    assert spare.start
    assert [machine.identity for machine in spare.start.place.replaces] == [first.identity]
    assert (spare.start.first, spare.start.forming) == (False, False)


def test_another_machine_begins_when_the_first_one_dies_before_it_is_ready(world: ClusterWorld) -> None:
    """With --ready the others wait for the first one; if it is not heard of any more, another one begins."""
    world.programs_start = False
    machines = [world.machine(f"web{number}", ready=True) for number in (1, 2, 3)]
    world.run(20)
    [first] = [machine for machine in machines if machine.started]
    assert first.start
    assert first.start.first
    first.kill()
    world.programs_start = True
    world.run(LEASE + 20)
    others = [machine for machine in machines if machine is not first]
    assert all(machine.started for machine in others)
    assert sum(bool(machine.start and machine.start.first) for machine in others) == 1
    first.boot()
    world.run(20)
    assert first.started
    assert first.start
    assert not first.start.first


def test_the_first_one_begins_again_after_a_restart(world: ClusterWorld) -> None:
    """With --ready, a first one that returns before another begins is the first again."""
    world.programs_start = False
    machines = [world.machine(f"web{number}", ready=True) for number in (1, 2, 3)]
    world.run(20)
    [first] = [machine for machine in machines if machine.started]
    world.programs_start = True
    first.end()
    first.boot()
    world.run(10)
    assert first.start
    assert first.start.first
    assert sum(bool(machine.start and machine.start.first) for machine in machines) == 1


def test_another_size_is_refused_and_names_who_has_set_it(world: ClusterWorld) -> None:
    """A machine with another --size than the cluster ends at once, with both numbers."""
    world.machine("web1")
    world.run(8)
    wrong = world.machine("web2", size=5)
    world.run(15)
    assert isinstance(wrong.error, UsageError)
    assert str(wrong.error) == ("cluster c: it has 3 places, set by 'web1', not 5 (use the same --size on all nodes)")
    formed_size = world.state.size
    assert formed_size == 3


def test_a_wrong_size_does_not_stay_after_its_machine_has_gone(world: ClusterWorld) -> None:
    """A cluster that never began is formed again with the size of those that are there."""
    world.machine("web1", size=5)
    world.run(8)
    world.machines["web1"].kill()
    for name in ("web2", "web3", "web4"):
        world.machine(name)
    world.run(LEASE + 25)
    assert sorted(world.holders) == ["web2", "web3", "web4"]
    assert all(world.machines[name].started for name in ("web2", "web3", "web4"))


def test_a_second_machine_with_the_same_identity_is_refused(world: ClusterWorld) -> None:
    """The first one keeps its place and its program."""
    machines = formed(world)
    clone = JoiningMachine(world, "web2", world.folder / "clone")
    world.machines["clone"] = clone.boot()
    world.run(30)
    assert str(clone.error) == (
        "cluster c: another process joined as 'web2', and it runs (each node needs its own identity)"
    )
    assert all(machine.started for machine in machines)


def test_a_clone_of_a_machine_with_its_disk_is_refused_too(world: ClusterWorld) -> None:
    """The file with the place does not help a second machine that has a copy of it."""
    formed(world)
    clone = JoiningMachine(world, "web2", world.folder / "clone")
    kept = world.machines["web2"].file.read()
    assert kept
    clone.file.write(kept)
    world.machines["clone"] = clone.boot()
    world.run(30)
    assert isinstance(clone.error, ClusterRefused)
    assert world.machines["web2"].started


@pytest.mark.parametrize("clean", [True, False])
def test_a_machine_with_its_data_returns_to_its_own_place(world: ClusterWorld, clean: bool) -> None:
    """After a restart it has nothing to remove, also when a spare waits."""
    formed(world)
    spare = world.machine("web4")
    back = world.machines["web2"]
    before = world.state.place_of("web2")
    (back.end if clean else back.kill)()
    world.run(5)
    back.boot()
    world.run(40)
    assert back.start
    assert (back.started, back.start.first, back.start.forming, back.start.place.replaces) == (True, False, False, ())
    after = world.state.place_of("web2")
    assert before
    assert after
    assert (after.number, after.token) == (before.number, before.token)
    assert not spare.started


@pytest.mark.parametrize("lost", ["lose_data", "lose_disk"])
def test_a_machine_without_its_data_replaces_itself(world: ClusterWorld, lost: str) -> None:
    """The hook has to remove the member with the lost data, which has the same name."""
    formed(world)
    back = world.machines["web2"]
    back.kill()
    world.run(5)
    back.boot(**{lost: True})
    world.run(40)
    assert back.start
    assert [machine.identity for machine in back.start.place.replaces] == ["web2"]
    assert (back.start.first, back.start.forming) == (False, False)


def test_a_machine_whose_place_was_given_away_is_refused_while_it_has_its_data(world: ClusterWorld) -> None:
    """After `leave` it is a new machine, and waits as a spare."""
    formed(world)
    late = world.machines["web2"]
    late.kill()
    world.machine("web4")
    world.run(REPLACE_AFTER + 20)
    assert "web4" in world.holders
    late.boot()
    world.run(5)
    assert str(late.error) == (
        "cluster c: the place of 'web2' was given to another machine, and this node has data of it (remove its data and"
        " run 'crpc cluster leave' here, to join as a new machine)"
    )
    assert leave("c", "web2", world.table, late.file) is False
    late.boot()
    world.run(30)
    assert (late.error, late.started) == (None, False)


def test_a_paused_machine_that_was_replaced_stops(world: ClusterWorld) -> None:
    """A machine that was suspended for too long finds that it has lost its place."""
    formed(world)
    paused = world.machines["web2"]
    paused.runs = False
    world.machine("web4")
    world.run(REPLACE_AFTER + 20)
    paused.runs = True
    world.run(10)
    assert str(paused.error) == (
        "cluster c: 'web4' has taken the place of this node, which was not heard of for too long"
    )


def test_a_successor_that_dies_is_replaced_together_with_the_one_before(world: ClusterWorld) -> None:
    """The next successor removes both, for the first may have been removed or not."""
    formed(world)
    world.machines["web2"].kill()
    world.programs_start = False
    world.machine("web4")
    world.run(REPLACE_AFTER + 20)
    world.machines["web4"].kill()
    world.programs_start = True
    last = world.machine("web5")
    world.run(REPLACE_AFTER + 20)
    assert last.start
    assert [machine.identity for machine in last.start.place.replaces] == ["web2", "web4"]


def test_two_failed_places_are_taken_one_after_the_other(world: ClusterWorld) -> None:
    """A spare waits while another one is starting."""
    formed(world, 5)
    for name in ("web1", "web2"):
        world.machines[name].kill()
    world.programs_start = False
    spares = [world.machine(name, size=5) for name in ("web6", "web7")]
    world.run(REPLACE_AFTER + 20)
    assert sum(spare.started for spare in spares) == 1
    world.programs_start = True
    next(spare for spare in spares if spare.held).held.report_started()  # type: ignore[union-attr]
    world.run(20)
    assert all(spare.started for spare in spares)


def test_a_place_that_was_given_up_is_taken_at_once(world: ClusterWorld) -> None:
    """The successor of a machine that left does not wait."""
    formed(world)
    gone = world.machines["web2"]
    gone.end()
    assert leave("c", "web2", world.table, gone.file) is True
    spare = world.machine("web4")
    world.run(5)
    assert spare.started
    assert spare.start
    assert [machine.identity for machine in spare.start.place.replaces] == ["web2"]


def test_an_outage_of_the_table_replaces_no_machine(world: ClusterWorld) -> None:
    """The programs keep running, and a spare that waits takes no place when the table is back."""
    machines = formed(world)
    spare = world.machine("web4")
    world.run(10)
    world.table.error = Unreachable("down")
    world.run(3600)
    world.table.error = None
    world.run(120)
    assert all(machine.started for machine in machines)
    assert not spare.started
    assert world.taken == []


def test_a_start_during_an_outage_waits_for_the_table(world: ClusterWorld) -> None:
    """Machines that cannot reach the table try again, and form the cluster when they can."""
    world.table.error = Unreachable("down")
    machines = [world.machine(f"web{number}") for number in (1, 2, 3)]
    world.run(300)
    assert not any(machine.started for machine in machines)
    world.table.error = None
    world.run(20)
    assert all(machine.started for machine in machines)


def test_wrong_clocks_change_nothing(world: ClusterWorld) -> None:
    """Clocks that are years apart, and run at different speeds, lead to the same decisions."""
    clocks = {"web1": (0.0, 1.0), "web2": (1e9, 1.1), "web3": (-1e9, 0.9)}
    for name, (offset, rate) in clocks.items():
        world.machine(name, clock_offset=offset, clock_rate=rate)
    world.run(30)
    spare = world.machine("web4", clock_offset=5e8)
    world.run(600)
    assert all(world.machines[name].started for name in clocks)
    assert not spare.started
    world.machines["web2"].kill()
    world.run(REPLACE_AFTER + 20)
    assert spare.started


@pytest.mark.parametrize("seed", SEEDS)
def test_random_failures(tmp_path: Path, seed: int) -> None:
    """No machine that works is replaced, no two begin, and the cluster is complete again when failures end."""
    world = ClusterWorld(tmp_path, seed)
    formed(world)
    spares = 4
    for _ in range(40):
        world.run(world.random.choice([1, 10, 30, 90]))
        one = world.random.choice(list(world.machines.values()))
        what = world.random.choice(["kill", "end", "boot", "lose", "pause", "outage", "new"])
        if what == "kill" or what == "pause":
            one.kill()
        elif what == "end" and one.runs:
            one.end()
        elif what in ("boot", "lose") and not one.runs:
            one.boot(lose_data=what == "lose")
        elif what == "outage":
            world.table.error = Unreachable("down")
            world.run(world.random.choice([5, 50, 500]))
            world.table.error = None
        elif what == "new" and len(world.machines) < 9:
            world.machine(f"web{spares}")
            spares += 1
        check(world)
    for one in world.machines.values():
        one.kill()
    fresh = [world.machine(f"new{number}") for number in (1, 2, 3)]
    world.run(10 * REPLACE_AFTER)
    check(world)
    assert all(machine.started for machine in fresh)


def check(world: ClusterWorld) -> None:
    """Assert what holds at any time."""
    begun = [start for one in world.machines.values() for start in one.starts if start.first]
    assert len({start.place.token for start in begun}) == 1
    assert [one for one in world.taken if one[2] < 0.8 * REPLACE_AFTER] == []
    running = [one.start.place.number for one in world.machines.values() if one.started and one.start]
    assert len(running) == len(set(running)), running
