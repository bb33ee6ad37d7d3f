"""Encoding and decoding messages, and rejecting invalid ones."""

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

# Strings without unpaired surrogates, which are invalid.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)
DATA = st.dictionaries(TEXT, VALUES, max_size=5)


def unsigned(_payload: str) -> None:
    return None


def body(payload: str, encoding: str = "json", **more: Any) -> str:
    return json.dumps({"collective": 2, "encoding": encoding, "payload": payload, **more})


def packed(payload: bytes) -> str:
    return base64.b64encode(zlib.compress(payload)).decode()


def content(message: Request | Reply, **changes: Any) -> dict[str, Any]:
    """Return the decoded payload of a message with some members changed; None removes one."""
    members = {**json.loads(messages.encode(message)), **changes}
    return {name: value for name, value in members.items() if value != "absent"}


@given(data=DATA)
def test_any_json_data_is_received_unchanged(data: dict[str, Any]) -> None:
    """A request is decoded as it was encoded, compressed or not."""
    sent = replace(REQUEST, data=data)
    envelope = messages.unseal(messages.seal(messages.encode(sent), unsigned))
    assert messages.decode_request(envelope.content) == sent


@given(data=DATA)
def test_a_reply_is_received_unchanged(data: dict[str, Any]) -> None:
    """A reply is decoded as it was encoded."""
    sent = replace(REPLY, data=data)
    envelope = messages.unseal(messages.seal(messages.encode(sent), unsigned))
    assert messages.decode_reply(envelope.content) == sent


@given(text=st.text())
def test_any_text_is_a_message_or_a_message_error(text: str) -> None:
    """No content of a queue raises anything but MessageError."""
    with pytest.raises(MessageError):
        messages.unseal(text)


@given(payload=st.text() | VALUES.map(json.dumps), encoding=st.sampled_from(["json", "json+zlib+base64"]))
def test_any_payload_is_decoded_or_a_message_error(payload: str, encoding: str) -> None:
    """No sealed payload raises anything but MessageError, whether decoded as a request or a reply."""
    try:
        read = messages.unseal(body(payload, encoding)).content
    except MessageError:
        return
    for decode in (messages.decode_request, messages.decode_reply):
        with pytest.raises(MessageError):
            decode(read)


def test_the_signature_covers_the_payload_as_sent() -> None:
    """The signed text is exactly the payload on the wire."""
    signed = []

    def sign(payload: str) -> str:
        signed.append(payload)
        return "signature"

    for data in ({"a": "small"}, {"a": "large" * 5000}):
        sealed = messages.seal(messages.encode(replace(REPLY, data=data)), sign)
        envelope = messages.unseal(sealed)
        assert (envelope.payload, envelope.signature) == (signed.pop(), "signature")
        assert json.loads(sealed)["payload"] == envelope.payload


def test_only_large_payloads_are_compressed() -> None:
    """A small payload stays readable, a large one becomes smaller."""
    small = messages.seal(messages.encode(REPLY), unsigned)
    payload = messages.encode(replace(REPLY, data={"a": "x" * 100_000}))
    large = messages.seal(payload, unsigned)
    assert json.loads(small)["encoding"] == "json"
    assert json.loads(large)["encoding"] == "json+zlib+base64"
    assert len(large) < len(payload) / 10


def test_a_message_is_ascii() -> None:
    """Messages are ASCII, whatever the data."""
    assert messages.seal(messages.encode(replace(REPLY, data={"ä": "✓"})), unsigned).isascii()


BODIES = {
    "no object": "[]",
    "another version": json.dumps({"collective": 3, "encoding": "json", "payload": "{}"}),
    "version true": json.dumps({"collective": True, "encoding": "json", "payload": "{}"}),
    "unknown encoding": body("{}", "yaml"),
    "no payload": json.dumps({"collective": 2, "encoding": "json"}),
    "payload not a string": json.dumps({"collective": 2, "encoding": "json", "payload": {}}),
    "signature no text": body("{}", signature=5),
    "repeated key outside": '{"collective": 2, "collective": 2, "encoding": "json", "payload": "{}"}',
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
    "truncated": body(base64.b64encode(zlib.compress(b'{"a": 1}')[:-5]).decode(), "json+zlib+base64"),
    "compressed, not ASCII": body(packed("ä".encode()), "json+zlib+base64"),
}


@pytest.mark.parametrize("name", BODIES)
def test_an_invalid_body_is_refused(name: str) -> None:
    """A body that is not a message or not strict JSON raises MessageError with one short line."""
    with pytest.raises(MessageError) as caught:
        messages.unseal(BODIES[name])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_pair_of_surrogates_is_accepted() -> None:
    """JSON encodes characters above U+FFFF as two escapes."""
    assert messages.unseal(body('{"a": "\\ud83d\\ude00"}')).content == {"a": "😀"}


def test_the_deepest_filter_fits() -> None:
    """A filter of the maximum depth can be sent."""
    tree = " and (x or ".join(["a=1"] * 20) + ")" * 19
    sent = replace(REQUEST, filter=parse(select=tree).to_data())
    read = messages.decode_request(messages.unseal(messages.seal(messages.encode(sent), unsigned)).content)
    assert Filter.from_data(read.filter) == parse(select=tree)


def bomb(times: int) -> str:
    """Return a payload that decompresses to `times` times 16 MiB."""
    packer = zlib.compressobj(9)
    unit = packer.compress(b" " * MAX_PAYLOAD) + packer.flush(zlib.Z_FULL_FLUSH)
    head, block = unit[:2], unit[2:]  # behind a full flush, deflate restarts: RFC 1951
    return base64.b64encode(head + block * times).decode()


def test_a_decompression_bomb_is_refused_early() -> None:
    """Of a message that would become 16 GiB no more than the payload limit is decompressed."""
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
def test_a_small_message_with_many_values_is_refused_quickly(name: str) -> None:
    """A small message with many values is refused quickly, because anyone can send it without a key."""
    text = json.dumps({**content(REQUEST), **SWOLLEN[name]}, separators=(",", ":"))
    sent = body(packed(text.encode()), "json+zlib+base64")
    assert len(sent) < 20_000
    began = time.process_time()
    with pytest.raises(MessageError) as caught:
        messages.decode_request(messages.unseal(sent).content)
    assert time.process_time() - began < 2
    assert len(str(caught.value)) < 400


def test_the_content_of_a_string_is_not_counted_as_values() -> None:
    """A large output full of commas and brackets is one string."""
    sent = replace(REPLY, data={"output": '[1, 2]\\"{},' * MAX_VALUES})
    read = messages.decode_reply(messages.unseal(messages.seal(messages.encode(sent), unsigned)).content)
    assert read == sent


def test_all_lists_in_messages_are_lists_of_strings() -> None:
    """The fast check of lists only supports these JSON Schema keywords."""
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
def test_an_invalid_request_is_refused(name: str) -> None:
    """A payload that is not a request, or needs a newer version, raises MessageError."""
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
def test_an_invalid_reply_is_refused(changes: dict[str, Any]) -> None:
    """A payload that is not a reply raises MessageError."""
    with pytest.raises(MessageError, match=r"^reply: "):
        messages.decode_reply(content(REPLY, **changes))


def test_unknown_members_are_ignored() -> None:
    """Later versions can add members that are not critical."""
    assert messages.decode_request(content(REQUEST, quorum=3)) == REQUEST
    assert messages.decode_reply(content(REPLY, mood="fine")) == REPLY


def test_a_known_member_can_be_critical() -> None:
    """`critical` only refuses members that this version does not know."""
    assert messages.decode_request(content(REQUEST, critical=["ttl"])).critical == ("ttl",)


def test_all_targets_and_no_targets_are_different() -> None:
    """`targets` null means all nodes, an empty list means none."""
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
def test_messages_that_the_receiver_would_refuse_are_not_sent(changes: dict[str, Any]) -> None:
    """The caller gets an error at once for a message that nodes would drop silently."""
    with pytest.raises(MessageError, match=r"^request: "):
        messages.encode(replace(REQUEST, **changes))


def test_ids_are_unique() -> None:
    """Each id is a new value of 32 hexadecimal digits."""
    made = {messages.new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in made)
