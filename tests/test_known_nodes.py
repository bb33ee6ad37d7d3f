"""The first key seen of a node is trusted, and other keys are refused."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from support import ssh
from support.messages import REPLY

from collective import messages
from collective.errors import ConfigError, SignatureError
from collective.fleet.known_nodes import IntroducedNodes, KnownNodes
from collective.messages import Reply
from collective.registry import NodeRecord
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
    assert {record.identity for record in introduced.nodes()} == {"web1", "old1", "odd1", "two words\nx"}
    assert introduced.now() == pytest.approx(registry.now(), abs=5)
    registry.put(NodeRecord("web1", "1", public_key=DB.public.line))
    introduced.nodes()
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
