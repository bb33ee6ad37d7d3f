"""The policy in force on this node: read again when its file changes; a broken new version changes nothing.

    no file              only rpcutil may be called, and the log says so
    broken at start      the same
    broken afterwards    the last good version stays in force

A file that is taken away is no file: after a restart it would be none either.
"""

from __future__ import annotations

import errno
import logging
import threading
from pathlib import Path

from collective import policy
from collective.errors import ConfigError
from collective.policy import Decision, Policy, Question, Rule

log = logging.getLogger(__name__)

_RPCUTIL = "rpcutil"  # its get_data asks for leave of the agent `data` too, and so stays closed


def only_rpcutil(why: str) -> Policy:
    """Return the policy that leaves a node manageable when there is no other; `why` is in its rule's name."""
    return Policy((Rule(f"only {_RPCUTIL} ({why})", agents=(_RPCUTIL,)),))


class PolicyFile:
    """The policy at `path`; any number of threads may ask it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._good: Policy | None = None
        self._lock = threading.RLock()  # a signal's handler may come in between
        self._stamp = self._look()
        self._current = self._read()

    def decide(self, question: Question) -> Decision:
        """Return what the policy in force says."""
        return self.current().decide(question)

    def current(self) -> Policy:
        """Return the policy in force; its file is read again when it is another than at the last look."""
        with self._lock:
            stamp = self._look()  # before reading: what is written meanwhile is seen at the next look
            if stamp != self._stamp:
                self._stamp = stamp
                self._current = self._read()
            return self._current

    def _look(self) -> tuple[int, ...]:
        """Return what changes with the file; (an error's number,) when it cannot be looked at."""
        try:
            found = self._path.stat()
        except OSError as error:
            return (error.errno or 0,)
        return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def _read(self) -> Policy:
        if self._stamp == (errno.ENOENT,):
            missing = f"{self._path}: there is no policy: only rpcutil is allowed: write one"
            log.warning("policy.missing", extra={"error": missing})
            self._good = None
            return only_rpcutil("there is no policy file")
        try:
            self._good = policy.read(self._path)
        except ConfigError as error:
            in_force = "the last good version" if self._good else "only rpcutil"
            for line in error.problems:
                log.error("policy.broken", extra={"error": line, "in_force": in_force})
            return self._good or only_rpcutil("the policy file is broken")
        log.info("policy.read", extra={"path": str(self._path), "rules": len(self._good.rules)})
        return self._good
