"""Status codes of replies, and what can become of a request on a node."""

from __future__ import annotations

from collective import errors
from collective.clients.render import markdown
from collective.node.requests.reasons import COUNTERS


def status_codes() -> str:
    """Return the table of status codes, with the error that an action raises for each."""
    kinds = sorted(errors.RPCError.__subclasses__(), key=lambda kind: kind.statuscode)
    rows = [
        [str(kind.statuscode), markdown.code(kind.__name__), (kind.__doc__ or "").partition("\n")[0]] for kind in kinds
    ]
    return markdown.table(["Status code", "Raised as", "Meaning"], [["0", "", "OK."], *rows])


def request_outcomes() -> str:
    """Return the table of what can become of a request that a node received."""
    return markdown.table(["Result", "Meaning"], [[markdown.code(name), text] for name, text in COUNTERS.items()])
