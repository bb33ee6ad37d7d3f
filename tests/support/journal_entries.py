"""Make entries of the journal from a few values."""

from __future__ import annotations

from typing import Any

from collective.node.storage.journal import TAKEN, JournalEntry

VALID = 1000.0  # seconds for which a made entry's message can come again


def make_entry(name: str, now: float = 1000.0, **changes: Any) -> JournalEntry:
    """Return the entry of a request that was sent one second before `now`, with `changes`."""
    members: dict[str, Any] = {
        "id": name,
        "digest": f"digest of {name}",
        "caller": "alice",
        "state": TAKEN,
        "sent": now - 1,
        "until": now + 60,
        "expires": now + VALID,
        "reply_to": "replies",
        "keeps_reply": True,
        "resumed": 0,
        "body": "asked",
        "reply": "",
    }
    return JournalEntry(**{**members, **changes})
