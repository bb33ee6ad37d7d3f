"""Several collectives in client.yaml, each with its own values, and `crpc config`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.crpc_call import Captured, called, json_document

from collective.config import load_client
from collective.errors import ConfigError, UsageError

FILE = """\
# the caller of all environments
collective: production  # the default
caller: alice
collectives:
  staging: {region: eu-west-1, profile: stage, caller: bob, max_targets: 5}
  prod-us:
    collective: production
    region: us-east-1
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client.yaml with three collectives that crpc finds."""
    path = tmp_path / "client.yaml"
    path.write_text(FILE)
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    return path


def settings(capsys: Captured, *words: str) -> dict[str, tuple[object, str]]:
    found = json_document(["config", "show", *words], capsys)["settings"]
    return {entry["key"]: (entry["value"], entry["source"]) for entry in found}


def test_a_collective_has_values_of_its_own(file: Path) -> None:
    """The values of a collective replace those of the file, and only those."""
    production, staging = load_client(file), load_client(file, "staging")
    assert (production.collective, production.caller, production.region) == ("production", "alice", None)
    assert (staging.collective, staging.caller, staging.region) == ("staging", "bob", "eu-west-1")
    assert (staging.max_targets, staging.state) == (5, production.state)


def test_a_second_collective_of_one_name_has_its_own_state(file: Path) -> None:
    """Two collectives of the same name elsewhere share no keys of nodes and no reply queues."""
    production, other = load_client(file), load_client(file, "prod-us")
    assert (other.collective, other.region) == ("production", "us-east-1")
    assert other.state == production.state / "collectives" / "prod-us"


@pytest.mark.parametrize(
    ("text", "problem"),
    {
        "{collective: p, collectives: {B: {}}}": "collectives: invalid collective name 'B'",
        "{collective: p, collectives: {b: 5}}": "collectives.b: must be a mapping, not int",
        "{collective: p, collectives: {b: {ttl: soon}}}": "collectives.b.ttl: must be a number, not 'soon'",
        "{collective: p, collectives: {b: {regoin: x}}}": "collectives.b: unknown key 'regoin' (did you mean 'region'",
        "{collective: p, collectives: {b: {caller: a b}}}": "collectives.b.caller: invalid caller 'a b'",
        "{collective: p, collectives: {b: {collectives: [c]}}}": "collectives.b: unknown key 'collectives'",
        "{collective: p, collectives: 5}": "collectives: must be a mapping of names, or a list of names, not 5",
    }.items(),
)
def test_wrong_values_of_a_collective_are_named(tmp_path: Path, text: str, problem: str) -> None:
    """An error names the file, the collective and the key."""
    path = tmp_path / "client.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_client(path)
    assert f"{path}: {problem}" in str(error.value)


def test_each_value_has_its_source(file: Path, capsys: Captured) -> None:
    """The command prints where a value comes from: an option, a variable, the file, a collective, or the default."""
    found = settings(capsys)
    assert found["collective"] == ("production", "client.yaml")
    assert found["region"] == ("eu-central-1", "AWS_DEFAULT_REGION")
    assert found["ttl"] == (60.0, "default")
    found = settings(capsys, "-T", "staging")
    assert found["collective"] == ("staging", "-T")
    assert found["region"] == ("eu-west-1", "client.yaml, collectives.staging")
    assert found["caller"] == ("bob", "client.yaml, collectives.staging")


def test_the_variable_that_selects_a_collective_is_named(
    file: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source of the collective is COLLECTIVE_TARGET if that variable selects it."""
    monkeypatch.setenv("COLLECTIVE_TARGET", "prod-us")
    monkeypatch.setenv("COLLECTIVE_TTL", "30")
    assert settings(capsys)["collective"] == ("production", "COLLECTIVE_TARGET, collectives.prod-us")
    assert settings(capsys)["ttl"] == (30.0, "COLLECTIVE_TTL")
    monkeypatch.setenv("COLLECTIVE_TTL", "soon")
    assert called(["config", "show"], capsys)[0] == 64


@pytest.mark.parametrize(
    "listed",
    [
        FILE.partition("collectives:")[2],
        " [staging, prod-us]\n",
        " {staging: {}, prod-us: }\n",
        "\n- staging\n- prod-us\n",
    ],
)
def test_use_changes_one_line(file: Path, capsys: Captured, listed: str) -> None:
    """The default changes, comments and the other lines stay, and the default before can be selected again."""
    file.write_text(FILE.partition("collectives:")[0] + "collectives:" + listed)
    assert called(["config", "use", "staging"], capsys)[0] == 0
    assert file.read_text().startswith("# the caller of all environments\ncollective: staging  # the default\n")
    assert load_client(file).collective == "staging"
    assert load_client(file, "production").caller == "alice"
    assert called(["config", "use", "production"], capsys)[0] == 0
    assert yaml.safe_load(file.read_text())["collective"] == "production"


def test_use_refuses_a_file_that_it_cannot_change(file: Path, capsys: Captured) -> None:
    """A file in another form is not changed, and the message tells what to do."""
    file.write_text("{collective: production, collectives: [staging]}")
    code, _, err = called(["config", "use", "staging"], capsys)
    assert (code, "cannot be changed by this command (edit the file)" in err) == (78, True)


def test_use_refuses_an_unknown_collective(file: Path, capsys: Captured) -> None:
    """A misspelt name changes nothing."""
    code, _, err = called(["config", "use", "stagin"], capsys)
    assert (code, "unknown collective 'stagin' (did you mean 'staging'?)" in err) == (64, True)
    assert file.read_text() == FILE
    with pytest.raises(UsageError):
        load_client(file, "stagin")


def test_collectives_are_listed(file: Path, capsys: Captured) -> None:
    """The list has the default first, with its mark."""
    found = json_document(["config", "list"], capsys)["collectives"]
    assert [(entry["name"], entry["default"]) for entry in found] == [
        ("production", True),
        ("staging", False),
        ("prod-us", False),
    ]
    assert called(["config", "list"], capsys)[1].startswith("* production")


def test_the_values_are_shown_without_a_verb(file: Path, capsys: Captured) -> None:
    """The command alone, or with options, is the same as with `show`."""
    assert called(["config"], capsys) == called(["config", "show"], capsys)
    assert called(["config", "-T", "staging", "-j"], capsys) == called(
        ["config", "show", "-T", "staging", "-j"], capsys
    )
    assert called(["config", "--help"], capsys)[1].startswith("usage: crpc config")
