"""What callers sign in the record of a shared run: the call itself, each takeover, and each order.

    plan    by the caller that begins the run: the call, its nodes, and the keys that may go on with it
    taken   by the caller that goes on with it
    order   by a caller that pauses, resumes or stops it

A statement is valid for one run, in the namespace `collective-run`. The keys that a record accepts are those in the
plan: the caller's own, and its file of allowed signers at the time. Every reader of the record checks them, so a
statement of another key has no effect. Records on one machine are not signed: only their user can write them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.errors import ConfigError, SignatureError, UntrustedKey
from collective.signing import RUN_NAMESPACE, SignPayload

if TYPE_CHECKING:
    from collective.signing.allowed_signers import AllowedSigners

PAUSE, RESUME, STOP = "pause", "resume", "stop"


def signed(statement: Mapping[str, Any], sign: SignPayload) -> dict[str, Any]:
    """Return a statement with the signature of `sign`, which is None without a key."""
    return {**statement, "signature": sign(text(statement))}


def text(statement: Mapping[str, Any]) -> str:
    """Return what is signed of a statement: all but the signature."""
    content = {name: value for name, value in statement.items() if name != "signature"}
    return json.dumps(content, separators=(",", ":"), sort_keys=True)


def check(statement: Mapping[str, Any], allowed: AllowedSigners | None) -> None:
    """Raise SignatureError unless a key in `allowed` has signed a statement for its `caller`.

    Without `allowed` statements are not signed, and every one is accepted.
    """
    if allowed is None:
        return
    from collective.signing.sshsig import Signature

    if not isinstance(statement.get("signature"), str):
        raise SignatureError("it is not signed")
    signature = Signature.read(statement["signature"], RUN_NAMESPACE)
    trusted = allowed.signer(signature.signer, statement["caller"], float(statement["time"]))
    signature.verify(text(statement), trusted.key)


def allowed_by(plan: Mapping[str, Any]) -> AllowedSigners | None:
    """Return the keys that may go on with the run of a plan; None for one that is not signed. Raise UntrustedKey."""
    from collective.signing import allowed_signers

    if plan["signature"] is None:
        return None
    try:
        return allowed_signers.parse(plan["signers"], Path("signers of the run"))
    except ConfigError as error:
        raise UntrustedKey(str(error)) from None


def check_plan(plan: Mapping[str, Any], trusted: AllowedSigners, whose: str) -> None:
    """Raise UntrustedKey unless a key that this caller trusts has signed a plan; `whose` names its file."""
    if plan["signature"] is None:
        raise UntrustedKey(f"'{plan['caller']}' has not signed it, so anyone may have changed it")
    try:
        check(plan, trusted)
    except SignatureError as error:
        hint = f"crpc keys trust KEY.pub --as {plan['caller']} --file {whose}"
        raise UntrustedKey(
            f"'{plan['caller']}' began it with a key that is not trusted here: {error} ({hint})"
        ) from None
