"""Measure whole calls of `crpc rpcutil ping`: their parts, their requests, and what they cost."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from http_server import COUNTS
from report import BenchReport, FigureTable, Spread
from support.crpc_process import BIN, clean_environment, own_lab
from support.servers import PROGRAMS

from collective.lab.layout import Layout
from collective.prices import US_EAST_1
from collective.setup.cost import DAYS

HERE = Path(__file__).parent
RUNS = 5
PARTS = {
    "start": "start",
    "discovery": "discovery",
    "sign": "signed",
    "send": "sent",
    "first reply": "first_reply",
    "last reply": "last_reply",
    "render": "rendered",
    "exit": "exit",
}
PLAIN = ("without marks", "without marks, warm")
STATUS = ("package", "status", "package=bash")
SQS = ("SendMessage", "ReceiveMessage", "DeleteMessageBatch", "GetQueueAttributes", "CreateQueue", "GetQueueUrl")


def on_servers(report: BenchReport) -> None:
    """Measure calls to real daemons on moto, and on fauxqs if it is installed."""
    _calls(report, "moto", (1, 10, 50))
    if (PROGRAMS / "fauxqs").exists():
        _calls(report, "fauxqs", (10, 50, 200))
        _status(report, "fauxqs", 50)


def behind_latencies(report: BenchReport) -> None:
    """Measure calls to real daemons on fauxqs, behind AWS's latencies; then to simulated nodes behind them."""
    if (PROGRAMS / "fauxqs").exists():
        _calls(report, "fauxqs", (10, 50), latency=True)
    _to_simulated(report, (50, 500, 5000), latency=True)


def to_simulated(report: BenchReport) -> None:
    """Measure calls to simulated nodes without latencies, and ten calls at once."""
    _to_simulated(report, (1000, 2000, 5000, 10_000), latency=False)
    _at_once(report)


def _calls(report: BenchReport, server: str, sizes: Sequence[int], *, latency: bool = False) -> None:
    title = f"`crpc rpcutil ping` on {server}{', behind the latencies of AWS' if latency else ''}; ms"
    table = FigureTable(title, [f"{size} nodes" for size in sizes])
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name, _own_lab(Path(name), size, server, latency) as (environment, proxy):
            found.append(_measured(environment, proxy, size))
    _report(report, table, found, sizes)


def _to_simulated(report: BenchReport, sizes: Sequence[int], *, latency: bool) -> None:
    title = f"`crpc rpcutil ping` to simulated nodes{', behind the latencies of AWS' if latency else ''}; ms"
    table = FigureTable(title, [f"{size} nodes" for size in sizes])
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name, simulated(Path(name), size, latency=latency) as (environment, url):
            found.append(_measured(environment, url, size, simulated=True))
    _report(report, table, found, sizes)


def _at_once(report: BenchReport) -> None:
    """Measure ten callers at once: each has its own process, and all share the processor."""
    with tempfile.TemporaryDirectory() as name, simulated(Path(name), 50, latency=False) as (environment, _):
        words: list[str | Path] = [BIN / "crpc", "rpcutil", "ping", "--json"]
        alone: list[float] = []
        together: list[float] = []
        used: list[float] = []
        for _ in range(RUNS + 1):
            alone.append(_seconds(words, environment, 1)[0])
            wall, processor = _seconds(words, environment, 10)
            together.append(wall)
            used.append(processor)
        table = FigureTable("Ten callers at once, 50 simulated nodes", ("median (range), ms",))
        table.row("one caller", Spread([1000 * one for one in alone[1:]]))
        table.row("ten callers, until the last has ended", Spread([1000 * one for one in together[1:]]))
        table.row("processor time of the ten callers", Spread([1000 * one for one in used[1:]]))
        report.add(table)


def _seconds(words: Sequence[str | Path], environment: Mapping[str, str], count: int) -> tuple[float, float]:
    """Return how long some processes take at once, and the processor time of all."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    running = [subprocess.Popen(words, env=dict(environment), stdout=subprocess.DEVNULL) for _ in range(count)]
    assert [process.wait() for process in running] == [0] * count
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, used


def _report(
    report: BenchReport, table: FigureTable, found: Sequence[Mapping[str, Sequence[float]]], sizes: Sequence[int]
) -> None:
    for part in [*PARTS, "whole", *PLAIN, "processor"]:
        table.row(part, *(Spread(one[part]) for one in found))
    table.row("memory of the caller, MB", *(Spread(one["memory"]) for one in found))
    per_node = [[count / size for count in one["requests"]] for one, size in zip(found, sizes, strict=True)]
    table.row("SQS requests per node", *(f"{sorted(one)[len(one) // 2]:.2f}" for one in per_node))
    table.row("dollars for 1,000 calls", *(f"{1000 * sorted(one['dollars'])[RUNS // 2]:.3f}" for one in found))
    report.add(table)


def _measured(
    environment: dict[str, str], proxy: str, nodes: int, *, simulated: bool = False
) -> dict[str, list[float]]:
    """Return the figures of some calls, after one that is not measured."""
    found: dict[str, list[float]] = {}
    for number in range(RUNS + 1):
        time.sleep(0.3)  # until all nodes poll again
        counts(proxy)
        one = traced(environment)
        time.sleep(0.3)
        counted = counts(proxy)
        one |= _priced(counted, nodes, simulated)
        if number:
            for name, value in one.items():
                found.setdefault(name, []).append(value)
    return found | plain(environment, "rpcutil", "ping")


def plain(environment: dict[str, str], *words: str) -> dict[str, list[float]]:
    """Return the milliseconds of some calls of the console script, without and with a warm process."""
    command: list[str | Path] = [BIN / "crpc", *words]
    cold = {**environment, "COLLECTIVE_WARM": "no"}
    with tempfile.TemporaryDirectory() as name:
        warm = {**environment, "XDG_RUNTIME_DIR": name}
        _ = subprocess.run([BIN / "crpc", "warm", "start"], env=warm, check=True, capture_output=True)
        try:
            return {kind: _repeated(command, used) for kind, used in zip(PLAIN, (cold, warm), strict=True)}
        finally:
            _ = subprocess.run([BIN / "crpc", "warm", "stop"], env=warm, check=True, capture_output=True)


def _repeated(command: Sequence[str | Path], environment: Mapping[str, str]) -> list[float]:
    found = []
    for _ in range(RUNS + 1):
        time.sleep(0.3)  # until all nodes poll again
        found.append(1000 * _seconds(command, environment, 1)[0])
    return found[1:]


def _status(report: BenchReport, server: str, nodes: int) -> None:
    """Measure `crpc package status` on real daemons: each starts its fork server at the first call."""
    with tempfile.TemporaryDirectory() as name, _own_lab(Path(name), nodes, server, latency=False) as (environment, _):
        first = 1000 * _seconds([BIN / "crpc", *STATUS], {**environment, "COLLECTIVE_WARM": "no"}, 1)[0]
        later = plain(environment, *STATUS)
    table = FigureTable(f"`crpc package status` on {nodes} nodes, {server}; ms", ("median (range), ms",))
    table.row("first call", f"{first:.0f}")
    table.row("later calls", Spread(later[PLAIN[0]]))
    table.row("later calls, warm", Spread(later[PLAIN[1]]))
    report.add(table)


def traced(environment: dict[str, str], *words: str) -> dict[str, float]:
    """Run one call; return the milliseconds of its parts, and what it used."""
    with tempfile.NamedTemporaryFile() as file:
        command: list[str | Path] = [sys.executable, HERE / "traced_crpc.py", *(words or ("rpcutil", "ping"))]
        began = time.monotonic()
        with subprocess.Popen(
            command, env={**environment, "COLLECTIVE_WARM": "no", "BENCH_MARKS": file.name}, stdout=subprocess.DEVNULL
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall = (time.monotonic() - began) * 1000
        assert process.returncode == 0, process.returncode
        marks = json.loads(Path(file.name).read_text()) | {"exit": wall}
    ends = [marks[mark] for mark in PARTS.values()]
    parts = {part: end - start for part, end, start in zip(PARTS, ends, [0.0, *ends], strict=False)}
    processor = (usage.ru_utime + usage.ru_stime) * 1000
    return {**parts, "whole": wall, "processor": processor, "memory": usage.ru_maxrss / 1024}


def _priced(counted: Counter[str], nodes: int, simulated: bool) -> dict[str, float]:
    """Return the requests to SQS of a call, and its cost; what simulated nodes would request is added."""
    requests = sum(counted[name] for name in SQS) + (3 * nodes if simulated else 0)
    reads = nodes * 1.0 / 4  # a kilobyte for each node, and four for each unit
    dollars = (requests * US_EAST_1.sqs + counted["Publish"] * US_EAST_1.sns + reads * US_EAST_1.reads) / 1e6
    return {"requests": requests, "dollars": dollars}


def idle(report: BenchReport, seconds: float = 65.0) -> None:
    """Count the requests of idle nodes, and what they cost in a month."""
    with tempfile.TemporaryDirectory() as name, _own_lab(Path(name), 5, "moto", latency=False) as (_, proxy):
        time.sleep(3)
        counts(proxy)
        time.sleep(seconds)
        counted = counts(proxy)
    polls = counted["ReceiveMessage"] / 5 / seconds * 3600
    table = FigureTable("An idle node, counted", ("per hour", "dollars a month"))
    table.row("polls", f"{polls:.0f}", f"{polls * 24 * DAYS * US_EAST_1.sqs / 1e6:.4f}")
    for operation, count in counted.items():
        if operation.islower() or operation == "ReceiveMessage" or operation.startswith("bytes"):
            continue
        table.row(f"{operation} (a lab's heartbeat is 20 times as frequent)", f"{count / 5 / seconds * 180:.0f}", "")
    report.add(table)


def counts(url: str) -> Counter[str]:
    """Return what a server of this folder has counted since the last time."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    with contextlib.closing(connection):
        connection.request("POST", COUNTS)
        return Counter(json.loads(connection.getresponse().read()))


@contextmanager
def _own_lab(folder: Path, nodes: int, server: str, latency: bool) -> Iterator[tuple[dict[str, str], str]]:
    """Run a lab behind a proxy; yield its environment, and the URL of the proxy."""
    os.environ["PATH"] = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    from collective.lab import servers

    with servers.running(server) as urls:
        other = urls["AWS_ENDPOINT_URL"]
        options = ["--sqs", urls.get("AWS_ENDPOINT_URL_SQS", other), "--other", other]
        options += [] if latency else ["--no-delays"]
        with _started("latency_proxy.py", *options) as proxy, own_lab(Layout(folder / "lab"), nodes, proxy) as found:
            yield found, proxy


@contextmanager
def simulated(folder: Path, nodes: int, *, latency: bool) -> Iterator[tuple[dict[str, str], str]]:
    """Run simulated nodes; yield the environment of their caller, and the URL of the server."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    (folder / "client.yaml").write_text("collective: bench\ncaller: alice\nkey: key\nstate: state\n")
    options = ["--nodes", str(nodes), *([] if latency else ["--no-delays"])]
    with _started("fleet_server.py", *options) as url:
        yield (
            {
                **clean_environment(),
                "COLLECTIVE_CONFIG": str(folder),
                "AWS_ENDPOINT_URL": url,
                "AWS_DEFAULT_REGION": "eu-central-1",
                "AWS_ACCESS_KEY_ID": "bench",
                "AWS_SECRET_ACCESS_KEY": "bench",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            url,
        )


@contextmanager
def _started(program: str, *options: str) -> Iterator[str]:
    command: list[str | Path] = [sys.executable, HERE / program, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()
