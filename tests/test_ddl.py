"""DDLs: what is refused when one is read, and how data is checked against one."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective import ddl, json_schema
from collective.catalog import bundled
from collective.errors import DDLError, Failed, InvalidInput, MissingInput, UnknownAction

TEXT = {"type": "string"}
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def document(
    inputs: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A DDL with one action, `hammer swing`; `more` are members of the action."""
    action = {
        "description": "Swing it",
        "input": {"type": "object", "properties": inputs or {}},
        "output": {"type": "object", "properties": outputs or {}},
        **more,
    }
    metadata = {"name": "hammer", "description": "Hits", "version": "1.0"}
    return {"metadata": metadata, "actions": {"swing": action}}


def swing(inputs: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None, **more: Any) -> ddl.Action:
    return ddl.parse(document(inputs, outputs, **more)).action("swing")


def asking(properties: dict[str, Any], **more: Any) -> ddl.Action:
    """The action whose input schema has `properties` and `more` beside them."""
    return swing(input={"type": "object", "properties": properties, **more})


# -- reading


@pytest.mark.parametrize("path", sorted(bundled().glob("*.json")), ids=lambda path: path.stem)
def test_the_standard_ddls_are_read(path: Path) -> None:
    """Every DDL that comes with collective passes its own checks."""
    assert ddl.read(path).name == path.stem


def test_what_is_left_out_has_a_default() -> None:
    """An action shows failures, takes a minute, and is not idempotent, unless it says so."""
    action = swing()
    assert (action.display, action.timeout, action.idempotent, action.aggregates) == ("failed", 60.0, False, ())


def test_an_action_without_a_timeout_has_its_agents() -> None:
    """The agent's timeout counts for its actions, an action's own comes before it."""
    read = document()
    read["metadata"]["timeout"] = 5
    assert ddl.parse(read).action("swing").timeout == 5.0
    read["actions"]["swing"]["timeout"] = 7
    assert ddl.parse(read).action("swing").timeout == 7.0


def test_titles_head_outputs() -> None:
    """An output is headed by its title, or else by its name."""
    action = swing(outputs={"a": {"title": "Answer"}, "b": {}}, aggregate=[{"function": "sum", "output": "a"}])
    assert (action.title("a"), action.title("b"), action.title("c")) == ("Answer", "b", "c")
    assert action.aggregates[0].title == "Answer"


def test_an_unknown_action_is_refused_with_those_there_are() -> None:
    """A caller who misspells an action is told what there is."""
    with pytest.raises(UnknownAction, match=r"hammer: unknown action 'fly' \(actions: swing\)"):
        ddl.parse(document()).action("fly")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown member": (document(color="red"), "'color' was unexpected"),
    "no input": ({**document(), "actions": {"swing": {"description": "x", "output": {}}}}, "$.actions.swing"),
    "no actions": ({**document(), "actions": {}}, "$.actions"),
    "an action's name": ({**document(), "actions": {"Swing!": document()["actions"]["swing"]}}, "Swing!"),
    "an unknown display": (document(display="never"), "'never' is not one of"),
    "a wrong schema": (document({"a": {"type": "text"}}), "'text' is not valid"),
    "a wrong pattern": (document({"a": {**TEXT, "pattern": "["}}), "$.actions.swing.input.properties.a.pattern"),
    "an input's name": (document({"a-b": TEXT}), "a-b"),
    "a word of Python": (document({"class": TEXT}), "'class' is a Python keyword"),
    "an unknown required": (document(input={"type": "object", "required": ["a"]}), "'a' is not in properties"),
    "a wrong default": (document({"a": {**TEXT, "default": 5}}), "default of 'a' does not match its schema"),
    "a wrong default of a required input": (
        document(input={"type": "object", "required": ["a"], "properties": {"a": {**TEXT, "default": 5}}}),
        "default of 'a' does not match its schema",
    ),
    "an aggregate of nothing": (document(aggregate=[{"function": "sum", "output": "b"}]), "unknown output 'b'"),
    "an unknown aggregate": (document(aggregate=[{"function": "median", "output": "b"}]), "'median' is not one of"),
    "a reference to elsewhere": (
        document({"a": {"$ref": "https://example.com/x"}}),
        "does not resolve within this schema",
    ),
    "a reference to nothing": (document({"a": {"$ref": "#/$defs/x"}}), "does not resolve within this schema"),
    "a reference to what is no schema": (document({"a": {"$ref": "#/type"}}), "$ref '#/type': 'object' is not of type"),
    "a reference to what only looks like one": (
        document(input={"type": "object", "properties": {"a": {"$ref": "#/$defs"}}, "$defs": {"type": TEXT}}),
        "$ref '#/$defs'.type: ",
    ),
    "a schema with a place of its own": (document({"a": {"$id": "https://example.com/x"}}), "$id 'https://example.com"),
    "a schema of a version of its own": (document({"a": {**TEXT, "$schema": DRAFT, "pattern": "^a$"}}), "$schema '"),
    "a reference in a circle": (document(input={"type": "object", "$ref": "#"}), "refers to itself"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_ddl_is_refused(name: str) -> None:
    """Every mistake is found when a DDL is read, and its place is named."""
    wrong, said = WRONG[name]
    with pytest.raises(DDLError, match=re.escape(said)):
        ddl.parse(wrong)


@pytest.mark.parametrize("value", [None, [], "text", 5, {}, {"metadata": None}])
def test_what_is_no_ddl_is_refused(value: Any) -> None:
    """A JSON file that is something else is no DDL."""
    with pytest.raises(DDLError):
        ddl.parse(value)


@pytest.mark.parametrize("name", ["find", "lab", "watch", "data"])
def test_an_agent_may_not_have_the_name_of_a_command(tmp_path: Path, name: str) -> None:
    """Crpc could not tell them apart, commands to come included, nor could a policy tell `data`."""
    wrong = document()
    wrong["metadata"]["name"] = name
    (tmp_path / f"{name}.json").write_text(json.dumps(wrong))
    with pytest.raises(DDLError, match=f"the name '{name}' is reserved for "):
        ddl.read(tmp_path / f"{name}.json")


def test_a_file_must_be_named_as_its_agent(tmp_path: Path) -> None:
    """The name within and the file's name are one."""
    (tmp_path / "saw.json").write_text(json.dumps(document()))
    with pytest.raises(DDLError, match=r"saw\.json: metadata\.name is 'hammer' \(must be the file's name, 'saw'\)"):
        ddl.read(tmp_path / "saw.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "cut", "bytes", "deep"])
def test_a_file_that_is_not_json_is_named(tmp_path: Path, content: bytes) -> None:
    """What cannot be read is named by its path."""
    path = tmp_path / "hammer.json"
    path.write_bytes(content)
    with pytest.raises(DDLError, match=r"hammer\.json: cannot be read as JSON"):
        ddl.read(path)


# -- checking


def test_defaults_are_filled_in() -> None:
    """What is left out is what the DDL says, on the way in and on the way out; what is given stays."""
    action = swing({"force": {"type": "integer", "default": 3}, "at": TEXT}, {"hits": {"default": 0}, "miss": {}})
    assert action.check_input({}) == {"force": 3}
    assert action.check_input({"force": 5}) == {"force": 5}
    assert action.check_output({}) == {"hits": 0}


def test_data_is_not_changed_in_place() -> None:
    """Checking hands back new data."""
    action = swing({"force": {"type": "integer", "default": 3}})
    given: dict[str, Any] = {}
    action.check_input(given)
    assert given == {}


def test_a_missing_input_is_named_with_all_there_are() -> None:
    """Whoever forgets an input reads what the action takes."""
    action = asking({"at": TEXT, "force": {}}, required=["at"])
    with pytest.raises(MissingInput, match=r"^hammer swing: required input 'at' is missing \(inputs: at, \[force\]\)$"):
        action.check_input({"force": 1})


def test_an_input_that_another_one_asks_for_is_named() -> None:
    """An input may be required only beside another, by JSON Schema's own words."""
    action = asking({"at": TEXT, "on": TEXT}, **{"if": {"required": ["on"]}, "then": {"required": ["at"]}})
    assert action.check_input({}) == {}
    with pytest.raises(MissingInput, match="input 'at' is missing"):
        action.check_input({"on": "x"})


def test_an_unknown_input_is_refused() -> None:
    """Nothing that the DDL does not name reaches an action."""
    with pytest.raises(InvalidInput, match=r"hammer swing: unknown input 'color' \(it takes no inputs\)"):
        swing().check_input({"color": "red"})


def test_a_wrong_input_is_named() -> None:
    """The path to what is wrong, and why."""
    action = asking({"at": {"type": "array", "items": TEXT}})
    with pytest.raises(InvalidInput, match=r"^hammer swing: input 'at\.1': 5 is not of type 'string'$"):
        action.check_input({"at": ["a", 5]})


def test_a_long_value_is_not_repeated_in_full() -> None:
    """A message stays readable whatever was given."""
    with pytest.raises(InvalidInput) as caught:
        asking({"at": {**TEXT, "maxLength": 5}}).check_input({"at": "x" * 100_000})
    assert len(str(caught.value)) < 400


SECRET = {"writeOnly": True, "anyOf": [{"type": "integer"}, {**TEXT, "maxLength": 3}]}


@pytest.mark.parametrize(
    "action",
    [
        asking({"key": {**TEXT, "writeOnly": True, "maxLength": 3}, "other": {}}),
        asking({"key": SECRET, "other": {}}),
        asking({"key": {"writeOnly": True}, "other": {}}, maxProperties=1),
        asking({"key": {"type": "object", "writeOnly": True, "additionalProperties": False}, "other": {}}),
    ],
    ids=["plain", "a branch", "the whole", "inside"],
)
def test_a_secret_is_never_quoted(action: ddl.Action) -> None:
    """What is wrong with a secret is said without it."""
    for value in ("hunter2", {"hunter2": 1}):
        with pytest.raises(InvalidInput) as caught:
            action.check_input({"key": value, "other": 1})
        assert "hunter2" not in str(caught.value)


def test_secrets_are_masked() -> None:
    """Inputs and outputs that are marked writeOnly become asterisks, the rest stays."""
    action = swing({"key": {"writeOnly": True}, "at": {}}, {"token": {"writeOnly": True}})
    assert action.secrets == {"key", "token"}
    assert action.masked({"key": "k", "token": 5, "at": 1}) == {"key": "********", "token": "********", "at": 1}


def test_an_output_that_breaks_the_contract_is_the_agents_failure() -> None:
    """The reply is 5, `crashed`, and names the output."""
    with pytest.raises(Failed, match="hammer swing: does not match its DDL: output 'hits': 'two' is not") as caught:
        swing(outputs={"hits": {"type": "integer"}}).check_output({"hits": "two"})
    assert caught.value.reason == "crashed"


@pytest.mark.parametrize("data", [None, [], "text", 5])
def test_an_action_must_return_an_object(data: Any) -> None:
    """Anything else is the agent's failure."""
    with pytest.raises(Failed, match="must return a mapping"):
        swing().check_output(data)


def test_data_nested_too_deeply_is_refused_not_crashed_on() -> None:
    """A schema that refers to itself must end, however deep the data."""
    tree = {"type": "array", "items": {"$ref": "#/properties/at"}}
    deep = json.loads("[" * 400 + "]" * 400)
    with pytest.raises(InvalidInput, match="nested too deeply"):
        asking({"at": tree}).check_input({"at": deep})


# -- patterns


@given(value=st.text(), ending=st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_a_trailing_newline_never_passes(value: str, ending: str) -> None:
    """`^…$` spans the whole value."""
    pattern = json_schema.whole_value_pattern(f"^{re.escape(value)}$")
    assert re.search(pattern, value)
    assert not re.search(pattern, value + ending)


def test_a_trailing_newline_never_passes_in_a_name_either() -> None:
    """Names that a pattern stands for are held to all of it, too."""
    strict = json_schema.validator(
        {"patternProperties": {"^[A-Z]+$": {"type": "string"}}, "additionalProperties": False}
    )
    assert strict.is_valid({"PATH": "/bin"})
    assert not strict.is_valid({"PATH\n": "/bin"})
    loose = json_schema.validator(
        {"patternProperties": {"^[A-Z]+$": {"type": "string"}}, "additionalProperties": {"type": "null"}}
    )
    assert not loose.is_valid({"PATH\n": "/bin"})


@pytest.mark.parametrize(
    ("pattern", "whole"),
    [
        ("^a$", r"^a\Z"),
        (r"^a\$", r"^a\$"),
        ("^[$]$", r"^[$]\Z"),
        ("^[]$]$", r"^[]$]\Z"),
        ("^[^]$]$", r"^[^]$]\Z"),
        (r"^[\]$]$", r"^[\]$]\Z"),
        (r"^\\$", r"^\\" + r"\Z"),
        ("a$|b$", r"a\Z|b\Z"),
        ("", ""),
    ],
)
def test_only_an_anchor_is_changed(pattern: str, whole: str) -> None:
    """A `$` that is escaped, or stands in a set, is a dollar."""
    assert json_schema.whole_value_pattern(pattern) == whole


def test_inputs_are_matched_as_a_whole() -> None:
    """The classic: a service's name with a command behind a newline."""
    action = asking({"service": {**TEXT, "pattern": "^[a-z]+$"}})
    assert action.check_input({"service": "nginx"}) == {"service": "nginx"}
    for value in ("nginx\n", "nginx\n; rm -rf /", "\nnginx"):
        with pytest.raises(InvalidInput):
            action.check_input({"service": value})


def test_parsing_leaves_the_document_alone() -> None:
    """A DDL that was read twice is the same twice."""
    given = document({"a": {**TEXT, "default": "x"}})
    before = copy.deepcopy(given)
    ddl.parse(given)
    assert given == before
