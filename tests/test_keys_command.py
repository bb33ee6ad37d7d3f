"""`crpc keys` and `crpc nodes`: which key signs, who believes it, and which nodes are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from collective import reread
from collective.clients.crpc import main
from collective.fleet.known_nodes import KnownNodes
from collective.signing import allowed_signers, key_files, keys
from collective.signing.allowed_signers import signer_line

Captured = pytest.CaptureFixture[str]
KEY, OTHER = keys.new(), keys.new()


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A caller with a key of its own, and no registry."""
    key_files.write_new(tmp_path / "key", KEY.text())
    text = "{collective: production, collectives: [staging], caller: alice, key: key, state: state, registry: none}"
    (tmp_path / "client.yaml").write_text(text)
    (tmp_path / "key.pub").write_text(f"{KEY.public.line} alice's laptop\n")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return tmp_path


def trust(folder: Path, *words: str) -> int:
    return main(["keys", "trust", *words, "--file", str(folder / "allowed_signers")])


def test_the_key_the_caller_and_the_line_are_shown(configured: Path, capsys: Captured) -> None:
    """What an administrator needs to believe it."""
    assert main(["keys"]) == 0
    out = capsys.readouterr().out
    assert out == (
        f"Key:  ssh-ed25519 {KEY.public.fingerprint}\n"
        f"      {configured}/key\n"
        "As:   alice\n\n"
        "Nodes believe it when their allowed_signers say so:\n\n"
        f'alice namespaces="collective" {KEY.public.line}\n'
    )


def test_who_does_not_sign_is_told_so(configured: Path, capsys: Captured) -> None:
    """`key: none`."""
    (configured / "client.yaml").write_text("{collective: production, caller: alice, key: none}")
    assert main(["keys"]) == 0
    assert capsys.readouterr().out == "Requests are not signed: 'key: none'. They are sent as alice\n"


def test_a_missing_key_is_one_line(configured: Path, capsys: Captured) -> None:
    """78, with the file."""
    (configured / "key").unlink()
    assert main(["keys"]) == 78
    assert capsys.readouterr().err == f"crpc: {configured}/key: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("form", ["file", "text"])
def test_a_key_is_trusted_by_a_line(configured: Path, capsys: Captured, form: str) -> None:
    """Appended to what is there, whether or not that ends with a newline; nothing else changes."""
    path = configured / "allowed_signers"
    path.write_text(f"# people\n{signer_line('bob', OTHER.public)}".rstrip("\n"))
    before = path.read_text()
    assert trust(configured, str(configured / "key.pub") if form == "file" else KEY.public.line, "--as", "alice") == 0
    assert path.read_text() == f"{before}\n{signer_line('alice', KEY.public)}"
    assert capsys.readouterr().out == f"{path}: {KEY.public.fingerprint} may now sign as alice\n"
    assert trust(configured, KEY.public.line, "--as", "alice@ci") == 0
    signers = reread.load(path, allowed_signers.parse)
    for name in ("alice", "alice@ci"):
        assert signers.signer(KEY.blob, name, 0.0).key == KEY.public


def test_a_file_is_made_when_there_is_none(configured: Path) -> None:
    """With its folder."""
    assert trust(configured / "etc", KEY.public.line, "--as", "alice") == 0
    assert (configured / "etc" / "allowed_signers").read_text() == signer_line("alice", KEY.public)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{key}", "--as", "alice"], 64, "may sign as alice already"),
        (["{other}", "--as", "*@ops"], 64, "--as: invalid caller '*@ops'"),
        (["{other}", "--as", "alice,bob"], 64, "--as: invalid caller 'alice,bob'"),
        (["{other}", "--as", "two words"], 64, "--as: invalid caller 'two words'"),
        (["{other}", "--as", ""], 64, "--as: invalid caller ''"),
        (["{folder}/key", "--as", "bob"], 64, "key: holds a private key: name the file with .pub"),
        (["{folder}/client.yaml", "--as", "bob"], 64, "client.yaml: unsupported key type '{{collective:'"),
        (["ssh-ed25519 AAAA", "--as", "bob"], 64, "PUBKEY: "),
    ],
)
def test_what_must_not_be_trusted_is_refused(
    configured: Path, capsys: Captured, words: list[str], code: int, said: str
) -> None:
    """In one line, and the file stays as it was."""
    path = configured / "allowed_signers"
    path.write_text(signer_line("alice", KEY.public))
    places = {"key": KEY.public.line, "other": OTHER.public.line, "folder": configured}
    assert trust(configured, *(word.format(**places) for word in words)) == code
    err = capsys.readouterr().err
    assert said.replace("{{", "{") in err
    assert err.count("\n") == 1
    assert path.read_text() == signer_line("alice", KEY.public)


def test_a_broken_file_is_not_added_to(configured: Path, capsys: Captured) -> None:
    """78, with the line that is wrong; another one would not make it right."""
    (configured / "allowed_signers").write_text("alice\n")
    assert trust(configured, KEY.public.line, "--as", "alice") == 78
    assert "allowed_signers:1: must be: names" in capsys.readouterr().err
    assert (configured / "allowed_signers").read_text() == "alice\n"


def test_known_nodes_are_listed_by_collective(configured: Path, capsys: Captured) -> None:
    """Sorted, with their fingerprints."""
    known = KnownNodes(configured / "state", "production")
    known.trust("web2", OTHER.public)
    known.trust("web1", KEY.public)
    KnownNodes(configured / "state", "staging").trust("db1", KEY.public)
    assert main(["nodes", "list"]) == 0
    rows = [("web1", KEY.public.fingerprint), ("web2", OTHER.public.fingerprint)]
    assert capsys.readouterr().out == "".join(f"{name:<40} {fingerprint}\n" for name, fingerprint in rows)
    assert main(["nodes", "list", "-T", "staging"]) == 0
    assert capsys.readouterr().out.split() == ["db1", KEY.public.fingerprint]


def test_a_node_without_a_new_key_is_not_trusted_anew(configured: Path, capsys: Captured) -> None:
    """64, and why."""
    assert main(["nodes", "trust", "web1"]) == 64
    assert capsys.readouterr().err == (
        "crpc: web1: there is no new key: neither in the registry, nor did a reply show one\n"
    )
