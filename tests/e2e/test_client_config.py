"""A client.yaml with collectives, groups, aliases and own commands, against a lab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.crpc_process import NODES, Crpc, make_crpc, on_a_terminal

from collective.lab.layout import Layout

AWS_CONFIG = """
[profile lab]
region = {region}
aws_access_key_id = lab
aws_secret_access_key = lab
"""


@pytest.fixture
def own(lab: Layout, environment: dict[str, str], tmp_path: Path) -> tuple[Crpc, Path]:
    """Run crpc with a client.yaml of its own, without any setting of AWS in the environment."""
    values: dict[str, Any] = yaml.safe_load((lab.folder / "client.yaml").read_text())
    (tmp_path / "aws").write_text(AWS_CONFIG.format(region=environment["AWS_DEFAULT_REGION"]))
    values |= {
        "collective": "elsewhere",
        "key": str(lab.folder / "key"),
        "state": str(tmp_path / "state"),
        "ddls": str(lab.folder / "ddl"),
        "collectives": {
            "lab": {"endpoint": environment["AWS_ENDPOINT_URL"], "profile": "lab"},
            "second": {"collective": "lab", "endpoint": environment["AWS_ENDPOINT_URL"], "profile": "lab"},
        },
        "groups": {
            "web": {"filter": "role=web"},
            "first": {"nodes": "node[01-03].lab"},
            "cmdb": {"command": ["sh", "-c", "cat >&2; echo '[\"node05.lab\"]'"]},
        },
        "aliases": {"roles": "facts role -o jsonl"},
        "commands": ["commands"],
    }
    (tmp_path / "client.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "role-of.yaml").write_text(
        "summary: Show a fact of the first nodes\nagent: rpcutil\naction: get_fact\nask: [fact]\nnodes: '@first'\n"
    )
    kept = {name: value for name, value in environment.items() if not name.startswith(("AWS_", "COLLECTIVE_"))}
    clean = kept | {"COLLECTIVE_CONFIG": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    return make_crpc(clean | {"AWS_CONFIG_FILE": str(tmp_path / "aws"), "AWS_ACCESS_KEY_ID": "wrong"}), tmp_path


def nodes(crpc: Crpc, *words: str) -> list[str]:
    done = crpc("find", "-T", "lab", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_each_collective_has_its_region_and_profile(own: tuple[Crpc, Path]) -> None:
    """The endpoint and the profile of a collective are used instead of the environment; state is its own if needed."""
    crpc, folder = own
    assert nodes(crpc) == NODES
    assert crpc("config", "use", "lab").returncode == 0
    assert crpc("rpcutil", "ping").returncode == 0
    done = crpc("rpcutil", "ping", "-T", "second", "-o", "json")
    assert json.loads(done.stdout)["collective"] == "lab"
    assert (folder / "state" / "collectives" / "second" / "runs").is_dir()


def test_groups_are_evaluated_by_the_registry(own: tuple[Crpc, Path]) -> None:
    """Filters, names and programs of groups combine, and a call reaches these nodes only."""
    crpc, _ = own
    web = nodes(crpc, "-F", "role=web")
    assert nodes(crpc, "-I", "@web") == web
    assert nodes(crpc, "-I", f"@web!{web[0]}", "-I", "@cmdb") == sorted({*web[1:], "node05.lab"})
    done = crpc("rpcutil", "ping", "-T", "lab", "-I", "@first&@web", "-o", "json")
    assert sorted(reply["sender"] for reply in json.loads(done.stdout)["replies"]) == ["node01.lab"]


def test_aliases_and_files_are_commands(own: tuple[Crpc, Path], environment: dict[str, str]) -> None:
    """An alias runs with further options; a file's input is given on the command line, or typed on a terminal."""
    crpc, folder = own
    assert len(crpc("roles", "-T", "lab").stdout.splitlines()) == len(NODES) + 1
    done = crpc("role-of", "fact=role", "-T", "lab", "-o", "csv", "--sort")
    assert [line.split(",")[0] for line in done.stdout.splitlines()[1:]] == NODES[:3]
    assert crpc("role-of", "-T", "lab").returncode == 64
    shown = environment | {"COLLECTIVE_CONFIG": str(folder), "AWS_CONFIG_FILE": str(folder / "aws")}
    code, screen = on_a_terminal(shown, "role\n", "role-of", "-T", "lab", "--no-pager", "--display", "all")
    assert (code, "fact: " in screen, "Value: web" in screen) == (0, True, True), screen


def test_a_call_is_watched_on_a_terminal(environment: dict[str, str]) -> None:
    """On a terminal the result is shown in place, and lines that change are marked."""
    words = ["rpcutil", "ping", "-I", "node01.lab", "--watch", "1s", "--for", "2s"]
    code, screen = on_a_terminal(environment, "", *words)
    assert code == 0
    assert screen.count("\x1b[H\x1b[2J") == 2
    assert "+ " in screen.partition("\x1b[2J")[2]


def test_nodes_are_asked_until_they_match(crpc: Crpc, tmp_path: Path) -> None:
    """The nodes that do not match are asked again, and named when the time is over."""
    done = crpc(
        "rpcutil", "get_fact", "fact=role", "--until", "value=web", "--every", "1s", "--for", "3s", "-o", "json"
    )
    assert done.returncode == 2
    assert len(json.loads(done.stdout)["request_ids"]) > 1
    assert "did not match 'value=web': node[02-03,05].lab" in done.stderr


def test_examples_of_saved_runs(crpc: Crpc) -> None:
    """The examples of the help pages work after two calls."""
    for _ in range(2):
        assert crpc("rpcutil", "get_fact", "fact=role").returncode == 0
    for line in ("show", "show last node01.lab", "show -2 -o json", "runs", "diff -2 last", "retry"):
        assert crpc(*line.split()).returncode == 0, line
