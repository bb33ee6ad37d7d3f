"""Inputs of an action as options: `--pool nat` for `pool=nat`, if no option of `crpc` has that name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from collective.clients.parser import Parser
from collective.errors import UsageError
from collective.suggestions import suggest


def as_words(words: Sequence[str], parser: Parser, inputs: Callable[[], Collection[str]]) -> list[str]:
    """Return `words` with `--INPUT VALUE` and `--INPUT=VALUE` as `INPUT=VALUE`.

    `inputs` returns the names of the action's inputs; it is called for an option that `parser` does not have. Raises
    UsageError for an input without a value, and for one that is given twice.
    """
    found: list[str] = []
    rest = list(words)
    while rest and rest[0] != "--":
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        name = _input(option, parser, inputs)
        if name is None:
            found.append(word)
            continue
        if not equals:
            value = _next(option, rest, parser)
        if any(one.startswith(f"{name}=") for one in (*found, *rest)):
            raise UsageError(f"{option} given more than once")
        found.append(f"{name}={value}")
    return found + rest


def _input(option: str, parser: Parser, inputs: Callable[[], Collection[str]]) -> str | None:
    """Return the input that an option is for; `--max-size` is for `max_size` too. Raises UsageError for `--pol`."""
    if not option.startswith("--") or option in parser.option_names:
        return None
    known = inputs()
    names = (option[2:], option[2:].replace("-", "_"))
    if not any(name in known for name in names):
        _refuse_mistyped(option, known, parser)
    return next((name for name in names if name in known), None)


def _refuse_mistyped(option: str, known: Collection[str], parser: Parser) -> None:
    """Raise UsageError if an input is what the option is closest to."""
    inputs = [f"--{name}" for name in known]
    hint = suggest(option, [*inputs, *parser.option_names])
    if any(f"'{name}'" in hint for name in inputs):
        raise UsageError(f"unknown option '{option}' ({hint})")


def _next(option: str, rest: list[str], parser: Parser) -> str:
    if not rest or rest[0].startswith("--") or rest[0] in parser.option_names:
        raise UsageError(f"{option}: expected a value (use {option}=VALUE for one that begins with '-')")
    return rest.pop(0)
