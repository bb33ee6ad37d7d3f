"""One call to simulated nodes that run the real code of nodes and callers, with real signatures, in one thread.

    python tests/bench/simulated_nodes.py NODES      prints the figures as JSON

The network is in memory. Every node verifies the request, checks policy and DDL, writes journal and audit log, and
signs its reply; the caller verifies and accounts for each.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from collective.config import ClientConfig, NodeConfig
from collective.fleet.known_nodes import KnownNodes
from collective.node.trust import verifier
from collective.registry import NodeRecord
from collective.signing import allowed_signers, keys, sshsig
from collective.testing import COLLECTIVE, Simulation


def main() -> None:
    """Print the figures of one call."""
    count = int(sys.argv[1])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(figures(Path(name), count)))


def figures(folder: Path, count: int) -> dict[str, float]:
    """Return the processor seconds of one call, and how many of them are the nodes'."""
    caller, node = keys.new(), keys.new()
    (folder / "allowed_signers").write_text(allowed_signers.signer_line(ClientConfig(COLLECTIVE).caller, caller.public))
    config = replace(NodeConfig(COLLECTIVE, "node"), allowed_signers=folder / "allowed_signers")
    known = KnownNodes(folder / "state", COLLECTIVE, keep=False)
    parts: dict[str, Any] = {"sign": sshsig.signing_with(node), "verify": verifier(config)}
    line = node.public.line
    known.introduce(NodeRecord(f"node{number:04}", "1", public_key=line) for number in range(1, count + 1))
    before = memory()
    world = Simulation(folder, count, caller={"sign": sshsig.signing_with(caller), "known": known}, **parts)
    with world:
        made = memory()
        used = [0.0]
        world.turn = measured(world.turn, used)  # type: ignore[method-assign]
        began = time.process_time()
        call = world.fleet.call("rpcutil", "ping")
        outcomes = call.wait()
        total = time.process_time() - began
        assert outcomes.counts()["ok"] == count, outcomes.counts()
        return {
            "nodes": count,
            "total_s": total,
            "nodes_s": used[0],
            "caller_s": total - used[0],
            "mb_per_1000_nodes": (made - before) / count * 1000,
            "call_mb": memory() - made,
        }


def measured(function: Callable[[], bool], used: list[float]) -> Callable[[], bool]:
    """Return a function that adds its processor time to `used`."""

    def run() -> bool:
        began = time.process_time()
        try:
            return function()
        finally:
            used[0] += time.process_time() - began

    return partial(run)


def memory() -> float:
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
