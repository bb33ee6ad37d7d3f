"""The policy in force on this node, reloaded when its file changes.

    no file               only rpcutil is allowed
    not valid at start    only rpcutil is allowed
    not valid afterwards  the last valid version stays in force

A policy file that is deleted counts as "no file", because a restart would have the same result.
"""

from __future__ import annotations

import logging
from pathlib import Path

from collective.policy import Decision, Policy, Question, Rule
from collective.policy.parsing import parse
from collective.reread import NoValidVersion, ReloadedFile, ReloadEvents

log = logging.getLogger(__name__)

_RPCUTIL = "rpcutil"  # its get_data action needs permission for the agent `data` as well, and so stays denied
_ONLY_RPCUTIL = Policy((Rule(f"only {_RPCUTIL} (no valid policy file)", agents=(_RPCUTIL,)),))


class PolicyFile:
    """The policy at `path`. Any number of threads may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: ReloadedFile[Policy] = ReloadedFile(
            path,
            _parse,
            events=ReloadEvents(read="policy.read", broken="policy.broken"),
            missing=self._without_file,
            otherwise=NoValidVersion("only rpcutil", _ONLY_RPCUTIL),
        )
        self.current()

    def decide(self, question: Question) -> Decision:
        """Return the decision of the policy in force."""
        return self.current().decide(question)

    def current(self) -> Policy:
        """Return the policy in force."""
        return self._file.value()

    def _without_file(self) -> Policy:
        error = f"{self._path}: no such file, so only rpcutil is allowed (create a policy)"
        log.warning("policy.missing", extra={"error": error})
        return _ONLY_RPCUTIL


def _parse(text: str, path: Path) -> Policy:
    return parse(text, str(path))
