"""Run the benchmarks; prints the tables of docs/performance.md, and writes build/bench.md and build/bench.json.

    make bench                            all parts: about a quarter of an hour
    make bench BENCH='calls latency'      some of them

Figures are medians of several runs, with the smallest and the largest. On shared machines times are noisy: the first
and the last table have the noise of the machine. Counts, and ratios of one run, are reliable.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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
import calls
import mcollective
import trust
from report import BenchReport, FigureTable, Spread, noise
from support.crpc_process import BIN, clean_environment
from support.daemons import aws_environment, configure, daemon
from support.footprint import descendants
from support.proxy import Proxy

from collective import Fleet, Targets
from collective.aws.session import AWS
from collective.config import ClientConfig
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry
from collective.testing import COLLECTIVE, make_node, node_parts
from collective.transport.sqs import SQSTransport

HERE = Path(__file__).parent
RUNS = 7
MANY = 10_000  # nodes in a large registry
LATER = 5  # actions of a kind whose processor time is measured
IDLE = 30.0  # seconds for which an idle daemon is measured

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


# The same with a snapshot, for a registry that is ten times as large.
SNAPSHOT = """
import json, sys, time
from pathlib import Path
from collective.filters import parse
from collective.fleet import discovery
from collective.fleet.targets import Targets
from collective.registry import Contents, NodeRecord, snapshot
from collective.registry.snapshot import Head
path, now, count, marks = Path(sys.argv[1]), time.time(), 100_000, {}
def took(part, step):
    began = time.process_time()
    result = step()
    marks[part] = time.process_time() - began
    return result
facts = {f"fact{number}": f"value {number} of some length" for number in range(48)}
made = [NodeRecord(f"node{number:06}", "1.0", {**facts, "role": ("web", "db")[number % 2], "number": number},
                   agents={"rpcutil": "1"}, instance="x", public_key=f"key {number}", last_seen=now)
        for number in range(count)]
took("write the snapshot", lambda: snapshot.save(path, made, {one.identity: "1.000" for one in made}))
del made
heads = [Head(f"node{number:06}", "x", "1.000", now, None, None) for number in range(count)]
loaded = took("open the snapshot", lambda: snapshot.load(path))
contents = took("records", lambda: Contents([loaded.record(head) for head in heads if loaded.has(head)]))
for part, wanted in (("filter by a fact", ["role=web"]),
                     ("filter by three facts", ["role=web", "number<9000", "fact3=/^value/"])):
    targets = Targets(parse(with_fact=wanted))
    took(part, lambda: discovery.candidates(contents, now, targets, "rpcutil", lambda _: False))
print(json.dumps(marks))
"""

report = BenchReport()


def main() -> None:
    """Measure the selected parts, print each table, and write all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: all ({' '.join(ALL)})")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="of bench.md and bench.json")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(ALL):
        parser.error(f"unknown parts: {' '.join(sorted(unknown))} (known: {' '.join(ALL)})")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process would compile all modules again
    report.add(noise())
    for part in options.parts or ALL:
        for measure in ALL[part]:
            measure()
        report.write(options.folder)
    report.add(noise())
    report.write(options.folder)


def start_up() -> None:
    """Measure commands that send nothing."""
    environment = clean_environment()
    with tempfile.TemporaryDirectory() as name:
        configure(Path(name))
        environment["COLLECTIVE_CONFIG"] = name
        shown = FigureTable("Commands that send nothing", ("median (range), ms", "processor, ms"))
        lines: list[list[str | Path]] = [
            [sys.executable, "-c", ""],
            [BIN / "crpc", "--help"],
            [BIN / "crpc", "package", "--help"],
            [BIN / "crpc", "__complete", "bash", " =", "crpc pack"],
            [BIN / "crpc", "pakage", "install"],
            [BIN / "crpc", "package", "install", "package=-zsh"],
            [BIN / "crpc", "cost", "--nodes", "50", "--calls-per-day", "10"],
        ]
        for words in lines:
            walls, used = repeated(words, environment)
            shown.row(" ".join(Path(word).name for word in words[:4]), Spread(walls), Spread(used))
    report.add(shown)


def requests() -> None:
    """Count the requests to SQS and SNS of one call, of all sides together."""
    shown = FigureTable("Requests of one call", ("direct", "budget 4.2 n + 2", "published", "budget 3.2 n + 2"))
    for nodes in (1, 5, 50):
        direct = count_requests(nodes, direct_limit=nodes)
        published = count_requests(nodes, direct_limit=0)
        shown.row(f"{nodes} nodes", direct, 4.2 * nodes + 2, published, 3.2 * nodes + 2)
    report.add(shown)


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
    shown = FigureTable(f"{MANY} nodes with 50 facts each", ("figure", "budget"))
    shown.row("read the table (moto; pages in 8 segments), s", f"{figures['scan']:.1f}", "")
    shown.row("filter: a fact, a number, a regular expression, ms", f"{figures['filter'] * 1000:.0f}", "1000")
    shown.row("peak memory of the caller, MB", f"{figures['peak_mb']:.0f}", "200")
    report.add(shown)


def signatures() -> None:
    """Measure signing and verification."""
    shown = FigureTable("Signatures (Ed25519)", ("figure",))
    for name, figure in trust.figures():
        shown.row(name, figure)
    report.add(shown)


def one_daemon() -> None:
    """Measure the memory and the processor time of one daemon."""
    with tempfile.TemporaryDirectory() as name, _server() as url:
        configure(Path(name), collective="bench")
        with daemon(Path(name), url) as node:
            environment = {**aws_environment(url), "COLLECTIVE_CONFIG": name}
            one = ["-I", "web1.example.com"]
            _output([BIN / "crpc", "rpcutil", "ping", *one], environment)
            shown = FigureTable("One daemon", ("figure", "budget"))
            shown.row("private memory with the standard agents", f"{private_mb([node.process.pid]):.0f} MB", "60 MB")
            shown.row("PSS with the standard agents", f"{private_mb([node.process.pid], 'Pss:'):.0f} MB", "30 MB")
            shown.row("resident, with shared pages", f"{private_mb([node.process.pid], 'Rss:'):.0f} MB", "")
            before = processor_seconds(node.process.pid)
            time.sleep(IDLE)
            idle = (processor_seconds(node.process.pid) - before) / IDLE * 100
            family = partial(_family_seconds, node.process.pid)
            first = _spent(family, partial(_output, [BIN / "crpc", "shell", "run", "command=true", *one], environment))
            helpers = [int(pid) for pid in _output(["pgrep", "-P", str(node.process.pid)], environment).split()]
            shown.row("additional memory after the first action", f"{private_mb(helpers):.0f} MB", "20 MB")
            for pid in helpers:
                shown.row(f"PSS of {_command(pid)}", f"{private_mb([pid], 'Pss:'):.0f} MB", "")
            shown.row("processor, idle", f"{idle:.2f} %", "0.5 %")
            shown.row("processor, first action", f"{first * 1000:.0f} ms", "50 ms")
            for words in (["shell", "run", "command=true"], ["package", "status", "package=bash"]):
                call = partial(_output, [BIN / "crpc", *words, *one], environment)
                spent = statistics.median(_spent(family, call) for _ in range(LATER))
                shown.row(f"processor, a later {words[0]} {words[1]}", f"{spent * 1000:.0f} ms", "20 ms")
            report.add(shown)


def _spent(seconds: Callable[[], float], step: Callable[[], object]) -> float:
    """Return the processor time of a step; the processes of an action end shortly after its reply."""
    before = seconds()
    step()
    time.sleep(0.5)
    return seconds() - before


def _family_seconds(pid: int) -> float:
    """Return the processor time of a daemon, its helper processes, and all ended processes below them, in seconds."""
    total = 0
    for member in (pid, *descendants(pid)):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def _command(pid: int) -> str:
    """Return the name of a helper process."""
    words = Path(f"/proc/{pid}/cmdline").read_text()
    return "the fork server" if "fork_server_main" in words else words[:40]


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


def private_mb(pids: list[int], kind: str = "Private_") -> float:
    """Return the memory of one kind that these processes use (proc(5): smaps_rollup), in MB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(kind):
                total += int(line.split()[1])
    return total / 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def repeated(words: list[str | Path], environment: dict[str, str]) -> tuple[list[float], list[float]]:
    """Return the durations and the processor times of several runs after a warm-up, in milliseconds."""
    walls: list[float] = []
    used: list[float] = []
    for _ in range(RUNS + 1):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(words, env=environment, capture_output=True, check=False)
        walls.append((time.perf_counter() - began) * 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    return walls[1:], used[1:]


def _output(words: list[str | Path], environment: dict[str, str]) -> str:
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout


def large_registry() -> None:
    """Measure discovery with a snapshot of 100,000 nodes, in its own process."""
    with tempfile.TemporaryDirectory() as name:
        script = Path(name) / "snapshot.py"
        script.write_text(SNAPSHOT)
        found = json.loads(_output([sys.executable, script, Path(name) / "snapshot"], clean_environment()))
    shown = FigureTable("100,000 nodes with 50 facts each, in a snapshot", ("processor time, ms",))
    for part, seconds in found.items():
        shown.row(part, seconds * 1000)
    report.add(shown)


def simulated_nodes() -> None:
    """Measure one call to nodes with their real code, in one process for each size."""
    shown = FigureTable(
        "Simulated nodes with real node code, processor time",
        ("caller, s", "nodes, s", "both, s", "memory of the call, MB"),
    )
    for count in (1000, 2000, 5000, 10_000):
        command: list[str | Path] = [sys.executable, HERE / "simulated_nodes.py", str(count)]
        found = json.loads(_output(command, {**clean_environment(), "PYTHONPATH": str(HERE.parent)}))
        names = ("caller_s", "nodes_s", "total_s")
        shown.row(f"{count} nodes", *(f"{found[name]:.2f}" for name in names), f"{found['call_mb']:.0f}")
    report.add(shown)


def views() -> None:
    """Measure how long many replies take to print; prints its own table."""
    _ = subprocess.run([sys.executable, HERE / "render.py"], check=True)


ALL: dict[str, list[Callable[[], object]]] = {
    "startup": [start_up],
    "calls": [partial(calls.on_servers, report)],
    "mcollective": [partial(mcollective.beside, report)],
    "latency": [partial(calls.behind_latencies, report)],
    "simulated": [partial(calls.to_simulated, report), simulated_nodes],
    "requests": [requests, partial(calls.idle, report)],
    "registry": [registry, large_registry],
    "signatures": [signatures],
    "daemon": [one_daemon],
    "views": [views],
}


if __name__ == "__main__":
    main()
