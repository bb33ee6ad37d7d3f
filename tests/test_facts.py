"""Facts and classes from several sources: the last source wins, and a failed one keeps its values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collective.node.facts import Facts, built_in


def test_every_node_has_built_in_facts() -> None:
    """Without any file there are facts to filter by, all of them JSON values."""
    facts = Facts([], [])
    assert facts.current == built_in()
    assert {"fqdn", "os", "kernel", "architecture", "processors"} <= facts.current.keys()
    assert json.loads(json.dumps(facts.current)) == facts.current
    assert facts.classes == frozenset()


def test_later_sources_win(tmp_path: Path) -> None:
    """Facts in a file replace built-in facts and facts of earlier files."""
    (tmp_path / "a.yaml").write_text("{role: web, kernel: mine, az: a}")
    (tmp_path / "b.json").write_text('{"role": "db", "nested": {"deep": [1, 2]}}')
    facts = Facts([tmp_path / "a.yaml", tmp_path / "b.json"], []).current
    assert (facts["role"], facts["kernel"], facts["az"], facts["nested"]) == ("db", "mine", "a", {"deep": [1, 2]})


def test_facts_are_json_values(tmp_path: Path) -> None:
    """Dates and keys become strings, so that filters on the node and on the caller see the same values."""
    (tmp_path / "a.yaml").write_text("{since: 2026-11-21, ports: {80: http}, on: true, none: null}")
    facts = Facts([tmp_path / "a.yaml"], []).current
    assert facts["since"] == "2026-11-21"
    assert facts["ports"] == {"80": "http"}
    assert facts["none"] is None


@pytest.mark.parametrize("text", ["[1]", "role: [", "text", "!ruby/sym role"])
def test_an_invalid_file_is_logged_and_other_files_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """An invalid file is logged with its path; the other sources are used."""
    broken, good = tmp_path / "broken.yaml", tmp_path / "good.yaml"
    broken.write_text(text)
    good.write_text("role: web")
    assert Facts([broken, good], []).current["role"] == "web"
    (record,) = caplog.records
    assert record.getMessage() == "facts.broken"
    assert vars(record)["error"].startswith(str(broken))


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("a: .nan", "a", "NaN is not a JSON number"),
        ("a: {b: [1, -.inf]}", "a.b.1", "-Infinity is not a JSON number"),
        ("a: !!binary /w==", "a", "binary data that is not UTF-8 text"),
        ("a: !binary x", "a", "binary data that is not UTF-8 text"),
        ("a: &a [*a]", "a.0", "contains itself"),
        ("a: {? [b, c] : 1}", "a.a key", "a list or mapping cannot be a key"),
        ("? {b: c}\n: 1", "a key", "a list or mapping cannot be a key"),
        ("a: !!int abc", "a", "'abc' does not match its tag tag:yaml.org,2002:int"),
        ("a: {!!bool maybe: 1}", "a.a key", "'maybe' does not match its tag tag:yaml.org,2002:bool"),
    ],
)
def test_a_value_that_cannot_be_a_fact_is_omitted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, name: str, reason: str
) -> None:
    """The other facts of the source are used, and the log names the omitted one once."""
    path = tmp_path / "odd.yaml"
    path.write_text(f"before: 1\n{text}\nrole: web\n")
    facts = Facts([path], [])
    facts.refresh()
    assert (facts.current["before"], facts.current["role"]) == (1, "web")
    (record,) = caplog.records
    assert record.getMessage() == "facts.omitted"
    assert vars(record)["error"] == f"{path}: fact '{name}' is omitted: {reason}"


def test_a_source_with_too_many_values_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Aliases that repeat each other cannot use up the memory of the node."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (tmp_path / "a.yaml").write_text("\n".join(["a0: &a0 [x]", *levels]))
    Facts([tmp_path / "a.yaml"], [])
    assert vars(caplog.records[0])["error"] == f"{tmp_path / 'a.yaml'}: more than 500000 values"


def test_a_file_that_becomes_invalid_keeps_its_last_valid_facts(tmp_path: Path) -> None:
    """A partly written file does not change the facts; a corrected one does."""
    path = tmp_path / "a.yaml"
    path.write_text("role: web")
    facts = Facts([path], [])
    path.write_text("role: [")
    facts.refresh()
    assert facts.current["role"] == "web"
    path.write_text("role: db")
    facts.refresh()
    assert facts.current["role"] == "db"


def test_a_deleted_file_has_no_facts(tmp_path: Path) -> None:
    """A missing file is not an error, before it is created and after it is deleted."""
    path = tmp_path / "a.yaml"
    facts = Facts([path], [])
    path.write_text("role: web")
    facts.refresh()
    assert facts.current["role"] == "web"
    path.unlink()
    facts.refresh()
    assert "role" not in facts.current


def test_a_refresh_replaces_the_facts_as_a_whole(tmp_path: Path) -> None:
    """A reader that holds the old mapping does not see changes."""
    path = tmp_path / "a.yaml"
    path.write_text("role: web")
    facts = Facts([path], [])
    before = facts.current
    path.write_text("role: db")
    facts.refresh()
    assert (before["role"], facts.current["role"]) == ("web", "db")


def test_classes_are_separated_by_whitespace(tmp_path: Path) -> None:
    """The classes of all files are joined; a missing file has none."""
    (tmp_path / "a").write_text("apache\nprofile::base\n\n")
    (tmp_path / "b").write_text("apache\nmysql")
    facts = Facts([], [tmp_path / "a", tmp_path / "b", tmp_path / "none"])
    assert facts.classes == {"apache", "profile::base", "mysql"}


def test_an_invalid_class_file_keeps_its_last_valid_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An invalid class file keeps its classes, a deleted one does not."""
    path = tmp_path / "classes.txt"
    path.write_text("apache")
    facts = Facts([], [path])
    path.write_bytes(b"\xff")
    facts.refresh()
    assert facts.classes == {"apache"}
    assert [record.getMessage() for record in caplog.records] == ["classes.broken"]
    path.unlink()
    facts.refresh()
    assert facts.classes == frozenset()
