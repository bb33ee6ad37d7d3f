"""What every record of runs must do: the same tests for files, DynamoDB and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collective.fleet.steering.run_log import Event, Holder, RunProgress, RunStore
from collective.messages import new_id

MakeStore = Callable[[], RunStore]


def begin_event(run: str, **members: Any) -> dict[str, Any]:
    """Return the first event of a run."""
    names = {"collective": "testing", "caller": "alice", "agent": "shell", "action": "run", "inputs": ""}
    return {"event": "begin", "run": run, "time": 1000.0, "nodes": 1, "steered": True, **names, **members}


def request_event() -> dict[str, Any]:
    """Return the second event of a run."""
    data: dict[str, Any] = {"data": {}, "expected": ["web1"], "ddl": {}, "timeout": 1.0, "ttl": 1.0, "pace": {}}
    return {"event": "request", **data}


def holder(name: str = "alice") -> Holder:
    """Return a caller with a new lease."""
    return Holder(new_id(), name, "laptop", 1)


def order(text: str) -> Event:
    """Return an order, whose ID tells it from others."""
    return {"event": "order", "id": text, "order": "pause", "caller": "bob", "time": 1.0}


def names(events: list[Event]) -> list[Any]:
    """Return the IDs of orders, and the kinds of other events."""
    return [event.get("id", event["event"]) for event in events]


def check_append(make: MakeStore) -> None:
    """Only a caller that has read all events appends; the other one gets what it lacks, and can then append."""
    store, run = make(), new_id()
    first = store.create([begin_event(run), request_event()], holder())
    second = make().log(next(one for one in make().runs() if one.run == run))
    assert first.append([order("a")]) == []
    assert names(second.append([order("b")])) == ["begin", "request", "a"]
    assert second.append([order("b"), order("c")]) == []
    assert names(first.append([order("d")])) == ["b", "c"]
    assert first.append([order("d")]) == []
    assert (names(second.news()), second.news(), first.news()) == (["d"], [], [])


def check_large(make: MakeStore) -> None:
    """Ten thousand nodes, and events of more than an item of DynamoDB, are read as they were written."""
    store, run = make(), new_id()
    first = store.create([begin_event(run), request_event()], holder())
    nodes = [f"{number:05}-{new_id()}-{new_id()}.my.net" for number in range(10_000)]
    large = [{"event": "silent", "nodes": nodes}, order("last")]
    assert first.append(large) == []
    found = make().log(next(one for one in make().runs() if one.run == run)).news()
    assert found[2:] == large


def check_lease(make: MakeStore) -> None:
    """Of several callers only one gets a lease that has ended; only its holder renews and ends it."""
    store, run = make(), new_id()
    alice, bob = holder(), holder("bob")
    store.create([begin_event(run), request_event()], alice)
    others = make()
    entry = next(one for one in others.runs() if one.run == run)
    assert (entry.state, entry.is_running()) == ("running", True)
    assert not others.take(entry, bob)
    assert store.renew(run, alice, RunProgress())
    store.release(run, alice, None)
    assert next(one for one in others.runs() if one.run == run).state == "unfinished"
    assert others.take(entry, bob)
    assert not make().take(entry, holder("carol"))
    assert not store.renew(run, alice, RunProgress())
    assert others.renew(run, bob, RunProgress(paused=True))
    end = {"event": "end", "outcomes": {"ok": 1}, "exit": 0}
    others.log(entry).news()
    log = others.log(entry)
    log.news()
    assert log.append([end]) == []
    others.release(run, bob, end)
    found = next(one for one in make().runs() if one.run == run)
    assert (found.state, found.end["exit"]) == ("complete", 0)


CHECKS = (check_append, check_large, check_lease)
