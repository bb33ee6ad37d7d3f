"""Run the benchmarks; prints the tables of docs/performance.md.

    PYTHONPATH=tests .venv/bin/python tests/bench/run.py [--nodes 1 5 50]

Figures are medians of several runs. On shared machines times are noisy; ratios and counts are reliable.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import boto3
import trust
from support.crpc_process import BIN, clean_environment, own_lab
from support.daemons import aws_environment, configure, daemon
from support.proxy import Proxy

from collective import Fleet, Targets
from collective.aws.session import AWS
from collective.config import ClientConfig
from collective.lab.layout import Layout
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry
from collective.testing import COLLECTIVE, make_node, node_parts
from collective.transport.sqs import SQSTransport

RUNS = 7
MANY = 10_000  # nodes in a large registry
IDLE = 30.0  # seconds for which an idle daemon is measured

# One call in its own process: when each part was done, in milliseconds since the process started.
PARTS = """
import json, os, sys, time
from pathlib import Path
ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
began = time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks)
now = lambda: (time.monotonic() - began) * 1000
from collective.fleet.fleet import Fleet
with Fleet.connect() as fleet:
    marks = {"start-up": now()}
    call = fleet.call("rpcutil", "ping")
    marks["discovered"] = marks["start-up"] + call.discovery_ms
    marks["sent"] = now()
    for reply in call:
        marks.setdefault("first reply", now())
        marks["last reply"] = now()
    assert call.outcomes.exit_code() == 0, call.outcomes.counts()
print(json.dumps(marks))
"""


# Discovery in its own process, so that its memory can be measured.
DISCOVER = """
import json, re, time
from pathlib import Path
from collective.aws.session import AWS
from collective.filters import parse
from collective.fleet import discovery
from collective.fleet.targets import Targets
from collective.registry.cached import CachedNodes
from collective.registry.dynamodb import DynamoDBRegistry
known = CachedNodes(DynamoDBRegistry(AWS(), "bench_nodes"), seconds=60)
began = time.perf_counter()
known.read()
read = time.perf_counter()
wanted = parse(with_fact=["role=web", "number<9000", "fact3=/^value/"])
contents, targets = known.read(), Targets(wanted)
found = discovery.candidates(contents, known.now(), targets, "rpcutil", lambda _: False)
assert len(found.matching) == 4500
done = time.perf_counter()
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"scan": read - began, "filter": done - read, "peak_mb": peak}))
"""


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 5, 50])
    options = parser.parse_args()
    start_up()
    calls(options.nodes)
    requests(options.nodes)
    registry()
    signatures()
    one_daemon()


def start_up() -> None:
    """Measure commands that send nothing."""
    environment = clean_environment()
    with tempfile.TemporaryDirectory() as name:
        configure(Path(name))
        environment["COLLECTIVE_CONFIG"] = name
        table("Commands that send nothing", "wall, ms")
        lines: list[list[str | Path]] = [
            [sys.executable, "-c", ""],
            [BIN / "crpc", "--help"],
            [BIN / "crpc", "pakage", "install"],
            [BIN / "crpc", "package", "install", "package=-zsh"],
        ]
        for words in lines:
            took = median(partial(subprocess.run, words, env=environment, capture_output=True, check=False))
            row(" ".join(Path(word).name for word in words[:4]), f"{took * 1000:.0f}")


def calls(sizes: list[int]) -> None:
    """Measure how long labs take to start, and the parts of one call to all of their nodes."""
    parts: dict[int, dict[str, float]] = {}
    table("A lab", "start-up, s")
    for nodes in sizes:
        with tempfile.TemporaryDirectory() as name:
            began = time.monotonic()
            with own_lab(Layout(Path(name) / "lab"), nodes) as environment:
                row(f"{nodes} nodes", f"{time.monotonic() - began:.1f}")
                runs = [json.loads(_output([sys.executable, "-c", PARTS], environment)) for _ in range(RUNS)]
                parts[nodes] = {mark: statistics.median(run[mark] for run in runs) for mark in runs[0]}
                words: list[str | Path] = [BIN / "crpc", "rpcutil", "ping", "--json"]
                parts[nodes]["crpc ends"] = 1000 * median(partial(_output, words, environment))
    table("`crpc rpcutil ping` (ms since the process started)", *(f"{nodes} nodes" for nodes in sizes))
    for mark in next(iter(parts.values())):
        row(mark, *(f"{parts[nodes][mark]:.0f}" for nodes in sizes))


def requests(sizes: list[int]) -> None:
    """Count the requests to SQS and SNS of one call, of all sides together."""
    table("Requests of one call", "direct", "budget 4.2 n + 2", "published", "budget 3.2 n + 2")
    for nodes in sizes:
        direct = count_requests(nodes, direct_limit=nodes)
        published = count_requests(nodes, direct_limit=0)
        row(f"{nodes} nodes", f"{direct}", f"{4.2 * nodes + 2:.0f}", f"{published}", f"{3.2 * nodes + 2:.0f}")


def count_requests(nodes: int, direct_limit: int) -> float:
    """Return the number of requests of one call to `nodes` nodes: the median of several calls."""
    with tempfile.TemporaryDirectory() as name, _server() as url, Proxy(url) as proxy:
        os.environ.update({key: value for key, value in aws_environment(proxy.url).items() if key.startswith("AWS_")})
        folder = Path(name)
        config = ClientConfig(COLLECTIVE, state=folder, registry="none", direct_limit=direct_limit)
        names = [f"node{number}" for number in range(nodes)]
        parts = node_parts(folder)
        servers = [make_node(folder, identity, SQSTransport(AWS(_session())), {}, parts) for identity in names]
        for server in servers:
            server.open()
            threading.Thread(target=server.serve, daemon=True).start()
        transport = SQSTransport(AWS(_session()), connections=20)
        counted = []
        with Fleet(config, transport) as fleet:
            for _ in range(RUNS):
                time.sleep(0.3)  # until every node polls again
                before = dict(proxy.counts)
                assert fleet.call("rpcutil", "ping", targets=Targets(nodes=names)).wait().exit_code() == 0
                time.sleep(0.3)
                after = {key: proxy.counts[key] - before.get(key, 0) for key in proxy.counts}
                counted.append(sum(after.values()))
        for server in servers:
            server.stop(0)
        return statistics.median(counted)


def registry() -> None:
    """Measure discovery among 10,000 nodes: reading the table, then filtering."""
    facts = {f"fact{number}": f"value {number} of some length" for number in range(48)}
    with tempfile.TemporaryDirectory() as name, _server() as url:
        os.environ.update({key: value for key, value in aws_environment(url).items() if key.startswith("AWS_")})
        table_ = DynamoDBRegistry(AWS(_session()), "bench_nodes")
        table_.create()
        for number in range(MANY):
            known = {**facts, "role": ("web", "db")[number % 2], "number": number}
            table_.put(NodeRecord(f"node{number}", "1.0", known, agents={"rpcutil": "1"}, instance="x"))
        script = Path(name) / "discover.py"
        script.write_text(DISCOVER)
        figures = json.loads(_output([sys.executable, script], aws_environment(url)))
    table(f"{MANY} nodes with 50 facts each", "figure", "budget")
    row("read the table (moto; pages in 4 segments), s", f"{figures['scan']:.1f}", "")
    row("filter: a fact, a number, a regular expression, ms", f"{figures['filter'] * 1000:.0f}", "1000")
    row("peak memory of the caller, MB", f"{figures['peak_mb']:.0f}", "200")


def signatures() -> None:
    """Measure signing and verification."""
    table("Signatures (Ed25519)", "figure")
    for name, figure in trust.figures():
        row(name, figure)


def one_daemon() -> None:
    """Measure the memory and the processor time of one daemon."""
    with tempfile.TemporaryDirectory() as name, _server() as url:
        configure(Path(name), collective="bench")
        with daemon(Path(name), url) as node:
            environment = {**aws_environment(url), "COLLECTIVE_CONFIG": name}
            one = ["-I", "web1.example.com"]
            _output([BIN / "crpc", "rpcutil", "ping", *one], environment)
            table("One daemon", "figure", "budget")
            row("private memory with the standard agents", f"{private_mb([node.process.pid]):.0f} MB", "60 MB")
            before = processor_seconds(node.process.pid)
            time.sleep(IDLE)
            idle = (processor_seconds(node.process.pid) - before) / IDLE * 100
            _output([BIN / "crpc", "shell", "run", "command=true", *one], environment)
            helpers = [int(pid) for pid in _output(["pgrep", "-P", str(node.process.pid)], environment).split()]
            row("additional memory after the first action", f"{private_mb(helpers):.0f} MB", "20 MB")
            row("processor, idle", f"{idle:.2f} %", "0.5 %")


def _session() -> boto3.Session:
    return boto3.Session(aws_access_key_id="bench", aws_secret_access_key="bench", region_name="eu-central-1")


@contextmanager
def _server() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-m", "collective.lab.aws_server"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def private_mb(pids: list[int]) -> float:
    """Return the memory that only these processes use (proc(5): smaps_rollup), in MB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_"):
                total += int(line.split()[1])
    return total / 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def median(step: Callable[[], object]) -> float:
    """Return the duration of a step in seconds: the median of several runs after a warm-up."""
    took = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        step()
        took.append(time.perf_counter() - began)
    return statistics.median(took[1:])


def _output(words: list[str | Path], environment: dict[str, str]) -> str:
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


def table(title: str, *columns: str) -> None:
    """Print the head of a table."""
    print(f"\n| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")


def row(name: str, *figures: str) -> None:
    """Print a row."""
    print(f"| {name} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
