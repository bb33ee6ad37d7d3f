"""Text from DDLs and names of files reaches no terminal unescaped, whatever command prints it and in whatever form."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.crpc_call import Captured, called
from support.harmful_text import HARMFUL

from collective.node.daemon import main as collectived

# Sets the title of the window, reorders, hides.
EVIL = "\x1b]0;x\x07\u202e\u200b\u061c\ufe0f\x9b31m"
NO_HARM = re.compile(f"[{re.escape(''.join(HARMFUL))}]")


def hostile_ddl(name: str) -> dict[str, Any]:
    """Return a DDL with hostile text in every place that takes text."""
    text = {"title": f"T{EVIL}", "description": f"D{EVIL}", "type": "string"}
    return {
        "metadata": {"name": name, "description": f"d{EVIL}", "version": "1", "author": EVIL, "url": EVIL},
        "actions": {
            "go": {
                "description": f"g{EVIL}",
                "idempotent": True,
                "input": {
                    "type": "object",
                    "required": ["a"],
                    "properties": {"a": {**text, "enum": [f"x{EVIL}"], "default": f"x{EVIL}"}},
                },
                "output": {"type": "object", "properties": {"o": {**text, "default": EVIL}}},
            }
        },
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with hostile DDLs, a file with a hostile name, and files that cannot be read as DDLs."""
    (tmp_path / "client.yaml").write_text("{collective: production, state: state, ddls: [ddl], key: none}")
    ddl = tmp_path / "ddl"
    ddl.mkdir()
    (ddl / "evil.json").write_text(json.dumps(hostile_ddl("evil")))
    (ddl / f"ev{EVIL}il.json").write_text("{}")
    (ddl / "deep.json").write_text("[" * 100_000)
    (ddl / "half.json").write_text('{"metadata": {"description": ' + "[" * 50_000 + "]" * 50_000 + "}}")
    (ddl / "digits.json").write_text('{"metadata": {"description": ' + "9" * 10_000 + '}, "actions": {}}')
    (ddl / "latin.json").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return tmp_path


def test_the_help_page_of_an_agent_prints_no_harmful_characters(folder: Path, capsys: Captured) -> None:
    """Words of its DDL have no controls, or marks that hide or reorder text."""
    found, out, err = called(["help", "evil"], capsys)
    assert (found, err) == (0, "")
    assert not NO_HARM.search(out)


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "yaml", "table", "csv"])
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("help", 0),
        ("help -v", 0),
        ("describe evil", 0),
        ("describe evil go", 0),
        ("evil --help", 0),
        ("evil go --help", 0),
        ("evil go a=y", 64),
        (f"evil go {EVIL}=y", 64),
        (f"evil {EVIL}", 64),
        (f"{EVIL} go", 64),
        (f"find --zap{EVIL}", 64),
        (f"find -F {EVIL}", 64),
        (f"explain-filter -F role={EVIL}", 0),
        (f"nodes trust {EVIL}", 64),
        (f"policy check /no/{EVIL}", 78),
        (f"audit show /no/{EVIL}", 78),
        (f"ping --config /no/{EVIL}", 78),
        (f"describe ev{EVIL}il", 78),
        ("describe deep", 78),
        ("describe half", 78),
        ("describe digits", 78),
        ("describe latin", 78),
        ("doctor", 78),
        (f"keys trust {EVIL} --as a", 64),
        (f"schema {EVIL}", 64),
    ],
)
def test_no_command_prints_harmful_characters(line: str, code: int, form: str, folder: Path, capsys: Captured) -> None:
    """The exit code is that of the mistake; no output has controls, or marks that hide or reorder text."""
    found, out, err = called([*line.split(), "-o", form], capsys)
    assert found == code, err
    assert not NO_HARM.search(out)
    assert not NO_HARM.search(err)


def test_the_check_of_a_node_prints_no_harmful_characters(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`collectived --check` prints names of files and what they contain, one line each."""
    for name, value in (("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_DEFAULT_REGION", "eu-central-1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    for name in ("agents", "ddl", "facts.d", "settings"):
        (tmp_path / name).mkdir()
    (tmp_path / "ddl" / f"ev{EVIL}il.json").write_text("{}")
    (tmp_path / "ddl" / "evil.json").write_text(json.dumps(hostile_ddl("evil")))
    (tmp_path / "agents" / f"a{EVIL}.py").write_text(f"raise ValueError({EVIL!r})")
    (tmp_path / "agents" / "evil.py").write_text(f"raise ValueError({EVIL!r})")
    (tmp_path / "facts.d" / f"f{EVIL}.yaml").write_text("{")
    (tmp_path / "facts.d" / f"g{EVIL}").write_text("{")
    (tmp_path / "allowed_signers").write_text(f'alice namespaces="{EVIL}" ssh-ed25519 AAAA\n')
    (tmp_path / "policy.yaml").write_text(json.dumps({"rules": [{"name": EVIL, "nonsense": EVIL}]}))
    (tmp_path / f"node{EVIL}.yaml").write_text(
        "{collective: production, identity: web1, state: state, allowed_signers: allowed_signers, agents: [agents],"
        " ddls: [ddl], fact_folders: [facts.d], facts: [], classes: [], policy: policy.yaml, settings: settings,"
        " audit: audit.jsonl, ec2_facts: false}"
    )
    assert collectived(["--check", "--config", str(tmp_path / f"node{EVIL}.yaml")]) == 78
    out, err = capsys.readouterr()
    assert "evil" in err
    assert not NO_HARM.search(out)
    assert not NO_HARM.search(err)
