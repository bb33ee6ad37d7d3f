"""A playbook as values: what `reading.py` makes of a file, and the engine runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collective.clients.playbooks.expressions import PlaybookExpression
    from collective.clients.playbooks.source import SourceFile, SourcePlace
    from collective.ddl import Action

KINDS = ("call", "wait", "assert", "set", "parallel", "for_each", "include", "ask", "notify", "local", "steps")
STOP, CONTINUE, RUN = "stop", "continue", "run"  # on_failure


@dataclass(frozen=True)
class StepRetry:
    """How often a step that fails is repeated, and the first pause."""

    times: int
    delay: Any


@dataclass(frozen=True)
class PlaybookStep:
    """One step. `number` is its place in its file (`2.1`); `title` is its name with the expressions compiled.

    `body` is the value of the kind's key with its expressions compiled, without the steps below, which are in `steps`
    (of parallel, for_each and groups) and `included`.
    """

    number: str
    kind: str
    name: str
    id: str
    place: SourcePlace
    title: Any = None
    body: Any = None
    when: PlaybookExpression | None = None
    retry: StepRetry | None = None
    on_failure: str = STOP
    steps: tuple[PlaybookStep, ...] = ()
    rescue: tuple[PlaybookStep, ...] = ()
    always: tuple[PlaybookStep, ...] = ()
    included: PlaybookDefinition | None = None

    @property
    def playbook_included(self) -> PlaybookDefinition:
        """The playbook that a step of the kind include runs."""
        if self.included is None:
            raise TypeError(f"{self.place}: not a step of the kind include")
        return self.included

    @property
    def below(self) -> Iterator[PlaybookStep]:
        """The steps directly below this one in the same file."""
        yield from (*self.steps, *self.rescue, *self.always)


@dataclass(frozen=True)
class PlaybookDefinition:
    """A playbook. `inputs` has their schema, as an action that is never called; `root` is the group of all steps.

    No further step begins after `timeout` seconds. `files` are the files that it was read from, itself first.
    """

    file: SourceFile
    title: str
    description: str
    inputs: Action
    timeout: float
    root: PlaybookStep
    files: tuple[SourceFile, ...]

    @property
    def name(self) -> str:
        """The name of the file without its suffix."""
        return self.file.path.stem

    @property
    def digests(self) -> Mapping[str, str]:
        """The SHA-256 of each file by its path."""
        return {str(file.path.resolve()): file.digest for file in self.files}

    def every_step(self) -> Iterator[tuple[PlaybookDefinition, PlaybookStep]]:
        """Yield all steps, each with the playbook that has it; those of included playbooks follow the step."""
        pending = [*self.root.below]
        while pending:
            step = pending.pop(0)
            yield self, step
            if step.included is not None:
                yield from step.included.every_step()
            pending = [*step.below, *pending]
