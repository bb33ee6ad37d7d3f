"""The steps of a playbook that have finished: noted in the state of its run, and taken from it by a resumed run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collective.clients.playbooks.saved_state import PlaybookState, has_secret, without_secrets

if TYPE_CHECKING:
    from collective.clients.playbooks.definition import PlaybookStep
    from collective.clients.playbooks.results import StepResult
    from collective.clients.playbooks.scope import StepScope


class FinishedSteps:
    """The finished steps of one run, in `state`. `secrets` are strings that must not be saved."""

    def __init__(self, state: PlaybookState, secrets: set[str]) -> None:
        self._state = state
        self._secrets = secrets
        self._unsaved: set[str] = set()  # keys of finished steps that are not in the state

    def restore(self, step: PlaybookStep, scope: StepScope) -> int | None:
        """Take the result of a step that has finished in the run that is resumed, and return its code; else None."""
        entry = self._state.finished(scope.saved_key(step), step) if step.number and scope.recorded else None
        if entry is None:
            return None
        scope.vars.update(entry.get("vars", {}))
        scope.steps.update(entry.get("steps", {}))
        scope.result_of(step, entry["data"])
        return int(entry["code"])

    def note(self, step: PlaybookStep, scope: StepScope, result: StepResult) -> None:
        """Write that a step has finished; a variable that holds a secret is set again by a resumed run."""
        if not step.number or not scope.recorded:
            return
        found = {"code": result.code, "data": dict(result.data), **scope.set_below(step)}
        if step.kind == "set":
            found["vars"] = {name: scope.vars[name] for name in step.body}
        key, saved = scope.saved_key(step), without_secrets(found, tuple(self._secrets))
        below = tuple(f"{key}{mark}" for mark in ".[/")
        if result.unsaved or has_secret(saved["vars"]) or any(one.startswith(below) for one in self._unsaved):
            self._unsaved.add(key)
            return
        self._state.note_finished(key, step, saved)
