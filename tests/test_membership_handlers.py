"""Commands that are run for membership events, and the delivery of events to them."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from support.json_documents import check_schema
from support.waiting import wait_until

from collective.errors import ConfigError
from collective.membership import Event, Member, StateFile
from collective.membership.delivery import EventDelivery
from collective.membership.handlers import JSON, Command, CommandHandler
from collective.membership.serf_convention import Self, lines, tags, variables
from collective.processes import runs

ME = Self("lb1", {"role": "lb", "data-center": "eu 1", "cpus": 4, "spare": True, "nested": {"a": 1}})


def event(number: int, kind: str, identity: str, **members: object) -> Event:
    return Event(number, kind, 1.0, Member(identity, **members))  # type: ignore[arg-type]


def run(folder: Path, events: Sequence[Event], line: str, form: str = "serf", timeout: float = 20.0) -> bool:
    """Run a command that can write to `$OUT`."""
    return CommandHandler(Command(f"OUT={folder}/out; {line}", form, timeout), ME).handle(events)


def test_a_handler_gets_what_serf_gives(tmp_path: Path) -> None:
    """Variables and lines are those of serf; tabs and line ends in values are escaped."""
    facts = {"role": "web", "note": "a\tb\nc", "addresses": ["10.0.0.1"], "up": False}
    events = [event(1, "join", "a", facts=facts, addresses=("10.0.0.1", "::1")), event(2, "join", "b")]
    assert run(tmp_path, events, "cat > $OUT; env | grep ^SERF_ | sort >> $OUT")
    assert (tmp_path / "out").read_text().splitlines() == [
        "a\t10.0.0.1\tweb\tnote=a\\tb\\nc,role=web,up=false",
        "b\t\t\t",
        "SERF_EVENT=member-join",
        "SERF_SELF_NAME=lb1",
        "SERF_SELF_ROLE=lb",
        "SERF_TAG_CPUS=4",
        "SERF_TAG_DATA_CENTER=eu 1",
        "SERF_TAG_ROLE=lb",
        "SERF_TAG_SPARE=true",
    ]


@pytest.mark.parametrize("separator", ["\r", "\x0b", "\x85", "\u2028", "\x1b]0;"])
def test_a_node_adds_no_lines_and_codes_of_terminals(tmp_path: Path, separator: str) -> None:
    """Facts come from the nodes: what other programs take for the end of a line is escaped."""
    facts = {"role": f"web{separator}b"}
    assert run(tmp_path, [event(1, "join", "a", facts=facts)], "cat > $OUT")
    text = (tmp_path / "out").read_bytes().decode()
    assert (len(text.splitlines()), text.rstrip("\n").replace("\t", "").isprintable()) == (1, True)


def test_consecutive_events_of_a_kind_are_one_call(tmp_path: Path) -> None:
    """As in serf, a call has one kind of event; the order of the events is kept."""
    events = [event(1, "join", "a"), event(2, "join", "b"), event(3, "failed", "a"), event(4, "join", "c")]
    assert run(tmp_path, events, "echo $SERF_EVENT $(cut -f1) >> $OUT")
    assert (tmp_path / "out").read_text().splitlines() == ["member-join a b", "member-failed a", "member-join c"]


def test_a_handler_gets_json_on_request(tmp_path: Path) -> None:
    """With JSON, a call has a line per event, of all kinds."""
    events = [event(1, "join", "a", facts={"x": [1]}), event(2, "failed", "b")]
    assert run(tmp_path, events, "cat > $OUT", JSON)
    found = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [Event.from_data(one) for one in found] == events
    for one in found:
        check_schema("event", one)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("exit 3", "exit code 3"),
        ("kill -TERM $$", "ended by SIGTERM"),
        ("kill -35 $$", "ended by SIGRTMIN+1"),
        ("no-such-command", "exit code 127"),
        ("sleep 60", "killed after 0.2 s"),
    ],
)
def test_a_failure_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str, problem: str) -> None:
    """A handler that fails or hangs is logged with the node, and its event counts as delivered."""
    timeout = 0.2 if "sleep" in line else 20.0
    assert run(tmp_path, [event(1, "join", "a")], line, timeout=timeout)
    [record] = [record for record in caplog.records if record.message == "handler.failed"]
    assert record.levelno == logging.WARNING
    assert vars(record)["error"].endswith(f"{line}' for a: {problem}")


def test_the_output_of_a_daemons_handler_is_bounded_and_names_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written to the daemon's own log but one event with the end of the output, on one line."""
    caplog.set_level(logging.INFO)
    line = "seq 100000; echo 'forged\033[31m ERROR' >&2; test ! -t 2"
    command = Command(line, logged=True)
    assert CommandHandler(command, ME).handle([event(1, "join", "a")])
    [record] = [record for record in caplog.records if record.message == "handler.output"]
    assert vars(record)["handler"] == line
    assert vars(record)["output"].endswith("| 99999 | 100000 | forged\\x1b[31m ERROR")
    assert len(vars(record)["output"]) < 5000
    assert capfd.readouterr().err == ""


def test_a_process_that_a_handler_leaves_running_does_not_delay_events(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that keeps the pipe open is not waited for; what was written until then is logged."""
    caplog.set_level(logging.INFO)
    line = f"sleep 300 & echo $! | tee {tmp_path}/pid"
    assert CommandHandler(Command(line, logged=True), ME).handle([event(1, "join", "a")])
    child = int((tmp_path / "pid").read_text())
    assert runs(child)
    os.kill(child, signal.SIGKILL)
    assert [vars(record)["output"] for record in caplog.records if record.message == "handler.output"] == [str(child)]


def test_a_handler_that_reads_nothing_gets_much(tmp_path: Path) -> None:
    """A handler need not read its input, however long it is."""
    events = [event(number, "join", f"node{number}", facts={"x": "y" * 1000}) for number in range(500)]
    assert run(tmp_path, events, "exec <&-; echo done > $OUT")
    assert (tmp_path / "out").read_text() == "done\n"


def test_a_hanging_handler_is_killed_with_what_it_started(tmp_path: Path) -> None:
    """The whole process group is killed."""
    assert run(tmp_path, [event(1, "join", "a")], "sleep 300 & echo $! > $OUT; wait", timeout=3.0)
    child = int((tmp_path / "out").read_text())
    wait_until(lambda: not runs(child), 30)


class Recorder:
    """A handler that notes the events, and waits for `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.seen: list[list[int]] = []
        self.working: Counter[str] = Counter()
        self.most_of_one_node = self.most = 0
        self._lock = threading.Lock()

    def handle(self, events: Sequence[Event]) -> bool:
        """Note the events."""
        names = {one.member.identity for one in events}
        with self._lock:
            self.seen.append([one.number for one in events])
            self.working.update(names)
            self.most_of_one_node = max(self.most_of_one_node, *self.working.values())
            self.most = max(self.most, self.working.total())
        self.go.wait(20)
        with self._lock:
            self.working.subtract(names)
        return True

    def stop(self) -> None:
        """Do nothing."""


@pytest.fixture
def store() -> Iterator[StateFile]:
    store = StateFile(None, "test")
    yield store
    store.close()


def stored(store: StateFile, names: str) -> list[Event]:
    return store.add([event(0, "join", name) for name in names])


def test_a_node_has_one_handler_at_a_time(store: StateFile) -> None:
    """Handlers of several nodes run together, those of one node one after another and in order."""
    recorder = Recorder()
    delivery = EventDelivery(store, recorder)
    delivery.offer(stored(store, "aabbcac"))
    wait_until(lambda: len(recorder.seen) == 3, 30)
    recorder.go.set()
    delivery.finish()
    assert (recorder.most_of_one_node, recorder.most >= 3) == (1, True)
    order = [number for [number] in recorder.seen]
    assert [number for number in order if number in (1, 2, 6)] == [1, 2, 6]
    assert sorted(order) == [1, 2, 3, 4, 5, 6, 7]
    assert store.pending() == []
    delivery.stop(1)


def test_a_batch_has_what_arrived_meanwhile(store: StateFile) -> None:
    """In batches, what arrives while the handler runs is the next batch."""
    recorder = Recorder()
    delivery = EventDelivery(store, recorder, batch=True)
    delivery.offer(stored(store, "a"))
    wait_until(lambda: len(recorder.seen) == 1, 30)
    delivery.offer(stored(store, "ba"))
    delivery.offer(stored(store, "c"))
    recorder.go.set()
    delivery.finish()
    assert recorder.seen == [[1], [2, 3, 4]]
    delivery.stop(1)


def test_the_end_keeps_what_was_not_handled(store: StateFile, tmp_path: Path) -> None:
    """A handler that is still running at the end is killed; its event and the later ones stay pending."""
    handler = CommandHandler(Command(f"touch {tmp_path}/begun; sleep 300"), ME)
    delivery = EventDelivery(store, handler)
    events = stored(store, "aa")
    delivery.offer(events)
    wait_until((tmp_path / "begun").exists, 30)
    delivery.stop(0.1)
    assert store.pending() == events
    assert handler.handle(events) is False


def test_an_exception_of_a_handler_reaches_the_watcher(store: StateFile) -> None:
    """An exception, such as a closed output, is raised by the thread that watches."""

    class Broken(Recorder):
        def handle(self, events: Sequence[Event]) -> bool:
            raise BrokenPipeError(str(events))

    delivery = EventDelivery(store, Broken())
    delivery.offer(stored(store, "ab"))
    with pytest.raises(BrokenPipeError):
        delivery.pause(20)
    with pytest.raises(BrokenPipeError):
        delivery.finish()
    delivery.stop(1)
    assert len(store.pending()) == 2


def test_delivery_continues_after_an_error_of_the_store(store: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is no longer full, no handled event is repeated, and the waiting ones are delivered."""
    recorder = Recorder()
    recorder.go.set()
    delivery = EventDelivery(store, recorder)

    def full(*_: object) -> None:
        raise ConfigError("disk is full")

    def refused() -> bool:
        with suppress(ConfigError):
            delivery.resume()  # does nothing while a handler is still busy
            return False
        return True

    with monkeypatch.context() as patched:
        patched.setattr(store, "delivered", full)
        delivery.offer(stored(store, "a"))
        with pytest.raises(ConfigError):
            delivery.finish()
        delivery.offer(stored(store, "ab"))
        wait_until(refused, 30)
    assert recorder.seen == [[1]]
    delivery.resume()
    delivery.finish()
    assert sorted(recorder.seen) == [[1], [2], [3]]
    assert store.pending() == []
    delivery.stop(1)


def test_serf_values() -> None:
    """Facts that are no scalars are no tags; NUL never reaches the environment."""
    assert tags({"b": 1.5, "a": "x", "n": None, "l": [1], "t": True}) == {"a": "x", "b": "1.5", "t": "true"}
    assert variables("leave", Self("n", {"x\0y": "a\0b"}))["SERF_TAG_X_Y"] == "ab"
    assert lines([]) == ""


def test_hostile_facts_reach_the_handler_escaped(tmp_path: Path) -> None:
    """Facts of other nodes are only data: neither shell syntax nor invalid characters do anything."""
    facts = {"role": "$(touch pwned)`id`", "half": "\ud800", "nul": "a\0b"}
    assert run(tmp_path, [event(1, "join", "a", facts=facts)], "cat > $OUT")
    assert (tmp_path / "out").read_text() == (
        "a\t\t$(touch pwned)`id`\thalf=\\ud800,nul=a\\x00b,role=$(touch pwned)`id`\n"
    )
    assert variables("join", Self("n", facts))["SERF_TAG_HALF"] == "\\ud800"


def test_a_machine_without_facts_gets_its_role_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handlers of serf that act only on a load balancer work under `crpc watch`; a node has the role of its facts."""
    line = 'echo "$SERF_SELF_ROLE+"' + f" >> {tmp_path}/out"
    machine, node = CommandHandler(Command(line), Self("desk")), CommandHandler(Command(line), ME)
    machine.handle([event(1, "join", "a")])
    monkeypatch.setenv("SERF_SELF_ROLE", "other")
    machine.handle([event(2, "join", "a")])
    node.handle([event(3, "join", "a")])
    assert (tmp_path / "out").read_text().split() == ["+", "other+", "lb+"]


def test_a_fact_that_no_variable_can_hold_is_omitted(caplog: pytest.LogCaptureFixture) -> None:
    """A long fact of the node does not keep its handlers from running."""
    facts = {"long": "x" * 300_000, "role": "lb"}
    found = variables("join", Self("lb1", facts))
    assert (found["SERF_TAG_ROLE"], "SERF_TAG_LONG" in found) == ("lb", False)
    assert CommandHandler(Command("true"), Self("lb1", facts)).handle([Event(1, "join", 0.0, Member("a"))])
    assert caplog.records == []
