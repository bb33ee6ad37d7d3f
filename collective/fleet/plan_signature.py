"""The planner's signature on a saved plan: no other key can change what `crpc apply` runs.

    saved plan without signatures ─► text ─► signed by the planner's key, in the namespace `collective-plan`

It covers every member but the approvals that were collected since. A plan runs for the caller whose key signed it, or
for one who names the planner's key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from collective.errors import PlanRefused, SignatureError
from collective.signing import PLAN_NAMESPACE, SignPayload

if TYPE_CHECKING:
    from collective.signing.keys import PublicKey


def signed(document: Mapping[str, Any], sign: SignPayload) -> dict[str, Any]:
    """Return a plan with the planner's signature, which is None when `sign` has no key."""
    return {**document, "signature": sign(text(document))}


def text(document: Mapping[str, Any]) -> str:
    """Return what the planner signs: all members but the signatures."""
    content = {name: value for name, value in document.items() if name != "signature"}
    content["approval"] = document["approval"]["document"]
    return json.dumps(content, separators=(",", ":"), sort_keys=True)


def planner_key(document: Mapping[str, Any]) -> PublicKey | None:
    """Return the key that signed a plan, None for an unsigned one; raise PlanRefused when the signature is not valid.

    The key is named by the plan itself: compare it with the key that you expect.
    """
    from collective.signing.certificates import certified_key
    from collective.signing.keys import PublicKey
    from collective.signing.sshsig import Signature

    if document["signature"] is None:
        return None
    try:
        signature = Signature.read(document["signature"], PLAN_NAMESPACE)
        key = PublicKey.read(certified_key(signature.signer))
        signature.verify(text(document), key)
    except SignatureError as error:
        raise PlanRefused(f"it was changed after it had been saved: {error} (make a new plan)") from None
    return key


def check(document: Mapping[str, Any], accepted: PublicKey | None, whose: str) -> None:
    """Raise PlanRefused unless the key `accepted` signed a plan; `whose` describes the key in the error.

    None is for callers without a key: it accepts unsigned plans only.
    """
    key = planner_key(document)
    if key == accepted:
        return
    if key is None:
        raise PlanRefused(f"it is not signed, so anyone may have changed it; {whose} must have signed it")
    planner = f"'{document['caller']}' signed it with the key {key.fingerprint}"
    if accepted is None:
        raise PlanRefused(f"{planner}, and this caller has no key (accept the planner's key with --planner FILE.pub)")
    raise PlanRefused(
        f"{planner}, not {whose} {accepted.fingerprint} (accept the planner's key with --planner FILE.pub)"
    )
