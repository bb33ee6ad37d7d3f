"""Run the steps of a playbook in their order.

    condition ─► work ──ok──────────────────────► always ─► next step
                  │ failed
                  ├─► repeated (retry)
                  ├─► rescue ──ok───────────────► always ─► next step
                  ├─► on_failure: continue ─────► always ─► next step; the exit code is that of the failure
                  └─────────────────────────────► always ─► the playbook stops here

After a failure that is not handled, Ctrl-C or the end of the time limit, nothing is run but `always`. A step that has
finished is written to the state, so that a resumed run omits it. Steps of rescue and always run again when the step
that they belong to has not finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.clients.playbooks import progress
from collective.clients.playbooks.definition import CONTINUE, RUN, PlaybookDefinition, PlaybookStep
from collective.clients.playbooks.expressions import resolved
from collective.clients.playbooks.finished_steps import FinishedSteps
from collective.clients.playbooks.results import EndedStep, StepFailure, StepResult, contained, omitted, worst
from collective.clients.playbooks.scope import StepScope
from collective.errors import CollectiveError, UsageError
from collective.exit_codes import FAILED, OK, STOPPED, exit_code

if TYPE_CHECKING:
    from collective.clients.playbooks.progress import PlaybookProgress
    from collective.clients.repeated_call import RoundClock

MOST_ITEMS = 1000  # of one loop
_INTERRUPTED = "interrupted"

StepWork = Callable[[PlaybookStep, StepScope, str], StepResult]


@dataclass
class PlaybookEngine:
    """Runs one playbook. `work` does the work of each kind of step that has no steps below it.

    `stop_calls` lets no open call send to further nodes. `in_threads` is false for tests with a simulated clock.
    """

    playbook: PlaybookDefinition
    work: Mapping[str, StepWork]
    finished: FinishedSteps
    progress: PlaybookProgress
    clock: RoundClock
    stop_calls: Callable[[str], None] = lambda _reason: None
    in_threads: bool = True
    codes: list[int] = field(default_factory=list)  # of failures after which it continued
    _interrupted: bool = False
    _error: Exception | None = None
    _deadline: float = 0.0

    def run(self, scope: StepScope) -> StepFailure | None:
        """Run all steps; return the failure at which it stopped, if any."""
        self._deadline = self.clock.now() + self.playbook.timeout
        failure = self._step(self.playbook.root, scope)
        if self._error is not None:
            raise self._error
        return failure

    def exit_code(self, failure: StepFailure | None) -> int:
        """Return the exit code: that of the failure, or the worst one of those after which it continued."""
        if failure is not None:
            return failure.code
        return worst(self.codes)

    # -- the order

    def _steps(self, steps: Iterable[PlaybookStep], scope: StepScope) -> StepFailure | None:
        for step in steps:
            failure = self._step(step, scope)
            if failure is not None:
                return failure
        return None

    def _step(self, step: PlaybookStep, scope: StepScope) -> StepFailure | None:
        """Run one step, with its rescue and always; return the failure that stops the playbook."""
        if over := self._over(step, scope):
            return over
        if self._restored(step, scope):
            return None
        began = self.clock.now()
        ended = self._handled(step, scope)
        if step.always and ended.outcome != progress.OMITTED:
            after = self._steps(step.always, scope.aside(cleaning=True))
            if after is not None:
                ended = _after_always(ended, after)
        if step.number:
            self.progress.end(step, scope, ended, self.clock.now() - began)
        if ended.failure is None:
            self.finished.note(step, scope, ended.result)
        return ended.failure

    def _over(self, step: PlaybookStep, scope: StepScope) -> StepFailure | None:
        """Return why no further step begins."""
        if not scope.cleaning and (self._interrupted or self._error):
            return StepFailure.at(step, scope, STOPPED, _INTERRUPTED, final=True)
        if not scope.cleaning and self.clock.now() >= self._deadline:
            return StepFailure.at(step, scope, STOPPED, "the timeout of the playbook is over", final=True)
        if any(halted.is_set() for halted in scope.halted):
            return replace(StepFailure.at(step, scope, STOPPED, "a parallel step failed"), began=False)
        return None

    def _handled(self, step: PlaybookStep, scope: StepScope) -> EndedStep:
        """Do the work of a step, and what is to be done if it fails."""
        result = StepResult(omitted(step))
        try:
            if step.when is not None and not step.when.value(scope.values()):
                scope.result_of(step, result.data)
                return EndedStep(progress.OMITTED, result)
            result, failure = self._attempts(step, scope)
            if failure is None:
                return EndedStep(progress.OK, result)
            return self._after_failure(step, scope, result, failure)
        except UsageError as error:  # of an expression
            return self._after_failure(step, scope, result, StepFailure.at(step, scope, exit_code(error), str(error)))
        except KeyboardInterrupt:
            self._interrupted = True
            return EndedStep(progress.FAILED, result, StepFailure.at(step, scope, STOPPED, _INTERRUPTED, final=True))
        except Exception as error:  # such as a reader that has closed our output: `always` runs before it is raised
            self.progress.muted = True
            self._error = self._error or error
            return EndedStep(progress.FAILED, result, StepFailure.at(step, scope, FAILED, str(error), final=True))

    def _after_failure(
        self, step: PlaybookStep, scope: StepScope, result: StepResult, failure: StepFailure
    ) -> EndedStep:
        if failure.final or step.on_failure not in (CONTINUE, RUN):
            return EndedStep(progress.FAILED, result, failure)
        if step.on_failure == CONTINUE:
            self.codes.append(failure.code)
            return EndedStep(progress.CONTINUED, replace(result, code=failure.code, message=failure.message))
        if step.number:
            self.progress.say(f"step {failure.key} '{failure.title}' failed: {failure.message}: running rescue")
        after = self._steps(step.rescue, scope.aside().named("failure", failure.values()))
        if after is None:
            return EndedStep(progress.RESCUED, replace(result, code=OK, message=failure.message))
        text = f"{failure.message}; then step {after.key} '{after.title}' failed: {after.message}"
        return EndedStep(progress.FAILED, result, replace(failure, message=text, final=after.final))

    # -- the work

    def _attempts(self, step: PlaybookStep, scope: StepScope) -> tuple[StepResult, StepFailure | None]:
        """Do the work of a step until it succeeds or no retry is left."""
        times = step.retry.times if step.retry else 0
        delay = 0.0
        if step.retry:
            delay = durations.read_wait(str(resolved(step.retry.delay, scope.values())))
        for attempt in range(times + 1):
            result, failure = self._work(step, scope)
            if failure is None or failure.final or attempt == times:
                break
            pause = delay * 2.0**attempt
            self.progress.say(f"step {failure.key} '{failure.title}' failed: {failure.message}: again in {pause:g} s")
            self.clock.wait(pause)
            if self._over(step, scope):
                break
        return result, failure

    def _work(self, step: PlaybookStep, scope: StepScope) -> tuple[StepResult, StepFailure | None]:
        containers = {
            "steps": self._group,
            "parallel": self._parallel,
            "for_each": self._loop,
            "include": self._include,
        }
        if step.number:
            self.progress.begin(step, scope)
        try:
            if step.kind in containers:
                result, failure = containers[step.kind](step, scope)
            else:
                result = self.work[step.kind](step, scope, scope.saved_key(step))
                failure = None
        except CollectiveError as error:
            code = exit_code(error)
            data = {**omitted(step), "ran": True, "exit": code}
            result, failure = StepResult(data, code, str(error)), None
        self._interrupted |= result.interrupted
        self.progress.secrets.update(result.secret)
        scope.result_of(step, result.data)
        if failure is None and result.code != OK:
            failure = StepFailure.at(step, scope, result.code, result.message, final=result.interrupted)
        return result, failure

    def _group(self, step: PlaybookStep, scope: StepScope) -> tuple[StepResult, StepFailure | None]:
        return contained(self._steps(step.steps, scope))

    def _loop(self, step: PlaybookStep, scope: StepScope) -> tuple[StepResult, StepFailure | None]:
        results, failure = [], None
        for number, item in enumerate(_items(step, scope), start=1):
            one = scope.round(step, number, item)
            failure = self._steps(step.steps, one)
            results.append({"item": item, "steps": one.set_below(step)["steps"]})
            if failure is not None:
                break
        return contained(failure, results=results)

    def _parallel(self, step: PlaybookStep, scope: StepScope) -> tuple[StepResult, StepFailure | None]:
        """Run the branches at once; when one has failed, the others begin no further step."""
        halted = Event()
        branches = [scope.branch(halted) for _ in step.steps]
        if self.in_threads:
            failures = self._in_threads(step.steps, branches, halted)
        else:
            failures = [self._branch(*both, halted) for both in zip(step.steps, branches, strict=True)]
        scope.join(branches)
        found = [failure for failure in failures if failure is not None]
        found.sort(key=lambda failure: (not failure.final, not failure.began))
        return contained(next(iter(found), None))

    def _in_threads(
        self, steps: Sequence[PlaybookStep], branches: Sequence[StepScope], halted: Event
    ) -> list[StepFailure | None]:
        with self.progress.beside(), ThreadPoolExecutor(len(steps)) as pool:
            pending = [pool.submit(self._branch, *both, halted) for both in zip(steps, branches, strict=True)]
            try:
                wait(pending)
            except KeyboardInterrupt:
                self._interrupted = True
                self.stop_calls(_INTERRUPTED)
            return [one.result() for one in pending]

    def _branch(self, step: PlaybookStep, scope: StepScope, halted: Event) -> StepFailure | None:
        failure = self._step(step, scope)
        if failure is not None:
            halted.set()
        return failure

    def _include(self, step: PlaybookStep, scope: StepScope) -> tuple[StepResult, StepFailure | None]:
        expected = step.playbook_included.inputs
        inputs = expected.check_input(resolved(step.body.get("inputs", {}), scope.values()))
        self.progress.secrets.update(expected.secret_texts(inputs))
        inner = scope.included(step, inputs)
        failure = self._step(step.playbook_included.root, inner)
        return contained(failure, vars=inner.vars)

    # -- what is known and printed

    def _restored(self, step: PlaybookStep, scope: StepScope) -> bool:
        """Return whether a step has finished in the run that is resumed; its result is then known."""
        code = self.finished.restore(step, scope)
        if code is None:
            return False
        if code != OK:
            self.codes.append(code)
        self.progress.end(step, scope, EndedStep(progress.BEFORE, StepResult(code=code)), 0.0)
        return True


def _after_always(ended: EndedStep, after: StepFailure) -> EndedStep:
    """Return the end of a step whose `always` has failed; nothing handles the failure if that was interrupted."""
    if ended.failure is None:
        return replace(ended, outcome=progress.FAILED, failure=after)
    return replace(ended, failure=replace(ended.failure, final=ended.failure.final or after.final))


def _items(step: PlaybookStep, scope: StepScope) -> list[Any]:
    """Return the items of a loop. Raises UsageError for what is not a list, and for too many."""
    items = resolved(step.body["in"], scope.values())
    place = step.place.at("for_each", "in")
    if not isinstance(items, list):
        raise UsageError(f"{place}: in: must be a list, not '{str(items)[:60]}'")
    if len(items) > MOST_ITEMS:
        raise UsageError(f"{place}: in: {len(items)} items, the limit is {MOST_ITEMS}")
    return items
