"""The network between a real daemon and its server drops all packets for half a minute, and then works again.

That is the hard case: no connection is closed, so what waits for an answer notices only by its own patience.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import failures
from support.crpc_process import begin, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.footprint import Measure, Record
from support.network import NamespaceNetwork
from support.waiting import wait_until

CUT = 30.0  # seconds
HEALING = 35.0  # seconds: the rest of a hanging poll (30 s), or the longest pause (30 s) and a connection (5 s)


@pytest.fixture
def network(needs_root: Callable[[], None], needs: Callable[[str, str], None]) -> Iterator[NamespaceNetwork]:
    """Return a network that can be cut."""
    needs_root()
    needs("ip", "iproute2")
    with NamespaceNetwork() as network:
        yield network


@pytest.mark.failure(failures.NETWORK, "all packets dropped for 30 s")
def test_a_cut_of_half_a_minute(network: NamespaceNetwork, tmp_path: Path, measure: Measure, record: Record) -> None:
    """An action that ran during the cut ran once, and its reply arrives afterwards; the node recovers by itself."""
    configure(tmp_path, collective=f"cut-{uuid.uuid4().hex[:8]}")
    crpc = make_crpc({**aws_environment(network.url), "COLLECTIVE_CONFIG": str(tmp_path)}, by=network.server)
    ran = tmp_path / "ran"
    with daemon(tmp_path, network.url, by=network.node) as node:
        assert crpc("shell", "run", "command=true", "-I", IDENTITY).returncode == 0
        with measure("the network cut for 30 s", node):
            reply = begin(crpc, "shell", "run", f"command=sleep 3; echo x >> {ran}", "-I", IDENTITY, "-t", "100")
            node.wait_for_decision(2)
            wait_until(lambda: network.held() == 0, 30)  # the request is acknowledged
            network.cut()
            time.sleep(CUT)
            network.heal()
            healed = time.monotonic()
            assert reply().returncode == 0
            answered = time.monotonic() - healed
            while crpc("rpcutil", "ping", "-I", IDENTITY).returncode:
                assert time.monotonic() < healed + HEALING
            served = time.monotonic() - healed
    assert answered < HEALING
    assert ran.read_text() == "x\n"
    record(f"the network cut for 30 s: the reply came after {answered:.1f} s, a ping was answered after {served:.1f} s")
