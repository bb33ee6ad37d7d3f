"""Data functions on the node: for filters and for get_data, with the policy's permission and a deadline."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.node_server import REPLIES, replies, request, send
from support.waiting import wait_until

from collective import Targets
from collective.errors import UsageError
from collective.filters import parse
from collective.messages import Reply
from collective.node.plugins.data_functions import DataFunctions
from collective.policy import Policy, Rule
from collective.testing import Network, memory_fleet

ODD = '''
import os, time
from collective.agent import Aborted, data

@data
def odd(query):
    """Do what the query says."""
    if query == "sleep":
        time.sleep(600)
    if query == "die":
        os._exit(1)
    if query == "abort":
        raise Aborted("not today")
    if query == "lie":
        return {"number": "seven"}
    if query.startswith("/"):
        with open(query, "a") as file:
            file.write("x")
    return {"number": 7}
'''
DDL = {
    "metadata": {"name": "odd", "description": "Odd", "version": "1", "timeout": 3},
    "query": {"type": "string"},
    "output": {"type": "object", "properties": {"number": {"type": "integer"}}},
}


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder with a data function that can misbehave."""
    folder = tmp_path / "plugins"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "odd.py").write_text(ODD)
    (folder / "data" / "odd.json").write_text(json.dumps(DDL))
    return folder


def ask(network: Network, select: str, agent: str = "rpcutil", action: str = "ping", **data: str) -> Reply:
    """Call the node by name, so that it answers why it does not match."""
    targets = Targets.select(expression=select or None, nodes=["web1"])
    (reply,) = network.fleet.call(agent, action, data, targets=targets)
    return reply


def matching(network: Network, select: str) -> list[str]:
    """Return the nodes that match."""
    call = network.fleet.call("rpcutil", "ping", targets=Targets.select(expression=select))
    return sorted(reply.sender for reply in call)


def test_a_filter_queries_the_nodes_themselves(tmp_path: Path) -> None:
    """Only the nodes whose data match answer, and the caller expects no others."""
    (tmp_path / "there").write_text("")
    nodes = {"web1": {"role": "web"}, "db1": {"role": "db"}}
    with memory_fleet(tmp_path, nodes) as network:
        there = f"fstat('{tmp_path}/there').present=1"
        assert matching(network, there) == ["db1", "web1"]
        assert matching(network, f"{there} and fact('role').value=web") == ["web1"]
        assert matching(network, "agent('package').version=/^1/ and not fact('role').value=web") == ["db1"]


def test_one_request_makes_the_same_query_once(tmp_path: Path, plugins: Path) -> None:
    """Several tests of one query start one process and see the same output."""
    with memory_fleet(tmp_path, {"web1": {}}, code=[plugins], ddls=[plugins]) as network:
        question = f"odd('{tmp_path}/asked').number"
        assert network.nodes["web1"].info.query("odd", "x", "alice", 5.0) == {"number": 7}
        node = network.nodes["web1"]
        before = node.statistics.requests["passed"]
        matching(network, f"{question}>6 and {question}<8 and not {question}=1")
        asked = (tmp_path / "asked").read_text()
        assert len(asked) == node.statistics.requests["passed"] - before == 2  # discovery, and the call itself


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sleep", "data odd: Timed out after 3 s"),
        ("die", "data odd: the action's process exited with code 1"),
        ("abort", "data odd: not today"),
        ("lie", "data odd: does not match its DDL: output 'number'"),
    ],
)
def test_a_failed_query_makes_the_whole_filter_false(tmp_path: Path, plugins: Path, query: str, message: str) -> None:
    """A named node answers why, and no later than the function's timeout."""
    with memory_fleet(tmp_path, {"web1": {"role": "web"}}, code=[plugins], ddls=[plugins]) as network:
        began = time.monotonic()
        reply = _direct(network, f"role=web or odd('{query}').number=1")
        assert (reply.statuscode, reply.reason) == (5, "not_evaluated")
        assert f"the filter could not be evaluated: {message}" in reply.statusmsg
        assert time.monotonic() - began < 200


def _direct(network: Network, select: str) -> Reply:
    """Send a filter to the node by name, without discovery, as any caller could."""
    network.transport.open_replies(REPLIES)
    send(network, request(filter=parse(select=select).to_data()))
    (reply,) = replies(network)
    wait_until(lambda: network.nodes["web1"].pools.in_progress == 0, 30)
    return reply


def test_an_unknown_function_makes_the_whole_filter_false(tmp_path: Path) -> None:
    """An unknown data function makes the whole filter false, also below `or` and `not`."""
    with memory_fleet(tmp_path, {"web1": {"role": "web"}}) as network:
        reply = _direct(network, "role=web or not odd('x').number=1")
        assert reply.reason == "not_evaluated"
        assert "this node has no data function 'odd' (it has agent, fact, fstat" in reply.statusmsg


def test_a_function_that_cannot_change_the_result_is_not_run(tmp_path: Path, plugins: Path) -> None:
    """A node that does not match by its facts answers so, also if it lacks the function."""
    with memory_fleet(tmp_path, {"web1": {"role": "web"}}, code=[plugins], ddls=[plugins]) as network:
        path = tmp_path / "asked"
        for select in (f"role=db and odd('{path}').number=7", "role=db and not unknown('x').number=7"):
            assert _direct(network, select).reason == "filtered"
        assert not path.exists()


def test_nodes_that_cannot_evaluate_a_filter_are_named(tmp_path: Path, plugins: Path) -> None:
    """Nodes that cannot evaluate a filter count as failed, also when no node matches; discovery ends early."""
    nodes = {"web1": {"role": "web"}, "db1": {"role": "db"}}
    with memory_fleet(tmp_path, nodes, code=[plugins], ddls=[plugins]) as network:
        plain = network.nodes["db1"].plugins
        network.nodes["db1"].use(replace(plain, data=DataFunctions({})))
        began = time.monotonic()
        targets = Targets(parse(select="odd('x').number=7"), discovery_timeout=30.0)
        call = network.fleet.call("rpcutil", "ping", targets=targets)
        outcomes = call.wait()
        assert (outcomes.ok, outcomes.exit_code()) == (["web1"], 2)
        [(name, why)] = outcomes.not_evaluated.items()
        assert name == "db1"
        assert "this node has no data function 'odd'" in why
        assert time.monotonic() - began < 20
        broken = network.fleet.find(Targets.select(expression="odd('abort').number=7"))
        assert (broken.nodes, sorted(broken.not_evaluated)) == ((), ["db1", "web1"])
        nothing = network.fleet.call("rpcutil", "ping", targets=Targets.select(expression="odd('abort').number=7"))
        assert (nothing.wait().exit_code(), len(nothing.request_id)) == (2, 32)


def test_a_slow_function_delays_neither_the_receiver_nor_rpcutil(tmp_path: Path, plugins: Path) -> None:
    """While filters wait for their data, ping is answered at once."""
    with memory_fleet(tmp_path, {"web1": {}}, code=[plugins], ddls=[plugins]) as network:
        network.transport.open_replies(REPLIES)
        slow = parse(select="odd('sleep').number=1").to_data()
        fast = request()
        data = {"source": "odd", "query": "sleep"}
        asking = [request("rpcutil", "get_data", data=data) for _ in range(2)]
        send(network, *asking, request(filter=slow), request(filter=slow), fast)
        first = replies(network)[0]
        assert (first.request, first.statuscode) == (fast.id, 0)
        assert sorted(str(reply.reason) for reply in replies(network, 4)) == ["not_evaluated"] * 2 + ["timeout"] * 2


def test_too_many_waiting_filters_are_refused(tmp_path: Path, plugins: Path) -> None:
    """The number of filters that wait for data functions is limited."""
    with memory_fleet(tmp_path, {"web1": {}}, code=[plugins], ddls=[plugins], max_queued=1) as network:
        network.transport.open_replies(REPLIES)
        slow = parse(select="odd('sleep').number=1").to_data()
        send(network, *(request(filter=slow) for _ in range(6)))
        assert replies(network)[0].reason == "busy"


def test_a_data_function_needs_permission(tmp_path: Path) -> None:
    """Rules use the agent `data` and the function's name as action: permission to ping is not permission to query."""
    policy = Policy([Rule("ping", agents=("rpcutil",)), Rule("facts", agents=("data",), actions=("fact",))])
    with memory_fleet(tmp_path, {"web1": {"role": "web"}}, policy=policy) as network:
        assert _direct(network, "fact('role').value=web").statuscode == 0
        for select in ("fstat('/etc/hosts').present=1", "fact('role').value=web or fstat('/x').present=1"):
            reply = _direct(network, select)
            assert (reply.statuscode, reply.reason) == (1, "denied")
            assert "may not call data fstat here: no rule allows it" in reply.statusmsg
        assert [line["verdict"] for line in _decisions(tmp_path)] == ["allowed", "denied", "denied"]
        denied = ask(network, "", "rpcutil", "get_data", source="fstat", query="/etc/hosts")
        assert (denied.statuscode, denied.reason) == (1, "denied")
        assert ask(network, "", "rpcutil", "get_data", source="fact", query="role").data["value"] == "web"


def _decisions(folder: Path) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in (folder / "web1.audit.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == "decision"]


def test_get_data_returns_what_a_filter_would_see(tmp_path: Path) -> None:
    """The reply has all fields of the function, and the usual status codes for errors."""
    path = tmp_path / "file"
    path.write_text("rspec")
    with memory_fleet(tmp_path, {"web1": {}}) as network:
        reply = ask(network, "", "rpcutil", "get_data", source="fstat", query=str(path))
        assert (reply.statuscode, reply.data["md5"]) == (0, "2bc84dc69b73db9383b9c6711d2011b7")
        reply = ask(network, "", "rpcutil", "get_data", source="fstat", query="relative")
        assert (reply.statuscode, "input 'query'" in reply.statusmsg) == (4, True)
        reply = ask(network, "", "rpcutil", "get_data", source="nosuch", query="x")
        assert (reply.statuscode, reply.statusmsg[:39]) == (2, "this node has no data function 'nosuch'")


def test_a_misspelt_field_is_refused_by_the_caller(tmp_path: Path) -> None:
    """The caller refuses a misspelt field of a data function, and sends nothing."""
    with memory_fleet(tmp_path, {"web1": {}}) as network:
        with pytest.raises(UsageError, match="unknown field 'presnt'"):
            network.fleet.call("rpcutil", "ping", targets=Targets.select(expression="fstat('/x').presnt=1"))
        assert network.nodes["web1"].statistics.requests["received"] == 0
