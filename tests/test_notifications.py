"""Notifications of runs: to a real mail server and a real web page, with templates, and without their secrets."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.crpc_call import Captured, called, json_document
from support.receivers import Mailbox, Webhook, mail_server, webhook
from support.scripted_calls import call_shell, network_of
from support.scripted_fleet import Part

from collective import Pace, notifications
from collective.clients.notification_text import render
from collective.clients.notifier import NO_NOTIFIER, Notifier
from collective.config import load_client
from collective.errors import ConfigError, UsageError
from collective.fleet.gates import Gates, GateView
from collective.notification_places import NotificationPlace, always, select

WAVES = Pace(waves="1,rest")
ENDED: dict[str, Any] = {
    "event": "fail",
    "collective": "production",
    "caller": "alice",
    "agent": "package",
    "action": "update",
    "run": "0123abcd",
    "nodes": 3,
    "ok": ["web1"],
    "failed": ["web2", "web3"],
    "failures": [{"node": "web2", "message": "no such package"}],
}


@pytest.fixture
def page() -> Iterator[Webhook]:
    """A page for webhooks."""
    with webhook() as server:
        yield server


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server."""
    with mail_server() as server:
        yield server


class _Everything(logging.Handler):
    """Keeps what reaches the root of all loggers."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.getMessage()}")


@pytest.fixture
def every_log() -> Iterator[list[str]]:
    """The log of a program that logs everything; pytest's own handler also takes what a program does not log."""
    notifications.check(["json://localhost"])
    handler, root = _Everything(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(before)


# -- the library


def test_a_notification_reaches_a_page_and_a_mail_server(page: Webhook, mailbox: Mailbox) -> None:
    """Both receive title and text; a mail is plain text with its line ends."""
    assert notifications.send([f"{page.url}/ok", mailbox.url], "2 nodes failed", "web1: <b>full</b>\nweb2: off") == []
    found = page.next()
    assert (found["title"], found["message"]) == ("2 nodes failed", "web1: <b>full</b>\nweb2: off")
    subject, text = mailbox.next()
    assert (subject, text.split()) == ("2 nodes failed", ["web1:", "<b>full</b>", "web2:", "off"])
    assert text.startswith("web1: <b>full</b>\nweb2: off")


def test_a_failure_is_one_line_without_secrets(page: Webhook, every_log: list[str]) -> None:
    """Each URL that fails has a line with its number and scheme; no part of the URL is in it, or in any log."""
    url = page.url.replace("json://", "json://operator:tops3cret@")
    problems = notifications.send([f"{url}/refuse/t0ken", f"{page.url}/ok"], "title", "text")
    assert problems == ["notification 1 (json): not sent: Failed to send JSON POST notification: error=403."]
    [problem] = notifications.send(["mailto://me:tops3cret@127.0.0.1:9?from=me@lab.test"], "title", "text")
    unquoted = problem.replace('"', "")  # versions of Apprise differ in it
    assert unquoted.startswith("notification 1 (mailto): not sent: Connection error while submitting email to ********")
    assert "tops3cret" not in problem
    assert [line for line in every_log if "apprise" in line or "tops3cret" in line] == []


def test_a_server_that_does_not_answer_delays_nothing(page: Webhook) -> None:
    """After the time limit the URL has failed; the others are not delayed by it."""
    began = time.monotonic()
    problems = notifications.send([f"{page.url}/hang", f"{page.url}/ok"], "title", "text", timeout=0.5)
    assert problems == ["notification 1 (json): not sent within 0.5 s"]
    assert page.next()["title"] == "title"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("t0ken", "notification 1: not a URL (use one such as mailto://… or slack://…)"),
        ("nothing://t0ken", "notification 1: Apprise cannot read the URL nothing://********"),
        ("slack://t0ken", "notification 1: Apprise cannot read the URL slack://********"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused(url: str, message: str) -> None:
    """The error does not show the URL."""
    with pytest.raises(UsageError) as caught:
        notifications.check([url])
    assert str(caught.value) == message


# -- places in client.yaml


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client.yaml with two places."""
    (tmp_path / "chat.url").write_text("slack://t0ken\n")
    path = tmp_path / "client.yaml"
    path.write_text(
        "collective: production\nnotify:\n  ops: {url: 'json://me:t0ken@127.0.0.1', on: [fail]}\n"
        "  chat: {url_file: chat.url, template: chat.j2}\n"
        "collectives:\n  staging: {notify: {ops: {url: 'json://t0ken'}}}\n"
    )
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(path))
    return path


def test_places_are_read_and_selected_by_name(file: Path) -> None:
    """A name is a place, with its paths relative to the file; a URL is a place of its own."""
    places = load_client(file).notify
    assert select(["chat", "json://x"], places) == [
        NotificationPlace("chat", "slack://t0ken", file.parent / "chat.j2"),
        NotificationPlace("json://********", "json://x"),
    ]
    assert always(places) == {"end": [], "fail": ["ops"], "pause": [], "wait": []}
    with pytest.raises(UsageError, match=r"no notification 'opps' \(did you mean 'ops'\?\)"):
        select(["opps"], places)
    (file.parent / "chat.url").unlink()
    with pytest.raises(ConfigError, match=r"notify.chat: .*chat.url: No such file"):
        select(["chat"], places)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[t0ken]", "notify: must be a mapping of names to places"),
        ("{ops: 'json://t0ken'}", "notify.ops: must be a mapping with either 'url' or 'url_file'"),
        ("{ops: {url: 'json://t0ken', url_file: x}}", "notify.ops: must be a mapping with either"),
        ("{ops: {url: 't0ken'}}", "notify.ops.url: not a URL"),
        ("{ops: {url: 5}}", "notify.ops.url: must be a string"),
        ("{ops: {url: 'json://t0ken', when: x}}", "notify.ops: unknown key 'when' (keys: url, url_file, on, template)"),
        ("{ops: {url: 'json://t0ken', on: fail}}", "notify.ops.on: must be a list of end, fail, pause, wait"),
        ("{ops: {url: 'json://t0ken', on: [start]}}", "notify.ops.on: must be a list of end, fail, pause, wait"),
        ("{'o p': {url: 'json://t0ken'}}", "notify.o p: invalid name"),
    ],
)
def test_an_invalid_place_is_refused(tmp_path: Path, value: str, message: str) -> None:
    """The error names file and key, and does not show the URL."""
    path = tmp_path / "client.yaml"
    path.write_text(f"collective: production\nnotify: {value}\n")
    with pytest.raises(ConfigError) as caught:
        load_client(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "t0ken" not in str(caught.value)


def test_config_shows_no_url(file: Path, capsys: Captured) -> None:
    """`crpc config` shows the scheme of a URL only, in every form."""
    shown = json_document(["config", "show"], capsys)["settings"]
    [places] = [entry["value"] for entry in shown if entry["key"] == "notify"]
    assert places["ops"] == {"url": "json://********", "on": ["fail"]}
    for words in (
        ["config"],
        ["config", "list"],
        ["config", "show", "-o", "table"],
        ["config", "show", "-T", "staging"],
    ):
        code, out, err = called(words, capsys)
        assert (code, "t0ken" in out + err) == (0, False)


def test_options_without_effect_are_refused(file: Path, capsys: Captured) -> None:
    """Nothing is sent, and the exit code is 64."""
    for words, message in {
        ("--notify", "opps"): "no notification 'opps' (did you mean 'ops'?)",
        ("--notify", "slack://t0ken"): "notification 'slack://********': notification 1: Apprise cannot read the URL",
        ("--notify", "ops", "--no-results"): "--notify: not allowed with --no-results",
        ("--notify-template", "x"): "--notify-template: has no effect without --notify",
        ("--notify", "ops", "--notify-template", "/absent"): "--notify-template /absent: No such file or directory",
        ("--notify", "ops", "--notify-template", "/"): "--notify-template /: Is a directory",
    }.items():
        code, _, err = called(["rpcutil", "ping", *words], capsys)
        assert (code, message in err, "t0ken" in err) == (64, True, False), err


# -- the text


def test_the_default_text_says_what_happened() -> None:
    """The title has the action, the number of nodes and the result; the text names the nodes that failed."""
    title, text = render(ENDED)
    assert title == "package update on 3 nodes of production: failed"
    assert text.splitlines() == [
        "1 OK, 2 failed",
        "failed: web[2-3]",
        "web2: no such package",
        "run 0123abcd, started by alice",
    ]


def test_a_template_writes_title_and_text(tmp_path: Path) -> None:
    """The first line is the title; what the event lacks, and what a template must not reach, is empty."""
    path = tmp_path / "text.j2"
    path.write_text(
        "{{ agent }}: {{ event }}{{ event.__class__.__mro__ }}\n"
        "{% for one in failures %}\n{{ one.node }}{{ one.none.at_all }}\n{% endfor %}"
    )
    assert render(ENDED, path) == ("package: fail", "web2")


def test_a_template_passes_no_control_characters_on(tmp_path: Path) -> None:
    """What a node says can begin no header line of a mail, and cannot control the terminal that shows it."""
    path = tmp_path / "text.j2"
    path.write_text("{{ failures[0].message }}\n{{ failures[0].message }}")
    document = {**ENDED, "failures": [{"node": "web2", "message": "a\rBcc: b@c\x1b[31m\u202e"}]}
    assert render(document, path) == ("a\\rBcc: b@c\\x1b[31m\\u202e",) * 2


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        ("line\n{% if %}", "(line 2)"),
        ("{% for a in range(9999) %}{{ 'x' * 99 }}{% endfor %}", "writes more than 65536 characters"),
        ("{% include '/etc/passwd' %}", "no loader for this environment specified"),
    ],
)
def test_a_template_is_confined_and_its_errors_name_it(tmp_path: Path, template: str, message: str) -> None:
    """A template reaches no file and no internals; an error names the file and what is wrong."""
    path = tmp_path / "text.j2"
    path.write_text(template)
    with pytest.raises(ConfigError) as caught:
        render(ENDED, path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


# -- runs


def notifier(*urls: str, template: Path | None = None) -> Notifier:
    """Return a notifier that sends every event to some URLs."""
    places = [NotificationPlace("test", url) for url in urls]
    return Notifier(dict.fromkeys(("end", "fail", "pause", "wait"), places), template)


@pytest.mark.parametrize(("statuscode", "title"), [(0, "OK"), (1, "failed")])
def test_the_end_of_a_run_is_reported(page: Webhook, tmp_path: Path, statuscode: int, title: str) -> None:
    """A run that ends with exit code 0 is `end`, another one is `fail`."""
    sender = notifier(page.url)
    call = call_shell(network_of("ab", b=Part(statuscode=statuscode)), tmp_path)
    with sender.following(call):
        call.wait()
    assert page.next()["title"] == f"shell run on 2 nodes of scripted: {title}"
    assert page.received.empty()


class ClosedGate:
    """A gate that is closed as often as it says."""

    name = "answers"

    def __init__(self, *reasons: str, unattended: bool = True) -> None:
        self.unattended = unattended
        self.reasons = list(reasons)

    def check(self, view: GateView) -> str:
        """Return the next reason; an empty string when there is none."""
        assert view.document["agent"] == "shell"
        return self.reasons.pop(0) if self.reasons else ""


def test_a_pause_is_reported_once(page: Webhook, tmp_path: Path) -> None:
    """A gate that stays closed is reported when it closes, and not at each further check."""
    sender = notifier(page.url)
    gates = sender.gates(Gates((ClosedGate("too hot", "too hot", "too hot"),), action="pause"))
    call = call_shell(network_of("ab"), tmp_path, pace=WAVES, gates=gates)
    with sender.following(call):
        call.wait()
    found = {one["title"].rpartition(" ")[2]: one["message"].splitlines() for one in (page.next(), page.next())}
    assert found["paused"][:2] == ["gate 'answers': too hot", "1 OK, 1 waiting"]
    assert (set(found), page.received.empty()) == ({"paused", "OK"}, True)


def test_a_question_to_a_person_is_reported(page: Webhook, tmp_path: Path) -> None:
    """People learn that a run waits for them before it asks."""
    sender = notifier(page.url)
    gates = sender.gates(Gates((ClosedGate(unattended=False),)))
    call = call_shell(network_of("ab"), tmp_path, pace=WAVES, gates=gates)
    with sender.following(call):
        call.wait()
    titles = {page.next()["title"], page.next()["title"]}
    assert titles == {f"shell run on 2 nodes of scripted: {state}" for state in ("waiting", "OK")}


def test_an_error_of_a_notification_is_one_line(page: Webhook, tmp_path: Path, capsys: Captured) -> None:
    """A URL that fails and a template with an error are reported on standard error; the call goes on."""
    (tmp_path / "bad.j2").write_text("{{ 1 / 0 }}")
    for sender, message in (
        (notifier(f"{page.url}/refuse"), "not sent: Failed to send JSON POST notification: error=403."),
        (notifier(page.url, template=tmp_path / "bad.j2"), "bad.j2: ZeroDivisionError: division by zero"),
    ):
        call = call_shell(network_of("a"), tmp_path)
        with sender.following(call):
            assert call.wait().exit_code() == 0
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines()), message in err) == ("", 1, True), err


def test_without_places_nothing_changes() -> None:
    """A run without notifications has the gates that it had."""
    gates = Gates((ClosedGate(),))
    assert NO_NOTIFIER.gates(gates) is gates
