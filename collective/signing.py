"""Who asked: what signs a payload on its way out, and what checks it on its way in.

    sign(payload) → signature or None
    verify(payload, signature, caller) → None, or SignatureError

Signatures are not built yet. What is here is honest about it: nothing is signed, and a node takes requests only
when its administrator has said in so many words (`accept_unsigned: true`) that whoever may write to its queue
may act. Both sides already pass every payload through here, exactly as it travels.
"""

from __future__ import annotations

from collections.abc import Callable

from collective.errors import SignatureError

Sign = Callable[[str], "str | None"]
Verify = Callable[[str, "str | None", str], None]


def unsigned(_payload: str) -> None:
    """Sign nothing."""


def accept_unsigned(_payload: str, _signature: str | None, _caller: str) -> None:
    """Believe whoever may write to the queue."""


def refuse_unsigned(_payload: str, _signature: str | None, caller: str) -> None:
    """Believe nobody: no signature can be checked yet."""
    raise SignatureError(f"request in the name of '{caller}' is not signed")
