"""Tests of one real daemon under too many requests, too much output and too many processes.

The daemon must answer, and must not hold more resources afterwards. The table of its resources before and after is
printed at the end of the run; docs/reliability.md has a copy.
"""

from __future__ import annotations

import json
import os
import re
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import failures
from support.crpc_process import Crpc, make_crpc
from support.daemons import IDENTITY, Daemon, aws_environment, configure, daemon
from support.footprint import Measure, descendants
from support.proxy import Proxy
from support.request_flood import LoadCaller, Stock, load_caller, sealed
from support.waiting import wait_until

TIMEOUT = 100.0  # seconds, on a busy machine
TIMES = int(os.environ.get("FLOODS", "1"))
CODE = '''
"""An agent that produces too much."""

import os
import resource
import time

from collective.agent import action, run

SIZE = 100_000_000


@action
def command_prints():
    """Run a command that prints."""
    done = run(["sh", "-c", f"head -c {SIZE} /dev/zero | tr '\\\\0' x"])
    return {"kept": len(done.stdout), "peak": peak()}


@action
def prints():
    """Print to standard output, line by line."""
    for _ in range(SIZE // 1000):
        print("x" * 999)


@action
def returns():
    """Return more than the worker accepts."""
    return {"text": "x" * SIZE}


@action
def returns_noise():
    """Return what the worker accepts and the transport does not."""
    return {"text": os.urandom(3_000_000).hex()}


@action
def detaches(folder):
    """Start 200 processes that detach by a double fork and never end."""
    for _ in range(200):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                open(f"{folder}/{os.getpid()}", "w").close()
                time.sleep(600)
            os._exit(0)
        os.wait()
    time.sleep(600)


def peak():
    """Return the peak resident memory of this process in MB (getrusage(2) has kB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
'''


NOTHING = {"type": "object", "properties": {}}


def action_ddl(timeout: int = 60, **inputs: Any) -> dict[str, Any]:
    """Return the DDL of one action."""
    schema = {"type": "object", "required": list(inputs), "properties": inputs}
    return {"description": "Exceed limits", "display": "always", "timeout": timeout, "input": schema, "output": NOTHING}


DDL = {
    "metadata": {"name": "excess", "description": "For the test", "version": "1"},
    "actions": {
        **{name: action_ddl() for name in ("command_prints", "prints", "returns", "returns_noise")},
        "detaches": action_ddl(8, folder={"type": "string", "title": "Folder"}),
    },
}


@pytest.fixture(scope="module", params=range(TIMES))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration folder of a collective of its own, with an agent that produces too much.

    All tests are repeated FLOODS times. Each round has a daemon of its own: the journal of one would be full after
    20,000 requests of one caller.
    """
    folder = tmp_path_factory.mktemp("flood")
    configure(folder, collective=f"flood-{uuid.uuid4().hex[:8]}")
    (folder / "agents" / "excess.py").write_text(CODE)
    (folder / "ddl" / "excess.json").write_text(json.dumps(DDL))
    return folder


@pytest.fixture(scope="module")
def proxy(moto_server: str) -> Iterator[Proxy]:
    """Run the proxy between the daemon and the server."""
    with Proxy(moto_server) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def node(folder: Path, moto_server: str, proxy: Proxy) -> Iterator[Daemon]:
    """Run one daemon for all tests of a round; one action has run before, so that its worker processes exist."""
    with daemon(folder, proxy.url) as running:
        asked = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(folder)})
        assert asked("shell", "run", "command=true", "-I", IDENTITY).returncode == 0
        wait_until(lambda: len(descendants(running.process.pid)) == 1, 30)  # the imports of agents have been tried
        yield running


@pytest.fixture
def crpc(folder: Path, moto_server: str) -> Crpc:
    """Return a function that runs crpc."""
    return make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(folder)})


@pytest.fixture
def caller(folder: Path, moto_server: str) -> Iterator[LoadCaller]:
    """Return a caller that sends many requests at once."""
    with load_caller(json.loads((folder / "node.yaml").read_text())["collective"], moto_server) as caller:
        yield caller


def reply_of(crpc: Crpc, action: str, *words: str) -> dict[str, Any]:
    """Call an action of the agent; return its reply."""
    done = crpc("excess", action, *words, "-I", IDENTITY, "--json")
    assert done.returncode in (0, 2), done.stderr
    (reply,) = json.loads(done.stdout)["replies"]
    found: dict[str, Any] = reply
    return found


@pytest.mark.failure(failures.RESOURCE, "1,000 requests at once, and SIGHUP")
def test_a_thousand_requests_at_once(
    node: Daemon, proxy: Proxy, caller: LoadCaller, folder: Path, measure: Measure
) -> None:
    """Each request ends ok or busy, exactly once; it has run if and only if it is ok, also with SIGHUP in between."""
    ran = folder / "ran"
    ran.unlink(missing_ok=True)
    requests = [caller.run(f"echo {number} >> {ran}; sleep 0.2", TIMEOUT) for number in range(1000)]
    with measure("1,000 requests at once, and SIGHUP", node):
        proxy.answer = Stock(caller.queue, [sealed(request) for request in requests[1:]])
        caller.send(requests[:1])  # ends the current poll
        for _ in range(5):
            caller.receive(1.0)
            node.process.send_signal(signal.SIGHUP)
        replies = caller.wait_for(requests, TIMEOUT)
        assert not caller.receive(1.0)
    ends = {request.data["command"].split()[1]: replies[request.id].reason for request in requests}
    assert set(ends.values()) == {None, "busy"}
    assert Counter(ran.read_text().split()) == Counter(number for number, reason in ends.items() if reason is None)
    assert {len(caller.replies[request.id]) for request in requests} == {1}


@pytest.mark.failure(failures.RESOURCE, "a command that prints 100 MB")
def test_a_command_that_prints_100_mb(node: Daemon, crpc: Crpc, measure: Measure) -> None:
    """The start and the end of the output are kept; neither action nor daemon ever has all of it in memory."""
    with measure("a command prints 100 MB", node) as measured:
        reply = reply_of(crpc, "command_prints")
    assert reply["statuscode"] == 0, reply
    assert 500_000 < reply["data"]["kept"] < 600_000
    assert reply["data"]["peak"] < 100
    assert measured.peak < measured.before.resident + 20


@pytest.mark.failure(failures.RESOURCE, "an action that prints 100 MB")
def test_an_action_that_prints_100_mb(node: Daemon, crpc: Crpc, measure: Measure) -> None:
    """The reply of an action that prints 100 MB quotes the start of the output and has its size."""
    with measure("an action prints 100 MB", node) as measured:
        reply = reply_of(crpc, "prints")
    assert reply["reason"] == "crashed"
    assert reply["statusmsg"].startswith("Printed to standard output: 'xxx")
    assert "(100000000 characters; return or log them)" in reply["statusmsg"]
    assert measured.peak < measured.before.resident + 20


@pytest.mark.failure(failures.RESOURCE, "an action that returns 100 MB")
def test_an_action_that_returns_100_mb(node: Daemon, crpc: Crpc, measure: Measure) -> None:
    """The reply for a result of 100 MB has the size and the limit; the daemon never has the value in memory."""
    with measure("an action returns 100 MB", node) as measured:
        reply = reply_of(crpc, "returns")
    assert (reply["statuscode"], reply["reason"]) == (5, "crashed")
    assert " bytes, more than the limit of 8388608 bytes" in reply["statusmsg"]
    assert measured.peak < measured.before.resident + 20


@pytest.mark.failure(failures.RESOURCE, "ten replies of 6 MB at once")
def test_ten_answers_at_once_that_no_queue_carries(node: Daemon, caller: LoadCaller, measure: Measure) -> None:
    """A reply larger than an SQS message is replaced by an error with size and limit; memory stays bounded."""
    requests = [caller.request("excess", "returns_noise", {}) for _ in range(10)]
    with measure("ten answers of 6 MB at once", node) as measured:
        caller.send(requests)
        replies = caller.wait_for(requests, 30).values()
    assert {(reply.statuscode, reply.reason) for reply in replies} == {(5, "crashed")}
    assert all(
        re.search(r"reply has \d+ bytes, more than the limit of 1048576 bytes", reply.statusmsg) for reply in replies
    )
    assert measured.peak < measured.before.resident + 200


@pytest.mark.failure(failures.RESOURCE, "200 processes that detach themselves from an action")
def test_two_hundred_processes_that_detach_themselves(
    node: Daemon, crpc: Crpc, measure: Measure, tmp_path: Path
) -> None:
    """All detached processes are dead when the reply with reason `timeout` arrives."""
    with measure("200 processes detach themselves", node):
        reply = reply_of(crpc, "detaches", f"folder={tmp_path}")
        alive = [path.name for path in tmp_path.iterdir() if Path("/proc", path.name).exists()]
    assert (reply["statuscode"], reply["reason"]) == (5, "timeout")
    assert len(list(tmp_path.iterdir())) == 200
    assert alive == []
