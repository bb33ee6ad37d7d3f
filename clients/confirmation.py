"""Ask for confirmation on the terminal.

confirmation = Confirmation(action, data, max_targets)
fleet.call(…, confirm=confirmation.confirm(yes=args.yes))

service restart nginx on 47 nodes (web[01-47])? [y/N]
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collective.clients.render.formatting import in_words
from collective.clients.streams import write
from collective.errors import TooManyTargets
from collective.nodesets import fold
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.ddl import Action

_LONGEST_VALUE = 60  # characters of an input in a question
_LONGEST_LIST = 200  # characters of the names in a question


@dataclass(frozen=True)
class Confirmation:
    """The question before an action: its inputs as they were given, and `max_targets` and `type_above` of client.yaml.

    To confirm more than `type_above` nodes (0: no limit), their number must be typed.
    """

    action: Action
    data: Mapping[str, Any]
    max_targets: int
    type_above: int = 0

    def confirm(self, yes: bool) -> Callable[[list[str]], bool] | None:
        """Return a function that asks for confirmation to reach some nodes, or with `yes` confirms without asking.

        When standard input is not a terminal, no question is possible: with `yes`, None is returned, so that
        `max_targets` is the limit; without it, the function refuses nodes that `max_targets` does not allow.
        """
        if sys.stdin.isatty():
            return _yes if yes else self._ask
        return None if yes else self._refuse

    def question(self, nodes: list[str]) -> str:
        """Return the question: agent, action, inputs (secrets are masked) and nodes.

        The single usual input has no name, as on the command line.
        """
        masked = self.action.masked(self.data)
        alone = self.action.usual[0] if len(self.action.usual) == 1 else None
        ordered = sorted(masked.items(), key=lambda item: item[0] != alone)
        inputs = [("" if name == alone else f"{name}=") + _value(value) for name, value in ordered]
        call = " ".join([self.action.agent, self.action.name, *inputs])
        return f"{escape_controls(call)} on {plural(len(nodes), 'node')} ({_cut(fold(nodes), _LONGEST_LIST)})?"

    def must_type(self, nodes: Sequence[str]) -> bool:
        """Return whether the number of nodes must be typed; without a terminal no question is possible."""
        above = 0 < self.type_above < len(nodes)
        return above and not self.action.idempotent and sys.stdin.isatty()

    def _ask(self, nodes: list[str]) -> bool:
        if self.must_type(nodes):
            return ask(f"{self.question(nodes)} type the number of nodes: ") == str(len(nodes))
        return ask_whether(self.question(nodes))

    def _refuse(self, nodes: list[str]) -> bool:
        """Return whether `max_targets` allows all nodes of the collective; raise TooManyTargets if it is not set."""
        if not self.max_targets:
            raise TooManyTargets(
                len(nodes),
                "no filter was given, and standard input is not a terminal to ask on (add --yes, or a filter such as "
                "-F role=web, or set max_targets in client.yaml)",
            )
        if len(nodes) > self.max_targets:
            raise TooManyTargets.by_limit(len(nodes), self.max_targets)
        return True


def ask(question: str) -> str:
    """Return the answer to a question; an empty string when standard input is not a terminal."""
    if not sys.stdin.isatty():
        return ""
    # Standard output and standard error may be redirected to files.
    with open(os.ttyname(sys.stdin.fileno()), "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a device
        write(question, terminal)
    return sys.stdin.readline().strip()


def ask_whether(question: str) -> bool:
    """Return whether the answer to a question was yes."""
    return ask(f"{question} [y/N] ").lower() in ("y", "yes")


def _yes(_nodes: list[str]) -> bool:
    return True


def _value(value: Any) -> str:
    """Return a value cut to its longest form; a string of several words is in quotes."""
    text = _cut(in_words(value), _LONGEST_VALUE)
    quoted = isinstance(value, str) and (not text or any(char.isspace() or char in "'\"" for char in text))
    return shlex.quote(text) if quoted else text


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
