"""Repeated calls: `--watch` marks what changes, `--until` asks each node again until its reply matches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.crpc_call import Captured, called
from support.receivers import Webhook, webhook
from support.scripted_fleet import CATALOG, Part, Scripted

from collective.clients.commands.rpc import make_parser
from collective.clients.notifier import NO_NOTIFIER, Notifier
from collective.clients.prepared_call import PreparedCall
from collective.clients.render.formatting import PLAIN
from collective.clients.repeated_call import RoundClock, repeat
from collective.clients.watched_call import changed_lines
from collective.fleet.pace import AT_ONCE
from collective.fleet.runs import saved_run
from collective.fleet.runs.folder import RunFolder
from collective.fleet.targets import Targets
from collective.notification_places import NotificationPlace

FAILED = Part(statuscode=1)
SILENT = Part(after=None)


class Rounds:
    """A clock that moves only when waited for, and calls a function before each further round."""

    def __init__(self, between: Callable[[int], None]) -> None:
        self.seconds = 0.0
        self.number = 0
        self._between = between

    def now(self) -> float:
        """Return the time in seconds."""
        return self.seconds

    def wait(self, seconds: float) -> None:
        """Move the time, and call the function."""
        self.seconds += seconds
        self.number += 1
        self._between(self.number)


def run(
    network: Scripted,
    folder: Path,
    between: Callable[[int], None],
    *options: str,
    notifier: Notifier = NO_NOTIFIER,
) -> int:
    """Repeat a ping as the options ask; return the exit code."""
    args = make_parser().parse_args(["rpcutil", "ping", *options])
    action = CATALOG.action("rpcutil", "ping")
    prepared = PreparedCall(action, {}, Targets(nodes=network.parts), AT_ONCE, timeout=3.0, notifier=notifier)
    rounds = Rounds(between)
    return repeat(args, network.fleet(folder), prepared, RoundClock(rounds.now, rounds.wait))


def test_until_asks_only_the_nodes_that_do_not_match(tmp_path: Path, capsys: Captured) -> None:
    """Nodes that match are not asked again; the call ends with code 0 when the last one matches."""
    network = Scripted({"a": Part(), "b": FAILED, "c": SILENT})

    def between(number: int) -> None:
        network.parts["b" if number == 1 else "c"] = Part()

    assert run(network, tmp_path, between, "--until", "statuscode=0") == 0
    assert [sent.node for sent in network.sent] == ["a", "b", "c", "b", "c", "c"]
    assert "did not match" not in capsys.readouterr().err
    [file] = RunFolder(tmp_path / "runs").newest()  # all rounds are one run
    found = saved_run.read(file)
    assert (sorted(found.replies), found.failed, found.silent, len(found.sent)) == (["a", "b", "c"], [], [], 3)


@pytest.mark.parametrize(("part", "code"), [(FAILED, 2), (SILENT, 3)])
def test_until_ends_after_its_time(tmp_path: Path, capsys: Captured, part: Part, code: int) -> None:
    """Nodes that never match are named; the code tells whether any of them has replied."""
    network = Scripted({"a": Part(), "b": part})
    options = ["--until", "statuscode=0", "--every", "5s", "--for", "12s", "--no-save"]
    assert run(network, tmp_path, lambda _: None, *options) == code
    assert len(network.sent) == 2 + 1 + 1
    assert "1 node did not match 'statuscode=0': b" in capsys.readouterr().err


def test_watch_shows_what_changes(tmp_path: Path, capsys: Captured) -> None:
    """The first result is complete; later ones have the lines that changed, and nothing if none did."""
    network = Scripted({"a": Part(), "b": Part()})

    def between(number: int) -> None:
        network.parts["b"] = FAILED if number > 1 else Part()

    options = ["--watch", "1s", "--for", "3s", "--where", "statuscode>=0"]
    assert run(network, tmp_path, between, *options) == 2
    heads = [line for line in capsys.readouterr().out.splitlines() if "every 1 s" in line]
    assert len(heads) == 2  # the second round had no changes
    assert not (tmp_path / "runs").exists()


def test_changed_lines_are_marked() -> None:
    """Lines that are new and lines that are gone are marked; the others are only shown on a terminal."""
    before, now = ["x", "same", "same"], ["same", "same", "y"]
    assert list(changed_lines(None, now, PLAIN, everything=False)) == ["  same", "  same", "  y"]
    assert list(changed_lines(before, now, PLAIN, everything=False)) == ["- x", "+ y"]
    assert list(changed_lines(before, now, PLAIN, everything=True)) == ["- x", "  same", "  same", "+ y"]


@pytest.mark.parametrize(
    ("words", "text"),
    {
        "shell run ls --watch 1s": "--watch: shell run is not idempotent, so it is not repeated",
        "rpcutil ping --until a=b --watch 1s": "--until: not allowed with --watch",
        "rpcutil ping --watch 1s --output-file x": "--output-file: not allowed with --watch",
        "rpcutil ping --watch 1s --no-results": "--watch: not allowed with --no-results",
        "rpcutil ping --watch 0s": "--watch: invalid duration '0s': must be more than 0",
        "rpcutil ping --every 1s": "--every: has no effect without --watch or --until",
        "rpcutil ping --watch 1s --every 1s": "--every: has no effect without --until",
        "rpcutil ping --until pogn=1": "--until: unknown field 'pogn' (did you mean 'pong'?)",
        "shell run ls --tail --until exitcode=0": "shell start is not idempotent",
    }.items(),
)
def test_a_call_that_cannot_be_repeated_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, words: str, text: str
) -> None:
    """An action that is not idempotent and options that exclude each other are refused before anything is sent."""
    (tmp_path / "client.yaml").write_text("{collective: scripted, state: state}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    code, _, err = called(words.split(), capsys)
    assert (code, text in err) == (64, True), err


# -- notifications


@pytest.fixture
def page() -> Iterator[Webhook]:
    """A page for notifications."""
    with webhook() as server:
        yield server


def everything(page: Webhook) -> Notifier:
    """Return a notifier that sends the end and failures to a page."""
    return Notifier({event: [NotificationPlace("test", page.url)] for event in ("end", "fail")})


@pytest.mark.parametrize(
    ("last", "title", "text"),
    [(Part(), "OK", "2 OK"), (FAILED, "failed", "1 node did not match 'statuscode=0': b")],
)
def test_the_end_of_until_is_reported_once(tmp_path: Path, page: Webhook, last: Part, title: str, text: str) -> None:
    """A call whose nodes match in the end is `end`; one that ends before is `fail`, with the nodes that do not."""
    network = Scripted({"a": Part(), "b": FAILED})

    def between(_: int) -> None:
        network.parts["b"] = last

    run(network, tmp_path, between, "--until", "statuscode=0", "--for", "12s", notifier=everything(page))
    found = page.next()
    assert (found["title"], found["message"].splitlines()[0]) == (f"rpcutil ping on 2 nodes of scripted: {title}", text)
    assert page.received.empty()


def test_a_watch_reports_that_a_round_fails_and_its_end(tmp_path: Path, page: Webhook) -> None:
    """A failure is reported when it begins, not in each round; an end with a failed round is not reported twice."""
    network = Scripted({"a": Part(), "b": Part()})

    def between(number: int) -> None:
        network.parts["b"] = FAILED if number in (1, 2, 4) else Part()

    assert run(network, tmp_path, between, "--watch", "1s", "--for", "5s", notifier=everything(page)) == 2
    assert [page.next()["title"].rpartition(" ")[2] for _ in range(2)] == ["failed", "failed"]
    assert run(network, tmp_path, lambda _: None, "--watch", "1s", "--for", "2s", notifier=everything(page)) == 2
    assert page.next()["title"].endswith("failed")
    network.parts["b"] = Part()
    assert run(network, tmp_path, lambda _: None, "--watch", "1s", "--for", "2s", notifier=everything(page)) == 0
    assert page.next()["title"].endswith("OK")
    assert page.received.empty()
