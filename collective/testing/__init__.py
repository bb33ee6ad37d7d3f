r"""Test agents and programs: stand-ins for commands, networks and whole collectives.

    with fake_commands({"uptime": {"stdout": "up 3 days\n"}}) as calls:
        assert load.status()["uptime"] == "up 3 days"
    assert calls() == [["uptime"]]

    with memory_fleet(tmp_path, {"web1": {"role": "web"}, "db1": {"role": "db"}}, code=[Path("agents")],
                      ddls=[Path("ddl")]) as network:
        call = network.fleet.call("load", "status", targets=Targets.select(facts=["role=web"]))
        assert [reply.sender for reply in call] == ["web1"]

    reply = agent("load").call("status", limit=100)
    assert reply.data["one"] >= 0

    with Simulation(tmp_path, 500, FaultRates(drop=0.01, duplicate=0.05), seed=7) as world:
        outcomes = world.fleet.call("load", "status", timeout=5).wait()
        assert len(outcomes.ok) > 450

agents.py       agent: one agent's actions, called in this process
pytest_plugin.py  the same as fixtures of pytest
commands.py     fake_commands: executables with canned output
nodes.py        memory_fleet: nodes in threads, actions in real processes
faulty.py       FaultyTransport: loses, repeats, delays and corrupts the messages of any other transport
simulation.py   Simulation: hundreds of nodes in one thread, with a simulated clock

The library itself imports nothing from here.
"""

from collective.testing.agents import AgentUnderTest, agent
from collective.testing.commands import CannedAnswer, fake_commands
from collective.testing.faulty import FaultRates, FaultyTransport
from collective.testing.nodes import COLLECTIVE, Network, make_node, memory_fleet, node_parts
from collective.testing.simulation import NodeDied, Simulation

__all__ = [
    "COLLECTIVE",
    "AgentUnderTest",
    "CannedAnswer",
    "FaultRates",
    "FaultyTransport",
    "Network",
    "NodeDied",
    "Simulation",
    "agent",
    "fake_commands",
    "make_node",
    "memory_fleet",
    "node_parts",
]
