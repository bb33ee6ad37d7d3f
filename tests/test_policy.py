"""Policies as values: which rule decides, and what a policy file must not say. Cases are in cases/policy."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collective.audit.records import Record
from collective.errors import ConfigError, PolicyError
from collective.policy import KnownNode, Policy, Question, Rule
from collective.policy.parsing import parse
from collective.policy.replay import replay
from collective.yaml_file import parse_yaml

CASES = [
    pytest.param(case, id=case["id"])
    for path in sorted((Path(__file__).parent / "cases" / "policy").glob("*.json"))
    for case in json.loads(path.read_text())["cases"]
]


def question(caller: str, agent: str = "package", action: str = "status", **more: Any) -> Question:
    """A question about a node, {facts, classes}, and inputs, `data`."""
    node = KnownNode(more.get("facts", {}), frozenset(more.get("classes", ())))
    return Question(caller, agent, action, more.get("data", {}), node)


@pytest.mark.parametrize("case", CASES)
def test_the_first_rule_that_holds_decides(case: dict[str, Any]) -> None:
    """Names are compared whole and by case, all conditions must hold, and what no rule allows is denied."""
    policy = parse(json.dumps({"groups": case.get("groups", {}), "rules": case["rules"]}), "policy.yaml")
    assert policy.decide(question(**case["ask"])).allow == (case["expected"] == "allow")


@pytest.mark.parametrize(
    ("caller", "action", "rule", "why"),
    [
        ("alice", "status", "look", "rule 'look' allows it"),
        ("alice", "purge", "2", "rule '2' denies it"),
        ("bob", "status", None, "no rule allows it"),
    ],
)
def test_a_decision_names_its_rule(caller: str, action: str, rule: str | None, why: str) -> None:
    """By its name, or its number where it has none."""
    policy = parse(
        "rules: [{name: look, callers: [alice], actions: [status]}, {actions: [purge], allow: false}]", "policy.yaml"
    )
    decision = policy.decide(question(caller, action=action))
    assert (decision.rule, decision.why) == (rule, why)


def test_what_cannot_be_judged_is_said() -> None:
    """The rule that could not be judged is named."""
    rule = Rule("odd", inputs={"$ref": "#"})  # reading refuses it
    decision = Policy([rule]).decide(question("alice"))
    assert decision.why == "rule 'odd' cannot be judged, so it denies it"


def test_an_input_may_be_forbidden() -> None:
    """JSON Schema's `false` is what nothing fits, `true` what anything does."""
    policy = parse("rules: [{inputs: {properties: {force: false, package: true}}}]", "policy.yaml")
    assert policy.decide(question("alice", data={"package": "zsh"})).allow
    assert not policy.decide(question("alice", data={"package": "zsh", "force": True})).allow


# A policy, the line that is named, and a part of what is said of it.
FAULTS = {
    "": (1, "must hold the key 'rules' with a list"),
    "[]": (1, "must hold the key 'rules' with a list"),
    "rules: {}": (1, "must hold the key 'rules' with a list"),
    "rules: []\ndefault: allow": (2, "'default': no such key: there are rules, groups"),
    "rules:\n  - {}\n  - alice": (3, "rule 2: must hold keys and values, not 'alice'"),
    "rules:\n  - name: x\n    caller: [alice]": (3, "rule 1: 'caller': no such key: there are name, callers"),
    "rules: [{callers: alice}]": (1, "rule 1: callers: must be a list of texts, not 'alice'"),
    "rules:\n- actions:\n  - status\n  - on": (4, "rule 1: actions: must hold texts, not true"),
    "rules: [{agents: []}]": (1, "rule 1: agents: is an empty list: leave it out to mean any"),
    "rules: [{allow: 'no'}]": (1, "rule 1: allow: must be true or false, not 'no'"),
    "rules: [{name: [x]}]": (1, "rule 1: name: must be a text, not a list"),
    "rules: [{callers: [a], callers: [b]}]": (1, "duplicate key 'callers'"),
    "rules:\n- {": (3, "did not find"),
    "rules: [{inputs: {$ref: '#'}}]": (1, "rule 1: inputs: is nested too deeply, or a $ref leads back to itself"),
    "rules:\n- {name: x}\n- {name: x}": (3, "rule 2: 'x' is the name of rule 1 already"),
    "rules:\n- {name: '2'}\n- {}": (3, "rule 2: '2' is the name of rule 1 already"),
    "groups: {ops: [a]}\nrules:\n- callers: [group:opps]": (3, "rule 1: callers: there is no group 'opps': there are"),
    "groups: [ops]\nrules: []": (1, "must hold names with lists of callers, not a list"),
    "groups:\n  ops: a\nrules: []": (2, "group 'ops': must be a list of callers, not 'a'"),
    "groups:\n  ops: [group:all]\nrules: []": (2, "group 'ops': its members are callers, not other groups"),
    "rules:\n- facts:\n  - role=web\n  - role": (
        4,
        "rule 1: facts: 'role': column 5: missing operator (use",
    ),
    "rules:\n- classes: [/(/]": (2, "rule 1: classes: '/(/': column 1: invalid regular expression '('"),
    "rules:\n- select: web and": (2, "rule 1: select: 'web and': column 8"),
    "rules:\n- select: fstat('/x').md5=1": (2, "rule 1: select: data functions have no place in a policy"),
    "rules:\n- inputs: [a]": (2, "rule 1: inputs: must be a JSON Schema, not a list"),
    "rules:\n- inputs:\n    type: strin": (2, "rule 1: inputs.type: 'strin' is not valid"),
    "rules:\n- inputs: {$ref: 'http://example.com/x'}": (
        2,
        "rule 1: inputs: $ref 'http://example.com/x' does not",
    ),
    "rules:\n- inputs: {properties: {a: {pattern: '('}}}": (2, "inputs.properties.a.pattern: '(' is not a 'regex'"),
    "rules:\n- inputs: {properties: {a: {$id: 'x:y', $ref: '#'}}}": (2, "inputs: $id 'x:y' is not allowed"),
    "rules: !!set [x]": (1, "expected a mapping node"),
    "rules: [{1: 2}]": (1, "must hold texts, numbers, lists and mappings only"),
    "rules: [!!binary aGVsbG8=]": (1, "must hold texts, numbers, lists and mappings only"),
    "rules: &a [*a]": (1, "must hold texts, numbers, lists and mappings only"),
    **{deep * 5000: (1, "nested more than 128 levels deep") for deep in ("{", "[", "- ", "? ", "a: {")},
    "rules: []\n<<: [1]": (2, "expected a mapping to merge, not a scalar"),
    "rules: []\n<<: text": (2, "expected a mapping to merge, not a scalar"),
}


@pytest.mark.parametrize("text", FAULTS, ids=lambda text: text[:40])
def test_a_wrong_policy_is_refused_whole(text: str) -> None:
    """No rule is dropped in silence: the file, the line, the rule and the key are named."""
    line, said = FAULTS[text]
    with pytest.raises(ConfigError) as caught:
        parse(text, "policy.yaml")
    assert str(caught.value).startswith(f"policy.yaml:{line}:")
    assert said in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    """In the order of the file; as one line, the first and how many more there are."""
    with pytest.raises(PolicyError) as caught:
        parse("rules:\n- {allow: 1}\n- {callers: []}\n- {agents: x}", "policy.yaml")
    assert [error.split(": ")[0] for error in caught.value.problems] == [f"policy.yaml:{line}" for line in (2, 3, 4)]
    assert str(caught.value).endswith("(and 2 more problems: run 'crpc policy check')")


def test_a_text_that_repeats_itself_is_no_bomb() -> None:
    """Aliases of aliases that mean a billion values are refused, not looked at."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    names = "abcdefghij"
    for before, name in itertools.pairwise(names):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")
    with pytest.raises(PolicyError, match="100000 values at most"):
        parse("\n".join([*lines, "rules: []"]), "policy.yaml")


def test_merging_what_was_merged_is_no_bomb() -> None:
    """Forty lines that merge the line before twice would make a million million keys."""
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40))]
    with pytest.raises(ConfigError, match=r"policy.yaml:17:16: '<<' merges more than 100000 keys"):
        parse("\n".join(lines), "policy.yaml")


def test_merging_many_mappings_is_limited_over_the_whole_file() -> None:
    """A thousand lines that each merge the line before and add a key would merge half a million keys."""
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}" for n in range(1, 1000))]
    with pytest.raises(ConfigError, match=r"policy.yaml:447:7: merges more than 100000 keys"):
        parse("\n".join(lines), "policy.yaml")


MERGED = """\
one: &one {role: first, only: 1}
two: &two {role: second, other: 2}
both: {<<: [*one, *two]}
own: {role: own, <<: [*one, *two]}
nested: {deeper: [&late {<<: *one, role: late}]}
of_late: {<<: *late}
itself: &itself {<<: *itself, a: 1}
"""


def test_merging_has_one_meaning_whichever_pyyaml_is_installed() -> None:
    """A mapping's own keys win, then the first mapping of a list: a policy means the same on every node."""
    merged = parse_yaml(MERGED, "policy.yaml")
    assert merged["both"] == {"role": "first", "only": 1, "other": 2}
    assert merged["own"] == {"role": "own", "only": 1, "other": 2}
    assert merged["of_late"] == merged["nested"]["deeper"][0] == {"role": "late", "only": 1}
    assert merged["itself"] == {"a": 1}


def test_what_a_fault_quotes_cannot_command_a_terminal() -> None:
    """Whatever stands in a file, what is said of it is a line that can be printed."""
    with pytest.raises(PolicyError) as caught:
        parse('rules: [{"\\e[2J": 1, "a\\nb": 2}]', "policy.yaml")
    assert [error.split("'")[1] for error in caught.value.problems] == ["\\x1b[2J", "a\\nb"]


WORDS = st.sampled_from(
    "rules groups name callers agents actions facts classes select inputs allow group:ops ops * [ /(/ a=1 "
    "$ref properties pattern type required # ^$ true".split()
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
RULES = st.dictionaries(WORDS, VALUES, max_size=5)
DOCUMENTS = st.fixed_dictionaries({"rules": st.lists(RULES, max_size=3)}, optional={"groups": VALUES}) | VALUES


@given(DOCUMENTS.map(lambda document: yaml.safe_dump(document, allow_unicode=True)) | st.text(max_size=200))
@example("rules: [{inputs: {$ref: '#', type: 7}}]")
@example("rules: [{inputs: {properties: {a: {$id: 5}}}}]")
@settings(max_examples=200, deadline=None)
def test_whatever_a_file_holds_it_is_a_policy_or_a_fault(text: str) -> None:
    """Nothing else is raised; what is read decides, and says no more than ConfigError."""
    policy: Policy | None = None
    problems: Sequence[str] = ()
    try:
        policy = parse(text, "policy.yaml")
    except ConfigError as error:
        problems = error.problems
    assert all(line.startswith("policy.yaml") and "\n" not in line for line in problems)
    assert policy is None or policy.decide(question("alice", data={"a": 1})).why


def record(verdict: str = "allowed", **more: Any) -> Record:
    """What an audit says of a request by alice for `service restart`."""
    said = {"caller": "alice", "agent": "service", "action": "restart", "data": {}, "asks": [], "verdict": verdict}
    return Record({**said, **more}, None)


NGINX = {"required": ["service"], "properties": {"service": {"enum": ["nginx"]}}}
REPLAYS = {
    "the same": ("[{agents: [service]}]", record(), "same"),
    "denied again": ("[]", record("denied"), "same"),
    "now denied": ("[]", record(), "different"),
    "now allowed": ("[{}]", record("denied"), "different"),
    "what was invalid was allowed": ("[{}]", record("invalid"), "same"),
    "an input that fits": (f"[{{inputs: {NGINX}}}]", record(data={"service": "nginx"}), "same"),
    "an input that does not": (f"[{{inputs: {NGINX}}}]", record(data={"service": "sshd"}), "different"),
    "a masked input that matters": (f"[{{inputs: {NGINX}}}]", record(data={"service": "********"}), "undecidable"),
    "a masked input that does not": (
        f"[{{inputs: {NGINX}}}]",
        record(data={"service": "nginx", "token": "********"}),
        "same",
    ),
    "a masked input within words that are not by name": (
        f"[{{inputs: {{allOf: [{NGINX}]}}}}]",
        record(data={"service": "nginx", "token": "********"}),
        "undecidable",
    ),
    "a masked input, and the same verdict either way": (
        f"[{{inputs: {NGINX}}}, {{}}]",
        record(data={"service": "********"}),
        "same",
    ),
    "facts that are not known": ("[{facts: [role=web]}]", record(), "undecidable"),
    "facts that do not matter": ("[{facts: [role=web]}, {}]", record(), "same"),
    "a data function": ("[{agents: [service]}]", record(asks=[["fstat", "/etc/hosts"]]), "different"),
    "a data function that is allowed": ("[{agents: [service, data]}]", record(asks=[["fstat", "/etc"]]), "same"),
}


@pytest.mark.parametrize("name", REPLAYS)
def test_a_recorded_request_is_decided_again(name: str) -> None:
    """What is masked or not known makes a request undecidable only where the verdict depends on it."""
    rules, recorded, state = REPLAYS[name]
    policy = parse(f"rules: {rules}", "policy.yaml")
    (replayed,) = replay(policy, [recorded], None, lambda _agent, _action, data: data)
    assert replayed.state == state


def test_what_no_policy_had_decided_is_not_replayed() -> None:
    """Too old a request, and a second delivery, were never asked about."""
    records = [record("refused"), record("duplicate")]
    assert list(replay(Policy([]), records, None, lambda _agent, _action, data: data)) == []
