"""Targets for files that other programs write: NRPE's configuration, node lists, saved documents, facts, audit logs."""

from __future__ import annotations

import atexit
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from collective.agent import Aborted
from collective.agents import _nrpe_config
from collective.audit import chain, records
from collective.clients.commands import audit
from collective.clients.node_lists import CHOICES, read_nodes
from collective.config import load_client, load_node
from collective.errors import ConfigError, UsageError
from collective.fact_files import formats
from collective.fleet.key_files import KeyFile, RevocationFile
from collective.names import check_identity
from collective.text import escape_controls
from fuzz import Target, refusing
from fuzz.mutations import either, in_json, in_text
from fuzz.of_signatures import KEYS

_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")
atexit.register(_FOLDER.cleanup)


def saved(name: str, data: bytes) -> Path:
    """Return a file with this content."""
    path = Path(_FOLDER.name) / name
    path.write_bytes(data)
    return path


def nrpe(data: bytes) -> None:
    """Read nrpe.cfg, and find the user and the line of each check."""
    few_folders = patch.object(_nrpe_config, "_MOST_FOLDERS", 2)  # `include_dir=/` would fuzz the disk
    with few_folders, refusing(Aborted):
        found = _nrpe_config.read(saved("nrpe.cfg", data))
        assert all(escape_controls(line) == line for line in found.problems)
        for check in found.checks:
            assert found.line(check)
        _nrpe_config.identity(found, None)


def node_file(data: bytes) -> None:
    """Read the file of --nodes, as a list and with every choice of nodes from a document."""
    path = saved("nodes", data)
    for chosen in (None, *CHOICES):
        with refusing(UsageError):
            names = read_nodes(str(path), chosen)
            assert len(set(names)) == len(names)
            for name in names:
                check_identity(name)


def facts(data: bytes) -> None:
    """Read facts from a file of each kind, and from the output of a command; they must be JSON."""
    for suffix in ("yaml", "json", "txt"):
        with refusing(ConfigError):
            json.dumps(formats.read_file(saved(f"facts.{suffix}", data)), allow_nan=False)
    with refusing(ConfigError):
        json.dumps(formats.parse_output(data.decode("utf-8", errors="replace"), "command"), allow_nan=False)


def audit_log(data: bytes) -> None:
    """Verify the chain of an audit log, and show its requests."""
    path = saved("audit.jsonl", data)
    chain.verify([path])
    for record in records.read(path):
        assert isinstance(record.outcomes, frozenset)
        audit.shown(record)


def state(data: bytes) -> None:
    """Read the keys and the revocations that a caller keeps."""
    path = saved("known_nodes", data)
    for kept in (KeyFile(path, "production"), RevocationFile(path, "production")):
        with refusing(ConfigError):
            kept.read()


def configuration(data: bytes) -> None:
    """Load node.yaml and client.yaml."""
    path = saved("config.yaml", data)
    for load in (load_node, load_client):
        with refusing(ConfigError):
            load(path)


NRPE_CFG = b"""\
# checks
nrpe_user=nobody
nrpe_group=nogroup
dont_blame_nrpe=1
nasty_metachars="|`&><'\\\\[]{};\\r\\n"
command_timeout=60
command_prefix=/usr/bin/sudo
keep_env_vars=LANG,LC_
max_commands=0
include=/nowhere/more.cfg
include_dir=missing
command[check_load]=/usr/lib/nagios/plugins/check_load -w 15,10,5 -c 30,25,20
command[check_disk]=/usr/lib/nagios/plugins/check_disk -w $ARG1$ -c $ARG2$ # root
"""
_NRPE = ("include=", "include_dir=", "nrpe.cfg", ".", "..", "/dev/null", "command[", "command[]=x", "]=", "$ARG99$")
_NUMBERS = ("-1", "0", "1e400", "9" * 500, "9" * 5000, "99999999999999999999", "\u0663", "nan", "inf")
_CHARS = ("\x00", "\x1b", "\r", "\x85", "\u2028", "\ufeff", "\\", '"', "'", "#", "=", ",", ";")

CALL: dict[str, Any] = {
    "schema": "https://collective-rpc.github.io/schemas/results-1.json",
    "replies": [
        {"sender": "web1.my.net", "statuscode": 0, "data": {}},
        {"sender": "web2.my.net", "statuscode": 1},
    ],
    "silent": ["db1"],
    "skipped": {"db2": "stopped"},
    "not_asked": ["db3"],
    "not_evaluated": {"db4": "its filter"},
}
_NODES = (b"# web\nweb1.my.net\nweb2\r\n\n", b'["web1", {"certname": "web2"}]', b'{"nodes": [{"identity": "web1"}]}')
_MEMBERS = (*CALL, "nodes", "sender", "certname", "identity", "statuscode", "web1", "x" * 300, "[" * 200)

FACTS = {"role": "web", "os": {"name": "Debian", "version": [12, 1.5]}, "ready": True, "none": None}
_YAML = (
    *("&a", "*a", "<<:", "!!bool", "!!int", "!!float", "!!binary", "!!set", "!!omap", "!!timestamp", "|", ">-", "---"),
    *(": ", "- ", "? ", "{", "}", "[", "]", "~", ".inf", ".nan", "2024-01-01", "1:59", "0x1F", "a.b", "=", "a=b"),
)

_DECISION = {
    "event": "decision",
    "previous": None,
    "time": 1789000000.1,
    "request": "a" * 32,
    "digest": "b" * 64,
    "caller": "alice",
    "agent": "package",
    "action": "status",
    "data": {"package": "zsh"},
    "verdict": "allowed",
    "rule": "operators",
    "asks": [["fstat", "/etc/hosts"]],
}
_OUTCOME = {
    "event": "outcome",
    "previous": "c" * 64,
    "time": 1789000001.1,
    "request": "a" * 32,
    "digest": "b" * 64,
    "statuscode": 5,
    "reason": "timeout",
}
_GAP = {"event": "gap", "previous": "d" * 64, "lost": 3, "torn": "{"}
_LINES = [json.dumps(line) for line in (_DECISION, _OUTCOME, _GAP)]

STATE = f"production web1 {KEYS['alice'].public.line}\nother web1 SHA256:x\nproduction web2 SHA256:{'A' * 43}\n"
NODE_YAML = b"""\
collective: production
identity: web1.my.net
max_actions: 10
agent_limits: {package: 1}
agents: [/srv/agents]
heartbeat: 60
registry: dynamodb
accept_unsigned: false
facts: [facts.yaml]
queue_tags: {team: web}
"""
CLIENT_YAML = b"collective: production\ncaller: alice@example.com\nkey: ~/.ssh/id_ed25519\nddls: [/srv/ddls]\n"
_KEYS = ("collective", "collectives", "identity", "state", "caller", "key", "agents", "direct_limit", "new_nodes")

NRPE = Target("nrpe", nrpe, [NRPE_CFG], in_text(*_NRPE, *_NUMBERS, *_CHARS, *NRPE_CFG.decode().split("\n")))
NODE_FILE = Target(
    "node_file",
    node_file,
    [json.dumps(CALL).encode(), *_NODES],
    either(in_json(*_MEMBERS), in_text("web1", "{", "[", "]", '"', ",", *_CHARS)),
)
FACT_FILE = Target(
    "facts",
    facts,
    [json.dumps(FACTS).encode(), b"role=web\n# x\nrack = 3\n", b"role: web\nos: {name: Debian, tags: [a, 2]}\n"],
    either(in_json(*FACTS, "a.b", "NaN"), in_text(*_YAML, *_NUMBERS, *_CHARS)),
)
AUDIT_LOG = Target(
    "audit_log",
    audit_log,
    [line.encode() + b"\n" for line in _LINES] + ["\n".join([*_LINES, ""]).encode()],
    either(in_json(*_DECISION, *_OUTCOME, *_GAP), in_text(*_LINES, *_NUMBERS, *_CHARS)),
)
STATE_FILE = Target("state", state, [STATE.encode()], in_text("production", "ssh-ed25519", "AAAA", "SHA256:", *_CHARS))
CONFIGURATION = Target(
    "configuration", configuration, [NODE_YAML, CLIENT_YAML], in_text(*_YAML, *_KEYS, *_NUMBERS, *_CHARS)
)
