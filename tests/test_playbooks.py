"""Playbooks: what is refused before anything is sent, and what a run does with secrets, failures and changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.crpc_call import Captured, called, json_document
from support.scripted_fleet import CATALOG, Part, Scripted

from collective import schemas
from collective.clients import request_parser
from collective.clients.commands.playbook import make_parser
from collective.clients.playbooks import engine, expressions, loading, reading, source
from collective.clients.playbooks.call_checks import check_calls
from collective.clients.playbooks.name_checks import check_names
from collective.clients.playbooks.running import PlaybookCommand
from collective.clients.repeated_call import RoundClock
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


# -- runs


class PlaybookRunner:
    """Runs playbooks on a scripted fleet, as `crpc playbook run` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Scripted({"a": Part(after=0.1), "b": Part(after=0.1)})
        self.waits: list[float] = []

    def run(self, text: str, *words: str) -> int:
        """Run a playbook with inputs and options; return the exit code."""
        path = self.folder / "p.yaml"
        path.write_text(text)
        args = make_parser().parse_args(["run", str(path), *words])
        with self.network.fleet(self.folder) as fleet:
            playbook = loading.load(path, args, None, CATALOG, fetch=False)
            command = PlaybookCommand(args, fleet.config, CATALOG, playbook)
            return command.run_on(fleet, args.words, RoundClock(self.network.clock, self.wait))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.waits.append(seconds)
        self.network.time += seconds

    @property
    def sent(self) -> list[str]:
        """The nodes that were sent to."""
        return [one.node for one in self.network.sent]

    def saved(self) -> str:
        """Return all that is saved of runs of playbooks."""
        return "".join(path.read_text() for path in (self.folder / "playbooks").iterdir())


@pytest.fixture
def runner(tmp_path: Path) -> PlaybookRunner:
    """Return a fleet of two nodes and the last rows."""
    return PlaybookRunner(tmp_path)


PING = "call: {agent: rpcutil, action: ping, targets: {nodes: [a, b]}}"


def playbook(*steps: str, inputs: str = "{}") -> str:
    """Return a playbook with some steps."""
    lines = "".join(f"  - {step}\n" for step in steps)
    return f"title: T\ninputs: {inputs}\nsteps:\n{lines}"


def test_a_call_is_repeated_on_the_nodes_that_failed(runner: PlaybookRunner) -> None:
    """With retry, a node that was OK is not asked again, and the result has all replies."""
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    waits: list[float] = []

    def mend(seconds: float) -> None:
        waits.append(seconds)
        runner.network.parts["b"] = Part(after=0.1)

    runner.wait = mend  # type: ignore[method-assign]
    steps = (f"{PING}\n    id: ping\n    retry: {{times: 3, delay: 4s}}", "assert: steps.ping.ok == ['a', 'b']")
    assert runner.run(playbook(*steps)) == 0
    assert (sorted(runner.sent), waits) == (["a", "b", "b"], [4.0])


@pytest.mark.parametrize(("part", "code"), [(Part(after=0.1, statuscode=1), 2), (Part(after=None), 3)])
def test_the_exit_code_is_that_of_the_call(runner: PlaybookRunner, capsys: Captured, part: Part, code: int) -> None:
    """A playbook that stops names the step, its line, and how to resume; the next step does not run."""
    runner.network.parts["b"] = part
    assert runner.run(playbook(PING, PING)) == code
    assert sorted(runner.sent) == ["a", "b"]
    assert "stopped at step 1 'rpcutil ping' (" in (err := capsys.readouterr().err)
    assert "p.yaml:4)" in err
    assert "(resume with 'crpc playbook run " in err


def test_a_failure_after_which_it_continues_counts(runner: PlaybookRunner) -> None:
    """With on_failure: continue the other steps run, and the exit code is that of the failure."""
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    assert runner.run(playbook(f"{PING}\n    on_failure: continue", PING.replace("[a, b]", "[a]"))) == 2
    assert sorted(runner.sent) == ["a", "a", "b"]


def test_a_failure_that_is_rescued_does_not_count(runner: PlaybookRunner) -> None:
    """The steps of rescue know the failure, and the exit code is 0 if they succeed."""
    steps = ("assert: 'false'\n    rescue: [{assert: failure.message == \"'false' does not hold\"}]",)
    assert runner.run(playbook(*steps)) == 0


def test_secrets_are_neither_saved_nor_shown(runner: PlaybookRunner, capsys: Captured) -> None:
    """A resumed run needs the secret again, and sets variables that hold it again."""
    inputs = "{required: [password], properties: {password: {type: string, writeOnly: true}, n: {type: integer}}}"
    steps = (
        'set: {line: "password={{ inputs.password }}"}',
        'local: {command: [echo, "{{ vars.line }}"]}\n    id: echo',
        "assert: vars.line == 'password=hunter22'",
        PING,
    )
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    text = playbook(*steps, inputs=inputs)
    assert runner.run(text, "password=hunter22", "n=5") == 2
    shown = capsys.readouterr()
    assert "password=********" in shown.out
    assert "hunter22" not in shown.out + shown.err + runner.saved()
    runner.network.parts["b"] = Part(after=0.1)
    with pytest.raises(Exception, match="'password' is missing"):
        runner.run(text, "--resume")
    with pytest.raises(UsageError, match="'n': only secrets can be given again"):
        runner.run(text, "n=6", "password=hunter22", "--resume", "last")
    assert runner.run(text, "password=hunter22", "--resume", "last") == 0
    assert sorted(runner.sent) == ["a", "b", "b"]


def test_the_use_of_a_secret_that_was_not_saved_is_an_error(runner: PlaybookRunner, capsys: Captured) -> None:
    """What a secret command has written is not known to a resumed run, which says so."""
    steps = (
        "local: {command: [sh, -c, 'echo sesame | tr a-z A-Z'], secret: true}\n    id: key",
        PING,
        "assert: steps.key.stdout == 'S'",
    )
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    text = playbook(*steps)
    assert runner.run(text) == 2
    assert "SESAME" not in runner.saved() + capsys.readouterr().out
    runner.network.parts["b"] = Part(after=0.1)
    assert runner.run(text, "--resume") == 64
    assert "is secret, and secrets are not saved" in capsys.readouterr().err


def test_a_changed_file_is_not_resumed(runner: PlaybookRunner) -> None:
    """A run is resumed with the same files; with --allow-drift, steps with another name run again."""
    runner.network.parts["b"] = Part(after=0.1, statuscode=1)
    text = playbook(f"name: One\n    {PING.replace('[a, b]', '[a]')}", PING)
    assert runner.run(text) == 2
    changed = text.replace("One", "Another")
    with pytest.raises(ConfigError, match="changed since run"):
        runner.run(changed, "--resume")
    runner.network.parts["b"] = Part(after=0.1)
    runner.network.sent.clear()
    assert runner.run(changed, "--resume", "--allow-drift") == 0
    assert runner.sent == ["a", "b"]
    with pytest.raises(UsageError, match="has ended, there is nothing to resume"):
        runner.run(changed, "--resume")


def test_options_that_depend_on_inputs_are_checked_before_the_first_step(runner: PlaybookRunner) -> None:
    """A wrong pace in the last step is found before the first one is sent."""
    last = PING.replace("nodes: [a, b]}", 'nodes: [a, b]}, pace: {max_fail: "{{ inputs.most }}"}')
    text = playbook(PING, last, inputs="{properties: {most: {type: string}}}")
    with pytest.raises(ConfigError, match=r"p\.yaml:5: --max-fail 'many'"):
        runner.run(text, "most=many")
    assert runner.sent == []
    assert runner.run(text, "most=1") == 0


def test_a_question_needs_a_terminal_or_yes(runner: PlaybookRunner, capsys: Captured) -> None:
    """Without a terminal a question stops the playbook with exit code 4; --yes answers it."""
    text = playbook("ask: {question: 'Go on?'}", PING)
    assert runner.run(text) == 4
    assert "standard input is not a terminal to ask on" in capsys.readouterr().err
    assert runner.run(text, "--yes") == 0


def test_an_included_playbook_has_inputs_of_its_own(runner: PlaybookRunner) -> None:
    """Variables of an included playbook are in its result; a wrong input is refused with the line of the include."""
    (runner.folder / "inner.yaml").write_text(
        "title: I\ninputs: {required: [n], properties: {n: {type: integer}}}\n"
        "steps: [{set: {twice: '{{ inputs.n * 2 }}'}}]\n"
    )
    include = "include: {file: inner.yaml, inputs: {n: 4}}\n    id: inner"
    assert runner.run(playbook(include, "assert: steps.inner.vars.twice == 8")) == 0
    with pytest.raises(ConfigError, match=r"p\.yaml:4: .*n.* is not of type 'integer'"):
        runner.run(playbook(include.replace("4", "x")))


def test_the_time_of_a_playbook_is_limited(runner: PlaybookRunner) -> None:
    """After its timeout no further step begins, but always runs."""
    slow = PING.replace("call: ", "wait: {call: ").replace("[a, b]}}", "[a]}}, until: statuscode=5, for: 30s}")
    text = playbook(f"{slow}\n    on_failure: continue", PING).replace("title: T", "title: T\ntimeout: 10s")
    assert runner.run(f"{text}always: [{PING.replace('call: ', '{call: ')}}}]\n") == 4
    assert runner.sent.count("b") == 1


def test_a_loop_has_a_limit(runner: PlaybookRunner, capsys: Captured) -> None:
    """A list with too many items is an error of the step."""
    text = playbook(f'for_each: {{in: "{{{{ range({engine.MOST_ITEMS + 1}) | list }}}}", steps: [{{set: {{a: 1}}}}]}}')
    assert runner.run(text) == 64
    assert "items, the limit is" in capsys.readouterr().err


def test_the_document_has_a_row_for_each_step(runner: PlaybookRunner, capsys: Captured) -> None:
    """With --json, nothing but the document is on standard output, and each step has an outcome in it."""
    assert runner.run(playbook(PING, "set: {a: 1}", "assert: 'true'\n    when: vars.a > 1"), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["step"], row["outcome"]) for row in document["steps"]] == [("1", "ok"), ("2", "ok"), ("3", "omitted")]


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
