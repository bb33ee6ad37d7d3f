"""`collectived --check` reports the problems of watches that a daemon would have later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collective.config import load_node
from collective.node.check import watch_check


def problems(folder: Path, watch: dict[str, Any], **node: Any) -> list[str]:
    """Return the problems of a node with one watch."""
    path = folder / "node.yaml"
    path.write_text(json.dumps({"collective": "test", "identity": "a", "watches": {"w": watch}, **node}))
    return list(watch_check.problems(load_node(path)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.j2").write_text("{% for node in members %}{{ node.facts.port }}{% endfor %}")
    (tmp_path / "bad.j2").write_text("\n{% for node in members %}")
    (tmp_path / "unknown.j2").write_text("{{ members | nofilter }}")
    (tmp_path / "deep.j2").write_text("{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}")
    return tmp_path


def test_a_valid_watch_has_no_problem(folder: Path) -> None:
    """A name that is undefined only while it is rendered is found then; nothing is written."""
    before = sorted(folder.iterdir())
    assert problems(folder, {"exec": "true"}) == []
    assert problems(folder, {"template": {"src": "good.j2", "dest": "out"}}) == []
    assert sorted(folder.iterdir()) == sorted([*before, folder / "node.yaml"])


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ({"src": "none.j2"}, "{folder}/none.j2: cannot be read: No such file or directory"),
        ({"src": "bad.j2"}, "{folder}/bad.j2:2: Unexpected end of template."),
        ({"src": "unknown.j2"}, "{folder}/unknown.j2:1: No filter named 'nofilter'."),
        ({"src": "deep.j2"}, "{folder}/deep.j2: nested too deeply"),
        ({"dest": "none/out"}, "{folder}/none/out: the folder {folder}/none does not exist (create it)"),
        ({"dest": "."}, "{folder}: a folder (dest must name a file)"),
        ({"owner": "no-such-user"}, "owner: user 'no-such-user' does not exist on this machine"),
        ({"owner": ":no-such-group"}, "owner: group 'no-such-group' does not exist on this machine"),
    ],
)
def test_a_problem_of_a_template_is_found(folder: Path, template: dict[str, str], problem: str) -> None:
    """The line names the watch, and what its first rendering would say."""
    [found] = problems(folder, {"template": {"src": "good.j2", "dest": "out", **template}})
    assert found.startswith(f"watches.w.template: {problem.format(folder=folder)}")


def test_what_keeps_the_daemon_from_starting_is_found(folder: Path) -> None:
    """The lines are those of the daemon."""
    user = "watches.w.user: user 'no-such-user' does not exist on this node"
    registry = "watches: no registry to watch (set 'registry: dynamodb', or remove the watches)"
    assert problems(folder, {"exec": "true", "user": "no-such-user"}, registry="none") == [registry, user]
