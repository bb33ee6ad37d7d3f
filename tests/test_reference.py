"""The reference is complete: every command, key, agent, action, code, event and variable of the code is in it."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from _reference import commands as help_pages
from _reference import fill
from _reference.schemas import published as published_schemas
from support.documents import DOCS, ROOT, headings

from collective import ddl, exit_codes, filters, schemas
from collective.agents import __path__ as agents_path
from collective.catalog import Catalog
from collective.clients import apps
from collective.clients.commands import COMMANDS
from collective.clients.render import markdown
from collective.config import ClientConfig, NodeConfig
from collective.filters.checks import OPERATORS
from collective.node.requests.reasons import Reason
from collective.policy import parsing

EVENT = re.compile(r"[a-z]+\.[a-z_]+")


def page(name: str) -> str:
    """Return a page of the reference, with its generated sections."""
    return fill((DOCS / "reference" / f"{name}.md").read_text())


def code(folder: str = "collective") -> str:
    """Return the code of a folder."""
    return "\n".join(path.read_text() for path in (ROOT / folder).rglob("*.py"))


def test_every_command_and_verb_has_a_section() -> None:
    """The section of each command and verb has the help page that the argument parser prints."""
    found = set(headings(page("commands")))
    assert {f"crpc {name}" for name in COMMANDS} <= found
    verbs = {"nodes": ["list", "trust", "prune"], "lab": ["run", "start", "stop", "status", "env", "node"]}
    for command, names in verbs.items():
        assert set(names) <= set(help_pages.verbs(command))
    assert {f"crpc {command} {verb}" for command in COMMANDS for verb in help_pages.verbs(command)} <= found
    assert {f"crpc {agent} {verb}" for agent in apps.agents() for verb in apps.verbs(agent)} <= found
    assert page("commands").count("usage: ") >= len(found) - 3


@pytest.mark.parametrize("kind", [NodeConfig, ClientConfig])
def test_every_configuration_key_is_described(kind: type[NodeConfig | ClientConfig]) -> None:
    """The reference has a table with each configuration key and its meaning."""
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.+?) \|$", page("configuration"), re.MULTILINE))
    assert [key.name for key in fields(kind) if key.name not in rows] == []


def test_every_setting_of_an_agent_is_described() -> None:
    """The page has a section for each agent with settings."""
    agents = [name for name in Catalog().paths if f"settings-{name}" in schemas.names()]
    assert agents
    assert set(agents) <= set(headings(page("configuration")))


def test_the_site_has_each_schema_at_its_address() -> None:
    """Editors find each schema on the site by its `$id`."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["site_url"]
    texts = published_schemas(site)
    assert len(texts) > 5
    assert {json.loads(text)["$id"] for text in texts.values()} == {f"{site}{path}" for path in texts}


def test_every_agent_action_and_data_function_has_a_section() -> None:
    """The section of each action and data function has all inputs and outputs."""
    found, text = headings(page("agents")), page("agents")
    for name, path in Catalog().paths.items():
        assert name in found
        for action in ddl.read(path).actions.values():
            assert f"{name} {action.name}" in found
            assert [field for field in (*action.inputs, *action.outputs) if f"`{field}`" not in text] == []
    functions = {path.stem for path in (Path(agents_path[0]) / "data").glob("[a-z]*.py")}
    assert functions <= set(headings(page("filters")))


def test_every_operator_and_target_option_is_described() -> None:
    """The page of the filter language has every operator and target option."""
    text = page("filters")
    assert [operator for operator in OPERATORS if f"`{operator}`" not in text] == []
    options = filters.parse.__kwdefaults__ or filters.parse.__annotations__
    assert [
        name for name in options if name not in ("return", "select") and name.rstrip("_").replace("_", "-") not in text
    ] == []


def test_every_key_of_a_policy_is_described() -> None:
    """The page of the policy has every key of a rule."""
    assert [key for key in parsing._KEYS if f"`{key}`" not in page("policy")] == []  # noqa: SLF001


def test_every_exit_code_and_reason_is_described() -> None:
    """The page of codes has every exit code and reason."""
    text = page("codes")
    codes = {value for value in vars(exit_codes).values() if isinstance(value, int)}
    assert [number for number in sorted(codes) if f"| {number} |" not in text] == []
    reasons = {reason.reply_reason for reason in Reason if reason.reply_reason} | set(
        re.findall(r'reason="(\w+)"', code())
    )
    assert len(reasons) > 5
    assert [reason for reason in reasons if f"`{reason}`" not in text] == []


def test_every_log_event_is_described() -> None:
    """Each event of the code has a row, and each row is an event of the code."""
    described = set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", page("logs"), re.MULTILINE))
    logged = re.findall(r'\blog(?:ger)?\.(?:debug|info|warning|error|exception)\(\s*"([a-z]+\.[a-z_]+)"', code())
    assert set(logged) - described == set()
    assert [event for event in described if f'"{event}"' not in code() + code("clients")] == []


def test_every_environment_variable_is_described() -> None:
    """The reference has each environment variable that begins with COLLECTIVE_."""
    used = set(re.findall(r'"(COLLECTIVE_[A-Z]+)"', code() + code("clients")))
    assert used
    assert [variable for variable in used if f"`{variable}`" not in page("environment")] == []


def test_plain_text_is_shown_as_it_is() -> None:
    """Descriptions are not Markdown or HTML, and do not end the cell of a table."""
    assert markdown.plain("<agent>.yaml, $ARG1$, a_b_c, `x`") == "&lt;agent>.yaml, $ARG1$, a\\_b\\_c, \\`x\\`"
    assert markdown.table(["A"], [["x|y\nz"]]) == "| A |\n| --- |\n| x\\|y z |"


def test_a_page_with_an_unknown_section_is_refused() -> None:
    """A misspelled marker ends the build."""
    with pytest.raises(KeyError, match="nothing"):
        fill("<!-- reference: nothing -->")
