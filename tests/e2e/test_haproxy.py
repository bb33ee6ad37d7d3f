"""Debian's HAProxy in front of lab nodes: the load balancer's own daemon keeps its configuration right."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.crpc_process import Crpc, clean_environment, make_crpc, own_lab
from support.haproxy import BALANCER, BalancedLayout, HAProxy, Requests, WebServer, is_running
from support.waiting import wait_until

LONG = bool(os.environ.get("HAPROXY"))
WAIT = 60.0  # seconds
DETECTION = 15.0  # seconds from a kill until the node is not in the file any more
IN_FLIGHT = 1.0  # seconds for requests that the process before the reload had accepted
REQUESTS = 2000


@dataclass(frozen=True)
class Balanced:
    """A lab with its web servers, and HAProxy in front of them."""

    layout: BalancedLayout
    crpc: Crpc
    proxy: HAProxy
    servers: dict[str, WebServer]

    def log(self) -> str:
        """Return the log of the load balancer's daemon."""
        return (self.layout.node(BALANCER) / "log").read_text()

    def kill(self, *names: str) -> dict[str, float]:
        """Kill daemons, and return the seconds after which each node was out of the file."""
        began = {}
        for name in names:
            began[name] = time.monotonic()
            assert self.crpc("lab", "node", name, "kill").returncode == 0
        took = {}
        for name in names:
            wait_until(lambda name=name: name not in self.proxy.nodes(), WAIT, self.log)  # type: ignore[misc]
            took[name] = time.monotonic() - began[name]
        return took

    def start(self, *names: str) -> None:
        """Start daemons, and wait until the nodes are in the file, and HAProxy has loaded it."""
        for name in names:
            assert self.crpc("lab", "node", name, "start").returncode == 0
        wait_until(lambda: self.proxy.nodes() >= {*names}, WAIT, self.log)
        self.loaded()

    def loaded(self) -> None:
        """Wait until HAProxy has loaded the file as it is."""
        wait_until(lambda: self.proxy.reloads()[-1].nodes == self.proxy.nodes(), WAIT, self.log)

    def reached_after_removal(self) -> list[str]:
        """Return a line for each request to a node that HAProxy's configuration did not have."""
        found = []
        reloads = self.proxy.reloads()
        ends = [one.began for one in reloads[1:]] + [time.time()]  # from then on, the next file may be in use
        for reload, end in zip(reloads, ends, strict=True):
            for name in self.servers.keys() - reload.nodes:
                late = [at for at in self.servers[name].arrivals if reload.time + IN_FLIGHT < at < end]
                found += [f"{name} at {at}, loaded without it at {reload.time}" for at in late]
        return found


@pytest.fixture
def balanced(tmp_path: Path, needs: Callable[[str, str], None]) -> Iterator[Balanced]:
    """A lab in which HAProxy has loaded all web servers: three, or six for the long form."""
    needs("haproxy", "haproxy")
    servers = {f"node{number + 2:02}.lab": WebServer(f"node{number + 2:02}.lab") for number in range(6 if LONG else 3)}
    folder = tmp_path / "proxy"
    folder.mkdir()
    proxy = HAProxy(folder)
    layout = BalancedLayout(tmp_path / "lab", [one.port for one in servers.values()], folder)
    with ExitStack() as stack:
        stack.callback(proxy.stop)
        for server in servers.values():
            server.start()
            stack.callback(server.stop)
        stack.enter_context(own_lab(layout, len(servers) + 1))
        made = Balanced(layout, make_crpc({**clean_environment(), **layout.environment()}), proxy, servers)
        wait_until(lambda: proxy.nodes() == {*servers}, WAIT, made.log)
        made.loaded()
        yield made


def test_haproxy_follows_the_nodes(balanced: Balanced, record: Callable[[object], None]) -> None:
    """A node that joins gets requests, one that is killed gets none; an error in the template changes nothing."""
    first, second, *_ = balanced.servers
    requests = Requests(balanced.proxy, rate=20)
    with requests.running():
        wait_until(lambda: requests.answered.keys() == balanced.servers.keys(), WAIT)
        balanced.servers[second].stop()  # its requests go to others until it is taken out
        took = balanced.kill(first, second)
        balanced.loaded()
        balanced.servers[second].start()
        before = balanced.proxy.config.read_text(), len(balanced.proxy.reloads())
        source = balanced.proxy.source.read_text()
        balanced.proxy.source.write_text(source + "{{ members[0].facts.nothing }}\n")
        line = source.count("\n") + 1
        error = f"{balanced.proxy.source}:{line}: 'dict object' has no attribute 'nothing'"
        wait_until(lambda: error in balanced.log(), WAIT, balanced.log)
        assert (balanced.proxy.config.read_text(), len(balanced.proxy.reloads())) == before
        balanced.proxy.source.write_text(source)
        balanced.start(first, second)
        requests.answered.clear()
        wait_until(lambda: requests.answered.keys() == balanced.servers.keys(), WAIT)
    record(f"killed nodes were out of haproxy.cfg after {max(took.values()):.1f} s at most")
    assert max(took.values()) < DETECTION
    assert (requests.errors, balanced.reached_after_removal()) == ([], [])
    assert is_running(balanced.proxy)
    assert all(one.valid and one.code == 0 for one in balanced.proxy.reloads())


@pytest.mark.skipif(not LONG, reason="takes five minutes: make haproxy")
@pytest.mark.timeout(1800)
def test_two_thousand_requests_during_joins_and_kills(balanced: Balanced, record: Callable[[object], None]) -> None:
    """20 kills and 20 joins: each request is answered, none by a node that had been taken out."""
    names = [*balanced.servers]
    requests = Requests(balanced.proxy, rate=20)
    times: list[float] = []
    with requests.running():
        for number in range(10):
            silent, serving = names[number % 6], names[(number + 3) % 6]
            balanced.servers[silent].stop()
            times += balanced.kill(silent, serving).values()  # the other one would still answer
            balanced.loaded()
            balanced.servers[silent].start()
            balanced.start(silent, serving)
        wait_until(lambda: requests.count + len(requests.errors) >= REQUESTS, 600)
    reloads = balanced.proxy.reloads()
    record(
        f"{requests.count} requests answered, {len(requests.errors)} not; {len(times)} kills, {len(reloads)} reloads; "
        f"out of haproxy.cfg after {sum(times) / len(times):.1f} s, at most {max(times):.1f} s"
    )
    assert requests.errors == []
    assert balanced.reached_after_removal() == []
    assert [one for one in reloads if not one.valid or one.code] == []
    assert is_running(balanced.proxy)
    assert requests.answered.keys() == balanced.servers.keys()
    assert max(times) < DETECTION
