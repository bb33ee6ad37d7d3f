"""The work of the steps that call no nodes: assert, set, ask, notify and local."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from getpass import getpass
from typing import Any

from collective import durations
from collective.clients.confirmation import ask, ask_whether
from collective.clients.inputs import read_inputs
from collective.clients.playbooks.definition import PlaybookStep
from collective.clients.playbooks.expressions import resolved
from collective.clients.playbooks.input_schema import schema_action
from collective.clients.playbooks.local_command import TIMEOUT, run_command
from collective.clients.playbooks.notices import PlaybookNotices
from collective.clients.playbooks.progress import PlaybookProgress
from collective.clients.playbooks.results import StepResult
from collective.clients.playbooks.scope import StepScope
from collective.errors import CollectiveError
from collective.exit_codes import FAILED, OK, STOPPED
from collective.masking import texts

MOST_SECONDS = 86400.0  # for a local command
_ANSWER = "answer"


class LocalWork:
    """Does what a step does on the caller's machine. `args` are the options of `crpc playbook run`.

    `places` are those of `notify` in client.yaml, `notices` tell people that a question waits for them.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        progress: PlaybookProgress,
        places: Mapping[str, Mapping[str, Any]],
        notices: PlaybookNotices,
    ) -> None:
        self._args = args
        self._notices = notices
        self._places = places
        self._progress = progress

    def check(self, step: PlaybookStep, scope: StepScope, _key: str) -> StepResult:
        """Check the conditions of an `assert`."""
        values = scope.values()
        for one in step.body["that"]:
            if not one.value(values):
                message = step.body.get("message")
                text = f"'{one.text}' does not hold" if message is None else str(resolved(message, values))
                return StepResult(_simple(FAILED), FAILED, text)
        return StepResult(_simple(OK))

    def set(self, step: PlaybookStep, scope: StepScope, _key: str) -> StepResult:
        """Set variables."""
        found = resolved(step.body, scope.values())
        scope.vars.update(found)
        return StepResult({**_simple(OK), "vars": found})

    def ask(self, step: PlaybookStep, scope: StepScope, _key: str) -> StepResult:
        """Ask the person at the terminal. Raises UsageError for an answer that does not match its schema."""
        question = str(resolved(step.body["question"], scope.values()))
        if "input" in step.body:
            return self._ask_for_input(step, question)
        if self._args.yes:
            return StepResult({**_simple(OK), "answer": True})
        if not sys.stdin.isatty():
            return _refused(f"'{question}': standard input is not a terminal to ask on (use --yes)")
        self._notices.waiting(self._progress.masked(question))
        if not ask_whether(question):
            return _refused(f"'{question}': not confirmed")
        return StepResult({**_simple(OK), "answer": True})

    def _ask_for_input(self, step: PlaybookStep, question: str) -> StepResult:
        schema = step.body["input"]
        action = schema_action(step.name, answer_schema(schema), step.place.at("ask", "input"))
        is_secret = _ANSWER in action.secrets
        if sys.stdin.isatty():
            self._notices.waiting(self._progress.masked(question))
            typed = getpass(f"{question} ") if is_secret else ask(f"{question} ")
            text = f"@{typed}" if typed.startswith("@") else typed  # it does not name a file
            data = read_inputs([f"{_ANSWER}={text}"], action) if typed or "default" not in schema else {}
        elif "default" in schema:
            data = {}
        else:
            return _refused(f"'{question}': standard input is not a terminal to ask on")
        answer = action.check_input(data)[_ANSWER]
        secrets = tuple(texts(answer)) if is_secret else ()
        return StepResult({**_simple(OK), "answer": answer}, secret=secrets, unsaved=is_secret)

    def notify(self, step: PlaybookStep, scope: StepScope, _key: str) -> StepResult:
        """Send a message to people; a failure is printed, and the step succeeds."""
        body = resolved(step.body, scope.values())
        given = body["urls"] if isinstance(body["urls"], list) else [body["urls"]]
        hidden = self._progress.masked
        title, text = hidden(str(body.get("title", scope.playbook.title))), hidden(str(body["body"]))
        try:
            from collective import notifications
            from collective.notification_places import select

            urls = [place.url for place in select(map(str, given), self._places)]
            problems = notifications.send(urls, title, text)
        except CollectiveError as error:
            problems = [str(error)]
        for problem in problems:
            self._progress.say(f"notify: {problem}")
        return StepResult({**_simple(OK), "sent": not problems})

    def local(self, step: PlaybookStep, scope: StepScope, _key: str) -> StepResult:
        """Run a command on this machine."""
        body = resolved(step.body, scope.values())
        arguments = [part if isinstance(part, str) else json.dumps(part) for part in body["command"]]
        timeout = durations.read_wait(str(body.get("timeout", TIMEOUT)), MOST_SECONDS)
        folder = scope.playbook.file.path.parent / str(body.get("folder", ""))
        found, problem = run_command(arguments, _standard_input(body.get("input")), folder, timeout)
        is_secret = bool(body.get("secret"))
        if not is_secret:
            self._progress.text(found["stdout"])
            self._progress.text(found["stderr"])
        code = FAILED if problem else OK
        if is_secret:
            problem = problem.partition(": ")[0]
        secrets = tuple({*texts(found["stdout"]), *texts(found["stdout"].strip())}) if is_secret else ()
        return StepResult({"ran": True, "succeeded": not problem, **found}, code, problem, secrets)


def answer_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with the answer to a question."""
    return {"properties": {_ANSWER: schema}, "required": [_ANSWER]}


def _simple(code: int) -> dict[str, Any]:
    return {"ran": True, "succeeded": code == OK, "exit": code}


def _refused(message: str) -> StepResult:
    return StepResult(_simple(STOPPED), STOPPED, message)


def _standard_input(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
