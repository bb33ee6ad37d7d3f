"""Members, events and the state file of watchers."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.membership import PERIOD, WatchedRegistry

from collective.errors import ConfigError
from collective.filters import look_up
from collective.membership import Event, Member, MemberView, StateFile, Watcher
from collective.membership.confirmation import BySilence
from collective.registry import NodeRecord, Revocation
from collective.registry.feed import FullReads
from collective.signing.keys import PublicKey

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH5qGkBhbEjgTpfkcSpw3vpVCgPrTlmyJkXpQ3CYfHLk"


@pytest.fixture
def watched() -> Iterator[Callable[..., WatchedRegistry]]:
    """Return a function that makes a registry with a watcher; each is closed after the test."""
    with ExitStack() as stack:
        yield lambda *args, **words: stack.enter_context(closing(WatchedRegistry(*args, **words)))


@pytest.fixture
def world(watched: Callable[..., WatchedRegistry]) -> WatchedRegistry:
    return watched()


def test_nodes_that_are_there_at_first_join_initially(world: WatchedRegistry) -> None:
    """The first step has a join for each node that is alive, marked as initial; later joins are not."""
    world.put("b")
    world.put("a")
    assert [(e.kind, e.member.identity, e.initial) for e in world.events()] == [
        ("join", "a", True),
        ("join", "b", True),
    ]
    world.put("c")
    assert [(e.kind, e.member.identity, e.initial) for e in world.events()] == [("join", "c", False)]
    assert world.events() == []


def test_an_empty_collective_has_no_initial_joins_later(world: WatchedRegistry) -> None:
    """A watcher that began with an empty registry reports the first node as a usual join."""
    assert world.events() == []
    world.put("a")
    assert [event.initial for event in world.events()] == [False]


def test_a_clean_stop_is_a_leave_and_a_start_a_join(world: WatchedRegistry) -> None:
    """A node that leaves and registers again leaves and joins once each."""
    world.put("a")
    world.step()
    world.registry.leave("a", "1")
    assert world.step(1) == ["leave a"]
    assert world.step(100) == []
    world.put("a", "2")
    assert world.step(1) == ["join a"]


def test_a_failure_is_reported_when_it_is_confirmed(world: WatchedRegistry) -> None:
    """Without heartbeats a node is suspected, and failed after the confirmation only."""
    world.put("a")
    world.step()
    world.answers.dead = {"a"}
    assert world.step(12) == []
    assert world.answers.asked == []
    assert world.step(1) == []
    assert world.answers.asked == ["a"]
    [event] = world.events(1)
    assert (event.kind, event.member.state, event.reason) == ("failed", "failed", "its queue is not read")
    assert world.step(1000) == []


def test_a_node_that_answers_is_not_failed(world: WatchedRegistry) -> None:
    """A lost heartbeat alone is not a failure: the node that answers is asked again after a period only."""
    world.put("a")
    world.step()
    assert world.step(16) == []
    assert world.answers.asked == ["a"]
    assert world.step(1) == []
    assert world.answers.asked == []
    assert world.step(10) == []
    assert world.answers.asked == ["a"]


def test_an_unknown_result_is_no_failure(world: WatchedRegistry) -> None:
    """A node that cannot be examined stays alive, and is examined again."""
    world.put("a")
    world.step()
    world.answers.unknown = {"a"}
    for _ in range(5):
        assert world.step(16) == []
        assert world.answers.asked == ["a"]


def test_a_heartbeat_during_the_confirmation_refutes_it(world: WatchedRegistry) -> None:
    """A verdict that is older than the last heartbeat does not count; neither does one about a node that stopped."""
    world.put("a")
    world.put("b")
    world.step()
    world.answers.dead = {"a", "b"}
    world.step(16)
    world.registry.heartbeat("a", "1")
    world.registry.leave("b", "1")
    assert world.step(1) == ["leave b"]


def test_a_failed_node_joins_with_a_later_heartbeat(world: WatchedRegistry) -> None:
    """A failed node that is heard of again joins."""
    world.put("a")
    world.step()
    world.answers.dead = {"a"}
    world.step(16)
    assert world.step(1) == ["failed a"]
    world.registry.heartbeat("a", "1")
    assert world.step(1) == ["join a"]


def test_the_registry_is_read_as_often_as_the_heartbeats_need(world: WatchedRegistry) -> None:
    """By default three times for each heartbeat, at least every 5 s and at most every second; or as configured."""
    world.step()
    assert world.watcher.pause(None) == 5.0
    world.put("a")
    world.step()
    assert world.watcher.pause(None) == pytest.approx(10 / 3)
    assert world.watcher.pause(60.0) == 60.0
    world.registry.put(NodeRecord("b", "1", period=1.0))
    world.step()
    assert world.watcher.pause(None) == 1.0


def test_a_failure_found_just_after_a_restart_is_no_join(
    watched: Callable[..., WatchedRegistry], tmp_path: Path
) -> None:
    """The last heartbeat of a failed node is the one of the verdict, not an older one in the state file."""
    world = watched(tmp_path / "state")
    world.put("a")
    world.step()
    world.clock.time += 10
    world.registry.heartbeat("a", "1")
    world.answers.dead = {"a"}
    assert world.step(16) == []
    world.restart()
    assert world.step(1) == ["failed a"]
    assert world.step(1) == []


def test_a_removed_record_of_a_node_that_is_gone_is_reaped(world: WatchedRegistry) -> None:
    """After prune, members that left or failed are reaped; one that is alive is examined first."""
    world.put("a")
    world.put("b")
    world.step()
    world.registry.leave("a", "1")
    world.step()
    world.answers.dead = {"b"}
    for record in world.registry.nodes():
        world.registry.remove(record)
    assert world.step(1) == ["reap a"]
    assert world.step(16) == []
    assert world.step(1) == ["failed b", "reap b"]
    assert world.watcher.snapshot.members == {}


def test_an_update_names_what_changed(world: WatchedRegistry) -> None:
    """An update has the names that changed, by part."""
    world.put(
        "a", facts={"role": "web", "addresses": ["10.0.0.1"], "same": [1]}, classes=("x",), agents={"rpcutil": "1"}
    )
    world.step()
    world.put(
        "a", facts={"role": "db", "addresses": ["10.0.0.2"], "same": [1]}, classes=("y",), agents={"rpcutil": "2"}
    )
    [event] = world.events()
    assert event.kind == "update"
    assert event.changes == {
        "facts": ("addresses", "role"),
        "classes": ("x", "y"),
        "agents": ("rpcutil",),
        "addresses": ("10.0.0.1", "10.0.0.2"),
    }
    assert (event.member.role, event.member.address) == ("db", "10.0.0.2")


def test_true_and_one_are_different_facts(world: WatchedRegistry) -> None:
    """Python's equality of 1, 1.0 and true does not hide a change."""
    world.put("a", facts={"x": 1})
    world.step()
    world.put("a", facts={"x": True})
    assert world.step() == ["update a"]


def test_ignored_facts_are_no_update(watched: Callable[..., WatchedRegistry]) -> None:
    """The change of an ignored fact has no event, and the member has the new value."""
    world = watched(view=MemberView(ignored_facts=["uptime"]))
    world.put("a", facts={"uptime": 1})
    world.step()
    world.put("a", facts={"uptime": 2})
    assert world.step() == []
    assert world.watcher.snapshot.members["a"].facts == {"uptime": 2}


def test_a_node_that_matches_no_more_leaves(watched: Callable[..., WatchedRegistry]) -> None:
    """A node leaves the view when its facts do not match any more, and joins when they do again."""
    world = watched(view=MemberView(lambda record: look_up(record.facts, "role") == "web"))
    world.put("a", facts={"role": "web"})
    world.put("b", facts={"role": "db"})
    assert world.step() == ["join a"]
    world.put("a", facts={"role": "db"})
    world.put("b", facts={"role": "web"})
    assert world.step() == ["leave a", "join b"]


def test_a_revoked_node_leaves(world: WatchedRegistry) -> None:
    """A node leaves when its key is revoked, and joins when it is readmitted."""
    fingerprint = PublicKey.from_line(KEY).fingerprint
    world.put("a", public_key=KEY)
    world.step()
    world.registry.record_revocation(Revocation("a", fingerprint))
    [event] = world.events()
    assert (event.kind, event.reason) == ("leave", "its key is revoked")
    world.registry.record_revocation(Revocation("a", fingerprint, active=False))
    assert world.step() == ["join a"]


def test_two_machines_with_one_identity_are_one_conflict(world: WatchedRegistry) -> None:
    """A conflict is reported once, its alternating records are no updates, and its end is silent."""
    world.put("a", facts={"host": "x"})
    world.step()
    for number in range(6):
        world.put("a", str(number), facts={"host": str(number)}, contested=world.clock())
        assert world.step(PERIOD) == (["conflict a"] if number == 0 else [])
    world.put("a", "9", facts={"host": "9"}, contested=world.clock())
    for _ in range(5):
        world.registry.heartbeat("a", "9")
        assert "conflict a" not in world.step(PERIOD)
    world.put("a", "8", contested=world.clock())
    assert world.step() == ["conflict a"]


def test_a_change_that_does_not_last_is_none(watched: Callable[..., WatchedRegistry]) -> None:
    """With `settle`, a node that restarts at once has no events, and one that stays away leaves."""
    world = watched(settle=5)
    world.put("a")
    assert world.step() == ["join a"]
    world.registry.leave("a", "1")
    assert world.step(1) == []
    world.put("a", "2")
    assert world.step(1) == []
    world.registry.leave("a", "2")
    assert [world.step(2) for _ in range(4)] == [[], [], [], ["leave a"]]


def test_silence_alone_decides_late(watched: Callable[..., WatchedRegistry]) -> None:
    """Where nodes cannot be asked, six silent periods are a failure, and five are none."""
    world = watched()
    world.watcher = Watcher(FullReads(world.registry), world.store, MemberView(), BySilence(), collective="test")
    world.put("a")
    world.step()
    assert [world.step(PERIOD) for _ in range(7)] == [[], [], [], [], [], [], ["failed a"]]


def test_a_stopped_watcher_continues(watched: Callable[..., WatchedRegistry], tmp_path: Path) -> None:
    """What happened while no watcher ran is reported at the start, and nothing twice."""
    world = watched(tmp_path / "state")
    world.put("a")
    world.put("b")
    world.put("c")
    world.step()
    world.registry.leave("a", "1")
    world.put("b", facts={"x": 1})
    world.put("d")
    world.restart()
    assert world.step(1) == ["leave a", "update b", "join d"]
    world.restart()
    assert world.step(1) == []


def test_an_undelivered_event_is_kept(watched: Callable[..., WatchedRegistry], tmp_path: Path) -> None:
    """An event that was not delivered is pending after a restart, with its number; numbers are never used again."""
    world = watched(tmp_path / "state")
    world.put("a")
    world.put("b")
    first, second = world.watcher.step()
    world.store.delivered([first])
    world.restart()
    assert world.store.pending() == [second]
    assert world.watcher.step() == []
    world.store.delivered([second])
    world.put("c")
    assert [event.number for event in world.watcher.step()] == [3]


def test_events_and_members_survive_as_data() -> None:
    """Members and events are the same after a way through JSON values."""
    member = Member("a", "failed", ("::1", "10.0.0.1"), {"x": [1]}, ("c",), {"rpcutil": "1"}, 5.0, 10.0, True)
    event = Event(3, "update", 7.5, member, {"facts": ("x",)}, "why", True)
    assert Event.from_data(event.to_data()) == event


def test_a_state_file_has_one_collective_and_one_watcher(tmp_path: Path) -> None:
    """A second watcher with the same file, another collective and a file of another kind are refused."""
    path = tmp_path / "state"
    store = StateFile(path, "one")
    with pytest.raises(ConfigError, match="another watcher uses it"):
        StateFile(path, "one")
    store.close()
    with pytest.raises(ConfigError, match=r"is the state of the collective 'one', not 'two' \(use another file\)"):
        StateFile(path, "two")
    path.write_text("x" * 2000)
    with pytest.raises(ConfigError, match=r"not a database \(delete it to begin again, or use another file\)"):
        StateFile(path, "one")


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """The file of another program is left as it is."""
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r": is not the state of a watcher \(use another file\)"):
        StateFile(path, "test")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "error"), [("", "Is a directory (use another file)"), ("fifo", "disk I/O error (use another file)")]
)
def test_what_is_no_file_need_not_be_deleted(tmp_path: Path, name: str, error: str) -> None:
    """The hint to delete a state is only for one that is damaged."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError) as caught:
        StateFile(tmp_path / name, "test")
    assert str(caught.value) == f"{tmp_path / name}: state cannot be opened: {error}"


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO members VALUES ('x', '{')",
        "INSERT INTO members VALUES ('x', '{\"a\": 1}')",
        "INSERT INTO events (document) VALUES ('7')",
    ],
)
def test_a_damaged_document_is_one_line(tmp_path: Path, change: str) -> None:
    """Members and events that were not written by this program are an error of the file, with what to do."""
    path = tmp_path / "state"
    StateFile(path, "test").close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change)
    store = StateFile(path, "test")
    with pytest.raises(ConfigError) as caught:
        store.members(), store.pending()
    store.close()
    remedy = "delete it to begin again, or use another file"
    assert str(caught.value) == f"{path}: state cannot be read: it is damaged ({remedy})"


def test_a_state_that_cannot_be_written_loses_no_event(world: WatchedRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error such as a full disk, the same change is found again."""
    world.put("a")
    world.step()
    world.put("b")

    def full(*_: object) -> list[Event]:
        raise ConfigError("disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "add", full)
        with pytest.raises(ConfigError, match="full"):
            world.step()
    assert world.step() == ["join b"]


def test_an_invalid_record_keeps_the_member(world: WatchedRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member whose record cannot be read any more is not reaped."""
    world.put("a")
    world.step()
    world.registry.leave("a", "1")
    world.step()
    [record] = world.registry.nodes()
    world.registry.remove(record)
    read = world.registry.read()
    monkeypatch.setattr(world.registry, "read", lambda: replace(read, invalid={"a": "facts: missing"}))
    assert world.step() == []


@pytest.mark.parametrize(
    ("facts", "addresses"),
    [
        ({"addresses": ["fd00::1", "10.0.0.2"]}, ("10.0.0.2", "fd00::1")),
        ({"addresses": "10.0.0.2"}, ("10.0.0.2",)),
        ({"addresses": ["no", 7, None]}, ()),
        ({"addresses": ["fe80::1%eth0.5"]}, ("fe80::1%eth0.5",)),
        ({"addresses": ["fe80::1%\nx", "fe80::2% ;", "fe80::3%", "fe80::4%a\u2028b"]}, ()),
        ({"addresses": {"a": 1}}, ()),
        ({"ec2": {"ip": "10.1.1.1"}, "addresses": ["10.0.0.2", "10.1.1.1"]}, ("10.1.1.1", "10.0.0.2")),
        ({}, ()),
    ],
)
def test_addresses(facts: dict[str, object], addresses: tuple[str, ...]) -> None:
    """Addresses are taken from the facts, IPv4 first; other values are skipped."""
    view = MemberView(address_facts=["ec2.ip", "addresses"])
    assert view.member(NodeRecord("a", "1", facts=facts), "alive").addresses == addresses
