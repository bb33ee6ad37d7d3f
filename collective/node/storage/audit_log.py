"""Write down who asked for what, what was decided, and what came of it; `collective.audit` says what the lines hold.

The line that allows an action is on the disk before the action begins: even one that takes the machine down with it
has left its line. All other lines are with the system before the reply leaves, which is enough when the daemon dies.
"""

from __future__ import annotations

import logging
import os
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from collective.errors import Failed
from collective.messages import Envelope, Reply, Request
from collective.node.storage.chained_file import ChainedFile

log = logging.getLogger(__name__)

ALLOWED = "allowed"
_ARMOR = "-----{} SSH SIGNATURE-----\n"  # OpenSSH's PROTOCOL.sshsig


class AuditLog:
    """The audit in the file `path`.

    What cannot be written raises Failed, so that it is not done; without `required` it is logged, and the next line
    that can be written tells how many are missing. Requests as they were signed go to the folder `envelopes`.
    `clock` returns Unix seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        required: bool = True,
        envelopes: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._required = required
        self._envelopes = envelopes
        self._clock = clock
        self._file = ChainedFile(path)
        self.failures = 0

    @property
    def head(self) -> str | None:
        """The hash of the last line, by which others can tell that none is missing; None before the first one."""
        return self._file.head

    def decision(
        self,
        request: Request,
        data: Mapping[str, Any],
        verdict: str,
        rule: str | None,
        *,
        asks: Sequence[tuple[str, str]] = (),
        fingerprint: str | None = None,
        skew: float | None = None,
        envelope: Envelope | None = None,
    ) -> None:
        """Write what was decided; `data` are the inputs, masked, `asks` the data functions that were asked about.

        `skew` is in seconds. An `envelope` is kept where there is a folder for it: it must hold no secrets.
        Raises Failed when it cannot be written.
        """
        entry = {
            "event": "decision",
            "time": self._clock(),
            "request": request.id,
            "caller": request.caller,
            "fingerprint": fingerprint,
            "sender": request.sender,
            "agent": request.agent,
            "action": request.action,
            "data": data,
            "asks": asks,
            "verdict": verdict,
            "rule": rule,
            "skew": None if skew is None else round(skew, 3),
        }
        try:
            if envelope is not None and self._envelopes is not None:
                _keep(self._envelopes, request.id, envelope)
        except OSError as error:
            self._fail(self._envelopes, error)
        self._append(entry, durable=verdict == ALLOWED)

    def outcome(self, reply: Reply) -> None:
        """Write what came of a request. Raise Failed when that cannot be written."""
        self._append(
            {
                "event": "outcome",
                "time": self._clock(),
                "request": reply.request,
                "statuscode": reply.statuscode,
                "reason": reply.reason,
                "elapsed_ms": reply.elapsed_ms,
                "replayed": reply.replayed,
            }
        )

    def close(self) -> None:
        """Let go of the file; a further line opens it again."""
        self._file.close()

    def _append(self, entry: Mapping[str, Any], durable: bool = False) -> None:
        try:
            self._file.append(entry, self._clock(), durable=durable)
        except OSError as error:
            self._fail(self._path, error)

    def _fail(self, path: Path | None, error: OSError) -> None:
        self.failures += 1
        text = f"audit {path}: cannot be written: {error.strerror}"
        if self._required:
            raise Failed(text, reason="crashed") from None
        log.error("audit.failed", extra={"error": text})


def _keep(folder: Path, request: str, envelope: Envelope) -> None:
    """Write what was signed, and the signature, into files that `ssh-keygen -Y verify` reads."""
    _write_private(folder / f"{request}.payload", envelope.payload)
    if envelope.signature is not None:
        lines = "\n".join(textwrap.wrap(envelope.signature, 70))
        _write_private(folder / f"{request}.sig", f"{_ARMOR.format('BEGIN')}{lines}\n{_ARMOR.format('END')}")


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; a second delivery writes the same once more."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "w", encoding="ascii", errors="replace") as stream:
        stream.write(text)
