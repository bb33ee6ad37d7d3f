"""`crpc file put` and `get` with five real daemons, each with files of its own, and SIGKILL in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.crpc_process import BIN, Crpc, make_crpc
from support.daemons import Daemon, aws_environment, configure, daemon
from support.waiting import wait_until

NODES = [f"node{number}.example.com" for number in range(1, 6)]
SIZE = 52_428_800  # bytes
PIECE = 524_288  # bytes of content in a request
pytestmark = [
    pytest.mark.skipif("BIG_FILES" not in os.environ, reason="takes minutes: make files"),
    pytest.mark.timeout(1800),
]


@dataclass
class FiveNodes:
    """Five nodes whose folder `remote` is on each another one: daemons in mount namespaces of their own."""

    folder: Path
    url: str
    daemons: dict[str, Daemon]
    crpc: Crpc
    environment: dict[str, str]
    local: Path
    remote: Path

    def content(self, node: str) -> bytes:
        """Return the remote file of a node."""
        return (self.folder / node / "files" / self.remote.name).read_bytes()

    def staged(self, node: str) -> int:
        """Return the number of bytes of an unfinished transfer."""
        return sum(path.stat().st_size for path in (self.folder / node / "staging").glob("*"))

    def put(self) -> subprocess.Popen[str]:
        """Start copying the local file to all nodes."""
        command = [str(BIN / "crpc"), "file", "put", str(self.local), str(self.remote), "-I", ",".join(NODES)]
        command += ["-o", "json", "-t", "20"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def start(self, node: str) -> ExitStack:
        """Start the daemon of a node, and return what stops it."""
        own = self.folder / node
        stack = ExitStack()
        mount = 'mount --make-rprivate / && mount --bind "$1" "$2" && shift 2 && exec "$@"'
        by = ["unshare", "--mount", "sh", "-c", mount, "own", str(own / "files"), str(self.remote.parent)]
        self.daemons[node] = stack.enter_context(daemon(own, self.url, by=by))
        return stack


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, moto_server: str) -> Iterator[FiveNodes]:
    """Five running nodes, with an old file each, and a larger one to copy."""
    if os.geteuid() != 0:
        pytest.skip("needs root for mounts")
    folder = tmp_path_factory.mktemp("transfers")
    (folder / "remote").mkdir()
    collective = f"files-{uuid.uuid4().hex[:8]}"
    environment = {**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(folder / NODES[0])}
    (folder / "local").write_bytes(os.urandom(SIZE))
    made = FiveNodes(
        folder, moto_server, {}, make_crpc(environment), environment, folder / "local", folder / "remote" / "copy"
    )
    with ExitStack() as stack:
        for node in NODES:
            (folder / node / "files").mkdir(parents=True)
            configure(folder / node, collective=collective, identity=node)
            settings = {"write": [str(folder / "remote")], "staging": str(folder / node / "staging"), "max_size": 10**9}
            (folder / node / "settings" / "file.yaml").write_text(json.dumps(settings))
            (folder / node / "files" / "copy").write_text(f"old file of {node}")
            stack.push(made.start(node))
        yield made


def old(node: str) -> bytes:
    return f"old file of {node}".encode()


def in_the_middle(machines: FiveNodes, node: str) -> Callable[[], bool]:
    """Return whether some pieces have arrived on a node, and not all."""
    return lambda: 2 * PIECE <= machines.staged(node) < SIZE


def test_a_killed_caller_leaves_the_old_files(machines: FiveNodes) -> None:
    """After SIGKILL of the caller in the middle the old file of every node is whole."""
    with machines.put() as caller:
        wait_until(in_the_middle(machines, NODES[0]), 60)
        caller.send_signal(signal.SIGKILL)
    assert {node: machines.content(node) for node in NODES} == {node: old(node) for node in NODES}


def test_a_killed_daemon_keeps_its_old_file_and_the_others_get_the_new_one(machines: FiveNodes) -> None:
    """After SIGKILL of a daemon in the middle its old file is whole, and the caller names that node."""
    victim = NODES[2]
    before = machines.staged(victim)
    with machines.put() as caller:
        wait_until(lambda: machines.staged(victim) >= before + 2 * PIECE, 60)
        machines.daemons[victim].process.kill()
        machines.daemons[victim].process.wait()
        document = json.loads(caller.communicate(timeout=1500)[0])
    files = {one["node"]: one for one in document["transfers"]}
    assert caller.returncode != 0
    assert {node: one["ok"] for node, one in files.items()} == {node: node != victim for node in NODES}
    assert machines.content(victim) == old(victim)
    new = machines.local.read_bytes()
    assert all(machines.content(node) == new for node in NODES if node != victim)


def test_a_large_file_travels_to_five_nodes_and_back(machines: FiveNodes, tmp_path: Path) -> None:
    """The file arrives byte for byte, also on the node that was killed before, and comes back."""
    with machines.start(NODES[2]):
        with machines.put() as caller:
            out, err = caller.communicate(timeout=1500)
        assert caller.returncode == 0, out + err
        new = machines.local.read_bytes()
        assert all(machines.content(node) == new for node in NODES)
        words = ["file", "get", str(machines.remote), str(tmp_path / "copies"), "-I", ",".join(NODES)]
        got = subprocess.run(
            [BIN / "crpc", *words], env=machines.environment, capture_output=True, check=False, timeout=1500
        )
        assert got.returncode == 0, got.stderr
        assert {path.parent.name for path in (tmp_path / "copies").glob("*/copy")} == set(NODES)
        assert all(path.read_bytes() == new for path in (tmp_path / "copies").glob("*/copy"))
