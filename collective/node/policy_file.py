"""The policy in force on this node, reloaded when its file changes.

    no file               only rpcutil is allowed
    not valid at start    only rpcutil is allowed
    not valid afterwards  the last valid version stays in force

A file that other users can change is not valid.
A policy file that is deleted counts as "no file", because a restart would have the same result.
"""

from __future__ import annotations

import logging
from pathlib import Path

from collective.errors import ConfigError
from collective.node.check import trusted_paths
from collective.path_checks import may_exist
from collective.policy import Actions, Decision, Policy, Question, Rule
from collective.policy.parsing import parse, read
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
            guard=trusted_paths.guard,
        )
        self._reported: tuple[Policy | None, Actions] = (None, {})
        self._unknown: tuple[str, ...] = ()
        self._latest = self.current()

    def decide(self, question: Question) -> Decision:
        """Return the decision of the policy in force."""
        policy = self._latest = self.current()
        self._report(policy, question.known)
        return policy.decide(question)

    def report(self, known: Actions) -> None:
        """Log the inputs in the policy that no action has, once for each version of the policy and of the plugins."""
        self._report(self.current(), known)

    def _report(self, policy: Policy, known: Actions) -> None:
        if self._reported[0] is policy and self._reported[1] is known:
            return
        self._reported = (policy, known)
        self._unknown = tuple(f"{self._path}: {line}" for line in policy.input_problems(known))
        for line in self._unknown:
            log.warning("policy.unknown_input", extra={"problem": line})

    def current(self) -> Policy:
        """Return the policy in force."""
        return self._file.value()

    @property
    def limits_hours(self) -> bool:
        """Whether a rule limits the nodes of a caller's calls within an hour, in the policy that decided last."""
        return self._latest.limits_hours

    @property
    def digest(self) -> str:
        """The digest of the file in force, by which callers recognize a copy of it; empty without a valid file."""
        return self.current().digest

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems of the file as it is now, one line per problem."""
        self.current()
        return (*self._file.problems, *self._unknown)

    def _without_file(self) -> Policy:
        log.warning("policy.missing", extra={"error": _missing(self._path)})
        return _ONLY_RPCUTIL


def problems(path: Path, known: Actions) -> list[str]:
    """Return the problems of the policy at `path`, one line per problem; a policy that allows nothing has one.

    `known` are the inputs of the node's actions.
    """
    if not may_exist(path):
        return [_missing(path)]
    try:
        policy = read(path)
    except ConfigError as error:
        return list(error.problems)
    if not any(rule.allow and rule.callers for rule in policy.rules):
        return [f"{path}: no rule that allows anything, so every request is refused (add a rule)"]
    return [f"{path}: {line}" for line in policy.input_problems(known)]


def _missing(path: Path) -> str:
    return f"{path}: no such file, so only rpcutil is allowed (create a policy)"


def _parse(text: str, path: Path) -> Policy:
    return parse(text, str(path))
