"""The example configuration files load and list every key with its default."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from collective import policy
from collective.config import ClientConfig, NodeConfig, load_client, load_node

CONF = Path(__file__).resolve().parents[1] / "conf"


@pytest.mark.parametrize(("name", "role"), [("node.yaml", NodeConfig), ("client.yaml", ClientConfig)])
def test_every_key_is_shown(name: str, role: type[NodeConfig] | type[ClientConfig]) -> None:
    """The example file has exactly the keys of the configuration."""
    shown = set(re.findall(r"^(?:# )?([a-z0-9_]+):", (CONF / name).read_text(), re.MULTILINE))
    assert shown == {entry.name for entry in fields(role)}


@pytest.mark.parametrize("uncommented", [False, True])
def test_the_examples_load_with_and_without_commented_keys(tmp_path: Path, uncommented: bool) -> None:
    """Commented keys can be enabled as shown; numbers and strings are the defaults."""
    for name in ("node.yaml", "client.yaml"):
        text = (CONF / name).read_text()
        if uncommented:
            text = re.sub(r"^# (?=[a-z0-9_]+:)", "", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(text)
    node, client = load_node(tmp_path / "node.yaml"), load_client(tmp_path / "client.yaml")
    for config in (node, client):
        for entry in fields(config):
            if isinstance(entry.default, (int, float, str)) and entry.name != "accept_unsigned":
                assert getattr(config, entry.name) == entry.default, entry.name


def test_the_example_policy_loads() -> None:
    """The example policy has five rules."""
    assert len(policy.read(CONF / "policy.yaml").rules) == 5
