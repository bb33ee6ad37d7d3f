"""Random changes of signatures, certificates and key lines: only what was really signed is accepted.

`test_fuzz.py` checks that anything else raises SignatureError and nothing else.
"""

from __future__ import annotations

import base64
import contextlib
from datetime import timedelta

import pytest
from fuzz.of_signatures import KEYS, PAYLOAD, SIGNERS, certificate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collective.errors import SignatureError
from collective.signing import allowed_signers, sshsig
from collective.signing.keys import PublicKey
from collective.signing.ssh_encoding import SSHReader, mpint, string, uint32
from collective.signing.sshsig import Signature

KEY, RSA = KEYS["alice"], KEYS["carol"]
CERTIFICATE = certificate()

bounded = settings(
    deadline=timedelta(seconds=5), suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """Generate copies of `data` with some bytes overwritten, removed or inserted."""

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = bytearray(data)
        for place, length, put in edits:
            start = place % (len(changed) + 1)
            changed[start : start + length] = put
        return bytes(changed)

    edit = st.tuples(st.integers(0, 2000), st.integers(0, 40), st.binary(max_size=40))
    return st.lists(edit, min_size=1, max_size=4).map(apply)


@bounded
@given(mutated(CERTIFICATE))
def test_a_changed_certificate_is_rejected(blob: bytes) -> None:
    """Any change makes the signature of the authority invalid."""
    if blob == CERTIFICATE:
        return
    SIGNERS.signer(CERTIFICATE, "alice", 1000.0)
    with pytest.raises(SignatureError):
        SIGNERS.signer(blob, "alice", 1000.0)


@bounded
@given(
    st.sampled_from([KEY, RSA]).flatmap(lambda key: mutated(base64.b64decode(sshsig.sign(key, PAYLOAD))))
    | st.binary(max_size=300)
)
def test_random_signatures_are_rejected(blob: bytes) -> None:
    """Random bytes are rejected unless they are the signature that the key made."""
    text = base64.b64encode(blob).decode()
    with contextlib.suppress(SignatureError):
        signature = Signature.read(text)
        key = SIGNERS.signer(signature.signer, "alice", 1000.0).key
        signature.verify(PAYLOAD, key)
        assert blob == base64.b64decode(sshsig.sign(KEY, PAYLOAD))


@bounded
@given(
    st.from_regex(
        r"[a-z*?!@.]{1,8}(,[a-z*?!@.]{1,8}){0,3} (cert-authority|[a-z-]{1,14}(=\"[^\"]{0,20}\")?)", fullmatch=True
    )
)
def test_random_lines_raise_only_signature_errors(beginning: str) -> None:
    """Random names and options before a valid key are parsed or rejected."""
    with contextlib.suppress(SignatureError):
        allowed_signers.parse_line(f"{beginning} {KEY.public.line}")


def test_matching_a_pattern_does_not_take_exponential_time() -> None:
    """Names are untrusted, so matching them must be fast for any name."""
    assert not allowed_signers.matches_patterns("a" * 255, ["*a" * 100 + "b"])


@given(st.integers(0, 2**600))
def test_an_mpint_is_read_as_it_was_written(number: int) -> None:
    """An mpint has the minimal length, with a leading zero byte if it would be negative otherwise."""
    reader = SSHReader(mpint(number), "it")
    assert reader.mpint() == number
    reader.end()


def test_truncated_and_oversized_data_is_rejected() -> None:
    """No memory is allocated for a length that exceeds the data."""
    with pytest.raises(SignatureError, match="the key is truncated"):
        PublicKey.read(uint32(2**32 - 1) + b"ssh")
    with pytest.raises(SignatureError, match="the signature is longer than 65536 characters"):
        Signature.read("A" * 100_000)
    with pytest.raises(SignatureError, match="it contains a negative number"):
        SSHReader(string(b"\xff"), "it").mpint()
    with pytest.raises(SignatureError, match="it has extra data at its end"):
        SSHReader(b"x", "it").end()


def test_a_compressed_point_of_a_curve_is_refused() -> None:
    """An ECDSA key with a compressed point is refused like other invalid keys, although cryptography cannot load it."""
    blob = string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\x02" + bytes(32))
    with pytest.raises(SignatureError):
        PublicKey.read(blob)
