"""Runs of playbooks on a scripted fleet: results, secrets, resumption, questions and notifications."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crpc_call import Captured
from support.playbooks import PING, PlaybookRunner, playbook
from support.receivers import Webhook, webhook
from support.scripted_fleet import Part

from collective.clients.playbooks import engine
from collective.errors import ConfigError, UsageError


@pytest.fixture
def runner(tmp_path: Path) -> PlaybookRunner:
    """Return a fleet of two nodes and the last rows."""
    return PlaybookRunner(tmp_path)


def test_a_call_is_repeated_on_the_nodes_that_failed(runner: PlaybookRunner) -> None:
    """With retry, a node that was OK is not asked again, and the result has all replies."""
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    waits: list[float] = []

    def mend(seconds: float) -> None:
        waits.append(seconds)
        runner.network.parts["b"] = Part(after=0.1)

    runner.wait = mend  # type: ignore[method-assign]
    steps = (f"{PING}\n    id: ping\n    retry: {{times: 3, delay: 4s}}", "assert: steps.ping.ok == ['a', 'b']")
    assert runner.run(playbook(*steps)) == 0
    assert (sorted(runner.sent), waits) == (["a", "b", "b"], [4.0])


@pytest.mark.parametrize(("part", "code"), [(Part(after=0.1, statuscode=1), 2), (Part(after=None), 3)])
def test_the_exit_code_is_that_of_the_call(runner: PlaybookRunner, capsys: Captured, part: Part, code: int) -> None:
    """A playbook that stops names the step, its line, and how to resume; the next step does not run."""
    runner.network.parts["b"] = part
    assert runner.run(playbook(PING, PING)) == code
    assert sorted(runner.sent) == ["a", "b"]
    assert "stopped at step 1 'rpcutil ping' (" in (err := capsys.readouterr().err)
    assert "p.yaml:4)" in err
    assert "(resume with 'crpc playbook run " in err


def test_a_failure_after_which_it_continues_counts(runner: PlaybookRunner) -> None:
    """With on_failure: continue the other steps run, and the exit code is that of the failure."""
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    assert runner.run(playbook(f"{PING}\n    on_failure: continue", PING.replace("[a, b]", "[a]"))) == 2
    assert sorted(runner.sent) == ["a", "a", "b"]


def test_a_failure_that_is_rescued_does_not_count(runner: PlaybookRunner) -> None:
    """The steps of rescue know the failure, and the exit code is 0 if they succeed."""
    steps = ("assert: 'false'\n    rescue: [{assert: failure.message == \"'false' does not hold\"}]",)
    assert runner.run(playbook(*steps)) == 0


def test_secrets_are_neither_saved_nor_shown(runner: PlaybookRunner, capsys: Captured) -> None:
    """A resumed run needs the secret again, and sets variables that hold it again."""
    inputs = "{required: [password], properties: {password: {type: string, writeOnly: true}, n: {type: integer}}}"
    steps = (
        'set: {line: "password={{ inputs.password }}"}',
        'local: {command: [echo, "{{ vars.line }}"]}\n    id: echo',
        "assert: vars.line == 'password=hunter22'",
        PING,
    )
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    text = playbook(*steps, inputs=inputs)
    assert runner.run(text, "password=hunter22", "n=5") == 2
    shown = capsys.readouterr()
    assert "password=********" in shown.out
    assert "hunter22" not in shown.out + shown.err + runner.saved()
    runner.network.parts["b"] = Part(after=0.1)
    with pytest.raises(Exception, match="'password' is missing"):
        runner.run(text, "--resume")
    with pytest.raises(UsageError, match="'n': only secrets can be given again"):
        runner.run(text, "n=6", "password=hunter22", "--resume", "last")
    assert runner.run(text, "password=hunter22", "--resume", "last") == 0
    assert sorted(runner.sent) == ["a", "b", "b"]


def test_the_use_of_a_secret_that_was_not_saved_is_an_error(runner: PlaybookRunner, capsys: Captured) -> None:
    """What a secret command has written is not known to a resumed run, which says so."""
    steps = (
        "local: {command: [sh, -c, 'echo sesame | tr a-z A-Z'], secret: true}\n    id: key",
        PING,
        "assert: steps.key.stdout == 'S'",
    )
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    text = playbook(*steps)
    assert runner.run(text) == 2
    assert "SESAME" not in runner.saved() + capsys.readouterr().out
    runner.network.parts["b"] = Part(after=0.1)
    assert runner.run(text, "--resume") == 64
    assert "is secret, and secrets are not saved" in capsys.readouterr().err


def test_a_changed_file_is_not_resumed(runner: PlaybookRunner) -> None:
    """A run is resumed with the same files; with --allow-drift, steps with another name run again."""
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    text = playbook(f"name: One\n    {PING.replace('[a, b]', '[a]')}", PING)
    assert runner.run(text) == 2
    changed = text.replace("One", "Another")
    with pytest.raises(ConfigError, match="changed since run"):
        runner.run(changed, "--resume")
    runner.network.parts["b"] = Part(after=0.1)
    runner.network.sent.clear()
    assert runner.run(changed, "--resume", "--allow-drift") == 0
    assert runner.sent == ["a", "b"]
    with pytest.raises(UsageError, match="has ended, there is nothing to resume"):
        runner.run(changed, "--resume")


def test_options_that_depend_on_inputs_are_checked_before_the_first_step(runner: PlaybookRunner) -> None:
    """A wrong pace in the last step is found before the first one is sent."""
    last = PING.replace("nodes: [a, b]}", 'nodes: [a, b]}, pace: {max_fail: "{{ inputs.most }}"}')
    text = playbook(PING, last, inputs="{properties: {most: {type: string}}}")
    with pytest.raises(ConfigError, match=r"p\.yaml:5: --max-fail 'many'"):
        runner.run(text, "most=many")
    assert runner.sent == []
    assert runner.run(text, "most=1") == 0


def test_a_question_needs_a_terminal_or_yes(runner: PlaybookRunner, capsys: Captured) -> None:
    """Without a terminal a question stops the playbook with exit code 4; --yes answers it."""
    text = playbook("ask: {question: 'Go on?'}", PING)
    assert runner.run(text) == 4
    assert "standard input is not a terminal to ask on" in capsys.readouterr().err
    assert runner.run(text, "--yes") == 0


def test_an_included_playbook_has_inputs_of_its_own(runner: PlaybookRunner) -> None:
    """Variables of an included playbook are in its result; a wrong input is refused with the line of the include."""
    (runner.folder / "inner.yaml").write_text(
        "title: I\ninputs: {required: [n], properties: {n: {type: integer}}}\n"
        "steps: [{set: {twice: '{{ inputs.n * 2 }}'}}]\n"
    )
    include = "include: {file: inner.yaml, inputs: {n: 4}}\n    id: inner"
    assert runner.run(playbook(include, "assert: steps.inner.vars.twice == 8")) == 0
    with pytest.raises(ConfigError, match=r"p\.yaml:4: .*n.* is not of type 'integer'"):
        runner.run(playbook(include.replace("4", "x")))


def test_the_time_of_a_playbook_is_limited(runner: PlaybookRunner) -> None:
    """After its timeout no further step begins, but always runs."""
    slow = PING.replace("call: ", "wait: {call: ").replace("[a, b]}}", "[a]}}, until: statuscode=5, for: 30s}")
    text = playbook(f"{slow}\n    on_failure: continue", PING).replace("title: T", "title: T\ntimeout: 10s")
    assert runner.run(f"{text}always: [{PING.replace('call: ', '{call: ')}}}]\n") == 4
    assert runner.sent.count("b") == 1


def test_a_loop_has_a_limit(runner: PlaybookRunner, capsys: Captured) -> None:
    """A list with too many items is an error of the step."""
    text = playbook(f'for_each: {{in: "{{{{ range({engine.MOST_ITEMS + 1}) | list }}}}", steps: [{{set: {{a: 1}}}}]}}')
    assert runner.run(text) == 64
    assert "items, the limit is" in capsys.readouterr().err


def test_the_document_has_a_row_for_each_step(runner: PlaybookRunner, capsys: Captured) -> None:
    """With --json, nothing but the document is on standard output, and each step has an outcome in it."""
    assert runner.run(playbook(PING, "set: {a: 1}", "assert: 'true'\n    when: vars.a > 1"), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["step"], row["outcome"]) for row in document["steps"]] == [("1", "ok"), ("2", "ok"), ("3", "omitted")]


# -- notifications


@pytest.fixture
def page() -> Iterator[Webhook]:
    """A page for notifications."""
    with webhook() as server:
        yield server


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let standard input be a terminal; return the file descriptor to answer on."""
    person, terminal = pty.openpty()
    with open(terminal, encoding="utf-8") as file:  # noqa: PTH123 - a device
        monkeypatch.setattr("sys.stdin", file)
        yield person
    os.close(person)


def test_a_question_and_the_end_are_reported(
    runner: PlaybookRunner, capsys: Captured, page: Webhook, answers: int
) -> None:
    """People learn that a playbook waits for them, with the question, and how it has ended."""
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    os.write(answers, b"yes\nblue\n")
    steps = ("ask: {question: 'Go on?'}", "ask: {question: Colour?, input: {type: string}}", PING)
    assert runner.run(playbook(*steps), "--notify", page.url) == 2
    found = sorted((one["title"], one["message"].splitlines()[0]) for one in (page.next() for _ in range(3)))
    assert found == [
        ("playbook p on 0 nodes of scripted: waiting", "Colour?"),
        ("playbook p on 0 nodes of scripted: waiting", "Go on?"),
        ("playbook p on 2 nodes of scripted: failed", "1 failed of 2 nodes (b: OK)"),
    ]
    assert page.received.empty()


def test_a_question_that_is_answered_by_an_option_is_not_reported(runner: PlaybookRunner, page: Webhook) -> None:
    """The playbook does not wait with --yes."""
    assert runner.run(playbook("ask: {question: 'Go on?'}"), "--yes", "--notify", page.url) == 0
    assert page.next()["title"] == "playbook p on 0 nodes of scripted: OK"
    assert page.received.empty()


def test_a_step_sends_a_message(runner: PlaybookRunner, page: Webhook) -> None:
    """A message has the values of the playbook, but for secrets, and later steps know whether it was sent."""
    inputs = "{properties: {word: {type: string, writeOnly: true, default: sesame}}}"
    message = f"urls: {page.url}, title: 'To {{{{ steps.ping.ok | fold }}}}', body: 'word {{{{ inputs.word }}}}'"
    steps = (f"{PING}\n    id: ping", f"notify: {{{message}}}\n    id: told", "assert: steps.told.sent")
    assert runner.run(playbook(*steps, inputs=inputs)) == 0
    found = page.next()
    assert (found["title"], found["message"]) == ("To a,b", "word ********")


@pytest.mark.parametrize(
    ("urls", "problem"),
    [
        ("json://127.0.0.1:9/t0ken", "notification 1 (json): not sent: "),
        ("opps", "no notification 'opps' (client.yaml has: none; or give a URL)"),
        ("slack://t0ken", "notification 1: Apprise cannot read the URL slack://********"),
    ],
)
def test_a_message_that_cannot_be_sent_does_not_stop_the_playbook(
    runner: PlaybookRunner, capsys: Captured, urls: str, problem: str
) -> None:
    """The error is one line without the URL, the result says that it was not sent, and the next step runs."""
    steps = (f"notify: {{urls: [{urls}], body: x}}\n    id: told", "assert: not steps.told.sent")
    assert runner.run(playbook(*steps)) == 0
    err = capsys.readouterr().err
    assert (f"notify: {problem}" in err, "t0ken" in err) == (True, False), err
