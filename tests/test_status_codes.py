"""How an action ends, and the status code that its caller gets: facts of MCollective, and where we differ."""

from __future__ import annotations

import json
from pathlib import Path

from support.agent_cases import assert_same, load
from support.node_server import REPLIES, call_node, described, request

from collective import policy
from collective.testing import memory_fleet

CASES = load("statuscode", keyed="code")
HEAD = (
    "from collective.agent import action\n"
    "from collective.errors import Aborted, Failed, InvalidInput, MissingInput, UnknownAction\n"
)


def name(case_id: str) -> str:
    return f"case_{case_id[-3:]}"


def test_status_codes_are_those_of_the_cases(tmp_path: Path) -> None:
    """Each case in tests/cases/statuscode is an action of one agent, called on a node; without code it is unknown."""
    (tmp_path / "plugins").mkdir()
    known = {name(case["id"]): case for case in CASES if case["code"]}
    code = "".join(f"\n@action\ndef {one}():\n    {case['code']}\n" for one, case in known.items())
    metadata = {"name": "ends", "description": "x", "version": "1"}
    actions = {one: described({}, {}) for one in known}
    (tmp_path / "plugins" / "ends.py").write_text(HEAD + code)
    (tmp_path / "plugins" / "ends.json").write_text(json.dumps({"metadata": metadata, "actions": actions}))
    allowed = [name(case["id"]) for case in CASES if not case.get("denied")]
    (tmp_path / "policy.yaml").write_text(json.dumps({"rules": [{"agents": ["ends"], "actions": allowed}]}))
    folders = [tmp_path / "plugins"]
    rules = policy.read(tmp_path / "policy.yaml")
    with memory_fleet(tmp_path, {"web1": {}}, code=folders, ddls=folders, policy=rules) as network:
        network.transport.open_replies(REPLIES)
        for case in CASES:
            reply = call_node(network, request("ends", name(case["id"])))
            for key, wanted in case["expected"].items():
                assert_same(f"{case['id']}.{key}", wanted, getattr(reply, key))
    assert len(CASES) == 11
