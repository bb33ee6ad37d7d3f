"""Read `node.yaml` and `client.yaml` into values; errors name file and key.

The file is searched in this order: the given path, COLLECTIVE_CONFIG, the user's configuration folder (XDG),
/etc/collective. Only `collective` (and a node's `identity`) are required; conf/ shows all keys with their defaults.
`schemas/node.json` and `schemas/client.json` describe the same keys for editors.
"""

from __future__ import annotations

import getpass
import os
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from collective.config_values import check_names, converted, json_type
from collective.errors import ConfigError, UsageError
from collective.ownership import replaceable
from collective.path_checks import is_folder, may_exist
from collective.suggestions import suggest
from collective.user_folders import user_folder

SYSTEM_FOLDER = Path("/etc/collective")


def _configuration_folder() -> Path:
    return SYSTEM_FOLDER if os.geteuid() == 0 else user_folder("CONFIG")


def _in_configuration(name: str) -> Path:
    return _configuration_folder() / name


def default_allowed_signers() -> Path:
    """Return the default path of a node's allowed signers on this machine."""
    return _in_configuration("allowed_signers")


def _state_folder() -> Path:
    return Path("/var/lib/collective") if os.geteuid() == 0 else user_folder("STATE")


# Special values of `key` in client.yaml, see signing/caller_key.py.
KEY_AUTO, KEY_AGENT, KEY_NONE = Path("auto"), Path("agent"), Path("none")
REQUESTS_AUTO, REQUESTS_SHARED, REQUESTS_LOCAL = Path("auto"), Path("shared"), Path("local")


def _audit_file() -> Path:
    if os.geteuid() == 0:
        return Path("/var/log/collective/audit.jsonl")
    return user_folder("STATE") / "audit.jsonl"


def user_name() -> str:
    """Return the name of the current user, or `uid` and its number without one, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"


def _host_name() -> str:
    return os.uname().nodename


def _default_caller() -> str:
    return f"{user_name()}@{_host_name()}"


@dataclass(frozen=True)
class NodeConfig:
    """The configuration of `collectived`. Durations are in seconds.

    `allowed_signers` (who can sign requests) and `revoked_keys` are OpenSSH files, read again when they change.
    `accept_unsigned` is for tests and labs without keys. The folder `state` holds the node's key and the journal.

    Facts come from EC2 (`ec2_facts`: query the metadata service if the firmware identifies an instance;
    `ec2_api_facts`: `tags`, `autoscaling_group` and `target_groups` from the APIs of AWS), from `fact_commands` (lists
    of arguments, such as `[[facter, --yaml]]`), from data files and executables in `fact_folders`, and from the files
    `facts`; later sources win. They are read every `facts_period` and on SIGHUP.

    `queue_tags` are added to the tags of the node's queue when the node creates it. IAM conditions can refer to them,
    such as `{collective:instance: arn:aws:ec2:…:instance/i-…}`.

    Agents, data functions, DDLs and settings are loaded again on SIGHUP, and when a look every `plugins_period` finds
    that their files have changed; 0 means no looks.

    `agent_limits` are the numbers of actions that an agent can run at once, by agent, within `max_actions`.

    `watches` are commands for membership events of other nodes, by name, see `watch_settings.py`.

    While the file `audit` cannot be written, requests are refused unless `audit_required` is false. Signed requests
    are kept in the folder `audit_envelopes`, if set. Metrics for Prometheus are written to the file `metrics`.

    In the folder `local_files`, if set, the node keeps `facts.json`, which only its user can read unless
    `local_facts_readable` is true, and `prompt`, with the values of the facts `prompt_facts` for shell prompts.
    """

    collective: str
    identity: str
    allowed_signers: Path = field(default_factory=default_allowed_signers)
    revoked_keys: Path = field(default_factory=lambda: _in_configuration("revoked_keys"))
    accept_unsigned: bool = False
    state: Path = field(default_factory=_state_folder)
    registry: str = "dynamodb"
    heartbeat: float = 300.0
    queue_tags: dict[str, str] = field(default_factory=dict)
    agents: list[Path] = field(default_factory=lambda: [_in_configuration("agents")])
    ddls: list[Path] = field(default_factory=lambda: [_in_configuration("ddl")])
    settings: Path = field(default_factory=lambda: _in_configuration("settings"))
    plugins_period: float = 0.0
    facts: list[Path] = field(default_factory=lambda: [_in_configuration("facts.yaml")])
    fact_folders: list[Path] = field(default_factory=lambda: [_in_configuration("facts.d")])
    fact_commands: list[list[str]] = field(default_factory=list)
    facts_period: float = 60.0
    ec2_facts: bool = True
    ec2_api_facts: list[str] = field(default_factory=list)
    classes: list[Path] = field(default_factory=lambda: [_in_configuration("classes.txt")])
    policy: Path = field(default_factory=lambda: _in_configuration("policy.yaml"))
    audit: Path = field(default_factory=_audit_file)
    audit_required: bool = True
    audit_envelopes: Path | None = None
    metrics: Path | None = None
    local_files: Path | None = None
    local_facts_readable: bool = False
    prompt_facts: list[str] = field(default_factory=lambda: ["customer", "environment", "role"])
    watches: dict[str, dict[str, Any]] = field(default_factory=dict)
    max_actions: int = 10
    max_queued: int = 100
    agent_limits: dict[str, int] = field(default_factory=dict)
    shutdown_timeout: float = 30.0
    log_level: str = "INFO"
    log_format: str = "text"


@dataclass(frozen=True)
class ClientConfig:
    """The configuration of callers (`crpc`, `Fleet`). Durations are in seconds.

    `collective` is the one that is used unless another is named; `collectives` are the others, each with keys of this
    file that replace the values here. `region`, `profile` and `endpoint` are boto3's settings; None: its own.

    `key` signs requests in the name of `caller`: a path, or one of the values in `signing/caller_key.py`.
    Without a terminal to confirm, a non-idempotent action reaches at most `max_targets` nodes; 0 means no limit. On a
    terminal, the number of nodes must be typed when there are more than `type_above`.

    With `ddl_source: auto` a missing DDL is fetched from a node that `ddl_nodes` names: names, or patterns with `*`.

    With `new_nodes: refuse` a node is not trusted before `crpc nodes trust`. With `expect_all` nodes in the registry
    that were not seen recently count as silent.

    `crpc ssh` uses the first of the facts `ssh_address` that a node has; `identity` is the node's name.
    `ec2_filters` are filters of DescribeInstances for the instances that must be nodes, for `--dm ec2`, such as
    `{tag:role: web}`; default: the tag `collective` with the collective's name.
    `notify` are places for notifications by name, each with a `url` or `url_file`, the events `on` which it gets one of
    every run, and a `template`.
    `groups` are node sets for `@name`, each with a `filter`, `nodes`, a `command` that prints names, or a program that
    speaks the discovery protocol of `choria`. `aliases` are command lines of `crpc` by name, `commands`, `reports`
    and `playbooks` the folders with files of these.

    `warm` is how long a warm process waits for the next call before it ends, such as `10m`; None: there is none.

    `requests` is where requests wait for approvals: `shared` in DynamoDB, `local` in the folder `state`, `auto` in
    DynamoDB if the registry is there, or a folder, which several callers can share.

    With `save_runs` calls of `crpc` are saved in the folder `state`, for `runs_days` days and up to `runs_megabytes`.
    `runs` is where rollouts are recorded for `crpc run`: `local` in that folder, `shared` in DynamoDB for all callers
    whose keys are in the file `allowed_signers`, and `auto` in DynamoDB only for `--detach`.
    """

    collective: str
    collectives: dict[str, dict[str, Any]] = field(default_factory=dict)
    region: str | None = None
    profile: str | None = None
    endpoint: str | None = None
    caller: str = field(default_factory=_default_caller)
    sender: str = field(default_factory=_host_name)
    key: Path = KEY_AUTO
    registry: str = "dynamodb"
    ddls: list[Path] = field(default_factory=lambda: [_in_configuration("ddl")])
    ddl_source: str = "auto"
    ddl_nodes: list[str] = field(default_factory=lambda: ["*"])
    state: Path = field(default_factory=lambda: user_folder("STATE"))
    direct_limit: int | None = None
    max_targets: int = 0
    type_above: int = 0
    ttl: float = 60.0
    transit: float = 5.0
    discovery_timeout: float = 10.0
    new_nodes: str = "accept"
    expect_all: bool = False
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    commands: list[Path] = field(default_factory=lambda: [_in_configuration("commands")])
    reports: list[Path] = field(default_factory=lambda: [_in_configuration("reports")])
    playbooks: list[Path] = field(default_factory=lambda: [_in_configuration("playbooks")])
    notify: dict[str, dict[str, Any]] = field(default_factory=dict)
    warm: str | None = None
    requests: Path = REQUESTS_AUTO
    save_runs: bool = True
    runs_days: float = 30.0
    runs_megabytes: float = 100.0
    runs: str = "auto"
    allowed_signers: Path = field(default_factory=default_allowed_signers)
    ssh_address: list[str] = field(default_factory=lambda: ["fqdn", "addresses", "identity"])
    ec2_filters: dict[str, str] = field(default_factory=dict)

    def in_collective(self, name: str | None = None) -> ClientConfig:
        """Return the configuration for a collective by its name here (default: the one that `collective` names).

        Raises UsageError if it is not configured.
        """
        known = list(dict.fromkeys([self.collective, *self.collectives]))
        if name is not None and name not in known:
            hint = suggest(name, known, f"configured: {', '.join(known)}")
            raise UsageError(f"unknown collective '{name}' ({hint})")
        name = name or self.collective
        values = {"collective": name, **self.collectives.get(name, {})}
        if values["collective"] != name:  # it must not share keys of nodes and queues with the one of that name
            values.setdefault("state", self.state / "collectives" / name)
        return replace(self, **values)


Config = TypeVar("Config", NodeConfig, ClientConfig)


def load_node(path: Path | None = None) -> NodeConfig:
    """Read the node's configuration from `path`, or from the first place that has one."""
    return _load(NodeConfig, path or node_file())


def load_client(path: Path | None = None, collective: str | None = None) -> ClientConfig:
    """Read the caller's configuration from `path`, or from the first place that has one.

    The values are those for `collective`, one of the names in the file (default: the one in `collective`). Raises
    ConfigError, and UsageError for an unknown collective.
    """
    return read_client(path or client_file()).in_collective(collective)


def read_client(path: Path) -> ClientConfig:
    """Return the content of a `client.yaml`, without the values of single collectives.

    Raises ConfigError, also for a file that others can change: like `~/.ssh/config` of ssh(1) it names programs that
    run as the caller, in groups and in the options of aliases.
    """
    if problem := replaceable(path):
        raise ConfigError(f"{path}: not used: {problem}")
    beside = {name: _folders_beside(path, name) for name in ("commands", "reports", "playbooks")}
    return _load(ClientConfig, path, beside)


def _folders_beside(path: Path, name: str) -> list[Path]:
    """Return the folder `name` of the user, and that beside the configuration file, which may be another one."""
    return list(dict.fromkeys([_in_configuration(name), path.absolute().parent / name]))


def client_file() -> Path:
    """Return the path of the caller's configuration file; raise ConfigError if there is none."""
    return _find("client.yaml")


def node_file() -> Path:
    """Return the path of the node's configuration file; raise ConfigError if there is none."""
    return _find("node.yaml")


def _find(name: str) -> Path:
    given = os.environ.get("COLLECTIVE_CONFIG")
    if given:
        # A folder can hold both files, so that labs and tests need only one variable.
        return Path(given) / name if is_folder(Path(given)) else Path(given)
    places = [user_folder("CONFIG") / name, SYSTEM_FOLDER / name]
    for place in places:
        if may_exist(place):
            return place
    searched = ", ".join(str(place) for place in places)
    raise ConfigError(f"{name} not found, searched {searched} (create one, or use --config FILE)")


def _load(role: type[Config], path: Path, defaults: Mapping[str, Any] | None = None) -> Config:
    from collective.yaml_file import read_yaml  # importing PyYAML takes 10 ms, and a help page does not need it

    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping, not {json_type(values)}")
    hints = typing.get_type_hints(role)
    known = converted(path, values, hints)
    for entry in fields(role):
        required = entry.default is MISSING and entry.default_factory is MISSING
        if required and entry.name not in known:
            listed = known.get("collectives") if entry.name == "collective" else None
            hint = f" (the one to use without -T: {', '.join(listed)})" if listed else ""
            raise ConfigError(f"{path}: required key '{entry.name}' is missing{hint}")
    check_names(path, known)
    return role(**{**(defaults or {}), **known})
