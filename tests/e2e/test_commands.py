"""The smaller commands: counting, facts, one node's inventory, and filters in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.crpc_process import NODES, Crpc

from collective import schemas


def test_find_counts(crpc: Crpc) -> None:
    """The bare number, for monitoring; 0 is said, and is exit 1."""
    assert (crpc("find", "--count").stdout, crpc("find", "--count").returncode) == ("5\n", 0)
    nobody = crpc("find", "--count", "-F", "role=mail")
    assert (nobody.returncode, nobody.stdout, nobody.stderr) == (1, "0\n", "")


def test_facts_shows_how_a_fact_is_distributed(crpc: Crpc) -> None:
    """Most frequent first; with -v the nodes are named, folded; nested facts and missing ones too."""
    assert crpc("facts", "role").stdout == "Values of role:\n\n    db = 2\n   web = 2\n   app = 1\n"
    named = crpc("facts", "environment", "-v", "-F", "role=web").stdout
    assert named == (
        "Values of environment:\n\n   production = 1\n      node01.lab\n      staging = 1\n      node04.lab\n"
    )
    assert "= 5" in crpc("facts", "os.family").stdout
    assert crpc("facts", "no.such.fact").stdout == "Values of no.such.fact:\n\n   (none) = 5\n"


def test_inventory_shows_one_node(crpc: Crpc) -> None:
    """Facts, classes and agents; an unknown node is named."""
    page = crpc("inventory", "node02.lab")
    assert page.returncode == 0
    assert page.stdout.startswith("node02.lab:\n\n")
    for line in ("   collective: lab\n", "   role::db\n", "   environment = staging\n", "   package 1.0.0: "):
        assert line in page.stdout
    unknown = crpc("inventory", "node99.lab")
    assert unknown.returncode == 3
    assert "crpc: node99.lab: there is no such node" in unknown.stderr
    assert "crpc: node99.lab: no response\n" in unknown.stderr


def test_every_one_of_them_speaks_json(crpc: Crpc) -> None:
    """Calls write the document of a call, the others a list or an object; each can be fed to `--nodes`."""

    def told(*words: str) -> Any:
        done = crpc(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert told("find", "-F", "role=web") == ["node01.lab", "node04.lab"]
    for document in (told("ping"), told("facts", "role")):
        Draft202012Validator(schemas.load("results")).validate(document)
        assert document["outcomes"]["ok"] == 5
    node = told("inventory", "node02.lab")
    assert (node["identity"], node["facts"]["role"]) == ("node02.lab", "db")
    assert ("package", "1.0.0") in [(agent["agent"], agent["version"]) for agent in node["agents"]]
    listed = told("nodes", "list")
    assert [node["identity"] for node in listed["nodes"]] == NODES
    assert crpc("find", "--nodes", "-", stdin=json.dumps(listed["nodes"][:1])).stdout == "node01.lab\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "every node\n"),
        (("-F", "role=web"), "fact role is 'web'"),
        (("-I", "node[01-03].lab"), "node[01-03].lab"),
        (("-S", "not apache or (role=db and az=~^eu)"), "class apache"),
    ],
)
def test_filters_are_said_in_words(crpc: Crpc, words: tuple[str, ...], said: str) -> None:
    """Without asking anybody."""
    done = crpc("explain-filter", *words, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.returncode == 0
    assert said in done.stdout
