"""The folder of a lab: its files, and the configuration written into them.

    client.yaml                     for callers
    key  allowed_signers            the operator's key, which all nodes trust
    node.yaml                       the first node's, for `collectived --check` and commands that read a node's files
    agents/ ddl/                    further agents for all nodes: put yours here
    nodes/<identity>/               node.yaml, facts.yaml, classes.txt, policy.yaml, nrpe.cfg, settings/, log, pid,
                                    state/ with the node's key; facts.d/ if you create it; files/ for the agent file
    supervisor.pid log              process ID and log of the supervisor
    control                         a FIFO: `start <identity>`
    server                          the name of the server, or its URL
    endpoint                        the URLs of the server: `variable=URL`, the first without a variable

A lab has no files elsewhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collective.errors import UsageError
from collective.lab import servers
from collective.processes import runs
from collective.suggestions import suggest

COLLECTIVE = "lab"
CALLER = "operator@lab"
MAX_NODES = 500  # nodes, on a server that reaches them all
HEARTBEAT = 15.0  # seconds

_SERVER = "127.0.0.1"
_NO_PROXY = ("no_proxy", "NO_PROXY")
_ROLES = ("web", "db", "app")
_ENVIRONMENTS = ("production", "staging")
_ZONES = ("eu-1a", "eu-1b", "eu-1c")
_NAGIOS_CHECK = Path("/usr/lib/nagios/plugins/check_disk")


class Layout:
    """The paths of the lab in `folder`, and the contents of its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.control = self.folder / "control"
        self._server = self.folder / "server"
        self.endpoint = self.folder / "endpoint"
        self.supervisor_pid = self.folder / "supervisor.pid"
        self.log = self.folder / "log"

    def node(self, identity: str) -> Path:
        """Return a node's folder. Raises UsageError for an unknown node."""
        folder = self.folder / "nodes" / identity
        if identity not in self.nodes():
            hint = suggest(identity, self.nodes(), f"it has {', '.join(self.nodes()) or 'none'}")
            raise UsageError(f"this lab has no node '{identity}' ({hint})")
        return folder

    def nodes(self) -> list[str]:
        """Return the identities of this lab's nodes, sorted."""
        return sorted(path.name for path in (self.folder / "nodes").glob("*") if path.is_dir())

    def pid(self, path: Path) -> int | None:
        """Return the process ID in a PID file, if that process is running."""
        try:
            pid = int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return pid if runs(pid) else None

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make collective and boto3 use this lab, and nothing else."""
        return {
            "COLLECTIVE_CONFIG": str(self.folder),
            "COLLECTIVE_LAB": str(self.folder),
            **self._endpoints(),
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "lab",
            "AWS_SECRET_ACCESS_KEY": "lab",
            "AWS_CONFIG_FILE": str(self.folder / "no-aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.folder / "no-aws-credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            **_without_proxy(os.environ),
        }

    @property
    def server(self) -> str:
        """The name of the lab's server, or its URL."""
        return self._server.read_text(encoding="ascii")

    def write_endpoints(self, urls: Mapping[str, str]) -> None:
        """Write the URLs of the server, by environment variable; AWS_ENDPOINT_URL is the first of them."""
        first, *others = urls.items()
        self.endpoint.write_text("\n".join([first[1], *(f"{name}={url}" for name, url in others)]), encoding="ascii")

    def _endpoints(self) -> dict[str, str]:
        url, *others = self.endpoint.read_text(encoding="ascii").split()
        return {"AWS_ENDPOINT_URL": url, **dict(line.split("=", 1) for line in others)}

    def create(self, nodes: int, server: str = servers.MOTO) -> None:
        """Write the configuration of a lab with nodes `node01.lab` and so on."""
        most = servers.MAX_NODES_MOTO if server == servers.MOTO else MAX_NODES
        if not 1 <= nodes <= most:
            raise UsageError(f"--nodes {nodes}: must be between 1 and {most} with {server}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        for name in ("agents", "ddl", "nodes"):
            (self.folder / name).mkdir(exist_ok=True)
        os.mkfifo(self.control)
        self._server.write_text(server, encoding="ascii")
        self._create_key()
        _write(
            self.folder / "client.yaml",
            {
                "collective": COLLECTIVE,
                "caller": CALLER,
                "sender": "lab",
                "key": "key",
                "allowed_signers": "allowed_signers",
                "state": "state",
                "ddls": ["ddl"],
            },
        )
        width = max(2, len(str(nodes)))
        for number in range(nodes):
            self._create_node(f"node{number + 1:0{width}}.lab", number, failing=0 < number == nodes - 1)

    def _create_key(self) -> None:
        """Create the operator's key, and the allowed signers of all nodes."""
        from collective.signing import allowed_signers, key_files, keys  # slow to import, and not needed to stop a lab

        key = keys.new()
        key_files.write_new(self.folder / "key", key.text())
        line = allowed_signers.signer_line(CALLER, key.public)
        (self.folder / "allowed_signers").write_text(line, encoding="ascii")

    def _create_node(self, identity: str, number: int, failing: bool) -> None:
        """Write the files of a node; with `failing`, its disk check is always critical."""
        folder = self.folder / "nodes" / identity
        (folder / "settings").mkdir(parents=True)
        role = _ROLES[number % len(_ROLES)]
        facts = {
            "role": role,
            "environment": _ENVIRONMENTS[number % len(_ENVIRONMENTS)],
            "az": _ZONES[number % len(_ZONES)],
            "fqdn": identity,
        }
        _write(folder / "node.yaml", _node_values(identity, shared=f"{self.folder}/"))
        if number == 0:
            _write(self.folder / "node.yaml", _node_values(identity, own=f"nodes/{identity}/"))
        _write(folder / "facts.yaml", facts)
        (folder / "classes.txt").write_text(f"base\nrole::{role}\n", encoding="ascii")
        _write(folder / "policy.yaml", {"rules": [{"name": "operator of the lab", "callers": [CALLER]}]})
        (folder / "nrpe.cfg").write_text(f"command[check_disk]={_check_disk(failing)}\n", encoding="utf-8")
        _write(folder / "settings" / "nrpe.yaml", {"config": str(folder / "nrpe.cfg")})
        _write(folder / "settings" / "shell.yaml", {"jobs": str(folder / "jobs")})
        _write(folder / "settings" / "fact.yaml", {"folder": str(folder / "facts.d")})
        (folder / "files").mkdir()
        _write(
            folder / "settings" / "file.yaml", {"write": [str(folder / "files")], "staging": str(folder / "staging")}
        )


def _without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that reach the server without a proxy, in addition to the hosts that they have.

    Python's urllib prefers the lower-case name and ignores the other, curl and others do the opposite. `*`, which
    stands for all hosts, has this meaning only when it is alone.
    """
    if any(environment.get(name, "").strip() == "*" for name in _NO_PROXY):
        return dict.fromkeys(_NO_PROXY, "*")
    hosts = [host.strip() for name in _NO_PROXY for host in environment.get(name, "").split(",")]
    value = ",".join(dict.fromkeys(host for host in [*hosts, _SERVER] if host))
    return dict.fromkeys(_NO_PROXY, value)


def _node_values(identity: str, *, shared: str = "", own: str = "") -> dict[str, Any]:
    """Return a node.yaml; `shared` and `own` lead from its folder to the folders of the lab and of the node."""
    return {
        "collective": COLLECTIVE,
        "identity": identity,
        "allowed_signers": f"{shared}allowed_signers",
        "state": f"{own}state",
        "heartbeat": HEARTBEAT,
        "facts": [f"{own}facts.yaml"],
        "fact_folders": [f"{own}facts.d"],
        "classes": [f"{own}classes.txt"],
        "agents": [f"{shared}agents"],
        "ddls": [f"{shared}ddl"],
        "settings": f"{own}settings",
        "policy": f"{own}policy.yaml",
        "audit": f"{own}audit.jsonl",
        "shutdown_timeout": 5.0,
    }


def _check_disk(failing: bool) -> str:
    """Return the command line of the disk check: the Nagios plugin if it is installed, else `check_disk.py`."""
    plugin = str(_NAGIOS_CHECK) if _NAGIOS_CHECK.exists() else f"{sys.executable} -m collective.lab.check_disk"
    thresholds = "-w 100% -c 100%" if failing else "-w 1% -c 0%"
    return f"{plugin} {thresholds} -p /"


def _write(path: Path, values: Mapping[str, Any]) -> None:
    import yaml  # for the start of a lab only

    path.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")
