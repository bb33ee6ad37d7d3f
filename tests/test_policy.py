"""Policies: which rule decides, and which policy files are rejected. Cases are in tests/cases/policy."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collective.errors import ConfigError, PolicyError
from collective.policy import Actions, KnownNode, Policy, Question, Rule
from collective.policy.parsing import parse
from collective.yaml_file import parse_yaml

CASES = [
    pytest.param(case, id=case["id"])
    for path in sorted((Path(__file__).parent / "cases" / "policy").glob("*.json"))
    for case in json.loads(path.read_text())["cases"]
]

STRING = frozenset({"string"})
HAS: Actions = {
    ("service", "restart"): {"service": STRING},
    ("service", "status"): {"service": STRING},
    ("package", "clean"): {},
    ("data", "fstat"): {"query": STRING},
    ("nettest", "connect"): {"host": STRING, "port": frozenset({"integer"})},
}


def question(caller: str, agent: str = "package", action: str = "status", **more: Any) -> Question:
    """Return a question about a node with `facts` and `classes`, and inputs `data`."""
    node = KnownNode(more.get("facts", {}), frozenset(more.get("classes", ())))
    return Question(caller, agent, action, more.get("data", {}), node)


@pytest.mark.parametrize("case", CASES)
def test_the_first_matching_rule_decides(case: dict[str, Any]) -> None:
    """Whole names are compared, case-sensitively; all conditions must match; without a matching rule, deny."""
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
    """A decision has the name of its rule, or the number of a rule without a name."""
    policy = parse(
        "rules: [{name: look, callers: [alice], actions: [status]}, {actions: [purge], allow: false}]", "policy.yaml"
    )
    decision = policy.decide(question(caller, action=action))
    assert (decision.rule, decision.why) == (rule, why)


# A rule for restarts of nginx, and whether it and a rule that allows all services allow to restart sshd.
MISSPELT = {
    "right": ("{properties: {service: {enum: [nginx]}}}, agents: [service]", False, "no rule allows it"),
    "a property": (
        "{properties: {servce: {enum: [nginx]}}}, agents: [service]",
        False,
        "no rule allows it (rule '1' names the input 'servce', which service restart does not have)",
    ),
    "a property below anyOf": ("{anyOf: [{properties: {servce: false}}, true]}", False, "no rule allows it (rule"),
    "a property below a reference": (
        "{$ref: '#/$defs/a', $defs: {a: {properties: {servce: true}}}}",
        False,
        "no rule allows it (rule",
    ),
    "a dependency": ("{dependentRequired: {servce: [service]}}", False, "no rule allows it (rule"),
    "a denied input": (
        "{required: [servce]}, agents: [service], actions: [restart], allow: false",
        False,
        "rule '1' cannot be evaluated, so the request is denied",
    ),
    "the input of another agent": ("{required: [package]}, agents: ['*'], allow: false", False, "no rule allows it"),
    "an input below an input": ("{properties: {service: {not: {const: servce}}}}", True, "rule '1' allows it"),
}


@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_input_grants_nothing(name: str) -> None:
    """A rule that names an input which the action does not have does not allow it, wherever the schema names it."""
    inputs, allowed, why = MISSPELT[name]
    policy = parse(f"rules: [{{inputs: {inputs}}}]", "policy.yaml")
    asked = replace(question("alice", "service", "restart", data={"service": "sshd"}), known=HAS)
    decision = policy.decide(asked)
    assert decision.allow is allowed
    assert decision.why.startswith(why)
    assert policy.possible(asked) == [decision]


def test_a_misspelt_denial_is_not_skipped() -> None:
    """A later rule does not allow what a rule with a misspelt input may have been meant to deny."""
    deny = "{agents: [service], actions: [restart], inputs: {required: [servce]}, allow: false}"
    policy = parse(f"rules: [{deny}, {{name: all}}]", "policy.yaml")
    assert not policy.decide(replace(question("alice", "service", "restart"), known=HAS)).allow
    assert policy.decide(replace(question("alice", "service", "status"), known=HAS)).rule == "all"


@pytest.mark.parametrize(
    ("rule", "problems"),
    [
        ("agents: [service]", ["no action that it covers has an input 'servce' (did you mean 'service'?)"]),
        ("agents: [data]", ["no action that it covers has an input 'servce'"]),
        ("callers: [bob]", ["no action that it covers has an input 'servce' (did you mean 'service'?)"]),
        ("agents: [service, unknown]", []),
        ("agents: [unknown]", []),
        ("actions: [restart, newer]", []),
        ("allow: false", []),
        (
            "allow: false, agents: [service], actions: [restart]",
            ["no action that it covers has an input 'servce' (did you mean 'service'?)"],
        ),
    ],
)
def test_an_input_that_no_covered_action_has_is_reported(rule: str, problems: list[str]) -> None:
    """A name is not reported if the rule may cover actions whose inputs are unknown."""
    policy = parse(f"rules: [{{{rule}, name: x, inputs: {{properties: {{servce: true}}}}}}]", "policy.yaml")
    assert policy.input_problems(HAS) == [f"rule 'x': inputs: {line}" for line in problems]


def test_a_rule_for_several_actions_allows_those_that_have_its_inputs() -> None:
    """An input that only some of the covered actions have is not an error; the others need their own rule."""
    policy = parse("rules: [{agents: [package, service], inputs: {properties: {service: true}}}]", "policy.yaml")
    assert policy.input_problems(HAS) == []
    assert policy.decide(replace(question("alice", "service", "status"), known=HAS)).allow
    assert not policy.decide(replace(question("alice", "package", "clean"), known=HAS)).allow


WITHOUT_EFFECT = {
    "{pattern: '^22$'}": "'pattern' has no effect on values of type integer",
    "{allOf: [{maxLength: 2}]}": "'maxLength' has no effect on values of type integer",
    "{not: {const: '22'}}": "'const' has no effect on values of type integer",
    "{enum: [22, '443']}": "'enum' has no effect on values of type integer",
    "{type: string}": "'type' has no effect on values of type integer",
    "{items: {const: 22}}": "'items' has no effect on values of type integer",
}


@pytest.mark.parametrize("allow", ["true", "false"])
@pytest.mark.parametrize("schema", WITHOUT_EFFECT)
def test_a_schema_for_another_type_than_the_input_denies(schema: str, allow: str) -> None:
    """JSON Schema ignores a keyword for other types, so such a rule neither allows nor lets a later rule allow."""
    rule = f"{{name: x, agents: [nettest], inputs: {{properties: {{port: {schema}}}}}, allow: {allow}}}"
    policy = parse(f"rules: [{rule}, {{name: all}}]", "policy.yaml")
    asked = replace(question("alice", "nettest", "connect", data={"port": 23}), known=HAS)
    decision = policy.decide(asked)
    assert (decision.allow, decision.rule) == (False, "x")
    assert policy.possible(asked)[-1] == decision
    assert policy.input_problems(HAS) == [f"rule 'x': inputs: 'port': {WITHOUT_EFFECT[schema]} (nettest connect)"]


@pytest.mark.parametrize(
    "schema",
    [
        "{enum: [22, 443]}",
        "{minimum: 22}",
        "{const: 22.0}",
        "{anyOf: [{type: integer, maximum: 99}, {type: string, pattern: '^a$'}]}",
        "true",
    ],
)
def test_a_schema_for_the_type_of_the_input_is_no_problem(schema: str) -> None:
    """Branches may be about values of other types, as in a schema for several actions."""
    policy = parse(f"rules: [{{agents: [nettest], inputs: {{properties: {{port: {schema}}}}}}}]", "policy.yaml")
    assert policy.input_problems(HAS) == []
    assert policy.decide(replace(question("alice", "nettest", "connect", data={"port": 22}), known=HAS)).allow


def test_a_rule_that_cannot_be_evaluated_denies() -> None:
    """A rule that cannot be evaluated denies, and the decision names it."""
    rule = Rule("odd", inputs={"$ref": "#"})  # parsing rejects it
    decision = Policy([rule]).decide(question("alice"))
    assert decision.why == "rule 'odd' cannot be evaluated, so the request is denied"


def test_all_problems_of_inputs_are_reported() -> None:
    """Each problem has its own line."""
    text = "rules:\n- inputs:\n    requird: [a]\n    propertis: {}"
    with pytest.raises(PolicyError) as caught:
        parse(text, "policy.yaml")
    assert [problem.split(": ")[0] for problem in caught.value.problems] == ["policy.yaml:3", "policy.yaml:4"]


def test_the_format_of_an_input_is_enforced() -> None:
    """A rule for addresses does not match other strings."""
    policy = parse("rules: [{inputs: {required: [a], properties: {a: {format: ipv4}}}}]", "policy.yaml")
    assert policy.decide(question("alice", data={"a": "10.0.0.1"})).allow
    assert not policy.decide(question("alice", data={"a": "banana"})).allow


def test_an_input_may_be_forbidden() -> None:
    """In JSON Schema, no value matches `false`, and any value matches `true`."""
    policy = parse("rules: [{inputs: {properties: {force: false, package: true}}}]", "policy.yaml")
    assert policy.decide(question("alice", data={"package": "zsh"})).allow
    assert not policy.decide(question("alice", data={"package": "zsh", "force": True})).allow


# An invalid policy, the line in the error, and a part of the error.
INVALID = {
    "": (1, "must be a mapping with a list 'rules'"),
    "[]": (1, "must be a mapping with a list 'rules'"),
    "rules: {}": (1, "must be a mapping with a list 'rules'"),
    "rules: []\ndefault: allow": (2, "unknown key 'default' (keys: rules, groups)"),
    "rules:\n  - {}\n  - alice": (3, "rule 2: must be a mapping, not 'alice'"),
    "rules:\n  - name: x\n    caller: [alice]": (3, "rule 1: unknown key 'caller' (keys: name, callers"),
    "rules: [{callers: alice}]": (1, "rule 1: callers: must be a list of strings, not 'alice'"),
    "rules:\n- actions:\n  - status\n  - true": (4, "rule 1: actions: must be a list of strings, but contains true"),
    "rules: [{agents: []}]": (1, "rule 1: agents: empty list (remove the key to match any)"),
    "rules: [{allow: no}]": (1, "rule 1: allow: must be true or false, not 'no'"),
    "rules: [{name: [x]}]": (1, "rule 1: name: must be a string, not a list"),
    "rules: [{callers: [a], callers: [b]}]": (1, "duplicate key 'callers'"),
    "rules:\n- {": (3, "did not find"),
    "rules: [{inputs: {$ref: '#'}}]": (1, "rule 1: inputs: nested too deeply, or a $ref refers to itself"),
    "rules:\n- {name: x}\n- {name: x}": (3, "rule 2: the name 'x' is already used by rule 1"),
    "rules:\n- {name: '2'}\n- {}": (3, "rule 2: the name '2' is already used by rule 1"),
    "groups: {ops: [a]}\nrules:\n- callers: [group:opps]": (3, "rule 1: callers: unknown group 'opps' (groups: ops)"),
    "groups: [ops]\nrules: []": (1, "groups: must be a mapping of names to lists of callers, not a list"),
    "groups:\n  ops: a\nrules: []": (2, "group 'ops': must be a list of callers, not 'a'"),
    "groups:\n  ops: [group:all]\nrules: []": (2, "group 'ops': members must be callers, not groups"),
    "rules:\n- facts:\n  - role=web\n  - role": (
        4,
        "rule 1: facts: 'role': column 5: missing operator (use",
    ),
    "rules:\n- classes: [/(/]": (2, "rule 1: classes: '/(/': column 1: invalid regular expression '('"),
    "rules:\n- select: web and": (2, "rule 1: select: 'web and': column 8"),
    "rules:\n- select: fstat('/x').md5=1": (2, "rule 1: select: data functions are not allowed in a policy"),
    "rules:\n- inputs: [a]": (2, "rule 1: inputs: must be a JSON Schema, not a list"),
    "rules:\n- inputs:\n    type: strin": (3, "rule 1: inputs.type: unknown type 'strin' (did you mean 'string'?)"),
    "rules:\n- inputs: {$ref: 'http://example.com/x'}": (
        2,
        "rule 1: inputs: $ref 'http://example.com/x' does not",
    ),
    "rules:\n- inputs: {properties: {a: {pattern: '('}}}": (
        2,
        "inputs.properties.a.pattern: '(' is not a regular expression: ",
    ),
    "rules:\n- inputs: {properties: {a: {$id: 'x:y', $ref: '#'}}}": (
        2,
        "inputs.properties.a: $id 'x:y' is not allowed",
    ),
    "rules:\n- inputs:\n    required: [a]\n    properties:\n      a:\n        enumm: [x]": (
        6,
        "rule 1: inputs.properties.a: unknown JSON Schema keyword 'enumm' (did you mean 'enum'?)",
    ),
    "rules:\n- inputs:\n    requird: [a]": (
        3,
        "inputs: unknown JSON Schema keyword 'requird' (did you mean 'required'?)",
    ),
    "rules:\n- inputs:\n    propertis: {}": (3, "unknown JSON Schema keyword 'propertis' (did you mean 'properties'?)"),
    "rules:\n- inputs: {not: {anyOf: [{requird: [a]}]}}": (2, "inputs.not.anyOf[0]: unknown JSON Schema keyword"),
    "rules:\n- inputs: {properties: {a: {format: ipv5}}}": (2, "inputs.properties.a: format 'ipv5' is not enforced"),
    "rules: !!set [x]": (1, "expected a mapping node"),
    "rules: [{1: 2}]": (1, "must hold only strings, numbers, lists and mappings"),
    "rules: [!!binary aGVsbG8=]": (1, "must hold only strings, numbers, lists and mappings"),
    "rules: &a [*a]": (1, "must hold only strings, numbers, lists and mappings"),
    **{deep * 5000: (1, "nested more than 128 levels deep") for deep in ("{", "[", "- ", "? ", "a: {")},
    "rules: []\n<<: [1]": (2, "expected a mapping to merge, not a scalar"),
    "rules: []\n<<: text": (2, "expected a mapping to merge, not a scalar"),
}


@pytest.mark.parametrize("text", INVALID, ids=lambda text: text[:40])
def test_an_invalid_policy_is_rejected_as_a_whole(text: str) -> None:
    """No rule is ignored: the error names file, line, rule and key."""
    line, message = INVALID[text]
    with pytest.raises(ConfigError) as caught:
        parse(text, "policy.yaml")
    assert str(caught.value).startswith(f"policy.yaml:{line}:")
    assert message in str(caught.value)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\r"])
def test_a_comment_cannot_hide_a_rule(separator: str) -> None:
    """YAML ends lines at more characters than editors do; such a character is an error with its place."""
    text = f"rules:\n- {{callers: [alice]}} # {separator}- {{callers: ['*']}}\n"
    with pytest.raises(PolicyError, match=rf"policy\.yaml:2: control character U\+{ord(separator):04X} at column 24"):
        parse(text, "policy.yaml")


def test_all_errors_are_reported_at_once() -> None:
    """Errors are in the order of the file; the message has the first one and the number of others."""
    with pytest.raises(PolicyError) as caught:
        parse("rules:\n- {allow: 1}\n- {callers: []}\n- {agents: x}", "policy.yaml")
    assert [error.split(": ")[0] for error in caught.value.problems] == [f"policy.yaml:{line}" for line in (2, 3, 4)]
    assert str(caught.value).endswith("(and 2 more problems: run 'crpc policy check')")


def test_a_yaml_bomb_of_aliases_is_rejected() -> None:
    """Nested aliases that expand to a billion values are rejected without expanding them."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    names = "abcdefghij"
    for before, name in itertools.pairwise(names):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")
    with pytest.raises(PolicyError, match="at most 100000 values"):
        parse("\n".join([*lines, "rules: []"]), "policy.yaml")


def test_a_yaml_bomb_of_merge_keys_is_rejected() -> None:
    """Forty lines that each merge the previous line twice would make 10^12 keys."""
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40))]
    with pytest.raises(ConfigError, match=r"policy.yaml:17:16: '<<' merges more than 100000 keys"):
        parse("\n".join(lines), "policy.yaml")


def test_merging_many_mappings_is_limited_over_the_whole_file() -> None:
    """A thousand lines that each merge the line before and add a key would merge half a million keys."""
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}" for n in range(1, 1000))]
    with pytest.raises(ConfigError, match=r"policy.yaml:447:7: '<<' merges more than 100000 keys"):
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


def test_merge_keys_mean_the_same_with_every_version_of_pyyaml() -> None:
    """A mapping's own keys win, then the first mapping of a list: a policy means the same on every node."""
    merged = parse_yaml(MERGED, "policy.yaml")
    assert merged["both"] == {"role": "first", "only": 1, "other": 2}
    assert merged["own"] == {"role": "own", "only": 1, "other": 2}
    assert merged["of_late"] == merged["nested"]["deeper"][0] == {"role": "late", "only": 1}
    assert merged["itself"] == {"a": 1}


def test_control_characters_in_errors_are_escaped() -> None:
    """An error is one printable line, whatever the file contains."""
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
def test_any_file_is_a_policy_or_a_config_error(text: str) -> None:
    """Parsing raises only ConfigError, and a parsed policy decides any question."""
    policy: Policy | None = None
    problems: Sequence[str] = ()
    try:
        policy = parse(text, "policy.yaml")
    except ConfigError as error:
        problems = error.problems
    assert all(line.startswith("policy.yaml") and "\n" not in line for line in problems)
    assert policy is None or policy.decide(question("alice", data={"a": 1})).why
