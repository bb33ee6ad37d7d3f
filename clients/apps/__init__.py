"""Extra verbs of agents: `crpc AGENT VERB …` where a request and its replies are not all that people want.

A module with an agent's name has a table `VERBS`; it is imported when somebody asks for its agent. A verb may have the
name of an action: then it stands before it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collective.clients.parser import Parser


@dataclass(frozen=True)
class ExtraVerb:
    """`about` is its summary; `run` takes the words after it and returns the exit code; `make_parser` its parser."""

    about: str
    run: Callable[[Sequence[str]], int]
    make_parser: Callable[[], Parser] | None = None


def agents() -> list[str]:
    """Return the names of the agents that have extra verbs."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def verbs(agent: str) -> Mapping[str, ExtraVerb]:
    """Return an agent's extra verbs by name."""
    if agent not in agents():
        return {}
    found: Mapping[str, ExtraVerb] = importlib.import_module(f"{__name__}.{agent}").VERBS
    return found


def make_parsers(agent: str) -> list[Parser]:
    """Return the parsers of an agent's extra verbs."""
    return [verb.make_parser() for verb in verbs(agent).values() if verb.make_parser]
