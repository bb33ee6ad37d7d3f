"""Tests of `crpc keys` and `crpc nodes`: the signing key, allowed_signers, and known nodes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.crpc_call import json_document
from support.crpc_process import BIN

from collective import reread
from collective.clients.crpc import main
from collective.fleet.known_nodes import KnownNodes
from collective.signing import allowed_signers, key_files, keys
from collective.signing.allowed_signers import signer_line

Captured = pytest.CaptureFixture[str]
KEY, OTHER = keys.new(), keys.new()


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configure a caller with a key and without a registry; return the folder."""
    key_files.write_new(tmp_path / "key", KEY.text())
    text = "{collective: production, collectives: [staging], caller: alice, key: key, state: state, registry: none}"
    (tmp_path / "client.yaml").write_text(text)
    (tmp_path / "key.pub").write_text(f"{KEY.public.line} alice's laptop\n")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return tmp_path


def trust(folder: Path, *words: str) -> int:
    return main(["keys", "trust", *words, "--file", str(folder / "allowed_signers")])


def test_the_key_the_caller_and_the_allowed_signers_line_are_shown(configured: Path, capsys: Captured) -> None:
    """`crpc keys` prints the line that nodes need in order to trust the key."""
    assert main(["keys"]) == 0
    out = capsys.readouterr().out
    assert out == (
        f"Key:     ssh-ed25519 {KEY.public.fingerprint}\n"
        f"         {configured}/key\n"
        "Caller:  alice\n\n"
        "Nodes trust this key when their allowed_signers file has this line:\n\n"
        f'alice namespaces="collective" {KEY.public.line}\n'
    )


def test_a_caller_without_a_key_is_reported(configured: Path, capsys: Captured) -> None:
    """With `key: none`, the output states that requests are not signed; in JSON the key is null."""
    (configured / "client.yaml").write_text("{collective: production, caller: alice, key: none}")
    assert main(["keys"]) == 0
    assert capsys.readouterr().out == "Requests are not signed ('key: none'); caller: alice\n"
    assert json_document(["keys"], capsys) == {"caller": "alice", "key": None}


def test_a_missing_key_file_is_an_error(configured: Path, capsys: Captured) -> None:
    """A missing key file is one line with its path, exit code 78."""
    (configured / "key").unlink()
    assert main(["keys"]) == 78
    assert capsys.readouterr().err == f"crpc: {configured}/key: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("form", ["file", "text"])
def test_trusting_a_key_appends_a_line(configured: Path, capsys: Captured, form: str) -> None:
    """The line is appended to the file, whether or not that ends with a newline; the rest does not change."""
    path = configured / "allowed_signers"
    path.write_text(f"# people\n{signer_line('bob', OTHER.public)}".rstrip("\n"))
    before = path.read_text()
    assert trust(configured, str(configured / "key.pub") if form == "file" else KEY.public.line, "--as", "alice") == 0
    assert path.read_text() == f"{before}\n{signer_line('alice', KEY.public)}"
    assert capsys.readouterr().out == f"{path}: {KEY.public.fingerprint} can now sign as alice\n"
    assert trust(configured, KEY.public.line, "--as", "alice@ci") == 0
    signers = reread.load(path, allowed_signers.parse)
    for name in ("alice", "alice@ci"):
        assert signers.signer(KEY.blob, name, 0.0).key == KEY.public


@pytest.mark.parametrize(
    "command",
    [
        'crpc keys trust "$(crpc keys | tail -1)" --as alice --file {file}',
        "crpc keys | tail -1 | crpc keys trust - --as alice --file {file}",
        "crpc keys | tail -1 > line && crpc keys trust line --as alice --file {file}",
        "crpc keys | tail -1 > 'a line' && crpc keys trust 'a line' --as alice --file {file}",
        "crpc keys trust - --as alice --file {file} < key.pub",
        'crpc keys trust "$(cat key.pub)" --as alice --file {file}',
        'crpc keys trust "$(cat key.pub; echo)" --file {file} --as alice',
        "{{ echo '# my key'; cat key.pub; echo; }} | crpc keys trust --file {file} --as alice -",
    ],
)
def test_a_line_is_trusted_as_a_shell_passes_it(configured: Path, command: str) -> None:
    """The line that `crpc keys` prints, or that of a .pub file, in quotes, in a file, or from standard input."""
    file = configured / "signers"
    done = subprocess.run(
        ["bash", "-c", command.format(file=file)],
        cwd=configured,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{file}: {KEY.public.fingerprint} can now sign as alice\n"
    assert file.read_text() == signer_line("alice", KEY.public)


def test_a_line_for_another_caller_is_trusted_for_the_name_given(configured: Path, capsys: Captured) -> None:
    """`--as` decides, and a notice says that the caller has to use that name."""
    assert trust(configured, signer_line("alice", KEY.public), "--as", "root@vm") == 0
    assert (configured / "allowed_signers").read_text() == signer_line("root@vm", KEY.public)
    err = capsys.readouterr().err
    assert err == "crpc: the line is for alice: requests must be sent as root@vm (client.yaml: caller)\n"


@pytest.mark.parametrize(
    "line", ["alice {key}", 'alice,bob namespaces="*" {key}', 'alice namespaces="git,coll*" {key}']
)
def test_a_line_without_restrictions_of_requests_is_trusted(configured: Path, line: str) -> None:
    """The lines of ssh-keygen(1) allow more namespaces than the new line, and do not restrict requests."""
    assert trust(configured, line.format(key=KEY.public.line), "--as", "alice") == 0
    assert (configured / "allowed_signers").read_text() == signer_line("alice", KEY.public)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("*@ops cert-authority {key}", "PUBKEY: is the line of a cert-authority"),
        ('alice valid-before="20301231" {key}', "PUBKEY: has restrictions"),
        ('alice namespaces="git" {key}', "PUBKEY: has restrictions"),
        ('alice namespace="collective" {key}', "PUBKEY: unknown option 'namespace'"),
        ("{key}\n{key}", "PUBKEY: has 2 lines, not one (use the last line of 'crpc keys')"),
        ("\n # only a comment", "PUBKEY: has 0 lines, not one"),
        ('command="ls" {key}', "PUBKEY: must be: names"),
    ],
)
def test_a_line_that_means_more_than_a_key_is_refused(
    configured: Path, capsys: Captured, line: str, message: str
) -> None:
    """Restrictions would be lost, and several lines may be a mistake: nothing is trusted."""
    assert trust(configured, line.format(key=KEY.public.line), "--as", "alice") == 64
    assert capsys.readouterr().err.startswith(f"crpc: {message}")
    assert not (configured / "allowed_signers").exists()


def test_the_text_of_a_private_key_is_refused_and_not_printed(configured: Path, capsys: Captured) -> None:
    """The error does not quote the argument, which would reveal the key."""
    text = (configured / "key").read_text()
    assert trust(configured, text, "--as", "alice") == 64
    assert capsys.readouterr().err == "crpc: PUBKEY: contains a private key (use the .pub file)\n"


def test_an_authority_without_names_is_not_trusted_as_a_key(configured: Path, capsys: Captured) -> None:
    """The option of authorized_keys is not taken for the name of a signer."""
    assert trust(configured, f"cert-authority {KEY.public.line}", "--as", "alice") == 64
    assert "is the line of a cert-authority" in capsys.readouterr().err


def test_a_missing_allowed_signers_file_is_created(configured: Path) -> None:
    """`crpc keys trust` creates the file and its folder."""
    assert trust(configured / "etc", KEY.public.line, "--as", "alice") == 0
    assert (configured / "etc" / "allowed_signers").read_text() == signer_line("alice", KEY.public)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{key}", "--as", "alice"], 64, "can already sign as alice"),
        (["{other}", "--as", "*@ops"], 64, "--as: invalid caller '*@ops'"),
        (["{other}", "--as", "alice,bob"], 64, "--as: invalid caller 'alice,bob'"),
        (["{other}", "--as", "two words"], 64, "--as: invalid caller 'two words'"),
        (["{other}", "--as", ""], 64, "--as: invalid caller ''"),
        (["{folder}/key", "--as", "bob"], 64, "key: contains a private key (use the .pub file)"),
        (["{folder}/client.yaml", "--as", "bob"], 64, "client.yaml: unsupported key type '{{collective:'"),
        (["ssh-ed25519 AAAA", "--as", "bob"], 64, "PUBKEY: "),
    ],
)
def test_an_invalid_name_or_key_is_not_trusted(
    configured: Path, capsys: Captured, words: list[str], code: int, message: str
) -> None:
    """An invalid name or key is one line, exit code 64, and the file does not change."""
    path = configured / "allowed_signers"
    path.write_text(signer_line("alice", KEY.public))
    places = {"key": KEY.public.line, "other": OTHER.public.line, "folder": configured}
    assert trust(configured, *(word.format(**places) for word in words)) == code
    err = capsys.readouterr().err
    assert message.replace("{{", "{") in err
    assert err.count("\n") == 1
    assert path.read_text() == signer_line("alice", KEY.public)


def test_a_broken_allowed_signers_file_is_not_changed(configured: Path, capsys: Captured) -> None:
    """A file with an invalid line is an error with its line number, exit code 78."""
    (configured / "allowed_signers").write_text("alice\n")
    assert trust(configured, KEY.public.line, "--as", "alice") == 78
    assert "allowed_signers:1: must be: names" in capsys.readouterr().err
    assert (configured / "allowed_signers").read_text() == "alice\n"


def test_known_nodes_are_listed_by_collective(configured: Path, capsys: Captured) -> None:
    """The known nodes of one collective are listed by name, with the fingerprints of their keys."""
    known = KnownNodes(configured / "state", "production")
    known.trust("web2", OTHER.public)
    known.trust("web1", KEY.public)
    KnownNodes(configured / "state", "staging").trust("db1", KEY.public)
    assert main(["nodes", "list"]) == 0
    rows = [["web1", "unknown", KEY.public.fingerprint], ["web2", "unknown", OTHER.public.fingerprint]]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [[*line[:2], line[-1]] for line in lines] == rows
    assert main(["nodes", "list", "-T", "staging"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["db1", "unknown"]
    key = {"fingerprint": KEY.public.fingerprint, "key": KEY.public.line}
    unknown: dict[str, object] = {"state": "unknown", "last_seen": None, "version": None, "agents": []}
    node: dict[str, object] = {"identity": "db1", **unknown, **key}
    assert json_document(["nodes", "list", "-T", "staging"], capsys) == {"collective": "staging", "nodes": [node]}


def test_a_node_without_a_new_key_cannot_be_trusted(configured: Path, capsys: Captured) -> None:
    """Trusting a node without a new key in the registry or a refused reply is exit code 64."""
    assert main(["nodes", "trust", "web1"]) == 64
    assert capsys.readouterr().err == (
        "crpc: web1: no new key (the registry has none, and no reply was refused: use --key)\n"
    )


@pytest.mark.parametrize("verb", ["trust", "revoke"])
def test_a_mistyped_node_is_suggested(configured: Path, capsys: Captured, verb: str) -> None:
    """The name that is closest among the known nodes is named."""
    KnownNodes(configured / "state", "production").trust("web1.my.net", KEY.public)
    assert main(["nodes", verb, "web1.mynet"]) == 64
    assert "(did you mean 'web1.my.net'?)" in capsys.readouterr().err


def test_the_signing_key_as_json(configured: Path, capsys: Captured) -> None:
    """`crpc keys --json` has the key, where it is, the caller, and the allowed_signers line."""
    assert json_document(["keys"], capsys) == {
        "caller": "alice",
        "key": {
            "type": "ssh-ed25519",
            "fingerprint": KEY.public.fingerprint,
            "public_key": KEY.public.line,
            "source": f"{configured}/key",
            "allowed_signers_line": f'alice namespaces="collective" {KEY.public.line}',
        },
    }


def test_trusting_a_key_as_json(configured: Path, capsys: Captured) -> None:
    """`crpc keys trust --json` names the file, the caller and the fingerprint."""
    file = str(configured / "allowed_signers")
    assert json_document(["keys", "trust", OTHER.public.line, "--as", "bob", "--file", file], capsys) == {
        "file": file,
        "caller": "bob",
        "fingerprint": OTHER.public.fingerprint,
    }
