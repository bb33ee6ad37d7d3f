"""Nodes are known by the first key seen of them; another one is refused."""

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
    """Also by the next program, and with both fingerprints; the first key is believed all the while."""
    check(KnownNodes(tmp_path, "production"), WEB)
    known = KnownNodes(tmp_path, "production")
    for _ in range(2):
        with pytest.raises(SignatureError) as caught:
            check(known, DB)
        for said in ("web1: THE NODE'S KEY HAS CHANGED", WEB.public.fingerprint, DB.public.fingerprint):
            assert said in str(caught.value)
        check(known, WEB)
    assert (tmp_path / "known_nodes").read_text() == f"production web1 {WEB.public.line}\n"
    assert known.refused("web1") == DB.public


def test_a_new_key_is_believed_once_it_is_trusted(tmp_path: Path) -> None:
    """Nothing else in the file changes: not other nodes, not other collectives, not what people wrote."""
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


def test_a_signature_that_does_not_fit_makes_nobody_known(tmp_path: Path) -> None:
    """Unsigned, of another text, damaged, by a key that is no node's, in a name that is none."""
    known = KnownNodes(tmp_path, "production")
    payload = messages.encode(WEB_REPLY)
    good = messages.unseal(messages.seal(payload, sshsig.signing_with(WEB)))
    assert good.signature
    for envelope, said in (
        (replace(good, signature=None), "the reply is not signed"),
        (replace(good, payload=payload.replace("OK", "KO")), "is not valid"),
        (replace(good, signature=ssh.damaged(good.signature)), "is not valid"),
        (replace(good, signature="hello"), "the signature is not base64"),
    ):
        with pytest.raises(SignatureError, match=f"^web1: .*{said}"):
            known.verify(WEB_REPLY, envelope)
    with pytest.raises(SignatureError, match="is no identity"):
        check(known, WEB, replace(REPLY, sender="web1 x\ny"))
    assert not (tmp_path / "known_nodes").exists()
    known.verify(WEB_REPLY, good)


def test_a_nodes_key_is_ed25519(tmp_path: Path) -> None:
    """A key of another kind is not one that a node of ours has made."""
    from cryptography.hazmat.primitives.asymmetric import ec

    with pytest.raises(SignatureError, match="a node signs by ssh-ed25519, not by ecdsa-sha2-nistp256"):
        check(KnownNodes(tmp_path, "production"), PrivateKey(ec.generate_private_key(ec.SECP256R1())))


def test_the_registry_introduces_nodes(tmp_path: Path) -> None:
    """Who is first seen there is known by that key; what it says later changes nothing; odd records are left out."""
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
    ("text", "said"),
    [
        ("production web1 ssh-ed25519 AAAA%\n", ":1: not 'collective node type key': delete the line"),
        ("staging web1\nproduction web1\n", ":2: not 'collective node type key'"),
        ("\xff", "cannot be read: not UTF-8 text"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    """With the line; nobody is believed by mistake."""
    (tmp_path / "known_nodes").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError) as caught:
        KnownNodes(tmp_path, "production")
    assert str(caught.value).startswith(str(tmp_path / "known_nodes"))
    assert said in str(caught.value)


def test_where_nothing_can_be_kept_nobody_is_believed(tmp_path: Path) -> None:
    """A state folder that is a file is an error that says what to set."""
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match="Not a directory"):
        check(KnownNodes(tmp_path / "state", "production"), WEB)


def test_a_thousand_replies_are_checked_in_well_under_a_second(tmp_path: Path) -> None:
    """By the processor's clock; a third of it is expected."""
    known = KnownNodes(tmp_path, "production")
    envelope = messages.unseal(messages.seal(messages.encode(WEB_REPLY), sshsig.signing_with(WEB)))
    began = time.process_time()
    for _ in range(1000):
        known.verify(WEB_REPLY, envelope)
    assert time.process_time() - began < 0.9
