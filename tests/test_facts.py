"""Facts and classes: several sources, the last wins, and a broken one keeps what it had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collective.node.facts import Facts, built_in


def test_every_node_knows_something_of_itself() -> None:
    """Without any file there are facts to filter by, all of them plain JSON."""
    facts = Facts([], [])
    assert facts.current == built_in()
    assert {"fqdn", "os", "kernel", "architecture", "processors"} <= facts.current.keys()
    assert json.loads(json.dumps(facts.current)) == facts.current
    assert facts.classes == frozenset()


def test_later_sources_win(tmp_path: Path) -> None:
    """A file's facts stand over the built-in ones, and a later file's over an earlier one's."""
    (tmp_path / "a.yaml").write_text("{role: web, kernel: mine, az: a}")
    (tmp_path / "b.json").write_text('{"role": "db", "nested": {"deep": [1, 2]}}')
    facts = Facts([tmp_path / "a.yaml", tmp_path / "b.json"], []).current
    assert (facts["role"], facts["kernel"], facts["az"], facts["nested"]) == ("db", "mine", "a", {"deep": [1, 2]})


def test_facts_are_what_json_can_carry(tmp_path: Path) -> None:
    """Dates are text and keys are text: a filter here and one at the registry see the same."""
    (tmp_path / "a.yaml").write_text("{since: 2026-11-21, ports: {80: http}, on: true, none: null}")
    facts = Facts([tmp_path / "a.yaml"], []).current
    assert facts["since"] == "2026-11-21"
    assert facts["ports"] == {"80": "http"}
    assert facts["none"] is None


@pytest.mark.parametrize("text", ["[1]", "role: [", "text", "a: .nan", "a: .inf", "a: !!binary aGVsbG8=", "a: &a [*a]"])
def test_a_broken_file_is_said_and_the_node_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """What cannot be read is logged with its path; the other sources count."""
    broken, good = tmp_path / "broken.yaml", tmp_path / "good.yaml"
    broken.write_text(text)
    good.write_text("role: web")
    assert Facts([broken, good], []).current["role"] == "web"
    (record,) = caplog.records
    assert record.getMessage() == "facts.broken"
    assert vars(record)["error"].startswith(str(broken))


def test_a_file_that_breaks_keeps_its_last_good_facts(tmp_path: Path) -> None:
    """A half-written file does not take a node out of its role; a mended one counts again."""
    path = tmp_path / "a.yaml"
    path.write_text("role: web")
    facts = Facts([path], [])
    path.write_text("role: [")
    facts.refresh()
    assert facts.current["role"] == "web"
    path.write_text("role: db")
    facts.refresh()
    assert facts.current["role"] == "db"


def test_a_file_that_goes_takes_its_facts_along(tmp_path: Path) -> None:
    """A removed source is not a broken one; a file that is not there yet is no fault."""
    path = tmp_path / "a.yaml"
    facts = Facts([path], [])
    path.write_text("role: web")
    facts.refresh()
    assert facts.current["role"] == "web"
    path.unlink()
    facts.refresh()
    assert "role" not in facts.current


def test_whoever_reads_sees_one_state(tmp_path: Path) -> None:
    """A refresh replaces the facts; it does not change them under a reader."""
    path = tmp_path / "a.yaml"
    path.write_text("role: web")
    facts = Facts([path], [])
    before = facts.current
    path.write_text("role: db")
    facts.refresh()
    assert (before["role"], facts.current["role"]) == ("web", "db")


def test_classes_are_a_word_a_line(tmp_path: Path) -> None:
    """The classes of all files count; a file that is not there has none."""
    (tmp_path / "a").write_text("apache\nprofile::base\n\n")
    (tmp_path / "b").write_text("apache\nmysql")
    facts = Facts([], [tmp_path / "a", tmp_path / "b", tmp_path / "none"])
    assert facts.classes == {"apache", "profile::base", "mysql"}


def test_a_broken_class_file_keeps_its_last_good_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Like facts; a file that is gone has no classes any more."""
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
