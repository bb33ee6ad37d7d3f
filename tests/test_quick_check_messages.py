"""The quick check accepts every usual message, and none that jsonschema refuses."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.messages import REPLY, REQUEST

from collective import messages, schemas
from collective.quick_check import certainly_valid

VALID = {
    "request": json.loads(messages.encode(REQUEST)),
    "reply": json.loads(messages.encode(REPLY)),
    "envelope": json.loads(messages.seal(messages.encode(REPLY), lambda _: "signature")),
}
ODD = st.sampled_from(
    [None, True, False, 0, 1, 1.0, -1, 0.5, 6, 2**70, 1e300, "", "x", "0" * 32, "0" * 32 + "\n", "g" * 32, "Ä" * 256]
) | st.recursive(st.just("x"), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner))
JOB = {"start": None, "delay": 0, "splay": 0, "grace": 0, "keep": 0}
APPROVALS = {"document": "{}", "signatures": {"bob": "x"}}


@pytest.mark.parametrize("kind", VALID)
def test_usual_messages_are_accepted(kind: str) -> None:
    """Otherwise each message would be checked twice."""
    assert certainly_valid(schemas.load(kind), VALID[kind])


@pytest.mark.parametrize("kind", VALID)
@given(data=st.data())
def test_what_is_accepted_is_valid(kind: str, data: st.DataObject) -> None:
    """A message with some members changed, added or removed is never accepted when jsonschema refuses it."""
    schema = schemas.load(kind)
    changed: Any = copy.deepcopy(VALID[kind])
    if kind == "request":
        changed |= copy.deepcopy({"job": JOB, "approvals": APPROVALS})
    paths = [(changed, name) for name in schema["properties"]]
    paths += [
        (changed[part], name) for part in ("job", "approvals", "filter") if part in changed for name in changed[part]
    ]
    for place, name in data.draw(st.lists(st.sampled_from(paths), max_size=3)):
        if data.draw(st.booleans()):
            place[name] = data.draw(ODD)
        else:
            place.pop(name, None)
    if certainly_valid(schema, changed):
        assert Draft202012Validator(schema).is_valid(changed)
