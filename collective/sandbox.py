"""Jinja2 in a sandbox, for templates of all kinds: files, modules and private attributes are unreachable.

    environment = Sandbox(undefined=StrictUndefined, finalize=…)
    rendered(environment, source, values, most, "motd.j2")

Members of mappings win over the methods of Python's dict, so that a fact may be called `items` or `values`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from types import FrameType
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from collective.errors import ConfigError

RENDER_SECONDS = 10.0  # for one template or expression
LARGEST_VALUE = 1024 * 1024  # items of a string or list that an expression multiplies, and bits of a number


class TooMuchText(ValueError):
    """A template writes more than it may, or takes more time."""


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment without loaders, whose templates cannot change the values that they get."""

    intercepted_binops = frozenset({"*", "**"})  # one step of these can take all memory, or a day

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply or raise to a power; raise TooMuchText for a result that is too large."""
        if _size(operator, left, right) > LARGEST_VALUE:
            raise TooMuchText(f"'{operator}' makes a value of more than {LARGEST_VALUE} characters, items or bits")
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a member of a mapping, or what the sandbox allows of another object."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def written(template: Template, values: Mapping[str, Any], most: int) -> str:
    """Return the text of a template; raise TooMuchText when it has more than `most` characters, or takes too long."""
    parts, size = [], 0
    with time_limited():
        for part in template.generate(values):
            size += len(part)
            if size > most:
                raise TooMuchText(f"writes more than {most} characters")
            parts.append(part)
    return "".join(parts)


def rendered(environment: Sandbox, source: str, values: Mapping[str, Any], most: int, where: str) -> str:
    """Return the text of the template `source`, as `written`; raise ConfigError, which begins with `where`."""
    with naming_errors(where):
        return written(environment.from_string(source), values, most)


@contextmanager
def naming_errors(where: str) -> Iterator[None]:
    """Raise ConfigError, which begins with `where`, for every error of a template."""
    try:
        yield
    except Exception as error:
        line = f" (line {error.lineno})" if isinstance(error, TemplateSyntaxError) else ""
        raise ConfigError(f"{where}: {problem(error)}{line}") from None


def problem(error: Exception) -> str:
    """Return what is wrong with a template or expression; it can raise anything, such as ZeroDivisionError."""
    if isinstance(error, (TemplateError, TooMuchText)):
        return str(getattr(error, "message", None) or error)
    return f"{type(error).__name__}: {error}"


@contextmanager
def time_limited(seconds: float = RENDER_SECONDS) -> Iterator[None]:
    """Raise TooMuchText in a template or expression that this thread evaluates for longer than `seconds`.

    Loops in loops can run for years without writing anything. The time is looked at before each line of the code that
    Jinja2 has made of a template; other threads are not affected.
    """
    end, before = time.monotonic() + seconds, sys.gettrace()

    def look(_frame: FrameType, _event: str, _argument: Any) -> Any:
        if time.monotonic() > end:
            raise TooMuchText(f"takes more than {seconds:g} s")
        return look

    sys.settrace(look)
    try:
        yield
    finally:
        sys.settrace(before)


def _size(operator: str, left: Any, right: Any) -> int:
    """Return how large the result of a multiplication or power is at least, in characters, items or bits."""
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * (abs(right) if operator == "**" else 1) if abs(left) > 1 else 0
    if operator == "*" and isinstance(left, int):
        left, right = right, left
    if operator == "*" and isinstance(left, Sized) and isinstance(right, int):
        return len(left) * right
    return 0
