"""The first key seen of a node is trusted, and other keys are refused."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from support import ssh
from support.messages import REPLY

from collective import messages
from collective.errors import ConfigError, NotFound, SignatureError, TransportError, Unreachable
from collective.fleet.known_nodes import IntroducedNodes, KnownNodes
from collective.fleet.verification import ReplyVerifier
from collective.messages import Reply
from collective.registry import Contents, NodeRecord, Revocation
from collective.registry.memory import MemoryRegistry
from collective.signing import keys, sshsig
from collective.signing.keys import PrivateKey, Signer

WEB, DB = keys.new(), keys.new()
WEB_REPLY = replace(REPLY, sender="web1")


def check(known: KnownNodes, key: Signer | None, reply: Reply = WEB_REPLY) -> None:
    sign = sshsig.signing_with(key) if key else lambda _: None
    known.verify(reply, messages.unseal(messages.seal(messages.encode(reply), sign)))


def test_the_first_key_is_kept_and_another_refused(tmp_path: Path) -> None:
    """Another key is refused with both fingerprints, also by the next program, and the first key stays trusted."""
    check(KnownNodes(tmp_path, "production"), WEB)
    known = KnownNodes(tmp_path, "production")
    for _ in range(2):
        with pytest.raises(SignatureError) as caught:
            check(known, DB)
        for message in ("web1: THE NODE'S KEY HAS CHANGED", WEB.public.fingerprint, DB.public.fingerprint):
            assert message in str(caught.value)
        check(known, WEB)
    assert (tmp_path / "known_nodes").read_text() == f"production web1 {WEB.public.line}\n"
    assert known.refused("web1") == DB.public


def test_a_new_key_is_accepted_after_trust(tmp_path: Path) -> None:
    """Lines of other nodes and collectives, and comments, are preserved."""
    check(KnownNodes(tmp_path, "staging"), WEB)
    known = KnownNodes(tmp_path, "production")
    check(known, WEB)
    check(known, DB, replace(REPLY, sender="db1"))
    with (tmp_path / "known_nodes").open("a") as file:
        file.write("\n# looked at in May\n")
    known.trust("web1", DB.public)
    check(known, DB)
    again = KnownNodes(tmp_path, "production")
    assert again.keys == {"web1": DB.public, "db1": DB.public}
    with pytest.raises(SignatureError):
        check(again, WEB)
    assert KnownNodes(tmp_path, "staging").keys == {"web1": WEB.public}
    assert "# looked at in May\n" in (tmp_path / "known_nodes").read_text()


def test_an_invalid_signature_adds_no_known_node(tmp_path: Path) -> None:
    """A missing, damaged or foreign signature and an invalid name are refused, and no key is added."""
    known = KnownNodes(tmp_path, "production")
    payload = messages.encode(WEB_REPLY)
    good = messages.unseal(messages.seal(payload, sshsig.signing_with(WEB)))
    assert good.signature
    for envelope, message in (
        (replace(good, signature=None), "reply is not signed"),
        (replace(good, payload=payload.replace("OK", "KO")), "is not valid"),
        (replace(good, signature=ssh.damaged(good.signature)), "is not valid"),
        (replace(good, signature="hello"), "the signature is not base64"),
    ):
        with pytest.raises(SignatureError, match=f"^web1: .*{message}"):
            known.verify(WEB_REPLY, envelope)
    with pytest.raises(SignatureError, match="invalid identity"):
        check(known, WEB, replace(REPLY, sender="web1 x\ny"))
    assert not (tmp_path / "known_nodes").exists()
    known.verify(WEB_REPLY, good)


def test_a_node_key_must_be_ed25519(tmp_path: Path) -> None:
    """A key of another type is refused."""
    from cryptography.hazmat.primitives.asymmetric import ec

    with pytest.raises(SignatureError, match="key type 'ecdsa-sha2-nistp256' is not allowed for nodes"):
        check(KnownNodes(tmp_path, "production"), PrivateKey(ec.generate_private_key(ec.SECP256R1())))


def test_keys_in_the_registry_are_added(tmp_path: Path) -> None:
    """The first key in the registry is trusted, later changes are ignored, and invalid records are skipped."""
    registry = MemoryRegistry()
    registry.put(NodeRecord("web1", "1", public_key=WEB.public.line))
    registry.put(NodeRecord("old1", "1"))
    registry.put(NodeRecord("odd1", "1", public_key="ssh-ed25519 AAAA"))
    registry.put(NodeRecord("two words\nx", "1", public_key=DB.public.line))
    known = KnownNodes(tmp_path, "production")
    introduced = IntroducedNodes(registry, known)
    assert {record.identity for record in introduced.read().records} == {"web1", "old1", "odd1", "two words\nx"}
    assert introduced.now() == pytest.approx(registry.now(), abs=5)
    registry.put(NodeRecord("web1", "1", public_key=DB.public.line))
    introduced.read()
    assert KnownNodes(tmp_path, "production").keys == {"web1": WEB.public}
    with pytest.raises(SignatureError):
        check(known, DB)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "production web1 ssh-ed25519 AAAA%\n",
            ":1: invalid line: must be 'collective node type key' (delete the line)",
        ),
        ("staging web1\nproduction web1\n", ":2: invalid line: must be 'collective node type key'"),
        ("\xff", "cannot be read: not UTF-8"),
    ],
)
def test_an_invalid_file_is_an_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """An invalid line is an error, because a key must not be trusted by mistake."""
    (tmp_path / "known_nodes").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError) as caught:
        KnownNodes(tmp_path, "production")
    assert str(caught.value).startswith(str(tmp_path / "known_nodes"))
    assert message in str(caught.value)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The error names the configuration key to set."""
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match="Not a directory"):
        check(KnownNodes(tmp_path / "state", "production"), WEB)


def test_a_thousand_replies_are_verified_in_less_than_a_second(tmp_path: Path) -> None:
    """The limit is in CPU time; a third of it is expected."""
    known = KnownNodes(tmp_path, "production")
    envelope = messages.unseal(messages.seal(messages.encode(WEB_REPLY), sshsig.signing_with(WEB)))
    began = time.process_time()
    for _ in range(1000):
        known.verify(WEB_REPLY, envelope)
    assert time.process_time() - began < 0.9


def test_a_revoked_key_is_refused_and_not_learned_again(tmp_path: Path) -> None:
    """The node's new key is accepted, and the old one under no name, until it is readmitted."""
    registry = MemoryRegistry()
    registry.put(NodeRecord("web1", "1", public_key=WEB.public.line))
    known = KnownNodes(tmp_path, "production")
    introduced = IntroducedNodes(registry, known)
    introduced.read()
    check(known, WEB)
    registry.record_revocation(Revocation("web1", WEB.public.fingerprint))
    introduced.read()
    for again in (known, KnownNodes(tmp_path, "production")):
        IntroducedNodes(registry, again).read()
        for reply in (WEB_REPLY, replace(REPLY, sender="web9")):
            with pytest.raises(SignatureError, match="signed by the revoked key SHA256:"):
                check(again, WEB, reply)
        assert again.keys == {}
        assert again.is_revoked("web1")
    registry.put(NodeRecord("web1", "1", public_key=DB.public.line))
    introduced.read()
    check(known, DB)
    assert not known.is_revoked("web1")
    known.trust("web1", WEB.public)
    check(known, WEB)


def test_a_revocation_stays_until_the_registry_lists_it_as_readmitted(tmp_path: Path) -> None:
    """A table that was created again, or that cannot be read, readmits no key."""
    known = KnownNodes(tmp_path, "production")
    known.update([Revocation("web1", WEB.public.fingerprint)])
    known.update([])
    assert KnownNodes(tmp_path, "production").revoked == {WEB.public.fingerprint: "web1"}
    known.update([Revocation("web1", WEB.public.fingerprint, active=False)])
    assert KnownNodes(tmp_path, "production").revoked == {}
    check(known, WEB)


def test_with_a_registry_no_key_is_learned_from_a_reply(tmp_path: Path) -> None:
    """The registry has the key, or the reply is refused; without a table, keys are learned from replies."""

    class Missing(MemoryRegistry):
        def read(self) -> Contents:
            raise self.error

        error: TransportError = Unreachable("away")

    registry = MemoryRegistry()
    for unreadable in (registry, Missing()):
        known = KnownNodes(tmp_path, "production")
        with pytest.raises(SignatureError, match=r"the key SHA256:.* of this node is not known"):
            verify(ReplyVerifier(known, unreadable), WEB)
        assert known.refused("web1") == WEB.public
    registry.put(NodeRecord("web1", "1", public_key=WEB.public.line))
    known = KnownNodes(tmp_path / "a", "production")
    verify(ReplyVerifier(known, IntroducedNodes(registry, known)), WEB)
    missing = Missing()
    missing.error = NotFound("table", "x")
    for number, none in enumerate((None, missing)):
        known = KnownNodes(tmp_path / str(number), "production")
        verify(ReplyVerifier(known, none), WEB)
        assert known.keys == {"web1": WEB.public}


def verify(verifier: ReplyVerifier, key: Signer) -> None:
    verifier.verify(WEB_REPLY, messages.unseal(messages.seal(messages.encode(WEB_REPLY), sshsig.signing_with(key))))


def test_new_nodes_can_be_refused(tmp_path: Path) -> None:
    """Neither the registry nor a reply introduces a node: only `trust` does."""
    registry = MemoryRegistry()
    registry.put(NodeRecord("web1", "1", public_key=WEB.public.line))
    known = KnownNodes(tmp_path, "production", accept_new=False)
    IntroducedNodes(registry, known).read()
    with pytest.raises(SignatureError, match="is not known"):
        check(known, WEB)
    known.trust("web1", WEB.public)
    check(known, WEB)


def test_only_a_newline_ends_a_line_of_a_file(tmp_path: Path) -> None:
    """Other separators of lines cannot hide another node's key in a comment."""
    hidden = f"production web1 {DB.public.line} a\u2028production web2 {WEB.public.line}\n"
    (tmp_path / "known_nodes").write_text(hidden, encoding="utf-8")
    assert KnownNodes(tmp_path, "production").keys == {"web1": DB.public}
