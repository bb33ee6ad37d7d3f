"""Rollouts over a scripted fleet: waves, limits and stops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.scripted_calls import SILENT, TIMEOUT, call_shell, network_of
from support.scripted_fleet import Part, Scripted, Sent

from collective.fleet.amounts import Amount
from collective.fleet.pace import Pace
from collective.fleet.targets import Targets


def test_a_limit_reduces_the_expected_nodes(tmp_path: Path) -> None:
    """A limit with a seed selects the same nodes each time, and the other nodes are not even skipped."""
    reached = []
    for attempt in "xy":
        network = network_of("abcdefghij")
        outcomes = call_shell(network, tmp_path / attempt, targets=Targets(limit="30%", limit_seed=5)).wait()
        reached.append([sent.node for sent in network.sent])
        assert sorted(outcomes.expected) == sorted(reached[-1]) == sorted(outcomes.ok)
    assert len(reached[0]) == 3
    assert sorted(reached[0]) == sorted(reached[1])


def test_every_wave_is_a_separate_request(tmp_path: Path) -> None:
    """Each wave has its own ID, time and targets, and a TTL of 6 s."""
    network = network_of("abcde")
    call = call_shell(network, tmp_path, pace=Pace(batch=2, batch_sleep=30))
    call.wait()
    assert [sent.request.targets for sent in network.sent[::2]] == [("a", "b"), ("c", "d"), ("e",)]
    assert [sent.at for sent in network.sent] == [0, 0, 31, 31, 62]
    assert call.request_ids == list(dict.fromkeys(sent.request.id for sent in network.sent))
    assert (len(call.request_ids), call.request_ids[0]) == (3, call.request_id)
    assert len({sent.request.time for sent in network.sent}) == 3
    assert {sent.request.ttl for sent in network.sent} == {6.0}
    assert {sent.request.timeout for sent in network.sent} == {9.0}


def test_a_given_ttl_is_used_in_a_rollout(tmp_path: Path) -> None:
    """The TTL argument takes precedence in a rollout; without a pace, the configured TTL is used."""
    network = network_of("a")
    call_shell(network, tmp_path, pace=Pace(1), ttl=45.0).wait()
    call_shell(network, tmp_path).wait()
    assert [sent.request.ttl for sent in network.sent] == [45.0, 60.0]


def test_an_unresponsive_node_makes_room_in_a_rollout(tmp_path: Path) -> None:
    """The next node is sent to after 7 s, and the request of the unresponsive node has expired when it wakes up."""
    network = network_of("ac", b=Part(after=30.0, wakes=8.0))
    outcomes = call_shell(network, tmp_path, pace=Pace(1), timeout=60.0).wait()
    assert {sent.node: sent.at for sent in network.sent} == {"a": 0, "b": 1, "c": 8}
    assert [sent.ends - sent.begins for sent in network.sent if sent.node == "b"] == [0]
    assert (outcomes.ok, outcomes.failed, network.time) == (["a", "c"], ["b"], 9)


def test_max_fail_stops_a_rollout(tmp_path: Path) -> None:
    """After max_fail failures the working nodes are waited for, the others are skipped, and the exit code is 4."""
    network = network_of("acdef", b=Part(statuscode=1))
    call = call_shell(network, tmp_path, pace=Pace(concurrency=2, max_fail=1))
    outcomes = call.wait()
    assert outcomes.counts() == {"ok": 1, "failed": 1, "silent": 0, "skipped": 4, "unexpected": 0, "rejected": 0}
    assert (sorted(outcomes.skipped), outcomes.exit_code()) == (["c", "d", "e", "f"], 4)
    assert call.stopped == "1 node failed or silent, max-fail is 1"


def test_a_rollout_that_reached_every_node_was_not_stopped(tmp_path: Path) -> None:
    """When only the last node fails, nothing is skipped, and the exit code is that of a failure."""
    network = network_of("a", b=Part(statuscode=1))
    call = call_shell(network, tmp_path, pace=Pace(concurrency=2, max_fail=1))
    assert (call.wait().exit_code(), call.stopped) == (2, "")


def test_a_stopped_call_is_cut_short(tmp_path: Path) -> None:
    """After `stop`, nodes that have not replied are silent, and the call is marked as cut short."""
    call = call_shell(network_of("a", b=SILENT), tmp_path)
    next(iter(call))
    call.stop("interrupted")
    call.close()
    assert (call.outcomes.silent, call.cut_short, call.stopped) == (["b"], True, "interrupted")
    waited = call_shell(network_of("a", b=SILENT), tmp_path / "other")
    assert (waited.wait().silent, waited.cut_short, waited.stopped) == (["b"], False, "")


PARTS = st.builds(
    Part,
    after=st.none() | st.sampled_from([0.0, 0.5, 1.0, 3.0, 8.9, 9.5, 11.0, 30.0]),
    statuscode=st.sampled_from([0, 0, 0, 1, 5]),
    copies=st.integers(1, 3),
    wakes=st.sampled_from([0.0, 0.0, 0.0, 4.0, 8.0, 900.0]),
    absent=st.sampled_from([False] * 9 + [True]),
)
AMOUNTS = st.builds(Amount, st.integers(1, 5)) | st.builds(Amount, st.integers(1, 100), st.just(True))
PACES = st.builds(
    Pace,
    concurrency=st.none() | st.integers(1, 4),
    batch=st.none() | AMOUNTS,
    max_fail=st.none() | AMOUNTS,
)


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PARTS, min_size=1, max_size=12), pace=PACES, direct_limit=st.sampled_from([2, 50]))
def test_no_schedule_breaks_a_promise(tmp_path: Path, parts: list[Part], pace: Pace, direct_limit: int) -> None:
    """No node works beyond the concurrency limit, and none is reached after too many failures.

    Whatever they do, every expected node ends in exactly one outcome, the right one, and the call ends.
    """
    network = Scripted({f"web{number:02}": part for number, part in enumerate(parts)})
    network.watch = promises(network, pace)
    call = call_shell(
        network, tmp_path, targets=Targets(nodes=network.parts), pace=pace, client={"direct_limit": direct_limit}
    )
    outcomes = call.wait()

    named = [*outcomes.ok, *outcomes.failed, *outcomes.silent, *outcomes.skipped]
    assert sorted(named) == sorted(network.parts)
    assert (outcomes.unexpected, outcomes.rejected) == ([], set())
    heard = {reply.sender: reply.ok for reply in reversed(network.received)}
    assert {name: name in outcomes.ok for name in [*outcomes.ok, *outcomes.failed]} == heard
    reached = [sent.node for sent in network.sent]
    assert len(reached) == len(set(reached))
    assert outcomes.skipped.isdisjoint(reached)
    assert bool(call.stopped) == (outcomes.exit_code() == 4)
    assert bool(outcomes.skipped) == bool(call.stopped)


def promises(network: Scripted, pace: Pace) -> Callable[[Sent], None]:
    """Return a function that checks the limits whenever a request reaches its node."""
    total = len(network.parts)
    bounds = [
        pace.concurrency or total,
        pace.batch.ceil(total) if pace.batch else total,
    ]
    most = pace.max_fail.floor(total) if pace.max_fail else total + 1
    if pace.max_fail and len(bounds) == 2 and pace == Pace(max_fail=pace.max_fail):
        bounds.append(most)

    def watch(_sent: Sent) -> None:
        assert network.working() < min(bounds)
        assert failures(network) < most

    return watch


def failures(network: Scripted) -> int:
    """Return the number of nodes that have failed, or that must have timed out by now."""
    first = {reply.sender: reply for reply in reversed(network.received)}
    silent = {sent.node for sent in network.sent if network.time >= sent.at + TIMEOUT + 5.0} - first.keys()
    return len(silent) + sum(not reply.ok for reply in first.values())
