"""Messages as values and as text: what travels, and what is refused on the way in and out."""

from __future__ import annotations

import base64
import json
import re
import time
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.messages import REPLY, REQUEST

from collective import messages, schemas
from collective.bounded_json import MAX_DEPTH, MAX_VALUES
from collective.errors import MessageError
from collective.filters import Filter, parse
from collective.messages import MAX_PAYLOAD, Reply, Request

# Text without halves of surrogate pairs, which are no text.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)
DATA = st.dictionaries(TEXT, VALUES, max_size=5)


def unsigned(_payload: str) -> None:
    return None


def body(payload: str, encoding: str = "json", **more: Any) -> str:
    return json.dumps({"collective": 1, "encoding": encoding, "payload": payload, **more})


def packed(payload: bytes) -> str:
    return base64.b64encode(zlib.compress(payload)).decode()


def content(message: Request | Reply, **changes: Any) -> dict[str, Any]:
    """What a message says on the wire, with some members changed; None takes one away."""
    said = {**json.loads(messages.encode(message)), **changes}
    return {name: value for name, value in said.items() if value != "absent"}


@given(data=DATA)
def test_whatever_json_can_say_arrives_as_it_was_sent(data: dict[str, Any]) -> None:
    """A request comes out of the wire as it went in, compressed or not."""
    sent = replace(REQUEST, data=data)
    envelope = messages.unseal(messages.seal(messages.encode(sent), unsigned))
    assert messages.decode_request(envelope.content) == sent


@given(data=DATA)
def test_a_reply_arrives_as_it_was_sent(data: dict[str, Any]) -> None:
    """A reply comes out of the wire as it went in."""
    sent = replace(REPLY, data=data)
    envelope = messages.unseal(messages.seal(messages.encode(sent), unsigned))
    assert messages.decode_reply(envelope.content) == sent


@given(text=st.text())
def test_any_text_is_a_message_or_a_message_error(text: str) -> None:
    """Nothing that somebody puts into a queue raises anything else."""
    with pytest.raises(MessageError):
        messages.unseal(text)


@given(payload=st.text() | VALUES.map(json.dumps), encoding=st.sampled_from(["json", "json+zlib+base64"]))
def test_any_payload_is_read_or_a_message_error(payload: str, encoding: str) -> None:
    """Nothing that somebody seals raises anything else either, whichever reader it is given to."""
    try:
        read = messages.unseal(body(payload, encoding)).content
    except MessageError:
        return
    for decode in (messages.decode_request, messages.decode_reply):
        with pytest.raises(MessageError):
            decode(read)


def test_what_is_signed_is_the_payload_as_it_travels() -> None:
    """The signature is made of, and handed back beside, the very text that is on the wire."""
    signed = []

    def sign(payload: str) -> str:
        signed.append(payload)
        return "signature"

    for data in ({"a": "small"}, {"a": "large" * 5000}):
        sealed = messages.seal(messages.encode(replace(REPLY, data=data)), sign)
        envelope = messages.unseal(sealed)
        assert (envelope.payload, envelope.signature) == (signed.pop(), "signature")
        assert json.loads(sealed)["payload"] == envelope.payload


def test_only_what_is_large_is_compressed() -> None:
    """A small payload stays readable, a large one becomes smaller."""
    small = messages.seal(messages.encode(REPLY), unsigned)
    payload = messages.encode(replace(REPLY, data={"a": "x" * 100_000}))
    large = messages.seal(payload, unsigned)
    assert json.loads(small)["encoding"] == "json"
    assert json.loads(large)["encoding"] == "json+zlib+base64"
    assert len(large) < len(payload) / 10


def test_a_message_is_ascii() -> None:
    """Whatever the data, the wire is ASCII."""
    assert messages.seal(messages.encode(replace(REPLY, data={"ä": "✓"})), unsigned).isascii()


BODIES = {
    "no object": "[]",
    "another version": json.dumps({"collective": 2, "encoding": "json", "payload": "{}"}),
    "version true": json.dumps({"collective": True, "encoding": "json", "payload": "{}"}),
    "unknown encoding": body("{}", "yaml"),
    "no payload": json.dumps({"collective": 1, "encoding": "json"}),
    "payload no text": json.dumps({"collective": 1, "encoding": "json", "payload": {}}),
    "signature no text": body("{}", signature=5),
    "repeated key outside": '{"collective": 1, "collective": 1, "encoding": "json", "payload": "{}"}',
    "repeated key": body('{"a": 1, "a": 2}'),
    "repeated key deep": body('{"a": [{"b": 1, "b": 1}]}'),
    "NaN": body('{"a": NaN}'),
    "Infinity": body('{"a": -Infinity}'),
    "too large a number": body('{"a": 1e999}'),
    "too long a number": body('{"a": ' + "1" * 10_000 + "}"),
    "half a surrogate pair": body('{"a": "\\ud800"}'),
    "half a surrogate pair in a key": body('{"\\uDC00": 1}'),
    "not ASCII": body('{"a": "ä"}'),
    "one level too deep": body("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)),
    "nearly Python's own limit": body("[" * 980 + "]" * 980),
    "absurdly deep": body("[" * 500_000),
    "absurdly deep outside": '{"a":' * 100_000,
    "not base64": body("{}", "json+zlib+base64"),
    "not base64 at all": body("ä", "json+zlib+base64"),
    "not zlib": body("AAAA", "json+zlib+base64"),
    "cut short": body(base64.b64encode(zlib.compress(b'{"a": 1}')[:-5]).decode(), "json+zlib+base64"),
    "compressed, not ASCII": body(packed("ä".encode()), "json+zlib+base64"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_refused(name: str) -> None:
    """What is not one of our messages, or not plain JSON, raises MessageError in one short line."""
    with pytest.raises(MessageError) as caught:
        messages.unseal(BODIES[name])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_pair_of_surrogates_is_text() -> None:
    """JSON writes what lies beyond 65,535 as two escapes: those are fine."""
    assert messages.unseal(body('{"a": "\\ud83d\\ude00"}')).content == {"a": "😀"}


def test_the_deepest_filter_fits() -> None:
    """What a filter may say can be sent."""
    tree = " and (x or ".join(["a=1"] * 20) + ")" * 19
    sent = replace(REQUEST, filter=parse(select=tree).to_data())
    read = messages.decode_request(messages.unseal(messages.seal(messages.encode(sent), unsigned)).content)
    assert Filter.from_data(read.filter) == parse(select=tree)


def bomb(times: int) -> str:
    """A compressed payload of 16 MiB, so many times."""
    packer = zlib.compressobj(9)
    unit = packer.compress(b" " * MAX_PAYLOAD) + packer.flush(zlib.Z_FULL_FLUSH)
    head, block = unit[:2], unit[2:]  # behind a full flush, deflate begins anew: RFC 1951
    return base64.b64encode(head + block * times).decode()


def test_a_decompression_bomb_is_refused_before_it_is_large() -> None:
    """Of a message that would become 16 GiB no more is unpacked than a payload may have."""
    sent = body(bomb(1024), "json+zlib+base64")
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(MessageError, match=f"more than {MAX_PAYLOAD} bytes when decompressed"):
        messages.unseal(sent)
    taken, most = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 2
    assert most < 8 * len(sent) + 2 * MAX_PAYLOAD


MANY = 2_000_000
SWOLLEN: dict[str, dict[str, Any]] = {
    "lists": {"data": {"a": [[]] * MANY}},
    "objects": {"data": {"a": [{}] * MANY}},
    "targets": {"targets": ["a"] * MANY},
    "numbers among them": {"targets": ["a", 1.5] * (MAX_VALUES // 2)},
    "nearly too many, the last one wrong": {"targets": ["a"] * (MAX_VALUES - 50) + [""]},
    "all of them wrong": {"targets": [""] * (MAX_VALUES - 50)},
    "classes": {"filter": {"classes": ["a"] * (MAX_VALUES - 50) + [5]}},
}


@pytest.mark.parametrize("name", SWOLLEN)
def test_a_small_message_that_swells_is_refused_at_once(name: str) -> None:
    """Nobody needs a key to send it: it takes seconds of nobody's time."""
    text = json.dumps({**content(REQUEST), **SWOLLEN[name]}, separators=(",", ":"))
    sent = body(packed(text.encode()), "json+zlib+base64")
    assert len(sent) < 20_000
    began = time.process_time()
    with pytest.raises(MessageError) as caught:
        messages.decode_request(messages.unseal(sent).content)
    assert time.process_time() - began < 2
    assert len(str(caught.value)) < 400


def test_what_stands_in_a_text_is_no_value() -> None:
    """A large output full of commas and brackets is one text."""
    sent = replace(REPLY, data={"output": '[1, 2]\\"{},' * MAX_VALUES})
    read = messages.decode_reply(messages.unseal(messages.seal(messages.encode(sent), unsigned)).content)
    assert read == sent


def test_all_lists_of_the_wire_are_of_texts() -> None:
    """What looks at their items knows these words of JSON Schema, and no others."""
    known = {"type", "minLength", "maxLength"}
    for name in ("envelope", "request", "reply"):
        for schema in re.findall(r'"items": (\{.*?\})', json.dumps(schemas.load(name))):
            assert json.loads(schema)["type"] == "string"
            assert json.loads(schema).keys() <= known


WRONG_REQUESTS: dict[str, dict[str, Any]] = {
    "type": {"type": "reply"},
    "unknown type": {"type": "question"},
    "id": {"id": "0123"},
    "id with a newline": {"id": REQUEST.id + "\n"},
    "no agent": {"agent": "absent"},
    "data": {"data": []},
    "targets": {"targets": "web1"},
    "target": {"targets": [5]},
    "filter": {"filter": None},
    "ttl": {"ttl": 3601},
    "no ttl": {"ttl": 0},
    "time": {"time": 10**400},
    "timeout": {"timeout": -1},
    "critical": {"critical": ["quorum"]},
    "collective": {"collective": "Production"},
}


@pytest.mark.parametrize("name", WRONG_REQUESTS)
def test_a_request_is_refused(name: str) -> None:
    """A payload that is no request, or asks for more than this version knows, raises MessageError."""
    with pytest.raises(MessageError, match=r"^request: "):
        messages.decode_request(content(REQUEST, **WRONG_REQUESTS[name]))


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "request"},
        {"statuscode": 6},
        {"statuscode": "0"},
        {"data": None},
        {"elapsed_ms": 10**400},
        {"time": -1},
        {"sender": ""},
        {"request": "x"},
    ],
)
def test_a_reply_is_refused(changes: dict[str, Any]) -> None:
    """A payload that is no reply raises MessageError."""
    with pytest.raises(MessageError, match=r"^reply: "):
        messages.decode_reply(content(REPLY, **changes))


def test_members_that_nobody_knows_are_ignored() -> None:
    """A later version may say more, as long as it is not critical."""
    assert messages.decode_request(content(REQUEST, quorum=3)) == REQUEST
    assert messages.decode_reply(content(REPLY, mood="fine")) == REPLY


def test_a_known_member_may_be_critical() -> None:
    """`critical` refuses only what this version does not know."""
    assert messages.decode_request(content(REQUEST, critical=["ttl"])).critical == ("ttl",)


def test_all_and_nobody_are_told_apart() -> None:
    """`targets` null is everybody, an empty list is nobody."""
    assert messages.decode_request(content(REQUEST, targets=None)).targets is None
    assert messages.decode_request(content(REQUEST, targets=[])).targets == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"a": float("nan")}},
        {"data": {"a": float("inf")}},
        {"data": {"a": object()}},
        {"data": {"a": "\udcff"}},
        {"data": {"a": json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)}},
        {"caller": ""},
        {"ttl": 7200.0},
        {"timeout": 0.0},
    ],
)
def test_nothing_leaves_that_the_other_side_would_refuse(changes: dict[str, Any]) -> None:
    """A caller hears at once of what nodes would drop without a word."""
    with pytest.raises(MessageError, match=r"^request: "):
        messages.encode(replace(REQUEST, **changes))


def test_ids_are_never_used_twice() -> None:
    """Each id is 32 hexadecimal digits, and another one."""
    made = {messages.new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in made)
