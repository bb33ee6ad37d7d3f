"""Attacks on a real daemon and its caller by someone who can write to their queues: nothing runs, all is counted.

docs/security.md lists the same cases in a table; a test below compares them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from support.crpc_process import Completed, Crpc, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.waiting import wait_until

from collective import Fleet, Targets, messages, names
from collective.aws.session import AWS
from collective.config import load_client
from collective.filters import parse
from collective.fleet.known_nodes import KnownNodes
from collective.lab.layout import Layout
from collective.messages import Reply, Request
from collective.node.trust import node_key
from collective.signing import key_files, keys, sshsig, unsigned
from collective.signing.allowed_signers import signer_line
from collective.signing.keys import PrivateKey
from collective.signing.ssh_encoding import string, uint32
from collective.transport.sqs import SQSTransport

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text()
COUNTED = ("unvalidated", "duplicates", "expired", "filtered", "passed")


@dataclass
class Scene:
    """A daemon that trusts alice and bob, and an attacker with write access to its queue and with a key."""

    folder: Path
    collective: str
    crpc: Crpc
    fleet: Fleet
    transport: SQSTransport
    alice: PrivateKey
    bob: PrivateKey
    stranger: PrivateKey

    @property
    def replies(self) -> str:
        """The attacker's reply queue."""
        return names.reply_queue(self.collective, "attacker-0")

    def counts(self) -> dict[str, int]:
        """Return the request counters of the node, asked for by alice."""
        [reply] = self.fleet.call("rpcutil", "daemon_stats", targets=Targets(nodes=[IDENTITY]))
        return {name: reply.data[name] for name in COUNTED}

    def request(self, mark: Path, **changes: Any) -> Request:
        """Return a request by alice that creates the file `mark`."""
        plain = Request(
            id=messages.new_id(),
            collective=self.collective,
            installation=self.transport.installation,
            caller="alice",
            sender="laptop",
            agent="shell",
            action="run",
            data={"command": f"echo x >> {mark}"},
            targets=(IDENTITY,),
            filter=parse().to_data(),
            time=time.time(),
            ttl=60,
            timeout=30,
            reply_to=self.replies,
        )
        return replace(plain, **changes)

    def signed(self, request: Request, key: PrivateKey | None = None) -> str:
        """Return the message of a request, signed by alice or with another key."""
        return messages.seal(messages.encode(request), sshsig.signing_with(key or self.alice))

    def send(self, body: str) -> None:
        """Send a message to the node's queue."""
        self.transport.send(names.node_queue(self.collective, IDENTITY), body)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, moto_server: str) -> Iterator[Scene]:
    """One daemon for all attacks."""
    folder = tmp_path_factory.mktemp("trust")
    collective = f"trust-{uuid.uuid4().hex[:8]}"
    pairs = {name: keys.new() for name in ("alice", "bob", "stranger")}
    for name, key in pairs.items():
        key_files.write_new(folder / name, key.text())
    configure(folder, collective, accept_unsigned=False, allowed_signers="allowed_signers", revoked_keys="revoked_keys")
    signers = "".join(signer_line(name, pairs[name].public) for name in ("alice", "bob"))
    (folder / "allowed_signers").write_text(signers)
    client = json.loads((folder / "client.yaml").read_text())
    (folder / "client.yaml").write_text(json.dumps({**client, "key": "alice"}))
    session = boto3.Session(aws_access_key_id="t", aws_secret_access_key="t", region_name="eu-central-1")
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(folder)})
    with pytest.MonkeyPatch.context() as patch, daemon(folder, moto_server):
        for name, value in aws_environment(moto_server).items():
            patch.setenv(name, value)
        with Fleet.connect(load_client(folder / "client.yaml")) as fleet:
            scene = Scene(folder, collective, crpc, fleet, SQSTransport(AWS(session)), **pairs)
            scene.transport.open_replies(scene.replies)
            yield scene


Attack = Callable[[Scene, Request], str]


def altered(body: str, members: Mapping[str, Any]) -> str:
    """Return a message whose payload was changed after signing."""
    outer = json.loads(body)
    payload = {**json.loads(outer["payload"]), **members}
    return json.dumps({**outer, "payload": json.dumps(payload, separators=(",", ":"))})


def unsigned_message(_scene: Scene, request: Request) -> str:
    return messages.seal(messages.encode(request), unsigned)


def by_stranger(scene: Scene, request: Request) -> str:
    return scene.signed(request, scene.stranger)


def by_bob(scene: Scene, request: Request) -> str:
    return scene.signed(request, scene.bob)


def for_git(scene: Scene, request: Request) -> str:
    return messages.seal(messages.encode(request), lambda payload: _signature_for("git", scene.alice, payload))


def changed(signed: Mapping[str, Any], sent: Callable[[Scene], Mapping[str, Any]]) -> Attack:
    """Return an attack that changes a request signed by alice from `signed` to `sent`."""

    def attack(scene: Scene, request: Request) -> str:
        whole = {**asdict(request), **sent(scene)}
        body = scene.signed(replace(request, **signed))
        return altered(body, {name: whole[name] for name in (*signed, *sent(scene))})

    return attack


def signed_with(**changes: Callable[[Scene], Any]) -> Attack:
    """Return an attack with a request signed by alice for another collective or time."""
    return lambda scene, request: scene.signed(
        replace(request, **{name: change(scene) for name, change in changes.items()})
    )


# The message that the attacker sends, made from a request by alice, and the counter of the node.
ATTACKS: dict[str, tuple[Attack, str]] = {
    "unsigned": (unsigned_message, "unvalidated"),
    "signed by a stranger": (by_stranger, "unvalidated"),
    "signed by another caller": (by_bob, "unvalidated"),
    "signed for another purpose": (for_git, "unvalidated"),
    "changed caller": (changed({}, lambda _: {"caller": "bob"}), "unvalidated"),
    "changed data": (changed({"data": {"command": "true"}}, lambda _: {}), "unvalidated"),
    "changed targets": (changed({"targets": ("web2",)}, lambda _: {}), "unvalidated"),
    "changed filter": (changed({"filter": parse(with_fact=["role=db"]).to_data()}, lambda _: {}), "unvalidated"),
    "changed reply address": (changed({}, lambda scene: {"reply_to": f"{scene.replies}1"}), "unvalidated"),
    "another collective's request": (signed_with(collective=lambda _: "staging"), "unvalidated"),
    "a future time": (signed_with(time=lambda _: time.time() + 400), "expired"),
    "captured minutes ago": (signed_with(time=lambda _: time.time() - 400), "expired"),
}


def _signature_for(namespace: str, key: PrivateKey, payload: str) -> str:
    """Return a signature of a payload for another namespace."""
    digest = hashlib.sha512(payload.encode()).digest()
    made = key.sign(b"SSHSIG" + b"".join([string(namespace), string(b""), string("sha512"), string(digest)]))
    parts = [string(key.blob), string(namespace), string(b""), string("sha512"), string(made)]
    return base64.b64encode(b"SSHSIG" + uint32(1) + b"".join(parts)).decode()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_runs_nothing_and_is_counted(scene: Scene, tmp_path: Path, name: str) -> None:
    """The attack is counted, and the next legitimate request succeeds."""
    attack, counter = ATTACKS[name]
    mark = tmp_path / "mark"
    before = scene.counts()
    scene.send(attack(scene, scene.request(mark)))
    wait_until(lambda: scene.counts()[counter] > before[counter], 30)
    done = scene.crpc("shell", "run", "command=echo fine", "-I", IDENTITY, "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert document["outcomes"] == {"ok": 1, "failed": 0, "silent": 0, "skipped": 0, "unexpected": 0, "rejected": 0}
    assert scene.counts()[counter] == before[counter] + 1
    assert not mark.exists()


def test_the_unchanged_request_runs(scene: Scene, tmp_path: Path) -> None:
    """The request of the attacks creates its file when it arrives as alice signed it."""
    mark = tmp_path / "mark"
    scene.send(scene.signed(scene.request(mark)))
    wait_until(mark.exists, 30)


def test_a_second_delivery_does_not_run_again(scene: Scene, tmp_path: Path) -> None:
    """A captured message that is sent again gets the first reply, at the address that alice signed."""
    mark = tmp_path / "mark"
    body = scene.signed(scene.request(mark))
    before = scene.counts()
    scene.send(body)
    wait_until(mark.exists, 30)
    scene.send(body)
    wait_until(lambda: scene.counts()["duplicates"] > before["duplicates"], 30)
    assert mark.read_text() == "x\n"


def test_a_revoked_key_is_rejected(scene: Scene, tmp_path: Path) -> None:
    """Revoking a key needs no restart, and deleting the line ends it."""
    mark = tmp_path / "mark"
    before = scene.counts()
    (scene.folder / "revoked_keys").write_text(f"{scene.bob.public.fingerprint} lost phone\n")
    scene.send(scene.signed(scene.request(mark, caller="bob"), scene.bob))
    wait_until(lambda: scene.counts()["unvalidated"] > before["unvalidated"], 30)
    assert not mark.exists()
    (scene.folder / "revoked_keys").write_text("")
    scene.send(scene.signed(scene.request(mark, caller="bob"), scene.bob))
    wait_until(mark.exists, 30)


# -- replies

FORGERIES: dict[str, Callable[[Scene, str], str | None]] = {
    "a reply forged by another node": lambda scene, payload: sshsig.sign(scene.stranger, payload),
    "an unsigned reply": lambda _scene, _payload: None,
    "a reply with a signature from elsewhere": lambda scene, _: sshsig.sign(node_key(scene.folder / "state"), "x"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_reply_is_rejected_and_the_real_one_accepted(
    scene: Scene, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A forged reply that arrives before the real one is rejected."""
    assert scene.counts()  # stores the node's key
    call = scene.fleet.call("shell", "run", {"command": "sleep 2; echo true"}, targets=Targets(nodes=[IDENTITY]))
    sent = call._sent.find(call.request_id)  # noqa: SLF001 - what an attacker reads in a node's queue
    assert sent
    forged = Reply(
        call.request_id, sent.digest, IDENTITY, "shell", "run", 0, "OK", {"stdout": "forged"}, time.time(), 1.0
    )
    body = messages.seal(messages.encode(forged), lambda payload: FORGERIES[name](scene, payload))
    queues = boto3.client("sqs").list_queues(QueueNamePrefix=names.reply_queue(scene.collective, ""))["QueueUrls"]
    for url in queues:
        scene.transport.send(url.rpartition("/")[2], body)
    replies = list(call)
    assert [reply.data["stdout"] for reply in replies] == ["true\n"]
    assert (call.outcomes.ok, call.outcomes.rejected) == ([IDENTITY], {IDENTITY})
    [warning] = [record for record in caplog.records if record.message == "reply.rejected"]
    assert warning.__dict__["error"].startswith(f"{IDENTITY}: ")


def test_a_node_with_a_new_key_is_rejected_until_it_is_trusted(scene: Scene, tmp_path: Path) -> None:
    """The error has both fingerprints, and `crpc nodes trust` accepts the new key."""
    client = json.loads((scene.folder / "client.yaml").read_text())
    changed = {**client, "key": str(scene.folder / "alice"), "state": "state", "ddls": []}
    config = tmp_path / "client.yaml"
    config.write_text(json.dumps(changed))
    old, new = scene.stranger.public, node_key(scene.folder / "state").public
    KnownNodes(tmp_path / "state", scene.collective).trust(IDENTITY, old)

    def crpc(*words: str) -> Completed:
        return scene.crpc(*words, "--config", str(config))

    listed = crpc("nodes", "list").stdout.split()
    assert (listed[0], listed[-1]) == (IDENTITY, old.fingerprint)
    refused = crpc("rpcutil", "ping", "-I", IDENTITY, "-t", "4", "--json")
    document = json.loads(refused.stdout)
    assert (refused.returncode, document["replies"], document["rejected"]) == (3, [], [IDENTITY])
    for expected in (f"{IDENTITY}: THE NODE'S KEY HAS CHANGED", old.fingerprint, new.fingerprint, "'crpc nodes trust "):
        assert expected in refused.stderr
    trusted = crpc("nodes", "trust", IDENTITY)
    assert trusted.stdout == f"{IDENTITY}: now trusting {new.fingerprint} instead of {old.fingerprint}\n"
    assert crpc("rpcutil", "ping", "-I", IDENTITY).returncode == 0
    again = crpc("nodes", "trust", IDENTITY)
    assert (again.returncode, again.stdout) == (64, "")


def test_nodes_trust_uses_the_key_in_the_registry(lab: Layout, crpc: Crpc, tmp_path: Path) -> None:
    """`crpc nodes trust` uses the registry, not the last reply, and reports if the key has not changed."""
    client = yaml.safe_load((lab.folder / "client.yaml").read_text())
    changed = {**client, "key": str(lab.folder / "key"), "state": str(tmp_path)}
    config = tmp_path / "client.yaml"
    config.write_text(json.dumps(changed))
    registered, old, stranger = node_key(lab.node("node01.lab") / "state").public, keys.new().public, keys.new().public
    known = KnownNodes(tmp_path, "lab")
    known.trust("node01.lab", old)

    def nodes(*words: str) -> Completed:
        return crpc("nodes", *words, "--config", str(config))

    refused = crpc("rpcutil", "ping", "-I", "node01.lab", "-t", "2", "--config", str(config))
    assert (refused.returncode, registered.fingerprint in refused.stderr) == (3, True)
    trusted = nodes("trust", "node01.lab")
    assert trusted.stdout == f"node01.lab: now trusting {registered.fingerprint} instead of {old.fingerprint}\n"
    assert crpc("ping", "--config", str(config)).returncode == 0
    assert len(nodes("list").stdout.splitlines()) == 5
    (tmp_path / "refused_nodes").write_text(f"lab node01.lab {stranger.line}\n")
    again = nodes("trust", "node01.lab")
    assert again.returncode == 64
    assert f"the registry still has the known key {registered.fingerprint}: the refused reply came from" in again.stderr


# -- the documentation


def test_the_documentation_lists_every_case() -> None:
    """docs/security.md lists exactly the attacks of this module, above those without a queue."""
    table = DOCUMENT.partition("## Attacks that are tried")[2].partition("\n##")[0]
    named = set(re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)) - {"attack"}
    elsewhere = {"a second delivery", "a replay after minutes", "a replay after a restart"}
    elsewhere |= {"a saved plan edited by someone else: inputs, hooks, gates, nodes, pace"}
    assert named == {*ATTACKS, *FORGERIES, *elsewhere, "a revoked key", "a node's new key"}


def test_openssh_verifies_a_message_with_the_documented_commands(
    scene: Scene, tmp_path: Path, needs: Callable[[str, str], None]
) -> None:
    """The commands in docs/security.md verify a message without code of collective."""
    needs("ssh-keygen", "openssh-client")
    [commands] = re.findall(r"```sh\n(python3.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "allowed_signers").write_text(signer_line("alice@example.com", scene.alice.public))
    for command in ("true", "true " * 2000):  # the second one is sent compressed
        body = scene.signed(scene.request(tmp_path, caller="alice@example.com", data={"command": command}))
        (tmp_path / "message.json").write_text(body)
        done = subprocess.run(["sh", "-c", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert 'Good "collective" signature for alice@example.com' in done.stdout
    (tmp_path / "message.json").write_text(body.replace('"payload":"', '"payload":"x'))
    assert subprocess.run(["sh", "-c", commands], cwd=tmp_path, capture_output=True, check=False).returncode != 0
