"""HAProxy in front of lab nodes that serve HTTP, with a configuration that the first node keeps current."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from collective.lab.layout import Layout
from collective.processes import runs
from support.waiting import wait_until

BALANCER = "node01.lab"
HEARTBEAT = 5.0  # seconds
TEMPLATE = """# {{{{ members | length }}}} members
global
    stats socket {folder}/socket mode 600 level admin expose-fd listeners
    hard-stop-after 10s
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
frontend http
    bind 127.0.0.1:{port}
    default_backend web
backend web
{{% for node in members if node.facts.http_port is port %}}
    server {{{{ node.identity | word }}}} 127.0.0.1:{{{{ node.facts.http_port }}}} check inter 500ms
{{% endfor %}}
"""
# Each reload is noted with its begin and end, the state of the file, and the names of the nodes in it.
RELOAD = """#!/bin/sh
cd {folder} || exit 1
began=$(date +%s.%N)
if haproxy -c -q -f haproxy.cfg; then state=valid; else state=broken; fi
if [ -s pid ] && kill -0 "$(cat pid)"; then
    haproxy -D -f haproxy.cfg -p pid -x socket -sf "$(cat pid)"
else
    haproxy -D -f haproxy.cfg -p pid
fi
code=$?
echo "$began $(date +%s.%N) $state $code" $(sed -n 's/^ *server \\([^ ]*\\) .*/\\1/p' haproxy.cfg) >> reloads
exit $code
"""


class BalancedLayout(Layout):
    """A lab whose first node is the load balancer, and whose other nodes have a web server at `ports`."""

    def __init__(self, folder: Path, ports: list[int], proxy: Path) -> None:
        super().__init__(folder)
        self._ports = ports
        self._proxy = proxy

    def create(self, nodes: int, server: str = "moto") -> None:
        """Write the files."""
        super().create(nodes, server)
        for name in self.nodes():
            config = self.node(name) / "node.yaml"
            text = config.read_text().replace("heartbeat: 15.0", f"heartbeat: {HEARTBEAT}")
            assert f"heartbeat: {HEARTBEAT}" in text
            if name == BALANCER:
                text += f"watches: {json.dumps({'lb': self._watch()})}\n"
            config.write_text(text)
        for name, port in zip(self.nodes()[1:], self._ports, strict=True):
            facts = self.node(name) / "facts.yaml"
            facts.write_text(yaml.safe_dump({**yaml.safe_load(facts.read_text()), "http_port": port}))

    def _watch(self) -> dict[str, object]:
        files = {"src": f"{self._proxy}/haproxy.cfg.j2", "dest": f"{self._proxy}/haproxy.cfg"}
        commands = {"check": "haproxy -c -q -f {candidate}", "reload": f"{self._proxy}/reload.sh"}
        return {"filter": "http_port>0", "template": {**files, **commands}}


@dataclass(frozen=True)
class Reload:
    """A reload of HAProxy: when it began and ended, and the nodes in the file that it has loaded."""

    began: float
    time: float
    valid: bool
    code: int
    nodes: frozenset[str]


class HAProxy:
    """A HAProxy with its files in `folder`, which listens at `port`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "haproxy.cfg"
        self.source = folder / "haproxy.cfg.j2"
        self.source.write_text(TEMPLATE.format(folder=folder, port=self.port))
        script = folder / "reload.sh"
        script.write_text(RELOAD.format(folder=folder))
        script.chmod(0o755)

    def nodes(self) -> set[str]:
        """Return the nodes in the configuration file."""
        lines = self.config.read_text().splitlines() if self.config.exists() else []
        return {line.split()[1] for line in lines if line.startswith("    server ")}

    def reloads(self) -> list[Reload]:
        """Return all reloads until now."""
        found = []
        with suppress(FileNotFoundError):
            for line in (self.folder / "reloads").read_text().splitlines():
                began, ended, state, code, *nodes = line.split()
                found.append(Reload(float(began), float(ended), state == "valid", int(code), frozenset(nodes)))
        return found

    def get(self) -> tuple[int, str]:
        """Request a page; return the status and the node that has answered."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            return answer.status, answer.read().decode()

    def stop(self) -> None:
        """Kill the process; older ones end by themselves after some seconds."""
        with suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int((self.folder / "pid").read_text())
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not runs(pid), 30)


class WebServer:
    """The web server of a node: answers with the node's name, and notes when requests arrive."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.arrivals: list[float] = []
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Serve until `stop`."""
        noted, name = self.arrivals, self.name

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                noted.append(time.time())
                body = name.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Answer)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@dataclass
class Requests:
    """Requests at a steady rate in the background: how many were answered by each node, and the errors."""

    proxy: HAProxy
    rate: float  # a second
    answered: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of requests that were answered."""
        return sum(self.answered.values())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send requests during the block."""
        stopping = threading.Event()
        thread = threading.Thread(target=self._run, args=(stopping,))
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join(60)

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.wait(1 / self.rate):
            try:
                _, name = self.proxy.get()
                self.answered[name] = self.answered.get(name, 0) + 1
            except OSError as error:  # HTTPError and URLError are of this kind
                self.errors.append(f"{time.time()}: {error}")


def free_port() -> int:
    """Return a port that nothing listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def is_running(proxy: HAProxy) -> bool:
    """Return whether HAProxy accepts its configuration file, and runs."""
    checked = subprocess.run(["haproxy", "-c", "-q", "-f", proxy.config], check=False).returncode == 0
    return checked and runs(int((proxy.folder / "pid").read_text()))
