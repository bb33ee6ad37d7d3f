"""Groups of client.yaml: `-I @web-prod!web07`, with filters, names, and programs that print names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.crpc_call import Captured, called, json_document
from support.scripted_fleet import Part, Scripted
from support.waiting import wait_until

from collective.clients import group_programs
from collective.clients.commands import find
from collective.clients.node_groups import names, read
from collective.clients.options import targets
from collective.config import ClientConfig, load_client
from collective.errors import CollectiveError, ConfigError, NoNodes
from collective.filters import parse
from collective.fleet.discovery import Discovery
from collective.fleet.fleet import Fleet
from collective.fleet.target_selection import combined
from collective.fleet.targets import Targets
from collective.processes import runs
from collective.registry import NodeRecord

ROLES = {"web1": "web", "web2": "web", "db1": "db", "db2": "db"}
GROUPS = """
  web: {filter: role=web}
  db: {filter: role=db}
  first: {nodes: "web1,db[1-2]"}
  mixed: {nodes: ["@web!web2", "@db&db1"]}
  cmdb: {command: [./cmdb]}
  disc: {choria: [./cmdb, --all]}
  loop: {nodes: "@ring"}
  ring: {nodes: "web1,@loop"}
  wrong: {filter: "role="}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClientConfig:
    """A configuration with groups that crpc finds."""
    (tmp_path / "client.yaml").write_text(f"collective: scripted\nstate: state\ngroups:{GROUPS}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return load_client()


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Four nodes with roles in the registry; db2 is stale."""
    network = Scripted(dict.fromkeys(ROLES, Part()))
    fleet = network.fleet(tmp_path / "state")
    for name, role in ROLES.items():
        record = NodeRecord(name, "1", facts={"role": role}, agents={"rpcutil": "1"})
        network.registry.put(record)
    stale = next(one for one in network.registry.read().records if one.identity == "db2")
    network.registry.put(replace(stale, period=300.0))
    return fleet


def program(config: ClientConfig, tmp_path: Path, script: str) -> None:
    path = tmp_path / "cmdb"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("texts", "nodes"),
    [
        (["@web"], "web1 web2"),
        (["@web!web1"], "web2"),
        (["@web,@db!db2"], "db1 web1 web2"),
        (["@first&@db"], "db1 db2"),
        (["@mixed"], "db1 web1"),
        (["web1", "@db"], "db1 db2 web1"),
        (["/2$/", "@first!db[1-2]"], "db2 web1 web2"),
    ],
)
def test_sets_select_nodes(config: ClientConfig, fleet: Fleet, texts: list[str], nodes: str) -> None:
    """Groups and operators are evaluated from left to right, and several values of -I are added."""
    assert fleet.find(Targets(sets=read(texts, config))).nodes == tuple(nodes.split())


@pytest.mark.parametrize(
    ("lines", "options", "nodes"),
    [
        ("@web", [], "web1 web2"),
        ("# the front\n@web!web1\ndb1", [], "db1 web2"),
        ("web[1-2]", [], "web1 web2"),
        ("@web,@db!db2&@first", [], "db1 web1"),
        ("@web", ["-I", "@first"], "web1"),
        ("@web", ["-I", "web2"], "web2"),
        ("@cmdb!web9", [], "web1"),
    ],
)
def test_lines_of_a_file_are_sets(
    config: ClientConfig, fleet: Fleet, tmp_path: Path, lines: str, options: list[str], nodes: str
) -> None:
    """Groups, ranges and operators in the file of --nodes are added, line by line; -I is a further condition."""
    program(config, tmp_path, """echo '["web1", "web9"]'""")
    (tmp_path / "list").write_text(f"{lines}\n")
    args = find.make_parser().parse_args(["--nodes", str(tmp_path / "list"), *options])
    assert fleet.find(targets(args)).nodes == tuple(nodes.split())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("@wbe", "--nodes '@wbe': column 1: unknown group '@wbe' (did you mean '@web'?)"),
        ("@web!", "--nodes '@web!': column 6: missing name or @group"),
    ],
)
def test_a_wrong_line_of_a_file_is_refused(
    config: ClientConfig, capsys: Captured, tmp_path: Path, line: str, problem: str
) -> None:
    """The error has the line and the column."""
    (tmp_path / "list").write_text(f"web1\n{line}\n")
    assert called(["find", "--nodes", str(tmp_path / "list")], capsys) == (64, "", f"crpc: {problem}\n")


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["@first"], "web1 db1 db2"),
        (["@first!db2", "new1"], "web1 db1 new1"),
        (["@first&db[2-3]"], "db2"),
        (["web[1-2],@first"], "web1 web2 db1 db2"),
        (["@cmdb"], "web1 web9"),
    ],
)
def test_nodes_that_do_not_exist_yet(config: ClientConfig, tmp_path: Path, texts: list[str], found: str) -> None:
    """`crpc setup --node` takes ranges, operators, and groups with names or a program."""
    program(config, tmp_path, """echo '["web1", "web9"]'""")
    assert names(texts, config, "--node") == found.split()


def test_a_filter_finds_no_nodes_that_do_not_exist(config: ClientConfig, capsys: Captured) -> None:
    """The error says what to use instead, before AWS is asked."""
    assert called(["setup", "--node", "web1,@web", "--dry-run"], capsys) == (
        64,
        "",
        "crpc: --node 'web1,@web': a group with a filter has no names (use a group with nodes or a command)\n",
    )


def test_sets_and_other_filters_must_both_match(config: ClientConfig, fleet: Fleet) -> None:
    """Nodes must be in the set, match the other options, and be among the names of --nodes."""
    sets = read(["@first"], config)
    assert fleet.find(replace(Targets.select(facts=["role=db"]), sets=sets)).nodes == ("db1", "db2")
    assert fleet.find(Targets(sets=sets, nodes=["db1", "web2"])).nodes == ("db1",)
    assert len(fleet.find(Targets(sets=sets, limit=2, limit_seed=1)).nodes) == 2
    with pytest.raises(NoNodes, match="no node is in the set"):
        fleet.find(Targets(sets=read(["@web&@db"], config)))


def test_a_set_is_not_the_whole_collective(config: ClientConfig) -> None:
    """A call to a set needs no confirmation as one without any filter does."""
    assert not Targets(sets=read(["@web"], config)).unrestricted


def test_missing_nodes_stay_in_the_account() -> None:
    """A node that either side may be missing is reported, and one that may be excluded is not asked."""
    left = Discovery(("a", "b"), not_asked={"c": "stale"})
    right = Discovery(("b",), silent=("a",))
    union, both, difference = (combined(operator, left, right) for operator in ",&!")
    assert (union.nodes, dict(union.not_asked), union.silent) == (("a", "b"), {"c": "stale"}, ())
    assert (both.nodes, both.silent) == (("b",), ("a",))
    assert (difference.nodes, difference.silent, dict(difference.not_asked)) == ((), ("a",), {"c": "stale"})


def test_a_program_prints_the_nodes_of_a_group(config: ClientConfig, fleet: Fleet, tmp_path: Path) -> None:
    """The program gets the group and the collective as JSON, and its names are used like others."""
    program(config, tmp_path, f'cat > {tmp_path}/request; echo \'{{"nodes": ["web1", "web2"]}}\'')
    assert fleet.find(Targets(sets=read(["@cmdb!web2"], config))).nodes == ("web1",)
    assert json.loads((tmp_path / "request").read_text()) == {"group": "cmdb", "collective": "scripted"}


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo no database >&2; exit 3", "exit code 3: no database"),
        ("echo web1", "printed no valid JSON"),
        ("echo '{}'", "must print a list of names"),
        ("echo '[\"a b\"]'", "invalid identity 'a b'"),
    ],
)
def test_a_program_that_fails_ends_the_call(config: ClientConfig, tmp_path: Path, script: str, problem: str) -> None:
    """No request is sent when the nodes of a group are not known; the message names the group and the program."""
    program(config, tmp_path, script)
    with pytest.raises(ConfigError) as error:
        read(["@cmdb"], config)
    assert f"groups.cmdb.command: {tmp_path}/cmdb: {problem}" in str(error.value)


def test_a_program_that_takes_too_long_is_killed_with_what_it_started(
    config: ClientConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call does not wait for a program beyond its time limit, nor for a process that holds its output open."""
    monkeypatch.setattr(group_programs, "PROGRAM_SECONDS", 0.2)
    program(config, tmp_path, f"sleep 300 & echo $! > {tmp_path}/child; sleep 300")
    with pytest.raises(ConfigError, match="no result within 0 s"):
        read(["@cmdb"], config)
    wait_until(lambda: not runs(int((tmp_path / "child").read_text())), 5)


def test_a_discovery_program_of_choria_names_the_nodes_of_a_group(
    config: ClientConfig, fleet: Fleet, tmp_path: Path
) -> None:
    """The program gets files and variables as from Choria, and other filters apply to the nodes that it names."""
    request, arguments = tmp_path / "request", tmp_path / "arguments"
    reply = '{"protocol": "io.choria.choria.discovery.v1.external_reply", "nodes": ["web1", "web2", "db1"]}'
    program(
        config,
        tmp_path,
        f'echo "$1 $4 $CHORIA_EXTERNAL_PROTOCOL" > {arguments}; cat "$2" > {request}; echo noise\n'
        f'[ "$2 $3" = "$CHORIA_EXTERNAL_REQUEST $CHORIA_EXTERNAL_REPLY" ] && echo \'{reply}\' > "$3"',
    )
    chosen = Targets(parse(with_fact=["role=web"]), sets=read(["@disc!web2"], config))
    assert fleet.find(chosen).nodes == ("web1",)
    protocol = "io.choria.choria.discovery.v1.external_request"
    assert arguments.read_text().split() == ["--all", protocol, protocol]
    asked = json.loads(request.read_text())
    assert (asked["protocol"], asked["collective"], asked["timeout"]) == (protocol, "scripted", 30)
    assert asked["filter"] == {"fact": [], "cf_class": [], "agent": [], "compound": [], "identity": []}


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ('echo \'{"error": "no PuppetDB"}\' > "$3"', "no PuppetDB"),
        ("exit 0", "wrote no reply (write JSON to the file named by CHORIA_EXTERNAL_REPLY)"),
        ('rm "$3"', "its reply cannot be read: No such file or directory"),
        ('echo "{}" > "$3"', "must print a list of names, or an object with 'nodes'"),
        ('echo \'{"nodes": ["a b"]}\' > "$3"', "invalid identity 'a b'"),
        ("echo no database >&2; exit 3", "exit code 3: no database"),
    ],
)
def test_a_discovery_program_of_choria_that_fails_ends_the_call(
    config: ClientConfig, tmp_path: Path, script: str, problem: str
) -> None:
    """An error, no reply and a wrong reply are never an empty group."""
    program(config, tmp_path, script)
    with pytest.raises(ConfigError) as error:
        read(["@disc"], config)
    assert f"groups.disc.choria: {tmp_path}/cmdb: {problem}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    {
        "@wbe": "-I '@wbe': column 1: unknown group '@wbe' (did you mean '@web'?)",
        "@web!": "-I '@web!': column 6: missing name or @group",
        "!web1": "-I '!web1': column 1: missing name or @group",
        "@web!we b": "invalid character ' '",
        "@web![1": "column 6: missing name or @group",
        "@loop": "group '@loop' contains itself",
        "@wrong": "groups.wrong.filter: ",
    }.items(),
)
def test_a_wrong_expression_is_refused(config: ClientConfig, capsys: Captured, text: str, problem: str) -> None:
    """An expression that cannot be read names the column or the group, before anything is sent."""
    code, _, err = called(["find", "-I", text], capsys)
    assert (code, problem in err) == (64, True), err


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        ("[web]", "groups: must be a mapping, not a list"),
        ("{web: role=web}", "groups.web: must have exactly one of filter, nodes, command"),
        ("{web: {filter: a, nodes: b}}", "groups.web: must have exactly one of"),
        ("{web: {nodes: [1]}}", "groups.web.nodes: must be names, or a list of names, not [1]"),
        ("{web: {filter: [a]}}", "groups.web.filter: must be an expression as in -S, not ['a']"),
        ("{'a b': {nodes: c}}", "groups.a b: invalid name"),
    ],
)
def test_a_wrong_group_is_refused_at_load(tmp_path: Path, groups: str, problem: str) -> None:
    """An error in a group names the file and the group."""
    path = tmp_path / "client.yaml"
    path.write_text(f"{{collective: p, groups: {groups}}}")
    with pytest.raises(CollectiveError) as error:
        load_client(path)
    assert f"{path}: {problem}" in str(error.value)


def test_a_set_is_explained(config: ClientConfig, capsys: Captured) -> None:
    """The explanation of a filter has the set."""
    assert "only nodes in @web!web1" in called(["explain-filter", "-I", "@web!web1"], capsys)[1]


def test_groups_are_listed(config: ClientConfig, capsys: Captured) -> None:
    """The list has each group with its definition."""
    found = {entry["name"]: entry for entry in json_document(["groups"], capsys)["groups"]}
    assert found["web"] == {"name": "web", "kind": "filter", "definition": "role=web"}
    assert found["mixed"]["definition"] == "@web!web2,@db&db1"
    assert "@first  nodes: web1,db[1-2]\n" in called(["groups"], capsys)[1]
