"""Plug-ins that callers push: bundles are bounded, versions are kept, and what cannot be loaded changes nothing."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from support.pushed_plugins import CODE, StoringNode, plugin

from collective import bundles, ddl_document
from collective.bundles import Bundle, BundledFile, pack, unpack
from collective.errors import Aborted, InvalidInput, UsageError


@pytest.fixture
def node(tmp_path: Path) -> StoringNode:
    """A node without pushed plug-ins."""
    return StoringNode(tmp_path / "state")


def test_a_pushed_plug_in_serves_and_can_be_rolled_back(node: StoringNode, tmp_path: Path) -> None:
    """Each push is a version; a rollback returns to the one before, and another one undoes it."""
    first = node.push(plugin(tmp_path / "a"))
    assert (first["name"], first["version"], first["previous"], first["changed"]) == ("extra", "1.0", None, True)
    assert node.version() == "1.0"
    assert node.push(tmp_path / "a")["changed"] is False
    second = node.push(plugin(tmp_path / "a", "1.1", 2))
    assert (second["version"], second["previous"], node.version()) == ("1.1", "1.0", "1.1")
    assert node.store.rollback("extra")["version"] == "1.0"
    assert node.version() == "1.0"
    assert node.store.rollback("extra")["version"] == "1.1"
    assert node.store.list()["extra"]["previous"] == "1.0"
    assert node.serving.problems == ()


def test_dry_runs_change_nothing(node: StoringNode, tmp_path: Path) -> None:
    """A dry run checks the DDLs of a plug-in, and neither installs it nor returns to a version."""
    assert node.try_out(plugin(tmp_path / "a"))["changed"] is True
    assert "extra" not in node.serving.agents
    assert not (node.state / "plugins").exists()
    node.push(tmp_path / "a")
    assert node.try_out(tmp_path / "a")["changed"] is False
    node.push(plugin(tmp_path / "a", "1.1", 2))
    assert node.store.rollback("extra", dry_run=True)["changed"] is True
    assert node.version() == "1.1"
    with pytest.raises(Aborted, match="'package' exists in"):
        node.try_out(plugin(tmp_path / "b", name="package"))
    (plugin(tmp_path / "c") / "ddl" / "extra.json").write_text('{"metadata": {"version": "1"}}')
    with pytest.raises(Aborted, match=r"the plug-in .extra. was not installed: ddl/extra\.json: "):
        node.try_out(tmp_path / "c")


def test_a_dry_run_runs_no_code_of_a_plug_in(node: StoringNode, tmp_path: Path) -> None:
    """A policy can allow dry runs only, and such a caller must not be able to run code in the daemon."""
    mark = tmp_path / "ran"
    assert node.try_out(plugin(tmp_path / "a", code=f"open({str(mark)!r}, 'w')\n{CODE % 1}"))["changed"] is True
    program = plugin(tmp_path / "b") / "agents" / "extra"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    (tmp_path / "b" / "agents" / "extra.py").unlink()
    assert node.try_out(tmp_path / "b")["changed"] is True
    assert not mark.exists()


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [("^(a|aa)+$", "cannot be checked within"), ("(?:a{1000}){1000}", "is not a regular expression: ")],
)
def test_a_dry_run_cannot_stop_the_daemon(
    node: StoringNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, problem: str
) -> None:
    """A pattern in the DDL of a bundle is checked in the daemon, whose other threads would wait for it."""
    monkeypatch.setattr(ddl_document, "SCHEMA_SECONDS", 0.5)
    path = plugin(tmp_path / "a") / "ddl" / "extra.json"
    document = json.loads(path.read_text())
    action = next(iter(document["actions"].values()))
    action["input"]["properties"] = {"text": {"type": "string", "pattern": pattern, "default": "a" * 100 + "!"}}
    path.write_text(json.dumps(document))
    with pytest.raises(Aborted, match=problem):
        node.try_out(tmp_path / "a")


def test_bundles_whose_digests_begin_alike_are_different_versions(
    node: StoringNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An author can make two bundles whose digests have the same first digits; a push of one replaces the other."""
    whole = bundles.digest
    monkeypatch.setattr(bundles, "digest", lambda text: "0" * 12 + whole(text)[12:])
    node.push(plugin(tmp_path / "a"))
    fixed = node.push(plugin(tmp_path / "b", code=CODE % 2))
    assert (fixed["changed"], fixed["digest"]) == (True, "0" * 12)
    assert (node.state / "plugins" / "extra" / "current" / "agents" / "extra.py").read_text() == CODE % 2


def test_a_small_bundle_cannot_take_much_memory(node: StoringNode) -> None:
    """The daemon itself unpacks a bundle, also for a caller that may only make dry runs."""
    document = '{"name": "x", "version": "1", "files": {"ddl/x.json": [' + "[]," * 2_000_000 + "1]}}"
    text = base64.b64encode(zlib.compress(document.encode())).decode()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="cannot be unpacked"):
            node.store.install(text, bundles.digest(text), dry_run=True)
        assert tracemalloc.get_traced_memory()[1] < 40 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_rollback_without_an_earlier_version_is_refused(node: StoringNode, tmp_path: Path) -> None:
    """The error says whether the plug-in is unknown or has one version only."""
    with pytest.raises(Aborted, match="no plug-in 'extra' was pushed to this node"):
        node.store.rollback("extra")
    node.push(plugin(tmp_path / "a"))
    with pytest.raises(Aborted, match=r"there is no version of the plug-in 'extra' before 1.0-"):
        node.store.rollback("extra")
    with pytest.raises(Aborted, match=r"no plug-in 'extr' was pushed to this node \(did you mean 'extra'\?\)"):
        node.store.rollback("extr")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def go(:", "agents/extra.py: cannot be imported: SyntaxError"),
        ("raise SystemExit", "agents/extra.py: cannot be imported: SystemExit"),
        ("x = 1", "action 'go' of ddl/extra.json is missing"),
    ],
)
def test_a_plug_in_that_cannot_be_loaded_changes_nothing(
    node: StoringNode, tmp_path: Path, code: str, message: str
) -> None:
    """The version in use stays, and no files of the broken one are left."""
    node.push(plugin(tmp_path / "a"))
    with pytest.raises(Aborted) as caught:
        node.push(plugin(tmp_path / "b", "2.0", code=code))
    assert message in str(caught.value)
    assert node.version() == "1.0"
    home = node.state / "plugins" / "extra"
    assert sorted(path.name.partition("-")[0] for path in home.iterdir()) == ["1.0", "current"]


def test_a_plug_in_replaces_no_agent_of_another_source(node: StoringNode, tmp_path: Path) -> None:
    """A standard agent, or one of another plug-in, is never replaced by a push."""
    with pytest.raises(Aborted, match="'package' exists in"):
        node.push(plugin(tmp_path / "a", name="package"))
    node.push(plugin(tmp_path / "b"))
    with pytest.raises(Aborted, match="'extra' exists in"):
        node.push(plugin(tmp_path / "c", "3.0"), "other")


def test_old_versions_are_deleted(node: StoringNode, tmp_path: Path) -> None:
    """Five versions are kept, those in use and before among them."""
    for number in range(8):
        node.push(plugin(tmp_path / "a", f"1.{number}", number))
    versions = [path for path in (node.state / "plugins" / "extra").iterdir() if not path.is_symlink()]
    assert len(versions) == 5
    assert node.store.rollback("extra")["version"] == "1.6"


def altered(**members: Any) -> str:
    document = {"name": "extra", "version": "1", "files": {"agents/extra.py": ["", False]}, **members}
    return base64.b64encode(zlib.compress(json.dumps(document).encode())).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be unpacked"),
        ("AAAA", "cannot be unpacked"),
        ("not base64!", "cannot be unpacked"),
        (base64.b64encode(zlib.compress(bytes(20_000_000))).decode(), "cannot be unpacked"),
        (altered(files=[]), "cannot be unpacked"),
        (altered(files={"agents/x.py": "text"}), "cannot be unpacked"),
        (altered(name="../x"), "invalid plug-in name '../x'"),
        (altered(version="../1"), "invalid version '../1'"),
        (altered(files={"../x": ["", False]}), "invalid path '../x'"),
        (altered(files={"agents/../../x": ["", False]}), "invalid path"),
        (altered(files={"/etc/passwd": ["", False]}), "invalid path"),
        (altered(files={"settings/x.yaml": ["", False]}), "invalid path"),
        (altered(files={f"agents/x{number}": ["", False] for number in range(201)}), "more than 200 files"),
    ],
)
def test_a_hostile_bundle_is_refused(node: StoringNode, text: str, message: str) -> None:
    """Paths stay within the plug-in, and sizes are bounded, whatever the bundle has."""
    with pytest.raises(InvalidInput) as caught:
        node.store.install(text, bundles.digest(text))
    assert message in str(caught.value)
    assert not (node.state / "plugins").exists()


def test_a_bundle_must_match_its_digest() -> None:
    """A bundle with another digest is refused before it is unpacked."""
    with pytest.raises(InvalidInput, match="does not match its digest"):
        unpack(altered(), "0" * 64)


def test_a_bundle_keeps_programs_executable(tmp_path: Path) -> None:
    """Files are the same after packing and unpacking, and the same files make the same text."""
    files = {"agents/x": BundledFile(b"\x00\xff", True), "ddl/x.json": BundledFile(b"{}", False)}
    text = Bundle("x", "1", files).text()
    assert unpack(text, bundles.digest(text)).files == files
    assert Bundle("x", "1", dict(reversed(files.items()))).text() == text
    with pytest.raises(UsageError, match="no plug-in"):
        pack(tmp_path)
