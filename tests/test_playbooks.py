"""Playbooks: what is refused before anything is sent, and what a run does with secrets, failures and changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.crpc_call import Captured, called, json_document
from support.scripted_fleet import CATALOG

from collective import schemas
from collective.clients import request_parser
from collective.clients.commands.playbook import make_parser
from collective.clients.playbooks import expressions, reading, source
from collective.clients.playbooks.call_checks import check_calls
from collective.clients.playbooks.name_checks import check_names
from collective.errors import ConfigError, UsageError

PLAYBOOK = """title: Test
inputs:
  required: [service]
  properties:
    service: {type: string, maxLength: 20}
    count: {type: integer, default: 1}
steps:
  - id: find
    call:
      agent: service
      action: status
      inputs: {service: "{{ inputs.service }}"}
      targets: {with_fact: [role=web]}
      pace: {waves: [1, rest], max_fail: 1, per: [az=1], before: rpcutil ping}
  - for_each:
      in: "{{ steps.find.ok }}"
      as: node
      steps:
        - id: echo
          local: {command: [echo, "{{ node }}"]}
        - assert: steps.echo.stdout | trim == node
  - set: {names: "{{ steps.find.ok | fold }}"}
  - wait:
      call: {agent: rpcutil, action: ping, targets: {nodes: "{{ steps.find.ok }}"}}
      until: statuscode=0
  - assert: vars.names != ""
"""

REFUSED = [
    ("  - id: find", "  - idd: find", ":8: unknown key 'idd' (did you mean 'id'?)"),
    ("title: Test", "title: Test\ntimeout: -5", ":2: timeout: invalid duration '-5'"),
    ("targets:", "tragets:", ":13: unknown key 'tragets' (did you mean 'targets'?)"),
    ("title: Test", "title: Test\ntitle: Again", ":2:1: duplicate key 'title'"),
    ("    call:\n      agent: service", "    call:\n      agnt: service", ":10: unknown key 'agnt'"),
    ("  - set:", "  - ask: {question: x}\n    set:", ":22: a step has set and ask (use exactly one of"),
    ("  - set: {", "  - name: nothing\n  - set: {", ":22: a step has no kind (use exactly one of"),
    ("inputs.service }}", "inputs.servce }}", ":12: undefined variable 'inputs.servce' in"),
    ('"{{ steps.find.ok }}"\n      as', '"{{ steps.fnd.ok }}"\n      as', ":16: undefined variable 'steps.fnd' in"),
    ("{{ node }}", "{{ nod }}", ":20: undefined variable 'nod' in '{{ nod }}' (did you mean 'node'?)"),
    ("vars.names !", "vars.name !", ":26: undefined variable 'vars.name'"),
    ("vars.names !", "steps.echo.exit !", ":26: undefined variable 'steps.echo'"),
    ('vars.names != ""', '"{{ vars.names }}"', ":26: '{{ vars.names }}': a condition is an expression already"),
    ("vars.names !", "vars.names !!", ":26: "),
    ("| fold", "| flod", ":22: "),
    ("as: node", "as: vars", ":17: as: 'vars' has a meaning in expressions"),
    ("id: echo", "id: find", ":19: the id 'find' is already used in line 8"),
    ("agent: service", "agent: servic", ":10: unknown agent 'servic' (did you mean 'service'?)"),
    ("action: status", "action: statu", ":11: service: unknown action 'statu'"),
    ("agent: service", 'agent: "{{ inputs.service }}"', ":10: agent: expressions are not allowed here"),
    ("inputs: {service:", "inputs: {servce:", ":12: service status: unknown input 'servce'"),
    ('"{{ inputs.service }}"', "5", ":12: service status: input 'service': 5 is not of type 'string'"),
    ("[1, rest]", "[1, many]", ":14: --waves 'many': must be a number of nodes"),
    ("max_fail: 1", "max_fail: [1]", ":14: max_fail: [1] is not of type"),
    ("rpcutil ping}", "rpcutil pin}", ":9: --before: rpcutil: unknown action 'pin'"),
    ("role=web]", "role]", ":9: -F 'role': column 5: missing operator"),
    ("until: statuscode=0", "until: staus=0", ":25: until: unknown field 'staus'"),
    ("rpcutil, action: ping", "shell, action: run, inputs: {command: x}", ":23: wait: shell run is not idempotent"),
    ("  - set:", "  - include: {file: b.yaml}\n  - set:", ":22: include: a loop: b.yaml → b.yaml"),
    ("  - set:", "  - include: {file: c.yaml}\n  - set:", ":22: include: there is no file "),
    ("  - set:", "  - retry: {times: 2}\n    set:", ":22: retry: not allowed for set"),
    ("  - set:", "  - on_failure: run\n    set:", ":22: on_failure: run has no effect without steps to run"),
    ("maxLength: 20", "maxLength: x", ":2: inputs.properties.service.maxLength: 'x' is not of type 'integer'"),
    ("[service]", "[servce]", ":2: inputs.required: 'servce' is not in properties"),
    ("title: Test", "titel: Test", ":1: unknown key 'titel'"),
    ("title: Test", "# \u2028title: Test", ":1: control character U+2028"),
]


def read(folder: Path, text: str, name: str = "b.yaml") -> Any:
    """Read and check a playbook as before a run."""
    path = folder / name
    path.write_text(text)
    found = reading.read_playbook(path)
    check_names(found)
    check_calls(found, make_parser().parse_args(["run", "x"]), CATALOG)
    return found


def test_a_valid_playbook_is_read(tmp_path: Path) -> None:
    """The steps have their numbers, and names that are made of what they do."""
    found = read(tmp_path, PLAYBOOK)
    assert [(step.number, step.name) for _, step in found.every_step()][:3] == [
        ("1", "service status"),
        ("2", "for each node"),
        ("2.1", "echo {{ node }}"),
    ]


@pytest.mark.parametrize(("before", "after", "expected"), REFUSED, ids=[case[2][:40] for case in REFUSED])
def test_what_is_wrong_is_refused_with_its_line(tmp_path: Path, before: str, after: str, expected: str) -> None:
    """The error names file and line, so that nothing is sent before the file is right."""
    assert before in PLAYBOOK
    with pytest.raises(ConfigError) as error:
        read(tmp_path, PLAYBOOK.replace(before, after, 1))
    assert str(error.value).startswith(f"{tmp_path / 'b.yaml'}{expected}")


def bomb() -> str:
    """Return the lines of a mapping whose aliases repeat each other, ten values each."""
    lines = [f"      a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 8)]
    return "      a0: &a0 x\n" + "".join(lines)


def test_limits_are_kept(tmp_path: Path) -> None:
    """A playbook with too many steps, levels, branches, includes or bytes is refused with its line."""
    leaf = {"set": {"a": 1}}
    deep: dict[str, Any] = leaf
    for _ in range(reading.MAX_NESTING):
        deep = {"steps": [deep]}
    cases = {
        f"more than {reading.MOST_STEPS} steps": [leaf] * (reading.MOST_STEPS + 1),
        f"nested more than {reading.MAX_NESTING} levels": [deep],
        f"parallel: more than {reading.MOST_BRANCHES} steps": [{"parallel": [leaf] * (reading.MOST_BRANCHES + 1)}],
    }
    for expected, steps in cases.items():
        with pytest.raises(ConfigError, match=expected):
            read(tmp_path, yaml.safe_dump({"title": "T", "steps": steps}, default_flow_style=True))
    for number in range(reading.MAX_INCLUDES + 1):
        text = f"title: T\nsteps:\n  - include: {{file: p{number + 1}.yaml}}\n"
        (tmp_path / f"p{number}.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"more than {reading.MAX_INCLUDES} playbooks include each other"):
        reading.read_playbook(tmp_path / "p0.yaml")
    for text, expected in {
        "title: T\nsteps: &s\n  - steps: *s\n": "does an alias contain itself",
        "title: T\nsteps:\n  - set:\n" + bomb(): "more than 200000 values with what aliases repeat",
    }.items():
        with pytest.raises(ConfigError, match=expected):
            read(tmp_path, text)
    with pytest.raises(ConfigError, match="the limit is"):
        read(tmp_path, f"# {'x' * source.MOST_BYTES}\n{PLAYBOOK}")


def test_a_file_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    """A playbook can run commands here, so it must not be writable by all users."""
    path = tmp_path / "b.yaml"
    path.write_text(PLAYBOOK)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"not used: .*writable by all users"):
        reading.read_playbook(path)


def test_the_options_of_a_call_are_those_of_the_command_line() -> None:
    """Each option of a rollout, of gates and of targets is a key with the same name; those of a terminal are not."""
    here = {"live", "yes", "detach"}
    elsewhere = {"nodes_from", "target"}
    groups = {group.title: group for group in request_parser.make_parser()._action_groups}  # noqa: SLF001

    def names(*titles: str) -> set[str]:
        found = [one for title in titles for one in groups[title]._group_actions]  # noqa: SLF001
        return {one.option_strings[-1].lstrip("-").replace("-", "_") for one in found} - {"one"}

    keys = schemas.load("playbook")["$defs"]
    assert set(keys["pace"]["properties"]) == names("rollout options", "gate options") - here
    assert set(keys["targets"]["properties"]) == names("target options") - elsewhere
    assert names("job options") - {"cancel_on_interrupt"} <= set(keys["call"]["properties"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ inputs.list }}", [1, 2]),
        ("{{ inputs.list | map('string') | list }}", ["1", "2"]),
        ("{{ inputs.list | map('string') }}", ["1", "2"]),
        ("a {{ inputs.list }} {{ inputs.yes }}", "a [1, 2] true"),
        ("{{ inputs.items }}", "x"),
        ("no braces", "no braces"),
    ],
)
def test_a_string_that_is_one_expression_keeps_its_type(tmp_path: Path, text: str, expected: Any) -> None:
    """Lists stay lists; within other text, values are written as JSON."""
    place = source.SourcePlace(source.SourceFile(tmp_path, ""))
    values = {"inputs": {"list": [1, 2], "yes": True, "items": "x"}}
    assert expressions.resolved(expressions.value(text, place), values) == expected


@pytest.mark.parametrize("text", ["{{ ''.__class__ }}", "{{ inputs.a }}", "{{ 1 / 0 }}", "{{ 'x' * 2000000 }}y"])
def test_an_expression_reaches_nothing_else(tmp_path: Path, text: str) -> None:
    """Python, undefined members, wrong arithmetic and endless text are errors that name the line."""
    place = source.SourcePlace(source.SourceFile(tmp_path / "p.yaml", ""))
    with pytest.raises(UsageError, match=r"p\.yaml:1: "):
        expressions.resolved(expressions.value(text, place), {"inputs": {}})


# -- the command


def test_check_and_list_need_no_fleet(tmp_path: Path, capsys: Captured) -> None:
    """The shipped playbooks are valid and listed, and a wrong file is exit code 78."""
    listed = json_document(["playbook", "list"], capsys)["playbooks"]
    assert [one["name"] for one in listed] == ["kernel-update", "rolling-restart", "rotate-key"]
    for one in listed:
        assert json_document(["playbook", "check", one["name"]], capsys)["steps"] > 2
    path = tmp_path / "b.yaml"
    path.write_text(PLAYBOOK.replace("vars.names", "vars.name"))
    assert called(["playbook", "check", str(path)], capsys)[0] == 78
    assert called(["playbook", "check", "absent"], capsys)[0] == 64
    assert called(["playbook", "show", "rotate-key"], capsys)[1].startswith("# yaml-language-server")
