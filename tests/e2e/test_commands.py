"""The commands that ask nodes, in every form of output, and the examples of their help pages."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.crpc_process import NODES, Crpc
from support.json_documents import check_document

from collective.clients.commands import make_parsers, rpc

READ_ONLY = (
    "report",
    "runs",
    "groups",
    "ping",
    "find",
    "facts",
    "inventory",
    "help",
    "describe",
    "rpcutil",
    "package",
    "nrpe",
    "explain-filter",
    "cost",
    "doctor",
)


def test_find_counts(crpc: Crpc) -> None:
    """`--count` prints only a number, for monitoring; 0 nodes is exit 1."""
    assert (crpc("find", "--count").stdout, crpc("find", "--count").returncode) == ("5\n", 0)
    none = crpc("find", "--count", "-F", "role=mail")
    assert (none.returncode, none.stdout, none.stderr) == (1, "0\n", "")


def test_find_reports_named_nodes_that_do_not_exist(crpc: Crpc) -> None:
    """A mistyped name beside others is reported: the nodes that exist are printed, and the exit code is 3."""
    done = crpc("find", "-I", "node01.lab", "-I", "node2.lab")
    assert (done.returncode, done.stdout) == (3, "node01.lab\n")
    assert done.stderr == "crpc: node2.lab: not in the registry (did you mean 'node02.lab'?)\n"
    found = json.loads(crpc("find", "-I", "node[01,09].lab", "--json").stdout)
    assert (check_document(found), list(found["absent"])) == ("find", ["node09.lab"])


def test_facts_shows_how_a_fact_is_distributed(crpc: Crpc) -> None:
    """The most frequent value comes first; -v adds the nodes; nested and missing facts are counted, too."""
    assert crpc("facts", "role").stdout == "Values of role:\n\n    db = 2\n   web = 2\n   app = 1\n"
    named = crpc("facts", "environment", "-v", "-F", "role=web").stdout
    assert named == (
        "Values of environment:\n\n   production = 1\n      node01.lab\n      staging = 1\n      node04.lab\n"
    )
    assert "= 5" in crpc("facts", "os.family").stdout
    assert crpc("facts", "no.such.fact").stdout == "Values of no.such.fact:\n\n   (none) = 5\n"
    assert crpc("facts", "rol").stderr == "crpc: no node has the fact 'rol' (did you mean 'role'?)\n"
    assert crpc("find", "-F", "rol=web").stderr == (
        "crpc: no node matches the filter (no node has the fact 'rol': did you mean 'role'?)\n"
    )


def test_inventory_shows_one_node(crpc: Crpc) -> None:
    """Facts, classes and agents are printed; for an unknown node an error line."""
    page = crpc("inventory", "node02.lab")
    assert page.returncode == 0
    assert page.stdout.startswith("node02.lab:\n\n")
    for line in ("   collective: lab\n", "   role::db\n", "   environment = staging\n", "   package 1.0.0: "):
        assert line in page.stdout
    unknown = crpc("inventory", "node99.lab")
    assert unknown.returncode == 3
    assert "crpc: node99.lab: there is no such node" in unknown.stderr
    assert "crpc: node99.lab: no response\n" in unknown.stderr


def test_json_documents_name_their_schema_and_are_valid(crpc: Crpc) -> None:
    """Each JSON document is valid by its shipped schema; documents with nodes can be the `--nodes` of the next call."""

    def document(*words: str) -> Any:
        done = crpc(*words, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert check_document(found) == words[0]
        return found

    assert document("find", "-F", "role=web")["nodes"] == ["node01.lab", "node04.lab"]
    for call in (document("ping"), document("facts", "role")):
        assert call["outcomes"]["ok"] == 5
        assert crpc("find", "--nodes", "-", "--count", stdin=json.dumps(call)).stdout == "5\n"
    assert {one["value"]: one["count"] for one in call["values"]} == {"web": 2, "db": 2, "app": 1}
    node = document("inventory", "node02.lab")
    assert (node["identity"], node["facts"]["role"]) == ("node02.lab", "db")
    assert ("package", "1.0.0") in [(agent["agent"], agent["version"]) for agent in node["agents"]]
    listed = document("nodes", "list")["nodes"]
    assert [node["identity"] for node in listed] == NODES
    assert crpc("find", "--nodes", "-", stdin=json.dumps(listed[:1])).stdout == "node01.lab\n"
    found = crpc("find", "-F", "role=web", "--json").stdout
    assert crpc("ping", "--nodes", "-", "--sort", "-q", stdin=found).stdout.count("time=") == 2


def test_a_request_without_results_is_printed_in_every_form(crpc: Crpc) -> None:
    """`--no-results` prints the request id as text; the document names the nodes as well."""
    assert re.fullmatch("[0-9a-f]{32}\n", crpc("rpcutil", "ping", "--no-results").stdout)
    document = json.loads(crpc("rpcutil", "ping", "--no-results", "-j").stdout)
    assert (check_document(document), document["nodes"]) == ("sent", NODES)


@pytest.mark.parametrize("line", ["ping", "find", "facts role", "inventory node01.lab", "rpcutil ping"])
@pytest.mark.parametrize("form", ["json", "jsonl", "yaml", "table", "csv"])
def test_every_command_has_every_form(crpc: Crpc, line: str, form: str) -> None:
    """`-o FORM` may stand before the command; what is printed can be parsed, and names the node."""
    done = crpc("-o", form, *line.split(), "-T", "lab")
    assert (done.returncode, done.stderr) == (0, "")
    parse: dict[str, Callable[[str], Any]] = {
        "json": json.loads,
        "jsonl": lambda text: [json.loads(row) for row in text.splitlines()],
        "yaml": yaml.safe_load,
        "table": str.splitlines,
        "csv": lambda text: list(csv.reader(io.StringIO(text))),
    }
    assert "node01.lab" in str(parse[form](done.stdout))


def test_a_random_selection_can_be_previewed(crpc: Crpc) -> None:
    """`find` takes the limits of a call: the same seed selects the same nodes."""
    limit = ("--limit", "2", "--limit-seed", "5")
    nodes = crpc("find", *limit).stdout.split()
    assert len(nodes) == 2
    document = json.loads(crpc("ping", *limit, "-j").stdout)
    assert sorted(reply["sender"] for reply in document["replies"]) == nodes


@pytest.mark.parametrize("command", ["ping", "find", "facts role", "rpcutil ping"])
def test_a_percentage_selects_at_least_one_node(crpc: Crpc, command: str) -> None:
    """`--limit 1%` of five nodes is one node, and the same for every command with the same seed."""
    done = crpc(*command.split(), "--limit", "1%", "--limit-seed", "3", "--sort", "-q", "-j")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    names = document["nodes"] if command == "find" else [reply["sender"] for reply in document["replies"]]
    assert names == crpc("find", "--limit", "1%", "--limit-seed", "3").stdout.split()
    assert len(names) == 1


def test_a_mistyped_node_gets_a_suggestion(crpc: Crpc) -> None:
    """The error for a mistyped node suggests the name in the registry that was probably meant."""
    for name in ("NODE01.LAB", "node01.lab."):
        done = crpc("rpcutil", "ping", "-I", name)
        assert done.returncode == 3
        assert done.stderr == (
            f"crpc: {name}: there is no such node: it has no queue in 'lab' (did you mean 'node01.lab'?)\n"
        )


EXAMPLES = sorted(
    {line for parser in (rpc.make_parser(), *make_parsers()) for line in parser.examples if "results.json" not in line}
)


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_of_help_pages_run(crpc: Crpc, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example of a command that changes nothing runs in a lab."""
    words = shlex.split(line)[1:]
    if words[0] not in READ_ONLY:
        pytest.skip("changes something")
    monkeypatch.chdir(tmp_path)  # --save-plan writes a new file
    assert crpc(*words).returncode == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "every node\n"),
        (("-F", "role=web"), "fact role is 'web'"),
        (("-I", "node[01-03].lab"), "node[01-03].lab"),
        (("-S", "not apache or (role=db and az=~^eu)"), "class apache"),
    ],
)
def test_filters_are_explained_in_english(crpc: Crpc, words: tuple[str, ...], text: str) -> None:
    """`crpc explain-filter` describes a filter in English and sends no request."""
    done = crpc("explain-filter", *words, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert done.returncode == 0
    assert text in done.stdout
