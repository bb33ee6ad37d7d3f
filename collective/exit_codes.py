"""The one table from errors to exit codes; those of a finished call are in `fleet/outcomes.py`."""

from __future__ import annotations

from collective.errors import (
    AccessDenied,
    CollectiveError,
    ConfigError,
    DDLError,
    MessageError,
    NoNodes,
    RPCError,
    SignatureError,
    TooManyTargets,
    TransportError,
    UsageError,
)

# sysexits.h, where it has a fitting number
USAGE, UNAVAILABLE, DEFECT, UNWRITABLE, DENIED, CONFIGURATION = 64, 69, 70, 74, 77, 78
NOBODY, FAILED, UNKNOWN, STOPPED = 1, 2, 3, 4

_CODES: tuple[tuple[type[CollectiveError], int], ...] = (
    (NoNodes, NOBODY),
    (TooManyTargets, STOPPED),
    (UsageError, USAGE),
    (RPCError, USAGE),
    (SignatureError, DENIED),
    (MessageError, USAGE),
    (AccessDenied, DENIED),
    (TransportError, UNAVAILABLE),
    (ConfigError, CONFIGURATION),
    (DDLError, CONFIGURATION),
)


def exit_code(error: CollectiveError) -> int:
    """Return the exit code that tells the truth about an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), DEFECT)
