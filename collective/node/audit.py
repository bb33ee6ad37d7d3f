"""Write down who asked for what, what was decided, and what came of it: JSON lines, flushed before the reply leaves.

Two lines for each authentic request that was meant for this node:

    {"event": "decision", "time": …, "request": …, "caller": …, "sender": …, "agent": …, "action": …, "data": …,
     "verdict": "allow" | "deny" | "invalid" | …, "rule": …}
    {"event": "outcome", "time": …, "request": …, "statuscode": …, "reason": …, "elapsed_ms": …}
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from collective.errors import Failed
from collective.messages import Reply, Request


class Audit:
    """An append-only file. `clock` returns Unix seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()

    def decision(self, request: Request, data: Mapping[str, Any], verdict: str, rule: str | None) -> None:
        """Write what was decided; `data` are the inputs, masked. Raise Failed: what cannot be audited is not done."""
        self._append(
            {
                "event": "decision",
                "time": self._clock(),
                "request": request.id,
                "caller": request.caller,
                "sender": request.sender,
                "agent": request.agent,
                "action": request.action,
                "data": data,
                "verdict": verdict,
                "rule": rule,
            }
        )

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
            }
        )

    def _append(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(line) + "\n"
        try:
            with self._lock, self._path.open("a", encoding="ascii") as file:
                file.write(text)
        except OSError as fault:
            raise Failed(f"audit {self._path}: cannot be written: {fault.strerror}", reason="crashed") from None
