"""The words for the outcome of a reply, and the headings of its fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collective.clients.render.formatting import PLAIN, Paint
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.ddl import Action

_LABELS = {
    0: ("", "bold"),
    1: ("Request Aborted", "red"),
    2: ("Unknown Action", "yellow"),
    3: ("Missing Request Data", "yellow"),
    4: ("Invalid Request Data", "yellow"),
}
_UNKNOWN_LABEL = ("Unknown Request Status", "red")
# Replies whose `reason` says that not the action, but the node decided.
_REASON_LABELS = {
    "denied": ("Request Denied", "red"),
    "timeout": ("Timed Out", "red"),
    "crashed": ("Agent Crashed", "red"),
    "invalid_output": ("Invalid Output", "red"),
    "interrupted": ("Action Interrupted", "red"),
    "cancelled": ("Action Cancelled", "red"),
    "frozen": ("Node Frozen", "red"),
    "busy": ("Node Busy", "yellow"),
    "expired": ("Request Expired", "yellow"),
    "filtered": ("Request Filtered", "yellow"),
    "not_evaluated": ("Filter Not Evaluated", "yellow"),
}
_TITLES = {
    "sender": "Node",
    "outcome": "Status",
    "statuscode": "Status Code",
    "statusmsg": "Message",
    "reason": "Reason",
    "elapsed_ms": "Duration (ms)",
    "data": "Data",
}


def wants(display: str, statuscode: int) -> bool:
    """Return whether to print a reply; `display` is the action's (ok, failed, always) or the option's `all`."""
    if display == "ok":
        return statuscode == 0
    if display == "failed":
        return statuscode > 0
    return True


def label(statuscode: int, paint: Paint = PLAIN, reason: str | None = None) -> str:
    """Return the label beside a node's name; empty for status code 0. A known `reason` has its own."""
    known = _REASON_LABELS.get(reason or "") if statuscode else None
    text, color = known or _LABELS.get(statuscode, _UNKNOWN_LABEL)
    return paint(color, text)


def title(action: Action, path: str, *, output: bool = False) -> str:
    """Return the heading of a field, escaped: that of a member or of an output; `output`: the path is an output."""
    if not output and path in _TITLES:
        return _TITLES[path]
    return escape_controls(action.title(path if output else path.removeprefix("data.")))
