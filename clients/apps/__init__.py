"""Extra verbs of agents: `crpc AGENT VERB …`, for uses that one request and its replies do not cover.

Those of other agents come from installed packages, by entry points that name modules:

    [project.entry-points."collective.verbs"]
    load = "acme.load_verbs"

A module with the name of an agent has a table `VERBS`. It is imported when its agent is named on the command line. A
verb with the name of an action takes precedence over the action. The module may also have a function `call_output`, for
its own text form of the results of its actions.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collective import installed
from collective.bundled import DDLS
from collective.errors import ConfigError

if TYPE_CHECKING:
    from collective.clients.parser import Parser
    from collective.clients.results import CallOutput
    from collective.fleet.call import Call


GROUP = "collective.verbs"


@dataclass(frozen=True)
class ExtraVerb:
    """An extra verb of an agent.

    `about` is one line for the help pages. `run` takes the arguments and returns the exit code. `make_parser` returns
    the parser, with its examples.
    """

    about: str
    run: Callable[[Sequence[str]], int]
    make_parser: Callable[[], Parser] | None = None


def agents() -> list[str]:
    """Return the names of the agents that have extra verbs."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def verbs(agent: str) -> Mapping[str, ExtraVerb]:
    """Return the extra verbs of an agent by name. Raises ConfigError for a package whose verbs cannot be loaded."""
    if agent in agents():
        found: Mapping[str, ExtraVerb] = importlib.import_module(f"{__name__}.{agent}").VERBS
        return found
    return {} if (DDLS / f"{agent}.json").is_file() else _installed_verbs(agent)


def _installed_verbs(agent: str) -> Mapping[str, ExtraVerb]:
    points = [point for point in installed.entries(GROUP) if point.name == agent]
    if not points:
        return {}
    from collective.clients import plugin_commands

    where, module = plugin_commands.loaded("verbs of", points)
    found = getattr(module, "VERBS", None)
    if not isinstance(found, Mapping) or not all(isinstance(verb, ExtraVerb) for verb in found.values()):
        raise ConfigError(f"{where}: '{points[0].value}' has no table 'VERBS' with an ExtraVerb for each name")
    return found


def call_output(call: Call, args: argparse.Namespace) -> CallOutput:
    """Return the output of a call: that of its agent's module, `call_output`, if it has one."""
    from collective.clients.results import CallOutput

    if call.agent in agents():
        made = getattr(importlib.import_module(f"{__name__}.{call.agent}"), "call_output", CallOutput)
        own: CallOutput = made(call, args)
        return own
    return CallOutput(call, args)


def make_parsers(agent: str) -> list[Parser]:
    """Return the parsers of the extra verbs of an agent."""
    return [verb.make_parser() for verb in verbs(agent).values() if verb.make_parser]
