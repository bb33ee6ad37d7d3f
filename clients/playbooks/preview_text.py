"""The text of `--plan` and `--check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from collective.clients.playbooks.preview import PreviewedStep, shown
from collective.masking import hide
from collective.nodesets import fold
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.clients.playbooks.definition import PlaybookDefinition

_WHO = ("call", "wait")


def as_text(playbook: PlaybookDefinition, steps: Sequence[PreviewedStep], secrets: Sequence[str], whole: bool) -> str:
    """Return the steps as lines; without `whole`, only how many there are and what is known only when it runs."""
    lines = [f"{playbook.title} ({playbook.file.path}): {plural(len(steps), 'step')}"]
    lines += [line for step in steps for line in _lines(step, whole=whole)]
    lines.append("nothing was sent")
    return "".join(f"{escape_controls(hide(line, secrets))}\n" for line in lines)


def _lines(step: PreviewedStep, *, whole: bool) -> Iterator[str]:
    if not whole:
        if step.later:
            yield f"  [{step.number}] {step.name}: known when it runs: {', '.join(step.later)}"
        return
    does = f": {step.does if step.kind == 'call' else f'{step.kind} {step.does}'.rstrip()}"
    does = "" if step.does in ("", step.name) else does
    yield f"[{step.number}] {step.name}{does}{_nodes(step)}"
    if step.when:
        yield f"    when: {step.when}{' (does not hold: omitted)' if step.omitted else ''}"
    for name, value in step.settings.items():
        yield f"    {name}: {', '.join(map(shown, value)) if isinstance(value, list) else shown(value)}"
    if later := [name for name in step.later if name != "when"]:
        yield f"    known when it runs: {', '.join(later)}"


def _nodes(step: PreviewedStep) -> str:
    """Return the nodes of a call that are known."""
    if step.kind not in _WHO or step.nodes is None:
        return ""
    return f" on {plural(len(step.nodes), 'node')} ({fold(step.nodes)})" if step.nodes else " on no node"
