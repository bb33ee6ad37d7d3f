"""How a request reaches its nodes: published or sent to each, whole or in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.messages import REQUEST

from collective import messages, names
from collective.fleet.send_choice import FEW, SendChoice, SendTimes
from collective.fleet.sending import NAMED, Sender, Wave, send
from collective.messages import Request
from collective.signing import unsigned
from collective.transport import BROADCAST_LIMIT
from collective.transport.memory import MemoryTransport

MANY = 50_000


def sender(folder: Path, limit: int | None, nodes: int = 0) -> Sender:
    """Return a sender that publishes to more nodes than `limit`."""
    return Sender(MemoryTransport(), REQUEST, unsigned, SendChoice(folder, "production", limit), nodes=nodes)


def decoded(wave: Wave) -> Request:
    """Return the request of a wave as nodes read it."""
    return messages.decode_request(messages.unseal(wave.message.body).content)


def numbered(number: int) -> str:
    """Return a name as people give them."""
    return f"web{number:05}.example.com"


def random(number: int) -> str:
    """Return a name as EC2 gives them."""
    return f"i-{hashlib.sha256(str(number).encode()).hexdigest()[:17]}"


@pytest.mark.parametrize(("name", "most"), [(numbered, 2), (random, 4)])
def test_any_number_of_names_is_published_in_few_parts(tmp_path: Path, name: Callable[[int], str], most: int) -> None:
    """Each of 50,000 nodes is named by exactly one message that SNS takes; all parts are of one run."""
    nodes = [name(number) for number in range(MANY)]
    waves = sender(tmp_path, 50).waves(nodes, first=True)
    assert 1 <= len(waves) <= most
    assert all(len(wave.message.body) <= BROADCAST_LIMIT and wave.published for wave in waves)
    requests = [decoded(wave) for wave in waves]
    assert [node for request in requests for node in request.targets or ()] == nodes
    assert {request.run for request in requests} == {REQUEST.id}
    assert requests[0].id == REQUEST.id
    assert len({request.id for request in requests}) == len(waves)


def test_messages_to_single_nodes_name_few_nodes(tmp_path: Path) -> None:
    """A node that is sent a message gets at most 50 names with it."""
    nodes = [f"node{number}" for number in range(120)]
    one = sender(tmp_path, 1000)
    for node in nodes[:-1]:
        one.transport.open_node(names.node_queue("production", node), "topic")
    waves = one.waves(nodes, first=True)
    assert [len(wave.nodes) for wave in waves] == [NAMED, NAMED, 20]
    send(waves)
    assert [len(wave.reached) for wave in waves] == [NAMED, NAMED, 20]
    assert [wave.absent for wave in waves] == [[], [], [nodes[-1]]]


@pytest.mark.parametrize(
    ("targets", "nodes", "published"),
    [
        (FEW, FEW, False),  # faster than a publish
        (40, 40, False),
        (100, 100, True),  # faster, and cheaper
        (100, 100_000, False),  # 99,900 nodes would receive and delete it for nothing
        (2_000, 100_000, False),
        (20_000, 100_000, True),
    ],
)
def test_the_cheaper_and_faster_way_is_chosen(targets: int, nodes: int, published: bool) -> None:
    """With the times of AWS, few nodes of a large collective are sent to directly."""
    assert SendTimes().prefer_publish(targets, 1000, nodes) is published


def test_measured_times_decide(tmp_path: Path) -> None:
    """Where publishing is slow, messages are sent to each node, also by the next call."""
    choice = SendChoice(tmp_path, "production")
    assert choice.publishes(100, 1000)
    choice.measured(publish=2.0, nodes=400)
    assert not choice.publishes(100, 1000)
    assert not SendChoice(tmp_path, "production").publishes(100, 1000)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"message": 0, "publish": 1, "nodes": 1}', '{"message": "x"}', "[" * 9999]
)
def test_a_damaged_file_is_as_none(tmp_path: Path, content: str) -> None:
    """The file only saves measurements."""
    (tmp_path / "sending_production.json").write_text(content)
    assert SendChoice(tmp_path, "production").publishes(100, 1000)


def test_a_limit_decides_alone(tmp_path: Path) -> None:
    """A number in `direct_limit` decides, whatever was measured."""
    choice = SendChoice(tmp_path, "production", 3)
    choice.measured(publish=2.0)
    assert (choice.publishes(3, 1000), choice.publishes(4, 1000)) == (False, True)
    assert not list(tmp_path.iterdir())
