"""Measure `mco rpc rpcutil ping` and `crpc rpcutil ping` in turn, on one machine with the nodes of both.

Needs Debian's packages mcollective, mcollective-client and rabbitmq-server. RabbitMQ and the servers of MCollective run
as processes of their own on loopback ports; nothing of the system's own services is used.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from report import BenchReport, FigureTable, Spread
from support.crpc_process import BIN, own_lab
from support.ports import accepts, free_port
from support.servers import PROGRAMS
from support.waiting import wait_until

from collective.lab.layout import Layout

RUNS = 7
SIZES = (10, 50)
PACKAGES = "apt-get install mcollective mcollective-client rabbitmq-server"
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
COMMON = """\
main_collective = mcollective
collectives = mcollective
libdir = /usr/share/mcollective/plugins
loglevel = warn
securityprovider = psk
plugin.psk = bench
connector = rabbitmq
direct_addressing = 1
plugin.rabbitmq.vhost = /mcollective
plugin.rabbitmq.pool.size = 1
plugin.rabbitmq.pool.1.host = 127.0.0.1
plugin.rabbitmq.pool.1.port = {port}
plugin.rabbitmq.pool.1.user = mcollective
plugin.rabbitmq.pool.1.password = bench
"""
SERVER = """\
daemonize = 0
identity = {name}
logfile = {folder}/{name}.log
registerinterval = 0
factsource = yaml
plugin.yaml = {folder}/facts.yaml
"""

Run = Callable[[], None]


def beside(report: BenchReport) -> None:
    """Measure both products with some numbers of nodes; without the packages, say that they are missing."""
    if not RABBITMQ.exists() or shutil.which("mco") is None:
        print(f"\nMCollective is not measured: it is not installed ({PACKAGES})", flush=True)
        return
    found = [_measured(size) for size in SIZES]
    table = FigureTable("`rpcutil ping`, in turn; ms", [f"{size} nodes" for size in SIZES])
    for name in found[0]:
        table.row(name, *(Spread(one[name]) for one in found))
    report.add(table)


def _measured(size: int) -> dict[str, list[float]]:
    """Return the milliseconds of each kind of call."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kinds: dict[str, Run] = dict(_mcollective(stack, folder, size))
        for server in ("moto", "fauxqs") if (PROGRAMS / "fauxqs").exists() else ("moto",):
            kinds |= _crpc(stack, folder / server, server, size)
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for number in range(RUNS + 1):
            for name, run in kinds.items():
                time.sleep(0.3)  # until all nodes poll again
                began = time.monotonic()
                run()
                if number:
                    found[name].append((time.monotonic() - began) * 1000)
        return found


def _crpc(stack: ExitStack, folder: Path, server: str, size: int) -> Iterator[tuple[str, Run]]:
    """Start a lab; yield its kinds of calls."""
    os.environ["PATH"] = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    folder.mkdir()
    environment = stack.enter_context(own_lab(Layout(folder / "lab"), size, server))
    environment["XDG_RUNTIME_DIR"] = str(folder)
    ping: list[str | Path] = [BIN / "crpc", "rpcutil", "ping", "--json"]
    cold = {**environment, "COLLECTIVE_WARM": "no"}
    yield f"crpc, {server}", partial(_checked, ping, cold, size)
    _ = subprocess.run([BIN / "crpc", "warm", "start"], env=environment, check=True, capture_output=True)
    stack.callback(partial(subprocess.run, [BIN / "crpc", "warm", "stop"], env=environment, capture_output=True))
    yield f"crpc, {server}, warm", partial(_checked, ping, environment, size)


def _checked(words: Sequence[str | Path], environment: Mapping[str, str], size: int) -> None:
    """Run a call that prints JSON; all nodes must have answered."""
    done = subprocess.run(words, env=dict(environment), capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    replies = document if isinstance(document, list) else document["replies"]
    assert len(replies) == size, (words, len(replies))


def _mcollective(stack: ExitStack, folder: Path, size: int) -> Iterator[tuple[str, Run]]:
    """Start RabbitMQ and the servers of MCollective; yield its kinds of calls."""
    port = stack.enter_context(_broker(folder / "rabbitmq"))
    names = [f"node{number:02}" for number in range(1, size + 1)]
    common = COMMON.format(port=port)
    (folder / "facts.yaml").write_text("role: web\n")
    (folder / "client.cfg").write_text(common + "logger_type = console\n")
    for name in names:
        path = folder / f"{name}.cfg"
        path.write_text(common + SERVER.format(name=name, folder=folder))
        stack.enter_context(_process(["mcollectived", "--config", path, "--no-daemonize"], os.environ))
    call: list[str | Path] = ["mco", "rpc", "rpcutil", "ping", "--json", "--config", folder / "client.cfg"]
    named = [*call, *(word for name in names for word in ("-I", name))]
    wait_until(partial(_all_answer, named, size), 60, lambda: "the servers of MCollective do not answer")
    yield "mco, discovery by broadcast (default)", partial(_checked, call, os.environ, size)
    yield "mco, nodes named", partial(_checked, named, os.environ, size)


def _all_answer(words: Sequence[str | Path], size: int) -> bool:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.count('"sender"') == size


@contextmanager
def _broker(folder: Path) -> Iterator[int]:
    """Run RabbitMQ with its STOMP plugin; yield the port."""
    folder.mkdir()
    port, own, distribution = free_port(), free_port(), free_port()
    (folder / "enabled_plugins").write_text("[rabbitmq_stomp].\n")
    (folder / "definitions.json").write_text(json.dumps(_definitions()))
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{own}\nstomp.listeners.tcp.1 = 127.0.0.1:{port}\n"
        f"load_definitions = {folder}/definitions.json\n"
    )
    environment = {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"bench{os.getpid()}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
        "RABBITMQ_LOG_BASE": f"{folder}/log",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
        "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq",
    }
    with _process([RABBITMQ], environment):
        wait_until(partial(accepts, port), 60, lambda: "RabbitMQ does not listen")
        yield port


def _definitions() -> dict[str, object]:
    """Return the user, the virtual host and the exchanges that MCollective's documentation demands."""
    host = "/mcollective"
    kinds = {"mcollective_broadcast": "topic", "mcollective_directed": "direct", "mcollective_reply": "direct"}
    exchange = {"vhost": host, "durable": True, "auto_delete": False, "internal": False, "arguments": {}}
    return {
        "users": [{"name": "mcollective", "password": "bench", "tags": ""}],
        "vhosts": [{"name": host}],
        "permissions": [{"user": "mcollective", "vhost": host, "configure": ".*", "write": ".*", "read": ".*"}],
        "exchanges": [{**exchange, "name": name, "type": kind} for name, kind in kinds.items()],
    }


@contextmanager
def _process(words: Sequence[str | Path], environment: Mapping[str, str]) -> Iterator[None]:
    """Run a program for the time of the block."""
    with subprocess.Popen(
        words, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, 15)
