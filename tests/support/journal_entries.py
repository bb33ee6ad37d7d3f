"""Make entries of the journal from a few values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collective.node.storage.journal import TAKEN, Journal, JournalEntry

OpenJournal = Callable[..., Journal]  # opens the journal again, with limits
BEGAN = 1000.0  # when a journal was created
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


def begin(journal: Journal, name: str, now: float = BEGAN, body: str = "asked", **changes: Any) -> None:
    """Take a request into the journal."""
    journal.begin(make_entry(name, now, body=body, **changes), now)


def state(journal: Journal, name: str) -> str | None:
    """Return the state of a request, None without an entry."""
    entry = journal.find(name)
    return entry.state if entry else None
