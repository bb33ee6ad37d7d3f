r"""Give events to a program as serf gives them to its event handlers, so that handlers of serf run unchanged.

    SERF_EVENT          member-join, member-leave, member-failed, member-update, member-reap
    SERF_SELF_NAME      the node, or the machine, on which the handler runs
    SERF_SELF_ROLE      its fact `role`
    SERF_TAG_…          its facts that are strings, numbers or booleans
    standard input      a line per member: name \t address \t role \t tags, tags as name=value,name=value

Source: serf's documentation, "Event Handlers", and its cmd/serf/command/agent/invoke.go. serf has no event for a
conflict of names; here it is `member-conflict`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from collective.membership.members import Event, Member
from collective.text import escape_controls

MAX_TAG = 32 * 1024  # bytes of a tag in the environment; Linux refuses to run a command with 128 KiB in one variable
DEFAULTS = {"SERF_SELF_ROLE": ""}  # serf always sets it; the user of a machine without facts may set another one
_NO_VARIABLE = re.compile("[^A-Z0-9_]")


@dataclass(frozen=True)
class Self:
    """The machine on which handlers run: its name, and its facts if it is a node."""

    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def variables(kind: str, me: Self) -> dict[str, str]:
    """Return the environment variables of a handler for one kind of event; tags that are too long are omitted."""
    own = tags(me.facts)
    short = {name: value for name, value in own.items() if len(f"{name}{value}".encode(errors="replace")) <= MAX_TAG}
    found = {f"SERF_TAG_{_NO_VARIABLE.sub('_', name.upper())}": value for name, value in short.items()}
    named = {"SERF_EVENT": f"member-{kind}", "SERF_SELF_NAME": me.name}
    if "role" in short:
        named["SERF_SELF_ROLE"] = short["role"]
    return {name: _storable(value) for name, value in {**found, **named}.items()}


def lines(events: Iterable[Event]) -> str:
    """Return the standard input of a handler: a line per member."""
    return "".join(_line(event.member) for event in events)


def tags(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts that can be tags, as strings; true and false in lower case, as in JSON."""
    return {name: _text(value) for name, value in sorted(facts.items()) if isinstance(value, (str, int, float))}


def _line(member: Member) -> str:
    pairs = ",".join(f"{name}={value}" for name, value in tags(member.facts).items())
    return "\t".join(map(_clean, (member.identity, member.address, member.role, pairs))) + "\n"


def _clean(text: str) -> str:
    r"""Return a field without tabs and line ends: serf writes them as `\t` and `\n`.

    Other characters that end a line for some programs, or control a terminal, are written in the same way: facts come
    from the nodes themselves.
    """
    return escape_controls(text)


def _storable(text: str) -> str:
    """Return a text that an environment variable can hold: without NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="backslashreplace").decode()


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
