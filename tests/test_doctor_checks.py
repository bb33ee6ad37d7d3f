"""The checks of `crpc doctor`, one by one: what is fine, what is doubtful, what is wrong and how to mend it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from support import ssh
from support.scripted_fleet import Part, Scripted

from collective.config import KEY_NONE, ClientConfig
from collective.errors import CollectiveError, Forbidden, NotFound, SignatureError, Unreachable
from collective.fleet.doctor import attempt, aws_checks, local_checks
from collective.fleet.doctor.findings import Check, Finding
from collective.fleet.known_nodes import KnownNodes
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.signing import key_files, keys
from collective.transport.sqs import SQSTransport

KEY, OTHER = keys.new(), keys.new()
NOW = 1_800_000_000.0
Result = TypeVar("Result")


@pytest.fixture
def config(tmp_path: Path) -> ClientConfig:
    """A caller with a key and a state folder of its own."""
    key_files.write_new(tmp_path / "key", KEY.text())
    return ClientConfig(
        "production", caller="alice", key=tmp_path / "key", ddls=[tmp_path / "ddl"], state=tmp_path / "state"
    )


def looked(check: Check[Result]) -> tuple[list[Finding], Result | None]:
    """Return what a check finds, and its result."""
    findings = []
    attempted = attempt("it", check)
    while True:
        try:
            findings.append(next(attempted))
        except StopIteration as end:
            return findings, end.value


def said(check: Check[Result]) -> list[str]:
    """Return what a check finds, a line each."""
    return [f"{finding.state}: {finding.text}" for finding in looked(check)[0]]


def test_a_defect_of_a_check_is_a_finding() -> None:
    """The checks after it are made all the same."""

    def broken() -> Check[None]:
        yield Finding("it", "begun")
        raise IndexError("list index out of range")

    assert said(broken()) == ["ok: begun", "error: a defect of ours: IndexError: list index out of range"]


# -- here


def test_a_configuration_is_named_and_read(config: ClientConfig, tmp_path: Path) -> None:
    """By its file; the collective is the one that was asked for."""
    file = tmp_path / "client.yaml"
    file.write_text("{collective: production, collectives: [staging], caller: alice}")
    findings, read = looked(local_checks.configuration(file, "staging"))
    assert [finding.text for finding in findings] == [f"{file}: collective staging, caller alice"]
    assert read is not None
    assert read.collective == "staging"
    file.write_text("{colective: production}")
    assert said(local_checks.configuration(file, None)) == [
        f"error: {file}: colective: no such key: did you mean 'collective'?"
    ]


def test_every_ddl_that_cannot_be_read_is_named(config: ClientConfig, tmp_path: Path) -> None:
    """All of them, and a folder that was named and is not there."""
    assert said(local_checks.ddls(config))[0] == f"warning: ddls: {tmp_path}/ddl: there is no such folder"
    (tmp_path / "ddl" / "data").mkdir(parents=True)
    assert said(local_checks.ddls(config)) == ["ok: 5 agents, 6 data functions"]
    for name in ("ddl/one.json", "ddl/data/two.json"):
        (tmp_path / name).write_text("{")
    lines = said(local_checks.ddls(config))
    assert [line.partition(": cannot be read")[0] for line in lines] == [
        f"error: {tmp_path}/ddl/one.json",
        f"error: {tmp_path}/ddl/data/two.json",
    ]


def test_a_state_folder_is_tried(config: ClientConfig, tmp_path: Path) -> None:
    """It is made as a call makes it; nothing that is learnt is kept there."""
    findings, known = looked(local_checks.state(config))
    assert findings[0].text.endswith("can be written, 0 nodes are known by their keys")
    assert known is not None
    known.introduce([NodeRecord("web1", "1", public_key=KEY.public.line)])
    assert (list(known.keys), (tmp_path / "state" / "known_nodes").exists()) == (["web1"], False)
    (tmp_path / "file").touch()
    assert said(local_checks.state(replace(config, state=tmp_path / "file"))) == [
        f"error: {tmp_path}/file: cannot keep reply slots: Not a directory: set 'state'"
    ]


def test_the_key_that_signs_is_shown(config: ClientConfig, tmp_path: Path) -> None:
    """Its kind, fingerprint and place, and the name that it signs in; that of `key: none` is a warning."""
    line = f"ok: ssh-ed25519 {KEY.public.fingerprint} in {tmp_path}/key, signs as alice"
    assert said(local_checks.key(config)) == [line]
    assert said(local_checks.key(replace(config, key=KEY_NONE)))[0].startswith(
        "warning: 'key: none': requests are not signed"
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_private_key_that_others_may_read_is_a_fault(config: ClientConfig, mode: int) -> None:
    """It is said how to mend it."""
    config.key.chmod(mode)
    assert said(local_checks.key(config)) == [
        f"error: {config.key}: others may read this private key: chmod 600 {config.key}"
    ]


def test_a_key_that_cannot_be_used_is_a_fault(config: ClientConfig, tmp_path: Path) -> None:
    """What does not exist, and what has a passphrase that nobody can be asked for."""
    assert "nothing: cannot be read" in said(local_checks.key(replace(config, key=tmp_path / "nothing")))[0]
    locked = ssh.make_key(tmp_path / "locked", passphrase="secret")
    assert said(local_checks.key(replace(config, key=locked), ask=lambda _: None)) == [
        f"error: {locked}: the key has a passphrase, and there is no terminal to prompt for it (use the ssh agent)"
    ]
    asked, found = said(local_checks.key(replace(config, key=locked), ask=lambda _: "secret"))
    assert asked == f"warning: {locked}: every call asks for its passphrase: 'ssh-add {locked}' keeps it"
    assert found.startswith("ok: ssh-ed25519 SHA256:")


def test_a_certificate_that_is_not_for_the_caller_is_a_fault(config: ClientConfig, tmp_path: Path) -> None:
    """Nodes would refuse it; what is wrong with it is said before."""
    certificate = ssh.certify(ssh.make_key(tmp_path / "mine"), ssh.make_key(tmp_path / "authority"), names="bob")
    assert said(local_checks.key(replace(config, key=certificate, caller="bob")))[0].startswith(
        "ok: ssh-ed25519 SHA256:"
    )
    assert "the certificate is for bob, not for 'alice'" in said(local_checks.key(replace(config, key=certificate)))[0]


# -- there


@pytest.mark.parametrize(("skew", "state"), [(0.4, "ok"), (-29.0, "ok"), (31.0, "warning"), (-301.0, "error")])
def test_a_clock_is_judged_by_what_nodes_allow(skew: float, state: str) -> None:
    """A tenth of it is worth a look."""
    [line] = said(aws_checks.clock(skew))
    assert line.startswith(state)
    assert f"{skew:+.1f} s off the servers': 300 s are allowed" in line


class Topics(SQSTransport):
    """A service that has one answer about topics."""

    def __init__(self, error: CollectiveError | None) -> None:
        self._error = error

    def check_topic(self, topic: str) -> None:  # noqa: ARG002 - there is one
        """Give the answer."""
        if self._error:
            raise self._error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (None, "ok: production_requests"),
        (Forbidden("no"), "warning: it cannot be seen whether there is one, which a call does not need: no"),
        (NotFound("x"), "error: production_requests: there is no such topic: no node has ever joined"),
    ],
)
def test_a_topic_may_be_hidden_but_not_missing(config: ClientConfig, error: CollectiveError | None, line: str) -> None:
    """Least privilege lets callers publish, and not look."""
    assert said(aws_checks.topic(Topics(error), config))[0].startswith(line)


def registry_of(*nodes: NodeRecord) -> MemoryRegistry:
    """Return a registry as it is NOW; `last_seen` and `left` are as the records say."""
    registry = MemoryRegistry(clock=lambda: NOW)
    registry.nodes = lambda: list(nodes)  # type: ignore[method-assign]
    return registry


def test_nodes_are_counted_and_the_doubtful_named(config: ClientConfig) -> None:
    """Alive, not seen lately, stopped; and of those alive who is contested or has left an agent out."""
    seen = NodeRecord("web1", "1", last_seen=NOW)
    findings, alive = looked(
        aws_checks.registry(
            registry_of(
                seen,
                replace(seen, identity="web2", refused={"load": "load.py: no such thing"}),
                replace(seen, identity="web3", contested=NOW - 10),
                *(replace(seen, identity=f"db{number}", last_seen=NOW - 901) for number in (1, 2)),
                replace(seen, identity="db3", left=NOW - 5),
            ),
            config,
        )
    )
    assert [f"{finding.state}: {finding.text}" for finding in findings] == [
        "ok: 3 nodes alive, 2 not seen lately, 1 stopped",
        "warning: not seen lately, and no farewell: db[1-2]",
        "warning: two machines use this name: web3",
        "warning: web2 has left out the agent 'load': load.py: no such thing",
    ]
    assert [record.identity for record in alive or ()] == ["web1", "web2", "web3"]


def test_an_empty_registry_is_doubtful_and_so_is_none(config: ClientConfig) -> None:
    """Calls do without a table; where there is one without a node alive, they reach nobody."""
    assert said(aws_checks.registry(registry_of(), config)) == ["warning: 0 nodes alive, 0 not seen lately, 0 stopped"]

    def missing() -> list[NodeRecord]:
        raise NotFound("production_nodes")

    registry = registry_of()
    registry.nodes = missing  # type: ignore[method-assign]
    assert said(aws_checks.registry(registry, config))[0].startswith(
        "warning: production_nodes: there is no such table"
    )


def test_a_key_that_has_changed_is_a_fault(tmp_path: Path) -> None:
    """The node is named, and the command that believes its new key; unknown nodes are as good as the registry."""
    known = KnownNodes(tmp_path, "production", keep=False)
    known.trust("web1", KEY.public)
    published = [NodeRecord(name, "1", public_key=OTHER.public.line) for name in ("web1", "web2")]
    findings, _ = looked(aws_checks.keys(published, known))
    [changed] = findings
    assert isinstance(changed.error, SignatureError)
    assert "web1: another key than the one it is known by" in changed.text
    assert "'crpc nodes trust web1'" in changed.text
    assert known.keys == {"web1": KEY.public, "web2": OTHER.public}


def test_the_node_that_was_seen_last_is_asked(tmp_path: Path) -> None:
    """How long it took is said; one that refuses is a warning, one that stays silent a fault."""
    network = Scripted({"web1": Part(after=None), "web2": Part(after=1.0), "web3": Part(statuscode=1)})
    fleet = network.fleet(tmp_path)

    def asked(identity: str) -> Finding:
        [finding], _ = looked(
            aws_checks.answer(fleet, [NodeRecord("web0", "1"), NodeRecord(identity, "1", last_seen=NOW)])
        )
        return finding

    assert asked("web2").text.startswith("asked web2: answered in ")
    assert (asked("web3").state, asked("web3").text.startswith("asked web3: refused: OK: answered")) == (
        "warning",
        True,
    )
    assert isinstance(asked("web1").error, Unreachable)
    assert asked("web1").text.startswith("asked web1, which was seen last: silent for 4 s: does anything run")


def test_without_a_registry_everybody_is_asked(tmp_path: Path) -> None:
    """So where nobody in it is alive: there may be nodes without one. Who answers is counted."""
    assert said(aws_checks.answer(Scripted({"web1": Part()}).fleet(tmp_path), [])) == [
        "ok: 1 nodes answered a broadcast"
    ]
    found = aws_checks.answer(Scripted({"web1": Part(), "web2": Part()}).fleet(tmp_path / "b"), None)
    assert said(found) == ["ok: 2 nodes answered a broadcast"]


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each finding with its check, its state and its text; the exit code is the gravest fault's."""
    from collective.clients.crpc import main

    assert main(["doctor", "--json", "--config", str(tmp_path / "no.yaml")]) == 78
    [version, configuration] = json.loads(capsys.readouterr().out)["findings"]
    assert (version["check"], version["state"]) == ("version", "ok")
    assert configuration == {
        "check": "configuration",
        "state": "error",
        "text": f"{tmp_path}/no.yaml: cannot be read: No such file or directory",
    }
