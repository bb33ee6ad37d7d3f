"""Jinja2 in a sandbox, for templates of all kinds: files, modules and private attributes are unreachable.

    environment = Sandbox(undefined=StrictUndefined, finalize=…)
    written(environment.from_string(source), values)

Members of mappings win over the methods of Python's dict, so that a fact may be called `items` or `values`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TooMuchText(ValueError):
    """A template writes more than it may."""


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment without loaders, whose templates cannot change the values that they get."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a member of a mapping, or what the sandbox allows of another object."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def written(template: Template, values: Mapping[str, Any], most: int) -> str:
    """Return the text of a template; raise TooMuchText when it has more than `most` characters."""
    parts, size = [], 0
    for part in template.generate(values):
        size += len(part)
        if size > most:
            raise TooMuchText(f"writes more than {most} characters")
        parts.append(part)
    return "".join(parts)
