"""A command with verbs that also works without one: `crpc inventory NODE` and `crpc inventory export`.

A first word that is a verb is always the verb. What else could have that name is written in another way: `./nodes`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from collective.clients.parser import Parser


class OptionalVerbParser(Parser):
    """A parser with `optional_verbs`; `args.verb` is the verb that was given, or None."""

    def __init__(self, prog: str, optional_verbs: Mapping[str, Parser], **settings: Any) -> None:
        self._optional = dict(optional_verbs)
        super().__init__(prog, **settings)

    @property
    def verbs(self) -> dict[str, Parser]:
        """The parsers of the verbs by name."""
        return dict(self._optional)

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse `args` with the parser of the verb, or without a verb with this one; raise UsageError."""
        words = list(sys.argv[1:] if args is None else args)
        namespace = argparse.Namespace() if namespace is None else namespace
        first = self.command_first(words)
        namespace.verb = first[0] if first and first[0] in self._optional else None
        if namespace.verb is None:
            return super().parse_args(words, namespace)
        return self._optional[namespace.verb].parse_args(first[1:], namespace)
