"""Find the candidates for the current word, from the parsers that print --help and from the DDLs.

    complete(["package", "install"], "pa")      package=
    complete(["find", "-F"], "role=")           role=db, role=web
    complete(["nodes"], "")                     list, trust, revoke, prune

Each parser knows its options and words; `completed_by` names the values that they take.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients import apps, lookup
from collective.clients.commands import COMMANDS
from collective.clients.completion import Candidate
from collective.clients.completion.local_names import LocalNames
from collective.clients.completion.values import starting, verbs
from collective.clients.optional_verbs import OptionalVerbParser

if TYPE_CHECKING:
    from collective.clients.parser import Parser

_REQUEST = "crpc AGENT ACTION"  # the program name of the parser of a request, whose first word is the agent
_FILES = ("FILE", "DIR", "FOLDER")  # names of values in help pages that are paths


def complete(words: Sequence[str], current: str) -> list[Candidate]:
    """Return the words that `current` can become after `words`, which follow `crpc`. Raises various errors."""
    known = LocalNames(words)
    command, rest = _command(words)
    if command is None:
        return _before_command(words, current, known)
    if command not in COMMANDS and (stands_for := known.stands_for(command)):
        command, *rest = [*stands_for, *rest]
    is_agent = command not in COMMANDS and command in known.agents
    if is_agent and _is_plain(command, [*rest, current]):
        return starting(known, "request", [command, *rest], current)
    parser = _request_parser(command, rest) if is_agent else lookup.find([command, *rest]).make_parser
    if parser is None:
        return []
    made = parser()
    given = _Given.read(made, [command, *rest] if made.prog == _REQUEST else rest)
    return _candidates(given, current, known)


@dataclass
class _Given:
    """What the words so far mean to `parser`: its `words`, the options, and one that waits for its value."""

    parser: Parser
    words: list[str] = field(default_factory=list)
    used: list[argparse.Action] = field(default_factory=list)
    waiting: argparse.Action | None = None
    options_ended: bool = False

    @classmethod
    def read(cls, parser: Parser, words: Sequence[str]) -> _Given:
        """Read the words that precede the current one."""
        given = cls(parser)
        for word in words:
            given._add(word)
        return given

    def _add(self, word: str) -> None:
        if self.waiting is not None:
            self.waiting = None
        elif word == "--" and not self.options_ended:
            self.options_ended = True
        elif word.startswith("-") and word != "-" and not self.options_ended:
            self._add_option(word)
        elif word in self.parser.verbs and not self.words:
            self.parser, self.words = self.parser.verbs[word], []
        else:
            self.words.append(word)

    def _add_option(self, word: str) -> None:
        name, equals, _ = word.partition("=")
        options = _options(self.parser)
        for option in [name] if name.startswith("--") else [f"-{letter}" for letter in name[1:]]:
            action = options.get(option)
            if action is None:
                return
            self.used.append(action)
            if _takes_value(action):
                self.waiting = (
                    None if equals or (not name.startswith("--") and not name.endswith(option[1])) else action
                )
                return


def _command(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the command or agent, and the other words; options may precede it."""
    if not words or not words[0].startswith("-"):
        return (words[0], list(words[1:])) if words else (None, [])
    from collective.clients import request_parser

    first = request_parser.make_parser().command_first(words)
    return (None, []) if first[0].startswith("-") else (first[0], first[1:])


def _is_plain(agent: str, rest: Sequence[str]) -> bool:
    """Return whether no parser is needed for a request: it has no options, and no extra verb of the agent."""
    return not any(word.startswith("-") for word in rest) and not (rest[1:] and rest[0] in apps.verbs(agent))


def _request_parser(agent: str, rest: Sequence[str]) -> Callable[[], Parser]:
    """Return what makes the parser of a request, or of an extra verb of the agent."""
    from collective.clients import request_parser

    verb = apps.verbs(agent).get(rest[0]) if rest else None
    return verb.make_parser if verb and verb.make_parser else request_parser.make_parser


def _before_command(words: Sequence[str], current: str, known: LocalNames) -> list[Candidate]:
    if words or current.startswith("-"):
        from collective.clients import request_parser

        given = _Given.read(request_parser.make_parser(), words)
        if given.waiting is not None or current.startswith("-"):
            return _candidates(given, current, known)
    return starting(known, "command", [], current)


def _candidates(given: _Given, current: str, known: LocalNames) -> list[Candidate]:
    if given.waiting is not None:
        return _values(given.waiting, given.words, current, known)
    if current.startswith("-") and not given.options_ended:
        name, equals, value = current.partition("=")
        if not equals:
            return _option_names(given, current)
        action = _options(given.parser).get(name)
        return _prefixed(f"{name}=", _values(action, given.words, value, known)) if action else []
    found = [one for one in verbs(given.parser) if one.word.startswith(current)] if not given.words else []
    if given.parser.verbs and not isinstance(given.parser, OptionalVerbParser):
        return found
    action = _word(given.parser, len(given.words))
    return [*found, *(_values(action, given.words, current, known) if action else [])]


def _prefixed(prefix: str, found: Iterable[Candidate]) -> list[Candidate]:
    return [Candidate(prefix + one.word, one.about, one.ended) for one in found]


def _options(parser: Parser) -> Mapping[str, argparse.Action]:
    """Return the options that are accepted at this place: those of the verbs may precede the verb."""
    return {**{name: one for verb in parser.verbs.values() for name, one in verb.options.items()}, **parser.options}


def _option_names(given: _Given, current: str) -> list[Candidate]:
    """Return the options that can still be given; the short ones only after a single `-`."""
    excluded = {id(one) for one in given.used if not isinstance(one, argparse._AppendAction)}  # noqa: SLF001
    for group in given.parser._mutually_exclusive_groups:  # noqa: SLF001 - there is no public name
        members = {id(one) for one in group._group_actions}  # noqa: SLF001
        excluded |= members if members & {id(one) for one in given.used} else set()
    return [
        Candidate(name, _about(action))
        for name, action in _options(given.parser).items()
        if name.startswith(current) and id(action) not in excluded and action.help is not argparse.SUPPRESS
    ]


def _about(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")


def _takes_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def _word(parser: Parser, number: int) -> argparse.Action | None:
    """Return the word of the command line that has this number; the last one may be repeated."""
    words = parser._get_positional_actions()  # noqa: SLF001 - there is no public name
    if number < len(words):
        return words[number]
    return words[-1] if words and words[-1].nargs in ("*", "+", argparse.REMAINDER) else None


def _values(action: argparse.Action, words: Sequence[str], current: str, known: LocalNames) -> list[Candidate]:
    """Return the values of an option or word: its choices, what `completed_by` names, or files."""
    if action.choices is not None:
        return [Candidate(str(one)) for one in action.choices if str(one).startswith(current)]
    kind = getattr(action, "completed_by", None)
    if kind is None and (action.type is Path or action.metavar in _FILES):
        kind = "file"
    return starting(known, kind, list(words), current) if kind else []
