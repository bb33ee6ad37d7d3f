"""The checks of `crpc doctor`, one by one: findings that are ok, warnings and errors."""

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
from collective.fleet.doctor import attempt, aws_checks, local_checks, node_checks
from collective.fleet.doctor.findings import Check, Finding
from collective.fleet.known_nodes import KnownNodes
from collective.registry import Contents, NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.signing import key_files, keys
from collective.transport.sqs import SQSTransport

KEY, OTHER = keys.new(), keys.new()
NOW = 1_800_000_000.0
Result = TypeVar("Result")


@pytest.fixture
def config(tmp_path: Path) -> ClientConfig:
    """Return the configuration of a caller with a key and a state folder."""
    key_files.write_new(tmp_path / "key", KEY.text())
    return ClientConfig(
        "production", caller="alice", key=tmp_path / "key", ddls=[tmp_path / "ddl"], state=tmp_path / "state"
    )


def run(check: Check[Result]) -> tuple[list[Finding], Result | None]:
    """Return the findings of a check, and its result."""
    findings = []
    attempted = attempt("it", check)
    while True:
        try:
            findings.append(next(attempted))
        except StopIteration as end:
            return findings, end.value


def lines(check: Check[Result]) -> list[str]:
    """Return the findings of a check, each as `state: text`."""
    return [f"{finding.state}: {finding.text}" for finding in run(check)[0]]


def test_an_internal_error_in_a_check_is_a_finding() -> None:
    """After an internal error in one check of the doctor, the other checks are run."""

    def broken() -> Check[None]:
        yield Finding("it", "begun")
        raise IndexError("list index out of range")

    assert lines(broken()) == ["ok: begun", "error: internal error: IndexError: list index out of range"]


# -- local checks


def test_the_configuration_is_read(config: ClientConfig, tmp_path: Path) -> None:
    """The finding names the file and the selected collective."""
    file = tmp_path / "client.yaml"
    file.write_text("{collective: production, collectives: [staging], caller: alice}")
    findings, read = run(local_checks.configuration(file, "staging"))
    assert [finding.text for finding in findings] == [f"{file}: collective staging, caller alice"]
    assert read is not None
    assert read.collective == "staging"
    file.write_text("{colective: production}")
    assert lines(local_checks.configuration(file, None)) == [
        f"error: {file}: unknown key 'colective' (did you mean 'collective'?)"
    ]


def test_every_invalid_ddl_is_a_finding(config: ClientConfig, tmp_path: Path) -> None:
    """All invalid DDLs are reported, and a configured folder that does not exist."""
    assert lines(local_checks.ddls(config))[0] == f"warning: ddls: {tmp_path}/ddl: folder does not exist"
    (tmp_path / "ddl" / "data").mkdir(parents=True)
    assert lines(local_checks.ddls(config)) == ["ok: 13 agents, 6 data functions"]
    for name in ("ddl/one.json", "ddl/data/two.json"):
        (tmp_path / name).write_text("{")
    findings = lines(local_checks.ddls(config))
    assert [line.partition(": cannot be read")[0] for line in findings] == [
        f"error: {tmp_path}/ddl/one.json",
        f"error: {tmp_path}/ddl/data/two.json",
    ]


def test_the_state_folder_is_checked(config: ClientConfig, tmp_path: Path) -> None:
    """The folder is created as by a call, and no keys are stored in it."""
    findings, known = run(local_checks.state(config))
    assert findings[0].text.endswith(": writable, 0 known nodes")
    assert known is not None
    known.introduce([NodeRecord("web1", "1", public_key=KEY.public.line)])
    assert (list(known.keys), (tmp_path / "state" / "known_nodes").exists()) == (["web1"], False)
    (tmp_path / "file").touch()
    problem = f"{tmp_path}/file/slots/production: cannot write reply slots: Not a directory"
    found = lines(local_checks.state(replace(config, state=tmp_path / "file")))
    assert found == [f"error: {problem} (set 'state' in client.yaml)"]


def test_the_signing_key_is_shown(config: ClientConfig, tmp_path: Path) -> None:
    """The finding has the type, fingerprint and location of the key and the caller; `key: none` is a warning."""
    line = f"ok: ssh-ed25519 {KEY.public.fingerprint} in {tmp_path}/key, signs as alice"
    assert lines(local_checks.key(config)) == [line]
    assert lines(local_checks.key(replace(config, key=KEY_NONE)))[0].startswith(
        "warning: 'key: none': requests are not signed"
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_private_key_that_others_can_read_is_an_error(config: ClientConfig, mode: int) -> None:
    """The error contains the command that repairs it."""
    config.key.chmod(mode)
    assert lines(local_checks.key(config)) == [
        f"error: {config.key}: other users can read this private key (chmod 600 {config.key})"
    ]


def test_a_key_that_cannot_be_used_is_an_error(config: ClientConfig, tmp_path: Path) -> None:
    """A missing key, and a passphrase without a terminal to read it from, are errors."""
    assert "nothing: cannot be read" in lines(local_checks.key(replace(config, key=tmp_path / "nothing")))[0]
    locked = ssh.make_key(tmp_path / "locked", passphrase="secret")
    assert lines(local_checks.key(replace(config, key=locked), ask=lambda _: None)) == [
        f"error: {locked}: the key has a passphrase, and there is no terminal to prompt for it (use the ssh agent)"
    ]
    asked, found = lines(local_checks.key(replace(config, key=locked), ask=lambda _: "secret"))
    assert asked == f"warning: {locked}: every call asks for its passphrase (avoid: 'ssh-add {locked}')"
    assert found.startswith("ok: ssh-ed25519 SHA256:")


def test_a_certificate_for_another_caller_is_an_error(config: ClientConfig, tmp_path: Path) -> None:
    """The error contains the reason why nodes would reject the certificate."""
    certificate = ssh.certify(ssh.make_key(tmp_path / "mine"), ssh.make_key(tmp_path / "authority"), names="bob")
    assert lines(local_checks.key(replace(config, key=certificate, caller="bob")))[0].startswith(
        "ok: ssh-ed25519 SHA256:"
    )
    assert "the certificate is for bob, not for 'alice'" in lines(local_checks.key(replace(config, key=certificate)))[0]


# -- AWS checks


@pytest.mark.parametrize(("skew", "state"), [(0.4, "ok"), (-29.0, "ok"), (31.0, "warning"), (-301.0, "error")])
def test_the_clock_is_checked_against_the_allowed_skew(skew: float, state: str) -> None:
    """A skew of more than a tenth of the allowed one is a warning, a larger one than allowed an error."""
    [line] = lines(aws_checks.clock(skew))
    assert line.startswith(state)
    assert f"{skew:+.1f} s off, 300 s are allowed" in line


class Topics(SQSTransport):
    """A transport with one answer for every topic."""

    def __init__(self, error: CollectiveError | None) -> None:
        self._error = error

    def check_topic(self, topic: str) -> None:  # noqa: ARG002 - there is one
        """Raise the error, if there is one."""
        if self._error:
            raise self._error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (None, "ok: production_requests"),
        (Forbidden("no"), "warning: cannot be checked, which calls do not need: no"),
        (NotFound("topic", "x"), "error: topic 'production_requests' does not exist: no node has joined 'production'"),
    ],
)
def test_a_missing_topic_is_an_error(config: ClientConfig, error: CollectiveError | None, line: str) -> None:
    """Callers with least privilege can publish to the topic, but not query it."""
    assert lines(aws_checks.topic(Topics(error), config))[0].startswith(line)


def registry_of(*nodes: NodeRecord) -> MemoryRegistry:
    """Return a registry at the time NOW, with `last_seen` and `left` as in the records."""
    registry = MemoryRegistry(clock=lambda: NOW)
    registry.nodes = lambda: list(nodes)  # type: ignore[method-assign]
    return registry


def test_nodes_are_counted_and_those_with_problems_named(config: ClientConfig, tmp_path: Path) -> None:
    """Nodes that are stale, that share an identity, or whose agents failed to load are warnings."""
    seen = NodeRecord("web1", "1", last_seen=NOW)
    findings, alive = run(
        aws_checks.registry(
            registry_of(
                seen,
                replace(seen, identity="web2", refused={"load": "load.py: no such thing"}),
                replace(seen, identity="web3", contested=NOW - 10),
                *(replace(seen, identity=f"db{number}", last_seen=NOW - 901) for number in (1, 2)),
                replace(seen, identity="db3", left=NOW - 5),
            ),
            config,
            KnownNodes(tmp_path, "production", keep=False),
        )
    )
    assert [f"{finding.state}: {finding.text}" for finding in findings] == [
        "ok: 3 nodes alive, 2 not seen recently, 1 stopped",
        "warning: not seen recently, not stopped: db[1-2]",
        "warning: two machines use this identity: web3",
        "warning: web2: agent 'load' failed to load: load.py: no such thing",
    ]
    assert [record.identity for record in alive or ()] == ["web1", "web2", "web3"]


def test_an_empty_or_missing_registry_is_a_warning(config: ClientConfig, tmp_path: Path) -> None:
    """Calls work without a table, but reach no node when the table has none that is alive."""
    known = KnownNodes(tmp_path, "production", keep=False)
    assert lines(aws_checks.registry(registry_of(), config, known)) == [
        "warning: 0 nodes alive, 0 not seen recently, 0 stopped"
    ]

    def missing() -> Contents:
        raise NotFound("table", "production_nodes")

    registry = registry_of()
    registry.read = missing  # type: ignore[method-assign]
    assert lines(aws_checks.registry(registry, config, known))[0].startswith(
        "warning: table 'production_nodes' does not exist: nodes are discovered by broadcast"
    )


def test_a_changed_key_is_an_error(tmp_path: Path) -> None:
    """The error names the node and the command that trusts its new key; unknown nodes get their registry key."""
    known = KnownNodes(tmp_path, "production", keep=False)
    known.trust("web1", KEY.public)
    published = [NodeRecord(name, "1", public_key=OTHER.public.line) for name in ("web1", "web2")]
    findings, _ = run(aws_checks.keys(published, known))
    [changed] = findings
    assert isinstance(changed.error, SignatureError)
    assert "web1: its key has changed, so its replies are rejected" in changed.text
    assert "'crpc nodes trust web1'" in changed.text
    assert known.keys == {"web1": KEY.public, "web2": OTHER.public}


def test_the_node_seen_last_is_pinged(tmp_path: Path) -> None:
    """The finding has the response time; a refusal is a warning, and silence an error."""
    network = Scripted({"web1": Part(after=None), "web2": Part(after=1.0), "web3": Part(statuscode=1)})
    fleet = network.fleet(tmp_path)

    def asked(identity: str) -> Finding:
        [finding], _ = run(aws_checks.reply(fleet, [NodeRecord("web0", "1"), NodeRecord(identity, "1", last_seen=NOW)]))
        return finding

    assert asked("web2").text.startswith("web2: replied in ")
    assert (asked("web3").state, asked("web3").text.endswith("ms, refused: OK")) == (
        "warning",
        True,
    )
    assert isinstance(asked("web1").error, Unreachable)
    assert asked("web1").text.startswith("web1, seen last: no reply within 4 s (check that")


def test_the_silence_of_a_node_that_has_stopped_is_explained_by_its_record(tmp_path: Path) -> None:
    """What the registry knows is repeated; "it may have stopped" is for a node of which it does not know that."""
    network = Scripted({"web1": Part(after=None)})
    check = node_checks.reply(network.fleet(tmp_path), network, "production", "web1", "stopped cleanly 20 s ago")
    assert lines(check) == ["error: web1: stopped cleanly 20 s ago: no reply within 8 s"]


def test_without_live_nodes_a_broadcast_is_sent(tmp_path: Path) -> None:
    """Without a registry, or when no node in it is alive, the nodes that reply to a broadcast are counted."""
    assert lines(aws_checks.reply(Scripted({"web1": Part()}).fleet(tmp_path), [])) == [
        "ok: 1 node replied to a broadcast"
    ]
    found = aws_checks.reply(Scripted({"web1": Part(), "web2": Part()}).fleet(tmp_path / "b"), None)
    assert lines(found) == ["ok: 2 nodes replied to a broadcast"]


def test_json_output_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each finding has its check, state and text, and the exit code is that of the most serious error."""
    from collective.clients.crpc import main

    assert main(["doctor", "--json", "--config", str(tmp_path / "no.yaml")]) == 78
    [version, configuration] = json.loads(capsys.readouterr().out)["findings"]
    assert (version["check"], version["state"]) == ("version", "ok")
    assert configuration == {
        "check": "configuration",
        "state": "error",
        "text": f"{tmp_path}/no.yaml: cannot be read: No such file or directory",
    }
