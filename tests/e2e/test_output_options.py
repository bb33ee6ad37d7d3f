"""Every command has every form of output, and the options that select, count and query it act on every command."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from support.crpc_call import Captured, called
from support.json_documents import check_document

from collective.clients import apps
from collective.clients.commands import COMMANDS, make_parsers
from collective.clients.nagios import CHECKS
from collective.lab.layout import Layout

# A line of each command; {} is the folder of the test, {node} that of a node.
LINES: dict[str, str] = {
    "ping": "ping",
    "find": "find",
    "ssh": "ssh node01.lab --print",
    "facts": "facts role",
    "inventory": "inventory node01.lab",
    "report": "report hardware",
    "report list": "report list",
    "report show": "report show hardware",
    "apply": "apply {}/plan.json --yes",
    "jobs list": "jobs list",
    "jobs status": "jobs status last",
    "jobs result": "jobs result last",
    "jobs wait": "jobs wait last",
    "jobs cancel": "jobs cancel 00000000000000000000000000000000",
    "revoke": "revoke 00000000000000000000000000000000 -F role=web",
    "thaw": "thaw -F role=web",
    "runs": "runs",
    "show": "show last",
    "diff": "diff last last",
    "help": "help",
    "describe": "describe package",
    "completion": "completion bash",
    "schema": "schema",
    "groups": "groups",
    "explain-filter": "explain-filter -F role=web",
    "setup": "setup --dry-run",
    "config show": "config show",
    "config list": "config list",
    "doctor": "doctor",
    "nodes list": "nodes list",
    "nodes prune": "nodes prune --older-than 1d --dry-run",
    "keys": "keys",
    "policy check": "policy check {node}/policy.yaml",
    "policy test": "policy test {node}/policy.yaml --caller operator@lab rpcutil ping",
    "policy replay": "policy replay {node}/policy.yaml --audit {node}/audit.jsonl",
    "audit show": "audit show {node}/audit.jsonl",
    "audit verify": "audit verify {node}/audit.jsonl",
    "cost": "cost --nodes 5 --calls-per-day 10",
    "check": "check {node}/..",
    "ddl list": "ddl list",
    "plugin": "plugin list",
    "run-local": "run-local rpcutil ping",
    "lab status": "lab status",
    "lab env": "lab env",
    "lab node": "lab node node01.lab log",
    "playbook list": "playbook list",
    "playbook check": "playbook check rolling-restart",
    "playbook show": "playbook show rolling-restart",
    "a plan": "rpcutil ping --plan",
    "run list": "run list",
    "warm status": "warm status",
    "watch": "watch --once",
    "request": "rpcutil get_fact fact=role",
    "file get": "file get {node}/nrpe.cfg {}/copies",
}
NOT_RUN = {
    "approve": "needs the plan of another caller",
    "retry": "prints the results of a request",
    "freeze": "changes nodes, and prints what thaw prints",
    "config use": "changes the default collective",
    "nodes trust": "changes the keys of the lab",
    "nodes revoke": "changes the keys of the lab",
    "keys trust": "changes the keys of the lab",
    "new agent": "writes files, and a second time it refuses to",
    "ddl import": "writes a file, and a second time it refuses to",
    "playbook run": "changes nodes: test_playbooks.py",
    "run show": "needs a rollout: test_steering.py",
    "run log": "needs a rollout: test_steering.py",
    "run pause": "needs a rollout: test_steering.py",
    "run resume": "needs a rollout: test_steering.py",
    "run stop": "needs a rollout: test_steering.py",
    "run take": "needs a rollout: test_steering.py",
    "warm start": "starts a process: test_warm.py",
    "warm stop": "ends a process: test_warm.py",
    "cluster join": "runs a program: test_cluster.py",
    "cluster leave": "runs on a node, with its configuration: test_cluster.py",
    "cluster show": "needs a cluster: test_cluster_command.py",
    "template render": "writes a file: test_template_command.py",
    "template import": "writes files: test_template_import.py",
    "motd": "needs the files of a node: test_login.py",
    "prompt": "needs the files of a node: test_login.py",
    "facts local": "needs the files of a node: test_login.py",
    "inventory export": "has the forms of other programs: test_exports.py",
    **dict.fromkeys([f"check {name}" for name in CHECKS], "is a Nagios plugin: test_fleet_checks.py"),
    "lab run": "starts a lab",
    "lab start": "starts a lab",
    "lab stop": "stops the lab",
    "file put": "changes files, and prints what `file get` prints",
    "nrpe check": "is a Nagios plugin: what is wrong is the state UNKNOWN, exit code 3",
    "puppet runall": "needs Puppet",
    "shell run": "prints the results of a request",
    "shell output": "prints what a program wrote, for programs too",
}


class Line:
    """One command line, run with further options."""

    def __init__(self, line: str, capsys: Captured) -> None:
        self._words = line.split()
        self._capsys = capsys

    def __call__(self, *options: str) -> tuple[int, str, str]:
        """Return the exit code and both outputs."""
        return called([*self._words, *options], self._capsys)


@pytest.fixture
def line(
    request: pytest.FixtureRequest,
    environment: dict[str, str],
    lab: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> Line:
    """A command line in the lab, after a call that has been saved."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command: str = request.param
    assert called(["rpcutil", "ping"], capsys)[0] == 0
    if command == "apply":
        plan = ["rpcutil", "ping", "--save-plan", str(tmp_path / "plan.json")]
        assert called(plan, capsys)[0] == 0
    return Line(LINES[command].replace("{node}", str(lab.node("node01.lab"))).format(tmp_path), capsys)


def test_every_command_and_verb_has_a_line() -> None:
    """A new command appears here, so that its forms are tested."""
    known = set(LINES) | set(NOT_RUN)
    parsers = {parser.prog.removeprefix("crpc "): parser for parser in make_parsers()}
    verbs = {f"{name} {verb}" for name, parser in parsers.items() for verb in parser.verbs}
    verbs |= {f"{agent} {verb}" for agent in apps.agents() for verb in apps.verbs(agent)}
    commands = {name for name in COMMANDS if not any(verb.startswith(f"{name} ") for verb in verbs)}
    assert (commands | verbs) - known == set()


@pytest.mark.parametrize("line", LINES, indirect=True)
def test_the_options_for_output_act_or_are_refused(line: Line, tmp_path: Path) -> None:
    """The document has its schema, a file the form of its suffix, each event is a line, and rows are counted."""
    table = tmp_path / "table.csv"
    code, out, _ = line("-o", "json", "--output-file", str(table))
    check_document(json.loads(out))
    assert list(csv.reader(io.StringIO(table.read_text())))
    found, out, _ = line("-o", "jsonl")
    assert (found, {type(json.loads(event)) for event in out.splitlines()} <= {dict}) == (code, True)
    found, out, _ = line("--count")
    assert (found, out.strip().isdigit()) == (code, True)


@pytest.mark.parametrize("line", LINES, indirect=True)
@pytest.mark.parametrize("option", ["--fields=nonsense", "--sort=nonsense", "--where=nonsense=1"])
def test_an_unknown_field_is_refused(line: Line, option: str) -> None:
    """One line names the option and the field, and nothing is printed but the error."""
    found, out, err = line(option)
    assert (found, out) == (64, "")
    assert err.splitlines()[-1].startswith(f"crpc: {option.partition('=')[0]}: unknown field 'nonsense' (")
