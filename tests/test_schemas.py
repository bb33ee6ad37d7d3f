"""The shipped JSON Schemas agree with the code that reads the same files, and with the example files."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.invalid_configs import INVALID_NODE_CONFIGS
from support.json_documents import check_document

from collective import ddl, json_schema, schema_keywords, schemas
from collective.agents import package, service
from collective.clients.commands import schema as command
from collective.config import ClientConfig, NodeConfig, load_node
from collective.errors import ConfigError, UsageError
from collective.messages import VERSION
from collective.policy import parsing
from collective.yaml_file import parse_yaml, read_yaml

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = {"node": "node.yaml", "client": "client.yaml", "policy": "policy.yaml"}
ROLES: dict[str, type[NodeConfig] | type[ClientConfig]] = {"node": NodeConfig, "client": ClientConfig}


def errors(schema: str, document: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(schemas.load(schema)).iter_errors(document)]


@pytest.mark.parametrize("name", schemas.names())
def test_each_schema_is_valid(name: str) -> None:
    """Each shipped schema is valid JSON Schema 2020-12 and has a title."""
    schema = schemas.load(name)
    assert schema["$schema"] == json_schema.DIALECT
    assert schema["title"]
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", schemas.names())
def test_each_keyword_of_a_schema_is_known(name: str) -> None:
    """The shipped schemas have no misspelt keyword, and no format that is not enforced."""
    own = {"$id", "$schema", "unevaluatedProperties"}  # of schemas that refer to each other
    found = schema_keywords.problems(schemas.load(name))
    assert [problem for problem in found if problem.keyword not in own] == []


@pytest.mark.parametrize("name", schemas.names())
def test_each_schema_has_an_id(name: str) -> None:
    """The `$id` of a schema is the base URL, its name and a version."""
    version = VERSION if name in ("envelope", "request", "reply") else 1
    assert schemas.load(name)["$id"] == schemas.schema_id(name, version)


@pytest.mark.parametrize("name", ROLES)
def test_configuration_and_schema_have_the_same_keys(name: str) -> None:
    """The keys, required keys and constant defaults of a schema are those of the configuration class."""
    schema, entries = schemas.load(name), fields(ROLES[name])
    assert list(schema["properties"]) == [entry.name for entry in entries]
    required = [entry.name for entry in entries if entry.default is MISSING and entry.default_factory is MISSING]
    assert schema["required"] == required
    for entry in entries:
        if isinstance(entry.default, (bool, int, float, str)):
            assert schema["properties"][entry.name]["default"] == entry.default, entry.name


def test_policy_and_schema_have_the_same_keys() -> None:
    """The keys of a rule in the schema are those that the policy parser accepts."""
    schema = schemas.load("policy")
    assert list(schema["$defs"]["rule"]["properties"]) == list(parsing._KEYS)  # noqa: SLF001
    assert set(schema["properties"]) == {"rules", "groups"}


def test_settings_schemas_list_the_providers() -> None:
    """The schemas of settings allow exactly the providers that the agents have."""
    assert schemas.load("settings-package")["properties"]["provider"]["enum"] == list(package.PROVIDERS)
    assert schemas.load("settings-service")["properties"]["provider"]["enum"] == list(service.MANAGERS)


@pytest.mark.parametrize("agent", ["nrpe", "package", "service", "shell"])
def test_settings_schemas_have_the_keys_that_agents_read(agent: str) -> None:
    """Each key that the code of an agent looks up in its settings is in the schema, and no other."""
    source = "".join(path.read_text() for path in (ROOT / "agents").glob(f"**/{agent}.py"))
    used = set(re.findall(r"""settings(?:\.get\(|\[)"([a-z_]+)\"""", source))
    assert set(schemas.load(f"settings-{agent}")["properties"]) == used


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("uncommented", [False, True])
def test_example_files_match_their_schemas(name: str, uncommented: bool) -> None:
    """The example files are valid, as shipped and with all commented keys."""
    text = (ROOT / "conf" / EXAMPLES[name]).read_text()
    if uncommented:
        text = re.sub(r"^# (?=[a-z0-9_]+:)", "", text, flags=re.MULTILINE)
    assert errors(name, parse_yaml(text, name)) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_files_name_their_schemas(name: str) -> None:
    """Editors find the schema of an example file in its first line."""
    first = (ROOT / "conf" / EXAMPLES[name]).read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={schemas.schema_id(name)}"


@pytest.mark.parametrize("path", sorted((ROOT / "ddl").glob("**/*.json")), ids=lambda path: path.stem)
def test_shipped_ddls_match_and_name_their_schemas(path: Path) -> None:
    """Editors find the schema of a DDL in its `$schema`."""
    document = json.loads(path.read_text())
    name = "data-ddl" if path.parent.name == "data" else "ddl"
    assert document["$schema"] == schemas.schema_id(name)
    assert errors(name, document) == []


@pytest.mark.parametrize("text", INVALID_NODE_CONFIGS)
def test_the_schema_refuses_what_the_configuration_refuses(tmp_path: Path, text: str) -> None:
    """A `node.yaml` that the daemon refuses for its content is marked in an editor as well."""
    path = tmp_path / "node.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_node(path)
    try:
        document = read_yaml(path)
    except ConfigError:
        return  # not YAML, which an editor marks by itself
    if any(part in text for part in (".nan", "1: ", "~unknown-user")):
        return  # JSON has neither NaN nor keys that are numbers, and an editor does not know the users of the node
    assert errors("node", document) != []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rules: [{name: a, callers: [alice], allow: false}]", True),
        ("groups: {a: [b]}\nrules: []", True),
        ("rules: [{facts: [a=b], classes: [web], select: a or b, inputs: {required: [x]}}]", True),
        ("rules: {}", False),
        ("groups: {}", False),
        ("rules: [{agents: []}]", False),
        ("rules: [{callers: alice}]", False),
        ("rules: [{allow: maybe}]", False),
        ("rules: [{agent: [a]}]", False),
        ("rules: []\ngroups: {a: [group:b]}", False),
    ],
)
def test_the_schema_of_policies_agrees_with_the_parser(text: str, expected: bool) -> None:
    """Policies that the parser accepts match the schema; structural mistakes match neither."""
    assert (errors("policy", parse_yaml(text, "policy.yaml")) == []) is expected
    if expected:
        parsing.parse(text, "policy.yaml")
    else:
        with pytest.raises(ConfigError):
            parsing.parse(text, "policy.yaml")


def test_a_ddl_can_name_its_schema() -> None:
    """`$schema` is allowed in a DDL with the id of the DDL schema, and in inputs and outputs with the dialect."""
    document = json.loads((ROOT / "ddl" / "service.json").read_text())
    for part in ("input", "output"):
        document["actions"]["status"][part]["$schema"] = json_schema.DIALECT
    action = ddl.parse(document).action("status")
    assert action.check_input({"service": "cron"}) == {"service": "cron"}


def test_the_command_lists_and_prints_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    """`crpc schema` lists all schemas with their titles; `crpc schema NAME` prints one as shipped."""
    command.run([])
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == schemas.names()
    command.run(["--json"])
    assert check_document(json.loads(capsys.readouterr().out)) == "schema"
    command.run(["node"])
    assert json.loads(capsys.readouterr().out) == schemas.load("node")


def test_the_command_refuses_an_unknown_schema() -> None:
    """A misspelt name is refused with a suggestion."""
    with pytest.raises(UsageError, match=r"unknown schema 'nod' \(did you mean 'node'\?\)"):
        command.run(["nod"])
