"""Signatures, certificates and lines of keys that nobody meant: what is accepted is what was really signed.

That nothing else than a refusal comes of the rest is `test_fuzz.py`'s business.
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
    """Return what becomes of `data` when some of it is overwritten, left out, or put in again."""

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
def test_a_certificate_that_was_changed_is_refused(blob: bytes) -> None:
    """No change of one byte, or many, leaves the authority's signature fitting."""
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
def test_signatures_of_any_bytes(blob: bytes) -> None:
    """Refused, or one that the key really made: of what it says that it is for, and of nothing else."""
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
def test_lines_that_are_nearly_right(beginning: str) -> None:
    """Names and options in every form before a good key."""
    with contextlib.suppress(SignatureError):
        allowed_signers.parse_line(f"{beginning} {KEY.public.line}")


def test_a_pattern_that_takes_ages_elsewhere_is_quick() -> None:
    """Names come from strangers; matching them takes no time that grows without bound."""
    assert not allowed_signers.fits("a" * 255, ["*a" * 100 + "b"])


@given(st.integers(0, 2**600))
def test_numbers_are_written_as_they_are_read(number: int) -> None:
    """mpint: shortest, with a zero byte where the first bit would make it negative."""
    reader = SSHReader(mpint(number), "it")
    assert reader.mpint() == number
    reader.end()


def test_what_announces_more_than_there_is_is_cut_short() -> None:
    """No memory is taken for it."""
    with pytest.raises(SignatureError, match="the key is cut short"):
        PublicKey.read(uint32(2**32 - 1) + b"ssh")
    with pytest.raises(SignatureError, match="the signature is longer than 65536 characters"):
        Signature.read("A" * 100_000)
    with pytest.raises(SignatureError, match="it holds a negative number"):
        SSHReader(string(b"\xff"), "it").mpint()
    with pytest.raises(SignatureError, match="it is longer than it should be"):
        SSHReader(b"x", "it").end()


def test_a_compressed_point_of_a_curve_is_refused() -> None:
    """An ECDSA key with a compressed point is refused like other invalid keys, although cryptography cannot load it."""
    blob = string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\x02" + bytes(32))
    with pytest.raises(SignatureError):
        PublicKey.read(blob)
