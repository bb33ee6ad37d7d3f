"""Three isolated network namespaces, node ── router ── server; the router can drop all packets.

    with NamespaceNetwork() as network, daemon(folder, network.url, by=network.node):
        network.cut()
        network.heal()

A cut neither refuses nor closes connections: packets are lost.
"""

from __future__ import annotations

import subprocess
import sys
import uuid

from support.crpc_process import BIN
from support.daemons import aws_environment

_SERVER = "10.213.2.2"
_ENDS = {"node": ("10.213.1.2", "10.213.1.1"), "server": (_SERVER, "10.213.2.1")}  # its address, and that of the router

_COUNT = """
import boto3
sqs, keys = boto3.client("sqs"), ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
queues = sqs.list_queues()["QueueUrls"]
found = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=keys)["Attributes"] for url in queues]
print(sum(int(count) for attributes in found for count in attributes.values()))
"""


class NamespaceNetwork:
    """A network with its own server (`url`). Requires root."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex[:6]
        self._names = {part: f"collective-{mark}-{part}" for part in ("node", "router", "server")}
        self.node = self._at("node")
        self.server = self._at("server")
        self.url = f"http://{_SERVER}:5000"

    def __enter__(self) -> NamespaceNetwork:
        for name in self._names.values():
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        for end, (address, gateway) in _ENDS.items():
            self._join(end, address, gateway)
        self.heal()
        command = [*self.server, str(BIN / "moto_server"), "--host", _SERVER, "--port", "5000"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for name in self._names.values():
            _run("ip", "netns", "del", name)  # also deletes its devices

    def cut(self) -> None:
        """Drop all packets in both directions."""
        self._forward(0)

    def heal(self) -> None:
        """Forward packets again."""
        self._forward(1)

    def held(self) -> int:
        """Return the number of messages in all queues, those included that were received and not acknowledged."""
        command = [*self.server, sys.executable, "-c", _COUNT]
        done = subprocess.run(command, env=aws_environment(self.url), capture_output=True, text=True, check=True)
        return int(done.stdout)

    def _at(self, part: str) -> list[str]:
        return ["ip", "netns", "exec", self._names[part]]

    def _join(self, end: str, address: str, gateway: str) -> None:
        """Connect a namespace with the router."""
        name, router = self._names[end], self._names["router"]
        _run("ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", end, "netns", router)
        _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        _run("ip", "-n", router, "address", "add", f"{gateway}/24", "dev", end)
        _run("ip", "-n", name, "link", "set", "eth0", "up")
        _run("ip", "-n", router, "link", "set", end, "up")
        _run("ip", "-n", name, "route", "add", "default", "via", gateway)

    def _forward(self, value: int) -> None:
        """Set ip_forward of the router: 1 forwards packets, 0 drops them silently."""
        _run(*self._at("router"), "sh", "-c", f"echo {value} > /proc/sys/net/ipv4/ip_forward")


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
