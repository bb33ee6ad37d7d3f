"""Write the audit log: each request, its decision and its outcome. `collective.audit` describes the lines.

The line that allows an action is on the disk (fdatasync) before the action starts, so it survives an action that
crashes the machine. Other lines are written without fdatasync before the reply is sent: they survive a crash of the
daemon.
"""

from __future__ import annotations

import contextlib
import logging
import os
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from collective.audit.cutting import cut_asks, cut_data
from collective.errors import Failed
from collective.messages import Envelope, Reply, Request
from collective.node.storage.chained_file import ChainedFile

log = logging.getLogger(__name__)

ALLOWED = "allowed"
_ARMOR = "-----{} SSH SIGNATURE-----\n"  # OpenSSH's PROTOCOL.sshsig


class AuditLog:
    """The audit log in the file `path`.

    A line that cannot be written raises Failed, so that the action does not run. Without `required` the error is
    logged instead, and the next line that can be written has the number of missing lines. Signed requests are kept as
    received in the folder `envelopes`, in files named by their digest. `clock` returns Unix seconds.
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
        """The hash of the last line; None for an empty log. Compare it with a copy to detect missing lines."""
        return self._file.head

    def decision(
        self,
        request: Request,
        digest: str,
        data: Mapping[str, Any],
        verdict: str,
        rule: str | None,
        *,
        asks: Sequence[tuple[str, str]] = (),
        approvers: Sequence[str] = (),
        job: str | None = None,
        fingerprint: str | None = None,
        skew: float | None = None,
        envelope: Envelope | None = None,
    ) -> None:
        """Write a decision on the request with this payload `digest`.

        `data` are the masked inputs, `asks` the data functions in the filter, with their queries; both are cut to a
        bounded size. `approvers` are the callers that have approved the request. `job` is RequestContext.job_step.
        `skew` is in seconds. The `envelope` is kept if there is a folder for envelopes; it must not contain secrets.
        Raise Failed when the line or the envelope cannot be written.
        """
        entry = {
            "event": "decision",
            "time": self._clock(),
            **_described(request),
            "digest": digest,
            "fingerprint": fingerprint,
            "job": job,
            "data": cut_data(data),
            "asks": cut_asks(asks),
            "approvers": list(approvers),
            "verdict": verdict,
            "rule": rule,
            "skew": None if skew is None else round(skew, 3),
        }
        if envelope is not None:
            self._keep(envelope)
        self._append(entry, durable=verdict == ALLOWED)

    def outcome(self, reply: Reply) -> None:
        """Write the outcome of a request. Raise Failed when the line cannot be written."""
        self._append(
            {
                "event": "outcome",
                "time": self._clock(),
                "request": reply.request,
                "digest": reply.digest,
                "statuscode": reply.statuscode,
                "reason": reply.reason,
                "elapsed_ms": reply.elapsed_ms,
                "replayed": reply.replayed,
            }
        )

    def limited(self, caller: str, seconds: float) -> None:
        """Write that further refusals of a caller are not written for up to `seconds`."""
        self._append({"event": "limited", "time": self._clock(), "caller": caller, "seconds": seconds})

    def close(self) -> None:
        """Close the file. The next line opens it again."""
        self._file.close()

    def _keep(self, envelope: Envelope) -> None:
        """Keep what was signed, if there is a folder for it."""
        try:
            if self._envelopes is not None:
                _write_envelope(self._envelopes, envelope)
        except OSError as error:
            self._fail(self._envelopes, error)

    def _append(self, entry: Mapping[str, Any], durable: bool = False) -> None:
        try:
            self._file.append(entry, self._clock(), durable=durable)
        except OSError as error:
            self._fail(self._path, error)

    def _fail(self, path: Path | None, error: OSError) -> None:
        self.failures += 1
        text = f"audit log {path}: cannot be written: {error.strerror}"
        if self._required:
            raise Failed(text, reason="crashed") from None
        log.error("audit.failed", extra={"error": text})


def _described(request: Request) -> dict[str, Any]:
    """Return what a line has of a request: all but its inputs, in which secrets have to be masked."""
    return {
        "request": request.id,
        "run": request.run,
        "caller": request.caller,
        "sender": request.sender,
        "agent": request.agent,
        "action": request.action,
        "dry_run": request.dry_run,
        "reason": request.reason,
        "targets": None if request.targets is None else max(len(request.targets), request.total or 0),
    }


def _write_envelope(folder: Path, envelope: Envelope) -> None:
    """Write the signed payload and its signature to files that `ssh-keygen -Y verify` reads."""
    _write_new(folder / f"{envelope.digest}.payload", envelope.payload)
    if envelope.signature is not None:
        lines = "\n".join(textwrap.wrap(envelope.signature, 70))
        _write_new(folder / f"{envelope.digest}.sig", f"{_ARMOR.format('BEGIN')}{lines}\n{_ARMOR.format('END')}")


def _write_new(path: Path, text: str) -> None:
    """Write a file that only its owner may read, unless it exists: what is kept is never replaced.

    It appears under its name when it is complete, so that a crash cannot leave half a proof.
    """
    if path.exists():
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(file, "w", encoding="ascii", errors="replace") as stream:
            stream.write(text)
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        unfinished.unlink()
