"""Approvals: other callers sign exactly what will be sent, and a node counts only what is valid."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from support.node_server import request

from collective.errors import SignatureError, UsageError
from collective.filters import parse
from collective.fleet.approvals import EXPIRES, approve, document, read_document
from collective.fleet.background import Background
from collective.messages import Request
from collective.node.requests.approvals import MOST_SIGNATURES, ApprovalVerifier

NOW = 1000.0
TYPE_ONLY = '{"type": "approval"}'
RUN = "a" * 32
PLAN: dict[str, Any] = {
    "collective": "testing",
    "caller": "alice@example.com",
    "agent": "package",
    "action": "purge",
    "data": {"package": "zsh"},
    "targets": {"filter": request().filter},
    "background": None,
    "reason": None,
    "hooks": {},
    "gates": {"gates": [], "every": None, "action": "stop"},
    "pace": {},
    "run": RUN,
    "waves": [{"rank": "", "nodes": ["web2"]}, {"rank": "", "nodes": ["web1"]}],
}


def verify(payload: str, signature: str | None, caller: str, _when: float) -> str | None:
    """Accept signatures of the form `KEY of CALLER on DIGEST`, which `signed` makes."""
    key, _, rest = str(signature).partition(" ")
    if rest != f"of {caller} on {hash(payload)}":
        raise SignatureError(f"{caller}: signature is invalid")
    return key


def signed(text: str, caller: str, key: str = "") -> dict[str, str]:
    return {caller: f"{key or caller} of {caller} on {hash(text)}"}


def approved(*signatures: dict[str, str], text: str = "", **changes: Any) -> Request:
    """Return the request of the plan with approvals; `changes` are members of the request."""
    plain = request("package", "purge", data={"package": "zsh"}, targets=("web1",))
    approval = {
        "document": text or approval_text(plain),
        "signatures": {name: text for one in signatures for name, text in one.items()},
    }
    return replace(plain, **{"run": RUN, "approvals": approval, **changes})


def approval_text(of: Request, expires: float = NOW + 1) -> str:
    return document(PLAN, of.installation, expires)


TEXT = approval_text(request())
BOB, CAROL = signed(TEXT, "bob"), signed(TEXT, "carol")


def count(sent: Request, now: float = NOW) -> tuple[tuple[str, ...], str]:
    """Return the approvers of a request that alice's key has signed, and why others do not count."""
    found = ApprovalVerifier(verify).approvals(sent, "alice-key", now)
    return found.callers, found.problem


def test_approvers_are_counted_by_caller_and_key() -> None:
    """Two callers with keys of their own are two approvals; a request without approvals has none."""
    assert count(approved(BOB, CAROL)) == (("bob", "carol"), "")
    assert count(request()) == ((), "")


@pytest.mark.parametrize(
    ("signatures", "approvers", "problem"),
    [
        ((BOB, signed(TEXT, "carol", "bob")), ("bob",), "the approval of 'carol' has the same key as another"),
        ((signed(TEXT, "alice@example.com"),), (), "the approval of 'alice@example.com' is the caller's own"),
        ((signed(TEXT, "bob", "alice-key"),), (), "the approval of 'bob' is the caller's own"),
        (({"carol": BOB["bob"]},), (), "the approval of 'carol' is not valid"),
        ((signed("other", "bob"),), (), "the approval of 'bob' is not valid: bob: signature is invalid"),
    ],
)
def test_an_approval_that_does_not_count_has_a_reason(
    signatures: tuple[dict[str, str], ...], approvers: tuple[str, ...], problem: str
) -> None:
    """The same key, the caller's own key and a wrong signature do not count."""
    callers, found = count(approved(*signatures))
    assert (callers, found.startswith(problem)) == (approvers, True), found


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"data": {"package": "bash"}}, "the approved data is not that of the request"),
        ({"action": "install"}, "the approved action is not that of the request"),
        ({"caller": "mallory"}, "the approved caller is not that of the request"),
        (
            {"filter": parse(select="fstat('/etc/passwd').present=true").to_data()},
            "the approved filter is not that of the request",
        ),
        ({"job": Background(delay=60.0).to_data()}, "the approved job is not that of the request"),
        ({"reason": "CHG-1"}, "the approved reason is not that of the request"),
        ({"installation": "aws:x:1"}, "the approved installation is not that of the request"),
        ({"targets": ("web1", "web3")}, "the request has nodes that were not approved"),
        ({"targets": None}, "the request has nodes that were not approved"),
        ({"run": "b" * 32}, "the approvals are for another run"),
    ],
)
def test_approvals_of_another_request_do_not_count(changes: dict[str, Any], problem: str) -> None:
    """A change after the approval makes all signatures void, although they are valid."""
    assert count(approved(BOB, CAROL, **changes)) == ((), problem)


def test_a_job_that_was_approved_does_not_run_at_once() -> None:
    """Approvers see at what time a job runs; without its time, the request is not the one that they signed."""
    job = Background(start=2000.0).to_data()
    text = document({**PLAN, "background": job}, request().installation, NOW + 1)
    assert count(approved(signed(text, "bob"), text=text, job=job)) == (("bob",), "")
    found = count(approved(signed(text, "bob"), text=text))
    assert found == ((), "the approved job is not that of the request")


def test_approvals_expire() -> None:
    """After the time in the document no signature counts."""
    assert count(approved(BOB, CAROL), now=NOW + 2) == ((), "the approvals have expired")


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "request"}', "null"])
def test_a_document_that_cannot_be_read_does_not_count(text: str) -> None:
    """A valid signature on something else approves nothing."""
    callers, problem = count(approved(signed(text, "bob"), text=text))
    assert (callers, bool(problem)) == ((), True)


def test_an_approval_is_valid_for_a_day_at_most() -> None:
    """The caller writes the time of expiry, so a node refuses one that is further away."""
    text = approval_text(request(), NOW + 2 * EXPIRES)
    found = count(approved(signed(text, "bob"), text=text))
    assert found == ((), "the approvals are valid for more than a day")


@pytest.mark.parametrize(("signed_value", "sent"), [(1, True), (0, False), ({"x": [1]}, {"x": [True]})])
def test_a_number_is_not_an_approval_of_a_boolean(signed_value: Any, sent: Any) -> None:
    """Python takes 1 and true for equal values, but an action may not."""
    text = document({**PLAN, "data": {"value": signed_value}}, request().installation, NOW + 1)
    found = count(approved(signed(text, "bob"), text=text, data={"value": sent}))
    assert found == ((), "the approved data is not that of the request")


@pytest.mark.parametrize("retry", [-1, 101])
def test_the_number_of_requests_is_limited(retry: int) -> None:
    """The caller writes how many requests a node may accept, so a node refuses numbers that no call has."""
    text = document({**PLAN, "pace": {"retry": retry}}, request().installation, NOW + 1)
    found = count(approved(signed(text, "bob"), text=text))
    assert found == ((), "the approved number of requests is not from 1 to 101")


def test_the_number_of_signatures_is_limited() -> None:
    """A node verifies a bounded number for each request."""
    many = [signed(TEXT, f"caller{number}") for number in range(MOST_SIGNATURES + 5)]
    assert len(count(approved(*many))[0]) == MOST_SIGNATURES


# -- in a plan


def planned(expires: float = 5.0) -> dict[str, Any]:
    return {**PLAN, "approval": {"document": document(PLAN, "memory", expires), "signatures": {}}}


def test_a_plan_collects_signatures() -> None:
    """Each approver signs the same text, which names all nodes of the plan."""
    once = approve(planned(), "bob", lambda text: f"bob on {len(text)}")
    twice = approve(once, "carol", lambda text: f"carol on {len(text)}")
    assert list(twice["approval"]["signatures"]) == ["bob", "carol"]
    content = read_document(twice["approval"]["document"])
    assert (content["targets"], content["expires"], content["installation"]) == (["web1", "web2"], 5.0, "memory")


@pytest.mark.parametrize(
    ("plan", "caller", "message"),
    [
        ({**planned(), "data": {"package": "bash"}}, "bob", "differs from the plan"),
        ({**planned(), "waves": []}, "bob", "differs from the plan"),
        ({**planned(), "gates": {"gates": ["cmd:touch x"]}}, "bob", "differs from the plan"),
        ({**planned(), "hooks": {"before": {"agent": "shell"}}}, "bob", "differs from the plan"),
        (planned(time.time() + 2 * EXPIRES), "bob", "valid for more than a day"),
        (planned(), "alice@example.com", "has made this plan"),
        (approve(planned(), "bob", lambda _: "x"), "bob", "has approved this plan already"),
        (
            {**planned(), "approval": {"document": TYPE_ONLY, "signatures": {}}},
            "bob",
            "cannot be",
        ),
    ],
)
def test_a_plan_that_cannot_be_approved_is_refused(plan: dict[str, Any], caller: str, message: str) -> None:
    """What is signed must be what the plan shows, by another caller and once."""
    with pytest.raises(UsageError, match=message):
        approve(plan, caller, lambda _: "x")


def test_an_approval_needs_a_key() -> None:
    """Without a key there is no signature, and nothing is added."""
    with pytest.raises(UsageError, match="an approval needs a key"):
        approve(planned(), "bob", lambda _: None)
