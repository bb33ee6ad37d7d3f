"""The exit codes of `crpc` and `collectived`, and the code for each error; the only place where they are defined.

The code of a call that was sent is chosen by `Outcomes.exit_code` (collective/fleet/outcomes.py).
"""

from __future__ import annotations

from collective.errors import (
    AccessDenied,
    ClusterRefused,
    CollectiveError,
    ConfigError,
    DDLError,
    MessageError,
    NoNodes,
    PlanRefused,
    RPCError,
    RunRefused,
    SignatureError,
    TooManyTargets,
    TransportError,
    UntrustedKey,
    UsageError,
)

OK = 0
NO_NODES, FAILED, SILENT, STOPPED = 1, 2, 3, 4
# sysexits.h
USAGE, UNAVAILABLE, INTERNAL, UNWRITABLE, TEMPORARY, DENIED, CONFIGURATION = 64, 69, 70, 74, 75, 77, 78

MEANINGS = {
    OK: "every expected node answered OK",
    NO_NODES: "no node matched; nothing was sent",
    FAILED: "at least one node failed, or could not evaluate the filter",
    SILENT: "no node failed, but at least one expected node did not answer",
    STOPPED: "stopped by --max-fail, a gate, a limit on targets or cost, a refused confirmation or an interrupt",
    USAGE: "the command line is wrong: unknown agent, action or option, or an input that does not match the DDL",
    UNAVAILABLE: "the transport cannot be reached",
    INTERNAL: "internal error",
    UNWRITABLE: "the output cannot be written",
    TEMPORARY: "collectived: the disk of the journal is full or failing; systemd starts the daemon again",
    DENIED: "credentials or key refused",
    CONFIGURATION: "the configuration is wrong",
}

_CODES: tuple[tuple[type[CollectiveError], int], ...] = (
    (NoNodes, NO_NODES),
    (TooManyTargets, STOPPED),
    (PlanRefused, STOPPED),
    (UntrustedKey, DENIED),
    (RunRefused, STOPPED),
    (ClusterRefused, STOPPED),
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
    """Return the exit code for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), INTERNAL)
