r"""Stand-ins that ship with the library: authors of plugins test with what we test with.

    with fake_commands({"uptime": {"stdout": "up 3 days\n"}}) as calls:
        assert load.status()["uptime"] == "up 3 days"
    assert calls() == [["uptime"]]

    with memory_fleet(tmp_path, {"web1": {"role": "web"}, "db1": {"role": "db"}}, code=[Path("agents")],
                      ddls=[Path("ddl")]) as network:
        call = network.fleet.call("load", "status", filter=parse(with_fact=["role=web"]))
        assert [reply.sender for reply in call] == ["web1"]

Nothing here is imported by the library itself.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import __version__, catalog, signing
from collective.config import ClientConfig
from collective.fleet.fleet import Fleet
from collective.node import agents, data
from collective.node.audit import Audit
from collective.node.facts import Facts
from collective.node.runner import Runner
from collective.node.server import Server
from collective.policy import Policy, Rule
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.transport import Transport
from collective.transport.memory import MemoryTransport

COLLECTIVE = "testing"

Answer = Mapping[str, Any]

# A stand-in notes its arguments, finds the longest key that they begin with, and gives that key's answer.
_STAND_IN = """#!{python} -IS
import fcntl, json, pathlib, sys
folder = pathlib.Path(__file__).parent
words = [pathlib.Path(__file__).name, *sys.argv[1:]]
answers = json.loads((folder / ".answers.json").read_text())
keys = [key for key in answers if words[: len(key.split())] == key.split()]
key = max(keys, key=len, default=None)
with (folder / ".calls.jsonl").open("a+") as calls:
    fcntl.flock(calls, fcntl.LOCK_EX)
    calls.seek(0)
    earlier = sum(json.loads(line)["key"] == key for line in calls)
    print(json.dumps({{"key": key, "words": words}}), file=calls)
if key is None:
    sys.exit(f"{{words}}: the test gives no answer for this call")
answer = answers[key][min(earlier, len(answers[key]) - 1)]
sys.stdout.write(answer.get("stdout", ""))
sys.stderr.write(answer.get("stderr", ""))
sys.exit(answer.get("exitcode", 0))
"""


@contextmanager
def fake_commands(
    answers: Mapping[str, Answer | Sequence[Answer]], *, only: bool = False
) -> Iterator[Callable[[], list[list[str]]]]:
    """Put small executables at the front of PATH, and yield a function that lists the calls they got.

    A key of `answers` is a command's name, or its name and first arguments (`systemctl show`): the longest
    key that fits a call answers it. An answer is `{"stdout": text, "stderr": text, "exitcode": number}`, each
    of which may be left out; a list of answers serves one call after the other, the last one for ever.
    A call is `[name, argument, …]`; the list can still be had afterwards.
    With `only`, PATH holds nothing else: no other command is found.
    """
    table = {key: [answer] if isinstance(answer, Mapping) else list(answer) for key, answer in answers.items()}
    path = os.environ.get("PATH", os.defpath)
    with tempfile.TemporaryDirectory(prefix="fake-commands-") as name:
        folder = Path(name)
        noted = folder / ".calls.jsonl"
        noted.touch()
        ended: list[list[str]] = []
        (folder / ".answers.json").write_text(json.dumps(table), encoding="utf-8")
        for command in {key.split()[0] for key in table}:
            stand_in = folder / command
            stand_in.write_text(_STAND_IN.format(python=sys.executable), encoding="utf-8")
            stand_in.chmod(0o755)
        os.environ["PATH"] = name if only else f"{name}{os.pathsep}{path}"
        try:
            yield lambda: _calls(noted) if noted.exists() else ended
        finally:
            os.environ["PATH"] = path
            ended.extend(_calls(noted))


def _calls(path: Path) -> list[list[str]]:
    return [json.loads(line)["words"] for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class Network:
    """A collective in memory: what a caller uses, and the nodes behind it, by identity."""

    fleet: Fleet
    transport: MemoryTransport
    registry: MemoryRegistry
    nodes: Mapping[str, Server]


@contextmanager
def memory_fleet(
    folder: Path,
    nodes: Mapping[str, Mapping[str, Any]],
    *,
    code: Sequence[Path] = (),
    ddls: Sequence[Path] = (),
    policy: Policy | None = None,
    client: Mapping[str, Any] | None = None,
    **server: Any,
) -> Iterator[Network]:
    """Run nodes (facts by identity) with the real node and caller code; only what lies between them is in memory.

    The standard agents and those of `code` and `ddls` serve; actions run in real processes. Files go below
    `folder`. Without a `policy` everything is allowed. `client` are keys of ClientConfig, `server` further
    arguments of each Server.
    """
    transport, registry = MemoryTransport(), MemoryRegistry()
    parts = {**node_parts(folder, code, ddls), **server}
    if policy:
        parts["policy"] = policy
    servers, threads = {}, []
    for identity, facts in nodes.items():
        servers[identity] = node = make_node(folder, identity, transport, facts, parts)
        node.open()
        versions = {name: agent.ddl.metadata["version"] for name, agent in node.agents.items()}
        known, refused = node.facts.current, node.agents.refused
        registry.put(NodeRecord(identity, __version__, known, agents=versions, refused=refused))
        threads.append(threading.Thread(target=node.serve, name=identity, daemon=True))
    config = ClientConfig(COLLECTIVE, state=folder / "state", ddls=list(ddls), **(client or {}))
    with Fleet(config, transport, registry) as fleet:
        for thread in threads:
            thread.start()
        try:
            yield Network(fleet, transport, registry, servers)
        finally:
            transport.close()
            for node in servers.values():
                node.stop(timeout=5.0)
            for thread in threads:
                thread.join()


def node_parts(folder: Path, code: Sequence[Path] = (), ddls: Sequence[Path] = ()) -> dict[str, Any]:
    """Return what nodes of one process can share: agents, data functions, runner, and a policy that allows all."""
    folders = ([agents.bundled(), *code], [catalog.bundled(), *ddls], folder / "settings")
    return {
        "agents": agents.load(*folders),
        "data": data.load(*folders),
        "runner": Runner(),
        "policy": Policy([Rule("everybody may do everything")]),
    }


def make_node(
    folder: Path, identity: str, transport: Transport, facts: Mapping[str, Any], parts: Mapping[str, Any]
) -> Server:
    """Return a node of the collective COLLECTIVE on any transport: open it, and serve in a thread of its own."""
    facts_file = folder / f"{identity}.json"
    facts_file.write_text(json.dumps(facts), encoding="utf-8")
    return Server(
        collective=COLLECTIVE,
        identity=identity,
        transport=transport,
        facts=Facts([facts_file], []),
        sign=signing.unsigned,
        verify=signing.accept_unsigned,
        **{"audit": Audit(folder / f"{identity}.audit.jsonl"), **parts},
    )
