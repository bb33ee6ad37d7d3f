"""Notify people of a playbook: when it has ended, and before it asks a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective.clients.notifier import Notifier
from collective.clients.playbooks.results import GROUPS


class PlaybookNotices:
    """Sends the notifications of one playbook.

    `about` describes its run, `outcomes` are those of each node in the last call to it; it may change.
    """

    def __init__(self, notifier: Notifier, about: Mapping[str, Any], outcomes: Mapping[str, str]) -> None:
        self._notifier = notifier
        self._about = about
        self._outcomes = outcomes

    def waiting(self, question: str) -> None:
        """Notify that a question waits for a person."""
        self._notifier.send("wait", {**self._document(), "why": question})

    def ended(self, code: int, why: str) -> None:
        """Notify of the end, with the exit code and why it stopped."""
        self._notifier.send("fail" if code else "end", {**self._document(), "why": why, "exit": code})
        self._notifier.close()

    def _document(self) -> dict[str, Any]:
        nodes = {group: sorted(node for node, found in self._outcomes.items() if found == group) for group in GROUPS}
        return {**self._about, **nodes, "nodes": len(self._outcomes)}
