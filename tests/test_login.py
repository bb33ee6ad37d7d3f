"""What people see when they log in to a node: the line for prompts, the login message and local facts.

Real shells are in tests/e2e/test_prompt.py.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crpc_call import json_document
from support.crpc_process import BIN
from support.hostile_facts import HOSTILE_FACTS

from collective.clients import crpc
from collective.local_facts import FACTS, PROMPT, read
from collective.node.service.local_files import LocalFiles
from collective.prompt_line import prompt_line
from collective.testing import Network, memory_fleet

ROOT = Path(__file__).resolve().parents[1]


def hostile(mark: Path) -> list[str]:
    return [text.format(mark=mark) for text in HOSTILE_FACTS]


def test_the_prompt_has_the_values_of_facts() -> None:
    """Values are in the order of the configuration, nested ones too; a missing fact is skipped."""
    facts = {"role": "web", "customer": "acme-1", "ec2": {"region": "eu-central-1"}, "n": 3, "list": ["a"], "empty": ""}
    assert prompt_line(facts, ["customer", "environment", "role"]) == "acme-1 web"
    assert prompt_line(facts, ["ec2.region", "n", "list", "empty"]) == "eu-central-1 3"
    assert prompt_line({}, ["customer"]) == ""


@pytest.mark.parametrize("text", HOSTILE_FACTS)
def test_a_hostile_fact_leaves_only_harmless_characters(text: str) -> None:
    """The line is short, and has no character that a shell or a terminal interprets."""
    line = prompt_line({"role": text}, ["role"])
    assert re.fullmatch(r"[A-Za-z0-9._:@/+-]{1,32}", line)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Network]:
    """A node in memory, with hostile facts."""
    facts = {"role": "web", "customer": hostile(tmp_path / "mark")[0], "environment": "$(id)"}
    with memory_fleet(tmp_path, {"web1": facts}) as network:
        yield network


def files(node: Network, folder: Path, mode: int = 0o600) -> LocalFiles:
    names = ["customer", "environment", "role"]
    return LocalFiles(folder, node.nodes["web1"], mode, names)


def test_the_node_keeps_two_files(node: Network, tmp_path: Path) -> None:
    """All users can read the prompt, and only the node's user the facts; both are atomically replaced."""
    folder = tmp_path / "cache"
    writer = files(node, folder)
    writer.write()
    assert (folder / PROMPT).read_text() == "_]0_title__[2J __id_ web\n".replace("]", "_").replace("[", "_")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {FACTS: 0o600, PROMPT: 0o644}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    found = read(folder)
    assert (found.identity, found.facts["role"], found.is_old) == ("web1", "web", False)
    os.utime(folder / FACTS, (0, 0))
    assert read(folder).is_old
    writer.write()  # nothing has changed, and the daemon runs
    assert not read(folder).is_old
    (folder / PROMPT).unlink()
    writer.write()
    assert (folder / PROMPT).exists()
    files(node, folder, 0o644).write()
    assert stat.S_IMODE((folder / FACTS).stat().st_mode) == 0o644


def test_a_link_in_the_folder_is_replaced(node: Network, tmp_path: Path) -> None:
    """Another user may own the folder: the file that a link leads to does not get the time of the daemon's look."""
    folder, other = tmp_path / "files", tmp_path / "other"
    files = LocalFiles(folder, node.nodes["web1"], 0o644, [])
    files.write()
    other.write_bytes((folder / FACTS).read_bytes())
    os.utime(other, (0, 0))
    (folder / FACTS).unlink()
    (folder / FACTS).symlink_to(other)
    files.write()
    assert (other.stat().st_mtime, (folder / FACTS).is_symlink()) == (0.0, False)


def test_a_folder_that_cannot_be_written_is_logged(
    node: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line names the key and the folder, and the daemon goes on."""
    (tmp_path / "file").write_text("")
    writer = files(node, tmp_path / "file" / "cache")
    writer.write()
    writer.write()
    assert [record.error for record in caplog.records] == [  # type: ignore[attr-defined]
        f"local_files: {tmp_path}/file/cache: cannot be written: Not a directory (change the path)"
    ]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with a node.yaml, and the files of the node."""
    facts = {
        "role": "web",
        "customer": "\x1b[2Jacme",
        "environment": "a\nb",
        "os": {"name": "debian", "version": "12", "family": "debian"},
        "kernel": "6.1",
    }
    document = {"collective": "production", "identity": "web1", "facts": facts, "classes": ["nginx", "\x1b[31mx"]}
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FACTS).write_text(json.dumps(document))
    (tmp_path / "cache" / PROMPT).write_text("acme production web\n")
    (tmp_path / "node.yaml").write_text(
        json.dumps({"collective": "production", "identity": "web1", "local_files": str(tmp_path / "cache")})
    )
    return tmp_path


def run(machine: Path, *words: str) -> int:
    return crpc.main([*words, "--config", str(machine / "node.yaml")])


def test_the_login_message(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Facts and classes are shown, with codes of terminals and line ends escaped."""
    assert run(machine, "motd") == 0
    assert capsys.readouterr().out == (
        "web1 is a node of the collective production.\n"
        "  customer     \\x1b[2Jacme\n"
        "  environment  a\\nb\n"
        "  role         web\n"
        "  system       debian 12, 6.1\n"
        "  classes      nginx, \\x1b[31mx\n"
    )


def test_a_login_message_from_a_template(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A template has the facts; one with an error is named with its line."""
    template = machine / "motd.j2"
    template.write_text("{{ facts.role | upper }} {{ facts.missing.more }}{{ facts.customer }}\n")
    assert run(machine, "motd", "--template", str(template)) == 0
    assert capsys.readouterr().out == "WEB \\x1b[2Jacme\n"
    template.write_text("a\n{% if %}\n")
    assert run(machine, "motd", "--template", str(template)) == 78
    assert capsys.readouterr().err.startswith(f"crpc: {template}: Expected an expression")
    template.write_text("{{ ''.__class__.__mro__ }}")
    assert run(machine, "motd", "--template", str(template)) == 0
    assert capsys.readouterr().out == "\n"  # the sandbox has no such member
    template.write_text("{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}")
    assert run(machine, "motd", "--template", str(template)) == 78


def test_local_facts(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All facts, one of them, and a fact that the node does not have."""
    assert run(machine, "facts", "local", "os.family") == 0
    assert capsys.readouterr().out == "debian\n"
    assert run(machine, "facts", "local") == 0
    shown = capsys.readouterr().out
    assert "       role = web\n" in shown
    assert "\x1b" not in shown
    assert run(machine, "facts", "local", "--json") == 0
    assert json.loads(capsys.readouterr().out)["facts"]["role"] == "web"
    assert run(machine, "facts", "local", "nothing") == 1
    assert capsys.readouterr() == ("", "crpc: this node has no fact 'nothing' ('crpc facts local' lists them)\n")
    os.utime(machine / "cache" / FACTS, (0, 0))
    assert run(machine, "facts", "local", "role") == 0
    assert "minutes ago: collectived does not run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist (start collectived, or restart it after a change of node.yaml)"),
        ("{", "not what collectived writes (remove the file)"),
        ("[]", "not what collectived writes (remove the file)"),
        ('{"facts": []}', "not what collectived writes (remove the file)"),
    ],
)
def test_facts_that_cannot_be_read(
    machine: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    """The error names the file, and what to do."""
    path = machine / "cache" / FACTS
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert run(machine, "facts", "local") == 78
    assert capsys.readouterr().err == f"crpc: {path}: {message}\n"


def test_a_node_without_the_files(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command says which key is missing."""
    (machine / "node.yaml").write_text('{"collective": "production", "identity": "web1"}')
    for words in (["motd"], ["facts", "local"], ["prompt"], ["prompt", "zsh"]):
        assert run(machine, *words) == 78
        assert "local_files is not set" in capsys.readouterr().err


def test_a_prompt_of_another_program_is_harmless(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command shows what the shells show: no control character, and nothing that a shell would expand."""
    (machine / "cache" / "prompt").write_bytes(b"a \xff\x1b]0;x\x07$(id)\nsecond")
    assert run(machine, "prompt") == 0
    out = capsys.readouterr().out
    assert out.startswith("a ___0_x___id_")
    assert out.count("\n") == 1


def test_an_old_prompt_is_reported(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When the daemon has not confirmed the file for a long time, a line on standard error says so."""
    two_hours_ago = time.time() - 7200
    os.utime(machine / "cache" / "prompt", (two_hours_ago, two_hours_ago))
    assert run(machine, "prompt") == 0
    out, err = capsys.readouterr()
    assert out == "acme production web\n"
    assert err == "crpc: this prompt was confirmed 120 minutes ago: collectived does not run\n"


def test_the_documents(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command has a document that matches its schema."""
    config = ["--config", str(machine / "node.yaml")]
    assert json_document(["motd", *config], capsys)["text"].startswith("web1 is a node")
    assert json_document(["prompt", *config], capsys) == {"shell": None, "text": "acme production web\n"}
    assert json_document(["facts", "local", "role", *config], capsys) == {"identity": "web1", "facts": {"role": "web"}}


def test_the_file_for_update_motd(machine: Path) -> None:
    """The script prints the message, and is silent and successful when there is none."""
    script = ROOT / "conf" / "update-motd.sh"
    for path, expected in ((machine / "node.yaml", "web1 is a node of"), (machine / "missing.yaml", "")):
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "COLLECTIVE_CONFIG": str(path)}
        done = subprocess.run([script], env=environment, capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(expected)
        assert bool(done.stdout) == bool(expected)
