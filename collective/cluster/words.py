"""What the commands of a cluster get: `{peers}`, `{self}`, `{first}` in the command line, and environment variables.

    etcd --name {self} --initial-cluster {peers} --initial-cluster-state {state}
    CLUSTER_PEERS, CLUSTER_SELF, CLUSTER_FIRST …

Other text in braces is left to the shell, unless it looks like a misspelt word.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collective.cluster.state import ClusterMachine
from collective.cluster.steps import Start
from collective.errors import UsageError
from collective.suggestions import suggest

NAMES = {
    "peers": "all machines of the cluster, in the form of --peer",
    "others": "the same without this machine",
    "addresses": "the addresses of all machines",
    "other_addresses": "the addresses of the other machines",
    "self": "the identity of this machine",
    "address": "the address of this machine",
    "peer": "this machine in the form of --peer",
    "first": "true on the machine that begins the cluster, else false",
    "state": "new while the cluster forms, existing afterwards",
    "cluster": "the name of the cluster",
    "place": "the number of this machine's place, from 0",
    "size": "the number of places",
    "replaced": "the machine whose place this one has taken; empty if there is none",
    "replaced_address": "its address",
    "replaced_peer": "the same in the form of --peer",
}
PEER = "{name}={address}"  # the default of --peer
_WORD = re.compile(r"(?<!\$)\{([a-z_]+)\}")
_PEER_WORDS = {"name", "address", "host"}


@dataclass(frozen=True)
class PeerForm:
    """How a machine is written in `{peers}`: `template` has `{name}`, `{address}` and `{host}`.

    `{host}` is the address, in brackets if it is an IPv6 address, as in URLs.
    """

    template: str = PEER
    separator: str = ","

    def check(self) -> PeerForm:
        """Return itself; raise UsageError for an unknown word."""
        for word in _WORD.findall(self.template):
            if word not in _PEER_WORDS:
                raise UsageError(f"--peer: unknown word '{{{word}}}' (words: {', '.join(sorted(_PEER_WORDS))})")
        return self

    def write(self, machines: Sequence[ClusterMachine]) -> str:
        """Return the machines in this form."""
        return self.separator.join(self._one(machine) for machine in machines)

    def _one(self, machine: ClusterMachine) -> str:
        host = f"[{machine.address}]" if ":" in machine.address else machine.address
        values = {"name": machine.identity, "address": machine.address, "host": host}
        return _WORD.sub(lambda match: values[match[1]], self.template)


def check_command(option: str, command: str) -> str:
    """Return a command; raise UsageError if it is empty or has a misspelt word."""
    if not command.strip():
        raise UsageError(f"{option}: the command must not be empty")
    for word in _WORD.findall(command):
        if word not in NAMES:
            hint = suggest(word, NAMES, f"words: {', '.join(NAMES)}; write '{{ {word} }}' for the shell")
            raise UsageError(f"{option}: unknown word '{{{word}}}' ({hint})")
    return command


def values(name: str, start: Start, form: PeerForm, replaced: ClusterMachine | None = None) -> dict[str, str]:
    """Return the value of each word; `replaced` is the machine that a hook is to remove."""
    state, me = start.state, start.place.machine
    initial = state.beginning.machines if state.beginning and start.forming else state.machines
    machines = initial if me in initial else state.machines
    others = [machine for machine in machines if machine != me]
    return {
        "peers": form.write(machines),
        "others": form.write(others),
        "addresses": form.separator.join(machine.address for machine in machines),
        "other_addresses": form.separator.join(machine.address for machine in others),
        "self": me.identity,
        "address": me.address,
        "peer": form.write([me]),
        "first": "true" if start.first else "false",
        "state": "new" if start.forming else "existing",
        "cluster": name,
        "place": str(start.place.number),
        "size": str(state.size),
        "replaced": replaced.identity if replaced else "",
        "replaced_address": replaced.address if replaced else "",
        "replaced_peer": form.write([replaced] if replaced else []),
    }


def filled(command: str, found: Mapping[str, str]) -> str:
    """Return a command line with the words replaced by their values, quoted for the shell where that is needed."""
    return _WORD.sub(lambda match: shlex.quote(found[match[1]]), command)


def variables(found: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables."""
    return {f"CLUSTER_{name.upper()}": value for name, value in found.items()}
