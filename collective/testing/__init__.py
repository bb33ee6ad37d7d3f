r"""Stand-ins that ship with the library: authors of plugins test with what we test with.

    with fake_commands({"uptime": {"stdout": "up 3 days\n"}}) as calls:
        assert load.status()["uptime"] == "up 3 days"
    assert calls() == [["uptime"]]

    with memory_fleet(tmp_path, {"web1": {"role": "web"}, "db1": {"role": "db"}}, code=[Path("agents")],
                      ddls=[Path("ddl")]) as network:
        call = network.fleet.call("load", "status", targets=Targets.select(facts=["role=web"]))
        assert [reply.sender for reply in call] == ["web1"]

    with Simulation(tmp_path, 500, FaultRates(drop=0.01, duplicate=0.05), seed=7) as world:
        outcomes = world.fleet.call("load", "status", timeout=5).wait()
        assert outcomes.silent == world.unheard(...)

commands.py     fake_commands: executables that a test answers for
nodes.py        memory_fleet: nodes in threads, actions in real processes
faulty.py       FaultyTransport: loses, repeats, delays, cuts … what passes through any other transport
simulation.py   Simulation: very many nodes, one thread, a clock of its own

Nothing here is imported by the library itself.
"""

from collective.testing.commands import CannedAnswer, fake_commands
from collective.testing.faulty import FaultRates, FaultyTransport
from collective.testing.nodes import COLLECTIVE, Network, make_node, memory_fleet, node_parts
from collective.testing.simulation import NodeDied, Simulation

__all__ = [
    "COLLECTIVE",
    "CannedAnswer",
    "FaultRates",
    "FaultyTransport",
    "Network",
    "NodeDied",
    "Simulation",
    "fake_commands",
    "make_node",
    "memory_fleet",
    "node_parts",
]
