"""The question before an action on many nodes, and the refusal where no question is possible."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from support.rendering import make_action

from collective.clients.confirmation import Confirmation
from collective.errors import TooManyTargets

NODES = [f"web{number:02}" for number in range(1, 48)]
SECRET = {"password": {"type": "string", "writeOnly": True}}


def confirmation(data: dict[str, Any], max_targets: int = 0) -> Confirmation:
    """Return the confirmation of `package install`."""
    return Confirmation(make_action(inputs=SECRET), data, max_targets)


def test_the_question_names_action_inputs_and_nodes() -> None:
    """Secrets are masked, long values and lists are cut, and nothing in it can harm a terminal."""
    asked = confirmation({"package": "zsh", "password": "hunter2"}).question(NODES)
    assert asked == "package install package=zsh password=******** on 47 nodes (web[01-47])?"
    evil = confirmation({"a": "x\x1b]0;\u202e", "b": "y" * 100, "c": [1, None]}).question(["n1"])
    assert evil == f"package install a=x\\x1b]0;\\u202e b={'y' * 59}… c=[1, null] on 1 node (n1)?"
    many = confirmation({}).question([f"i-{number * 7919:017x}" for number in range(300)])
    assert many.startswith("package install on 300 nodes (i-")
    assert many.endswith("…)?")
    assert len(many) < 250


@pytest.fixture
def _not_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let standard input be no terminal."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.mark.usefixtures("_not_a_terminal")
def test_without_a_terminal_all_nodes_need_yes_or_a_limit() -> None:
    """The error says what scripts add; `max_targets` allows up to its number, with and without a filter."""
    refuse = confirmation({}).confirm(yes=False)
    assert refuse is not None
    message = r"47 nodes matched: no filter was given, .* not a terminal .*\(add --yes, or a filter"
    with pytest.raises(TooManyTargets, match=message):
        refuse(NODES)
    allow = confirmation({}, max_targets=47).confirm(yes=False)
    assert allow is not None
    assert allow(NODES)
    with pytest.raises(TooManyTargets, match="48 nodes matched: max_targets allows 47"):
        allow([*NODES, "web48"])
    assert confirmation({}).confirm(yes=True) is None


def test_the_usual_input_has_no_name_in_the_question() -> None:
    """The question reads like the command line; a value of several words is in quotes."""
    action = make_action(inputs={"package": {}, "version": {}}, required=["package"])
    asked = Confirmation(action, {"version": "1 2", "package": "nginx"}, 0).question(NODES)
    assert asked == "package install nginx version='1 2' on 47 nodes (web[01-47])?"
    spoken = Confirmation(action, {"package": "sleep 1; it's"}, 0).question(["n1"])
    assert spoken == """package install 'sleep 1; it'"'"'s' on 1 node (n1)?"""
    assert Confirmation(action, {"package": ""}, 0).question(["n1"]) == "package install '' on 1 node (n1)?"
