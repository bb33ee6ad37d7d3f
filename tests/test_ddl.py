"""DDLs: errors when one is read, and checks of data against one."""

from __future__ import annotations

import copy
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective import data_ddl, ddl, json_schema
from collective.catalog import bundled
from collective.errors import DDLError, Failed, InvalidInput, MissingInput, UncheckedInput, UnknownAction
from collective.json_schema import CHECK_SECONDS

TEXT = {"type": "string"}
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def document(
    inputs: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return a DDL with one action, `hammer swing`; `more` are members of the action."""
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


def with_input(properties: dict[str, Any], **more: Any) -> ddl.Action:
    """Return the action whose input schema has `properties` and the keywords `more`."""
    return swing(input={"type": "object", "properties": properties, **more})


# -- reading


@pytest.mark.parametrize("path", sorted(bundled().glob("*.json")), ids=lambda path: path.stem)
def test_the_standard_ddls_are_valid(path: Path) -> None:
    """Every shipped DDL passes the checks."""
    assert ddl.read(path).name == path.stem


def test_optional_members_have_defaults() -> None:
    """By default an action displays failures, has a timeout of 60 s, and is not idempotent."""
    action = swing()
    assert (action.display, action.timeout, action.idempotent, action.aggregates) == ("failed", 60.0, False, ())


def test_the_agents_timeout_is_the_default_of_its_actions() -> None:
    """An action's own timeout takes precedence over that of its agent."""
    read = document()
    read["metadata"]["timeout"] = 5
    assert ddl.parse(read).action("swing").timeout == 5.0
    read["actions"]["swing"]["timeout"] = 7
    assert ddl.parse(read).action("swing").timeout == 7.0


def test_outputs_have_titles() -> None:
    """The title of an output is its name if the DDL has none."""
    action = swing(outputs={"a": {"title": "Answer"}, "b": {}}, aggregate=[{"function": "sum", "output": "a"}])
    assert (action.title("a"), action.title("b"), action.title("c")) == ("Answer", "b", "c")
    assert action.aggregates[0].title == "Answer"


def test_an_unknown_action_is_refused_with_a_list() -> None:
    """The error for an unknown action lists the actions."""
    with pytest.raises(UnknownAction, match=r"hammer: unknown action 'fly' \(actions: swing\)"):
        ddl.parse(document()).action("fly")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown member": (document(color="red"), "'color' was unexpected"),
    "no input": ({**document(), "actions": {"swing": {"description": "x", "output": {}}}}, "$.actions.swing"),
    "no actions": ({**document(), "actions": {}}, "$.actions"),
    "an action's name": ({**document(), "actions": {"Swing!": document()["actions"]["swing"]}}, "Swing!"),
    "an unknown display": (document(display="never"), "'never' is not one of"),
    "an invalid schema": (document({"a": {"type": "text"}}), "'text' is not valid"),
    "an invalid pattern": (document({"a": {**TEXT, "pattern": "["}}), "$.actions.swing.input.properties.a.pattern"),
    "an input's name": (document({"a-b": TEXT}), "a-b"),
    "a Python keyword": (document({"class": TEXT}), "'class' is a Python keyword"),
    "an unknown required": (document(input={"type": "object", "required": ["a"]}), "'a' is not in properties"),
    "an invalid default": (document({"a": {**TEXT, "default": 5}}), "default of 'a' does not match its schema"),
    "an invalid default of a required input": (
        document(input={"type": "object", "required": ["a"], "properties": {"a": {**TEXT, "default": 5}}}),
        "default of 'a' does not match its schema",
    ),
    "an aggregate of an unknown output": (
        document(aggregate=[{"function": "sum", "output": "b"}]),
        "unknown output 'b'",
    ),
    "an unknown aggregate": (document(aggregate=[{"function": "median", "output": "b"}]), "'median' is not one of"),
    "an external reference": (
        document({"a": {"$ref": "https://example.com/x"}}),
        "does not resolve within",
    ),
    "a dangling reference": (document({"a": {"$ref": "#/$defs/x"}}), "does not resolve within"),
    "a reference to a non-schema": (document({"a": {"$ref": "#/type"}}), "$ref '#/type': 'object' is not of type"),
    "a reference to a mapping that looks like a schema": (
        document(input={"type": "object", "properties": {"a": {"$ref": "#/$defs"}}, "$defs": {"type": TEXT}}),
        "$ref '#/$defs'.type: ",
    ),
    "a schema with an $id": (document({"a": {"$id": "https://example.com/x"}}), "$id 'https://example.com"),
    "a nested schema with $schema": (document({"a": {**TEXT, "$schema": DRAFT, "pattern": "^a$"}}), "$schema '"),
    "a circular reference": (document(input={"type": "object", "$ref": "#"}), "refers to itself"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_invalid_ddl_is_refused(name: str) -> None:
    """Every mistake is found when the DDL is read, and its place is named."""
    wrong, message = WRONG[name]
    with pytest.raises(DDLError, match=re.escape(message)):
        ddl.parse(wrong)


UNENFORCED: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt keyword": (
        {**TEXT, "patern": "^a$"},
        ": unknown JSON Schema keyword 'patern' (did you mean 'pattern'?)",
    ),
    "another misspelt keyword": ({**TEXT, "maxLenght": 3}, "keyword 'maxLenght' (did you mean 'maxLength'?)"),
    "another case": ({**TEXT, "MAXLENGTH": 3}, "keyword 'MAXLENGTH' (did you mean 'maxLength'?)"),
    "no keyword at all": ({"x-order": 1}, ": unknown JSON Schema keyword 'x-order'"),
    "another dialect's keyword": (
        {"nullable": True},
        "unknown JSON Schema keyword 'nullable' (add \"null\" to 'type')",
    ),
    "a draft-7 keyword": ({"definitions": {}}, "keyword 'definitions' (did you mean '$defs'?)"),
    "nested in properties": (
        {"properties": {"b": {"enumm": [1]}}},
        ".a.properties.b: unknown JSON Schema keyword 'enumm'",
    ),
    "nested in items": (
        {"items": {"anyOf": [{"enumm": [1]}]}},
        ".a.items.anyOf[0]: unknown JSON Schema keyword 'enumm'",
    ),
    "nested under an odd name": ({"properties": {"b c": {"enumm": [1]}}}, ".a.properties['b c']: unknown"),
    "nested in $defs": ({"$defs": {"x": {"patern": "a"}}}, ".a.$defs.x: unknown JSON Schema keyword 'patern'"),
    "a keyword that is not enforced": ({"contentEncoding": "base64"}, "contentEncoding 'base64' is not allowed (use"),
    "another one": ({"unevaluatedProperties": False}, "'unevaluatedProperties' is not supported (use 'additionalP"),
    "a format that is not enforced": ({"format": "iri"}, "format 'iri' is not enforced (did you mean 'uri'?)"),
    "an unknown format": ({"format": "ip"}, "format 'ip' is not enforced"),
    "a keyword for another type": ({**TEXT, "maximum": 5}, "'maximum' has no effect on values of type string"),
    "a format for another type": (
        {"type": "integer", "format": "ipv4"},
        "'format' has no effect on values of type number",
    ),
    "then without if": ({"then": {"minLength": 1}}, "'then' has no effect without 'if'"),
    "a keyword's value": ({"minLength": "3"}, ".a.minLength: '3' is not of type 'integer'"),
    "items as in draft 7": (
        {"items": [{"type": "string"}]},
        ".a.items: [{'type': 'string'}] is not of type 'object', 'bo",
    ),
}


@pytest.mark.parametrize("name", UNENFORCED)
@pytest.mark.parametrize("part", ["input", "output"])
def test_a_keyword_without_effect_is_refused(name: str, part: str) -> None:
    """A keyword that would be ignored is refused with its place, in inputs and outputs, at every depth."""
    schema, message = UNENFORCED[name]
    with pytest.raises(DDLError) as caught:
        swing(**{part: {"type": "object", "properties": {"a": schema}}})
    assert str(caught.value).startswith(f"$.actions.swing.{part}.properties.a")
    assert message in str(caught.value)


def test_values_are_not_taken_for_schemas() -> None:
    """What looks like a keyword in a default, an enum, an example or the name of a property is a value."""
    value = {"patern": 1, "$ref": "nowhere", "$id": "x"}
    action = swing({"enumm": {"default": value, "examples": [value], "enum": [value]}, "const": {"const": value}})
    assert action.check_input({"const": value}) == {"enumm": value, "const": value}


def test_a_data_functions_ddl_is_checked_the_same_way() -> None:
    """The query and the outputs of a data function accept only keywords that are enforced."""
    metadata = {"name": "odd", "description": "Odd", "version": "1"}
    query, output = {"type": "string"}, {"type": "object", "properties": {"a": {}}}
    assert data_ddl.parse({"metadata": metadata, "query": query, "output": output}).name == "odd"
    for wrong in (
        {"query": {**query, "patern": "^/"}, "output": output},
        {"query": query, "output": {"type": "object", "properties": {"a": {"patern": "^/"}}}},
    ):
        with pytest.raises(DDLError, match="unknown JSON Schema keyword 'patern'"):
            data_ddl.parse({"metadata": metadata, **wrong})


@pytest.mark.parametrize("value", [None, [], "text", 5, {}, {"metadata": None}])
def test_other_documents_are_refused(value: Any) -> None:
    """A JSON document that is not a DDL is refused."""
    with pytest.raises(DDLError):
        ddl.parse(value)


@pytest.mark.parametrize("name", ["find", "lab", "watch", "data"])
def test_an_agent_cannot_have_a_reserved_name(tmp_path: Path, name: str) -> None:
    """The names of commands, also of planned ones, and `data` are reserved."""
    wrong = document()
    wrong["metadata"]["name"] = name
    (tmp_path / f"{name}.json").write_text(json.dumps(wrong))
    with pytest.raises(DDLError, match=f"the name '{name}' is reserved for "):
        ddl.read(tmp_path / f"{name}.json")


def test_a_file_must_have_the_name_of_its_agent(tmp_path: Path) -> None:
    """The name in the DDL and the name of the file must be equal."""
    (tmp_path / "saw.json").write_text(json.dumps(document()))
    with pytest.raises(DDLError, match=r"saw\.json: metadata\.name is 'hammer' \(must be the file's name, 'saw'\)"):
        ddl.read(tmp_path / "saw.json")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read as JSON"),
        (b"{", "cannot be read as JSON"),
        (b"\xff", "cannot be read as JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=["empty", "cut", "bytes", "deep"],
)
def test_a_file_that_is_not_json_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    """The error for an unreadable file names its path."""
    path = tmp_path / "hammer.json"
    path.write_bytes(content)
    with pytest.raises(DDLError, match=rf"hammer\.json: {problem}"):
        ddl.read(path)


# -- checking


def test_defaults_are_filled_in() -> None:
    """Missing inputs and outputs get the defaults of the DDL; given values are kept."""
    action = swing({"force": {"type": "integer", "default": 3}, "at": TEXT}, {"hits": {"default": 0}})
    assert action.check_input({}) == {"force": 3}
    assert action.check_input({"force": 5}) == {"force": 5}
    assert action.check_output({}) == {"hits": 0}


def test_data_is_not_changed_in_place() -> None:
    """Checking returns new data."""
    action = swing({"force": {"type": "integer", "default": 3}})
    given: dict[str, Any] = {}
    action.check_input(given)
    assert given == {}


def test_a_missing_input_is_named_with_all_inputs() -> None:
    """The error for a missing input lists the inputs of the action."""
    action = with_input({"at": TEXT, "force": {}}, required=["at"])
    with pytest.raises(MissingInput, match=r"^hammer swing: required input 'at' is missing \(inputs: at, \[force\]\)$"):
        action.check_input({"force": 1})


def test_an_input_required_by_another_is_named() -> None:
    """JSON Schema can require an input only together with another."""
    action = with_input({"at": TEXT, "on": TEXT}, **{"if": {"required": ["on"]}, "then": {"required": ["at"]}})
    assert action.check_input({}) == {}
    with pytest.raises(MissingInput, match="input 'at' is missing"):
        action.check_input({"on": "x"})


def test_an_unknown_input_is_refused() -> None:
    """No input that is not in the DDL reaches an action."""
    with pytest.raises(InvalidInput, match=r"hammer swing: unknown input 'color' \(it takes no inputs\)"):
        swing().check_input({"color": "red"})


def test_an_invalid_input_is_named() -> None:
    """The error has the path of the invalid value and the reason."""
    action = with_input({"at": {"type": "array", "items": TEXT}})
    with pytest.raises(InvalidInput, match=r"^hammer swing: input 'at\.1': 5 is not of type 'string'$"):
        action.check_input({"at": ["a", 5]})


def test_a_long_value_is_not_repeated_in_full() -> None:
    """An error message is shortened if it quotes a long value."""
    with pytest.raises(InvalidInput) as caught:
        with_input({"at": {**TEXT, "maxLength": 5}}).check_input({"at": "x" * 100_000})
    assert len(str(caught.value)) < 400


SECRET = {"writeOnly": True, "anyOf": [{"type": "integer"}, {**TEXT, "maxLength": 3}]}


@pytest.mark.parametrize(
    "action",
    [
        with_input({"key": {**TEXT, "writeOnly": True, "maxLength": 3}, "other": {}}),
        with_input({"key": SECRET, "other": {}}),
        with_input({"key": {"writeOnly": True}, "other": {}}, maxProperties=1),
        with_input({"key": {"type": "object", "writeOnly": True, "additionalProperties": False}, "other": {}}),
    ],
    ids=["plain", "a branch", "the whole", "inside"],
)
def test_a_secret_is_never_quoted(action: ddl.Action) -> None:
    """The error for an invalid secret does not contain its value."""
    for value in ("hunter2", {"hunter2": 1}):
        with pytest.raises(InvalidInput) as caught:
            action.check_input({"key": value, "other": 1})
        assert "hunter2" not in str(caught.value)


def test_secrets_are_masked() -> None:
    """Inputs and outputs marked writeOnly are replaced by asterisks, others are kept."""
    action = swing({"key": {"writeOnly": True}, "at": {}}, {"token": {"writeOnly": True}})
    assert action.secrets == {"key", "token"}
    assert action.masked({"key": "k", "token": 5, "at": 1}) == {"key": "********", "token": "********", "at": 1}


def test_an_invalid_output_is_a_failure() -> None:
    """The reply for an invalid output has status code 5 and reason `crashed`, and names the output."""
    with pytest.raises(Failed, match="hammer swing: does not match its DDL: output 'hits': 'two' is not") as caught:
        swing(outputs={"hits": {"type": "integer"}}).check_output({"hits": "two"})
    assert caught.value.reason == "crashed"


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ({}, "return it, or give the output a 'default', or list only the others in 'required'"),
        ({"day_left": 5}, "the action returned 'day_left', which the DDL does not have"),
    ],
)
def test_a_missing_output_is_a_failure(data: dict[str, Any], hint: str) -> None:
    """An output that an action forgets or misspells is named; the reply is never OK without it."""
    action = swing(outputs={"days_left": {"type": "integer"}, "note": {"default": ""}})
    assert action.check_output({"days_left": 5}) == {"days_left": 5, "note": ""}
    with pytest.raises(Failed) as caught:
        action.check_output(data)
    assert str(caught.value) == f"hammer swing: output 'days_left' is missing ({hint})"
    assert caught.value.reason == "crashed"


def test_outputs_outside_required_are_optional() -> None:
    """With `required` in `output`, the other outputs may be missing, and an empty list makes all of them optional."""
    outputs = {"type": "object", "properties": {"a": {}, "b": {}}}
    action = swing(output={**outputs, "required": ["a"]})
    assert action.check_output({"a": 1}) == {"a": 1}
    with pytest.raises(Failed, match="output 'a' is missing"):
        action.check_output({"b": 1})
    assert swing(output={**outputs, "required": []}).check_output({}) == {}


def test_a_failed_action_may_return_a_part_of_its_outputs() -> None:
    """The values of an incomplete result are checked all the same."""
    action = swing(
        outputs={"a": {"type": "integer"}, "b": {}},
        output={"type": "object", "required": ["b"], "properties": {"a": {"type": "integer"}, "b": {}}},
    )
    assert action.check_output({}, complete=False) == {}
    with pytest.raises(Failed, match="output 'a': 'x' is not of type"):
        action.check_output({"a": "x"}, complete=False)


def test_our_own_words_of_the_ddl_are_accepted() -> None:
    """An output may be `volatile`, and an action may support `dry_run`; elsewhere `volatile` is an unknown keyword."""
    action = swing(outputs={"time": {"type": "number", "volatile": True}, "a": {}}, dry_run=True)
    assert (action.volatile, action.dry_run, swing().dry_run) == (frozenset({"time"}), True, False)
    with pytest.raises(DDLError, match="unknown JSON Schema keyword 'volatile'"):
        swing({"time": {"volatile": True}})
    with pytest.raises(DDLError, match="unknown JSON Schema keyword 'volatile'"):
        swing(outputs={"a": {"items": {"volatile": True}}})
    with pytest.raises(DDLError, match="'yes' is not of type 'boolean'"):
        swing(outputs={"a": {"volatile": "yes"}})


@pytest.mark.parametrize("data", [None, [], "text", 5])
def test_an_action_must_return_a_mapping(data: Any) -> None:
    """Any other result is a failure of the agent."""
    with pytest.raises(Failed, match="must return a dict"):
        swing().check_output(data)


def test_data_nested_too_deeply_is_refused() -> None:
    """A recursive schema is safe with data of any depth."""
    tree = {"type": "array", "items": {"$ref": "#/properties/at"}}
    deep = json.loads("[" * 400 + "]" * 400)
    with pytest.raises(InvalidInput, match="nested too deeply"):
        with_input({"at": tree}).check_input({"at": deep})


# -- patterns


@given(value=st.text(), ending=st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_a_trailing_newline_does_not_match(value: str, ending: str) -> None:
    """`^…$` matches the whole value only."""
    pattern = json_schema.whole_value_pattern(f"^{re.escape(value)}$")
    assert re.search(pattern, value)
    assert not re.search(pattern, value + ending)


def test_a_trailing_newline_in_a_name_does_not_match() -> None:
    """The patterns in `patternProperties` match whole names only."""
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
def test_only_anchors_are_replaced(pattern: str, whole: str) -> None:
    """A `$` that is escaped or in a character set is a literal."""
    assert json_schema.whole_value_pattern(pattern) == whole


def test_inputs_are_matched_completely() -> None:
    """A service name followed by a newline and a command is refused."""
    action = with_input({"service": {**TEXT, "pattern": "^[a-z]+$"}})
    assert action.check_input({"service": "nginx"}) == {"service": "nginx"}
    for value in ("nginx\n", "nginx\n; rm -rf /", "\nnginx"):
        with pytest.raises(InvalidInput):
            action.check_input({"service": value})


# -- limits

SLOW = {
    "repeated words": r"^(\w+\s?)*$",
    "alternatives": "^(a|aa)+$",
    "nested repetitions": "^((a+)+)+$",
    "optional letters": "^(a?){60}a{60}$",
    "many repetitions": "^" + "a*" * 12 + "$",
    "back references": r"^(a+)+\1$",
    "look-ahead": "^(?=(a+)+$)a",
}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("length", [45, 64, 100_000])
def test_a_slow_pattern_cannot_stop_the_check(name: str, length: int) -> None:
    """A check ends within its limit, whatever the value; a value that could not be checked is refused."""
    action = with_input({"text": {**TEXT, "pattern": SLOW[name]}})
    started = time.thread_time()
    with pytest.raises(InvalidInput):
        action.check_input({"text": "a" * length + "!"})
    assert time.thread_time() - started < CHECK_SECONDS * 3


def test_a_check_that_took_too_long_has_a_reason_of_its_own() -> None:
    """The caller learns that the DDL is too slow, not that the input is wrong."""
    action = with_input({"text": {**TEXT, "pattern": "^(a|aa)+$"}})
    with pytest.raises(UncheckedInput, match="could not be checked within 1 s") as refused:
        action.check_input({"text": "a" * 45 + "!"})
    assert (refused.value.statuscode, refused.value.reason) == (4, "unchecked")


TREE = {"anyOf": [{"items": {"$ref": "#/$defs/tree"}, "type": "array"}] * 4}
NAMES = {"type": "object", "patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": False}
SLOW_VALUES: dict[str, tuple[dict[str, Any], Any]] = {
    "names": (NAMES, {"a" * 60 + "!": 1}),
    "items": ({"type": "array", "uniqueItems": True}, [{"number": number % 99_999} for number in range(100_000)]),
    "references": ({"$ref": "#/$defs/tree"}, json.loads("[" * 20 + "1" + "]" * 20)),
    "many errors": ({"type": "array", "items": {"type": "string", "minLength": 5}}, ["x"] * 300_000),
}


@pytest.mark.parametrize("name", SLOW_VALUES)
def test_a_large_value_cannot_stop_the_check(name: str) -> None:
    """Names, unique items, references and errors that multiply end within the limit too."""
    schema, value = SLOW_VALUES[name]
    more = {"$defs": {"tree": TREE}}
    action = with_input({"value": schema}, **more)
    started = time.thread_time()
    with pytest.raises(InvalidInput):
        action.check_input({"value": value})
    assert time.thread_time() - started < CHECK_SECONDS * 3


def test_unique_items_are_compared_as_json_values() -> None:
    """1 and 1.0 are equal, 1 and true are not; the order of keys does not matter."""
    unique = json_schema.validator({"uniqueItems": True})
    assert unique.is_valid([1, True, "1", [1], [True], {"a": 1}, {"a": True}, None, 0, False])
    pairs: list[list[Any]] = [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [[[]], [[]]]]
    for pair in pairs:
        assert not unique.is_valid(pair)


def test_unevaluated_properties_with_patterns_are_refused() -> None:
    """The check of `unevaluatedProperties` has no time limit, so the keyword is not supported."""
    with pytest.raises(DDLError, match="'unevaluatedProperties' is not supported"):
        with_input({"a": {"allOf": [{"patternProperties": {"^x": {}}}], "unevaluatedProperties": False}})


def test_parsing_does_not_change_the_document() -> None:
    """A DDL that is parsed twice gives the same result."""
    given = document({"a": {**TEXT, "default": "x"}})
    before = copy.deepcopy(given)
    ddl.parse(given)
    assert given == before
