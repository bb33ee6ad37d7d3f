"""DDLs: errors when one is read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.hammer import TEXT, document, swing

from collective import data_ddl, ddl
from collective.bundled import DDLS
from collective.errors import DDLError, UnknownAction

DRAFT = "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", sorted(DDLS.glob("*.json")), ids=lambda path: path.stem)
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
    "an unknown member": (document(color="red"), "unknown key 'color'"),
    "a misspelt member": (document(dispaly="ok"), "unknown key 'dispaly' (did you mean 'display'?)"),
    "no input": ({**document(), "actions": {"swing": {"description": "x", "output": {}}}}, "$.actions.swing"),
    "no actions": ({**document(), "actions": {}}, "$.actions"),
    "an action's name": ({**document(), "actions": {"Swing!": document()["actions"]["swing"]}}, "Swing!"),
    "an unknown display": (document(display="never"), "'never' is not one of"),
    "an invalid schema": (document({"a": {"type": "text"}}), "a.type: unknown type 'text' (types: string, integer, "),
    "a misspelt type": (document({"a": {"type": "int"}}), "a.type: unknown type 'int' (did you mean 'integer'?)"),
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
    "if without then": ({"if": {"minLength": 1}}, "'if' has no effect without 'then' or 'else'"),
    "a listed value of another type": (
        {**TEXT, "enum": ["a", 1]},
        "'enum' has the value 1, which is not of type string",
    ),
    "a constant of another type": ({**TEXT, "const": True}, "'const' has the value true, which is not of type string"),
    "a POSIX class": ({**TEXT, "pattern": "^[[:alpha:]]+$"}, "'^[[:alpha:]]+$' is not a regular expression: "),
    "Ruby's end of a text": (
        {**TEXT, "pattern": r"\A[a-z]+\z"},
        r"'\A[a-z]+\z' is not a regular expression: bad escape \z",
    ),
    "a value that JSON names otherwise": ({"minLength": True}, ".a.minLength: true is not of type 'integer'"),
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
        (b'{"actions": {}, "actions": {"a": {}}}', "cannot be read as JSON: duplicate key 'actions'"),
        (b'{"metadata": {"timeout": NaN}}', "cannot be read as JSON: NaN is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=["empty", "cut", "bytes", "repeated", "nan", "deep"],
)
def test_a_file_that_is_not_json_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    """The error for an unreadable file names its path."""
    path = tmp_path / "hammer.json"
    path.write_bytes(content)
    with pytest.raises(DDLError, match=rf"hammer\.json: {problem}"):
        ddl.read(path)
