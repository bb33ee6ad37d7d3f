"""Read `node.yaml` and `client.yaml` into values; every fault is named with file and key.

Looked for in this order: the path given, COLLECTIVE_CONFIG, the user's configuration folder (XDG), /etc/collective.
Only `collective` (and a node's `identity`) must be said; conf/ shows every other key with its default.
"""

from __future__ import annotations

import getpass
import os
import socket
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from collective import names
from collective.errors import ConfigError, UsageError
from collective.suggestions import suggest
from collective.yaml_file import read_yaml

SYSTEM_FOLDER = Path("/etc/collective")


def user_folder(kind: str) -> Path:
    """Return the user's XDG folder for `kind` (`CONFIG`, `STATE`), below which our files lie."""
    fallback = {"CONFIG": ".config", "STATE": ".local/state"}[kind]
    base = os.environ.get(f"XDG_{kind}_HOME")
    return (Path(base) if base else Path.home() / fallback) / "collective"


def _configuration_folder() -> Path:
    return SYSTEM_FOLDER if os.geteuid() == 0 else user_folder("CONFIG")


def _in_configuration(name: str) -> Path:
    return _configuration_folder() / name


def default_allowed_signers() -> Path:
    """Return where a node of this machine looks for its allowed signers, unless it is told another place."""
    return _in_configuration("allowed_signers")


def _state_folder() -> Path:
    return Path("/var/lib/collective") if os.geteuid() == 0 else user_folder("STATE")


# What `key` in client.yaml may be besides a path: see signing/caller_key.py.
KEY_AUTO, KEY_AGENT, KEY_NONE = Path("auto"), Path("agent"), Path("none")


def _audit_file() -> Path:
    if os.geteuid() == 0:
        return Path("/var/log/collective/audit.jsonl")
    return user_folder("STATE") / "audit.jsonl"


def user_name() -> str:
    """Return who runs this process; its number when the system has no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"


def _default_caller() -> str:
    return f"{user_name()}@{socket.gethostname()}"


@dataclass(frozen=True)
class NodeConfig:
    """What `collectived` is told. Durations are seconds, sizes bytes.

    `allowed_signers` says who may sign requests, and `revoked_keys` who may no longer: OpenSSH's files, read again
    when they change. `accept_unsigned` is for tests and labs without keys. `state` holds the node's own key.

    Facts come from EC2 (`ec2_facts`: ask the metadata service where the firmware says that this is an instance),
    `fact_commands` (lists of words, such as `[[facter, --yaml]]`), the data and executables in `fact_folders`, and
    the files `facts`; later ones win. They are read every `facts_period` and on SIGHUP.

    `queue_tags` are given to the node's queue when it is made, beside those that `crpc setup` gives: IAM's conditions
    can name them, such as `{collective:instance: arn:aws:ec2:…:instance/i-…}`.

    `state` holds the journal. `agent_limits` are how many of `max_actions` an agent may run at once, by its name.

    While `audit` cannot be written nothing is done, unless `audit_required` is false. Requests are kept as they were
    signed in the folder `audit_envelopes`, when there is one. Figures for Prometheus go to the file `metrics`.
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
    facts: list[Path] = field(default_factory=lambda: [_in_configuration("facts.yaml")])
    fact_folders: list[Path] = field(default_factory=lambda: [_in_configuration("facts.d")])
    fact_commands: list[list[str]] = field(default_factory=list)
    facts_period: float = 60.0
    ec2_facts: bool = True
    classes: list[Path] = field(default_factory=lambda: [_in_configuration("classes.txt")])
    policy: Path = field(default_factory=lambda: _in_configuration("policy.yaml"))
    audit: Path = field(default_factory=_audit_file)
    audit_required: bool = True
    audit_envelopes: Path | None = None
    metrics: Path | None = None
    max_actions: int = 10
    max_queued: int = 100
    agent_limits: dict[str, int] = field(default_factory=dict)
    shutdown_timeout: float = 30.0
    log_level: str = "INFO"
    log_format: str = "text"


@dataclass(frozen=True)
class ClientConfig:
    """What callers (`crpc`, `Fleet`) are told. Durations are seconds.

    `key` signs requests in the name of `caller`: a path, or one of the words in `signing/caller_key.py`.
    Where nobody can be asked, an action that is not idempotent reaches `max_targets` nodes at most; 0: any number.
    """

    collective: str
    collectives: list[str] = field(default_factory=list)
    caller: str = field(default_factory=_default_caller)
    sender: str = field(default_factory=socket.gethostname)
    key: Path = KEY_AUTO
    registry: str = "dynamodb"
    ddls: list[Path] = field(default_factory=lambda: [_in_configuration("ddl")])
    state: Path = field(default_factory=lambda: user_folder("STATE"))
    direct_limit: int = 50
    max_targets: int = 0
    ttl: float = 60.0
    transit: float = 5.0
    discovery_timeout: float = 10.0

    def known_collective(self, name: str | None) -> str:
        """Return the collective to call: `name`, or the configured one; raise UsageError for one not configured."""
        known = [self.collective, *self.collectives]
        if name is not None and name not in known:
            raise UsageError(f"'{name}' is no collective of this configuration: it has {', '.join(known)}")
        return name or self.collective


Config = TypeVar("Config", NodeConfig, ClientConfig)

_CHOICES = {
    "registry": ("dynamodb", "none"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR"),
    "log_format": ("text", "json"),
}
_WORDS = {"key": (KEY_AUTO, KEY_AGENT, KEY_NONE)}  # paths that are no paths
_POSITIVE = frozenset({"heartbeat", "facts_period", "max_actions", "max_queued", "ttl", "transit", "discovery_timeout"})
_MOST = {"ttl": 3600.0, "transit": 3600.0, "discovery_timeout": 3600.0}  # seconds; messages.MAX_TTL


def load_node(path: Path | None = None) -> NodeConfig:
    """Read the node's configuration from `path`, or from where it is looked for."""
    return _load(NodeConfig, path or node_file())


def load_client(path: Path | None = None) -> ClientConfig:
    """Read the caller's configuration from `path`, or from where it is looked for."""
    return _load(ClientConfig, path or client_file())


def client_file() -> Path:
    """Return the caller's configuration file, where it is looked for; raise ConfigError when it is nowhere."""
    return _find("client.yaml")


def node_file() -> Path:
    """Return the node's configuration file, where it is looked for; raise ConfigError when it is nowhere."""
    return _find("node.yaml")


def _find(name: str) -> Path:
    given = os.environ.get("COLLECTIVE_CONFIG")
    if given:
        # A folder holds both roles' files: a lab or a test points at both with one variable.
        return Path(given) / name if Path(given).is_dir() else Path(given)
    places = [user_folder("CONFIG") / name, SYSTEM_FOLDER / name]
    for place in places:
        if place.exists():
            return place
    looked = " nor ".join(str(place) for place in places)
    raise ConfigError(f"no {name}: neither {looked} exists: write one, or name one with --config")


def _load(role: type[Config], path: Path) -> Config:
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold keys and values, not {type(values).__name__}")
    hints = typing.get_type_hints(role)
    known = {}
    for key, value in values.items():
        if key not in hints:
            said = suggest(str(key), hints, f"there are {', '.join(hints)}")
            raise ConfigError(f"{path}: {key}: no such key: {said}")
        known[key] = _convert(path, key, value, _when_given(hints[key]))
    for entry in fields(role):
        required = entry.default is MISSING and entry.default_factory is MISSING
        if required and entry.name not in known:
            raise ConfigError(f"{path}: {entry.name}: missing: every configuration must say it")
    _check_names(path, known)
    return role(**known)


def _convert(path: Path, key: str, value: Any, hint: Any) -> Any:
    converted: Any = None
    if hint is Path and isinstance(value, str):
        converted = Path(value) if Path(value) in _WORDS.get(key, ()) else _resolve(path, value)
    elif typing.get_origin(hint) is list:
        converted = _convert_list(path, value, typing.get_args(hint)[0])
    elif typing.get_origin(hint) is dict and isinstance(value, dict):
        converted = value if _all_fit(value, typing.get_args(hint)[1]) else None
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        converted = float(value)
    elif hint in (str, bool, int) and type(value) is hint:
        converted = value
    if converted is None:
        raise ConfigError(f"{path}: {key}: must be {_kind(hint)}, not {value!r}")
    if key in _CHOICES and converted not in _CHOICES[key]:
        raise ConfigError(f"{path}: {key}: must be one of {', '.join(_CHOICES[key])}, not {value!r}")
    if key in _POSITIVE and converted <= 0:
        raise ConfigError(f"{path}: {key}: must be more than 0, not {value!r}")
    most = _MOST.get(key, 1e9)
    if hint in (int, float) and not 0 <= converted <= most:
        raise ConfigError(f"{path}: {key}: must be between 0 and {most:.0f}, not {value!r}")
    return converted


def _when_given(hint: Any) -> Any:
    """Return the type of a key that may be left out: `Path` of `Path | None`."""
    return typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint


def _convert_list(path: Path, value: Any, member: Any) -> list[Any] | None:
    values = value if isinstance(value, list) else [value]
    if typing.get_origin(member) is list:  # of commands
        good = all(
            entry and isinstance(entry, list) and all(isinstance(word, str) for word in entry) for entry in values
        )
        return values if good else None
    if not all(isinstance(entry, str) for entry in values):
        return None
    return [_resolve(path, entry) for entry in values] if member is Path else values


def _all_fit(values: Mapping[Any, Any], member: type) -> bool:
    """Tell whether a mapping is from names to texts, or to numbers above 0."""
    named = all(isinstance(name, str) and type(one) is member for name, one in values.items())
    return named and (member is str or all(one > 0 for one in values.values()))


def _resolve(path: Path, value: str) -> Path:
    """Return the path `value` as the file `path` means it: relative to its own folder."""
    return path.absolute().parent / Path(value).expanduser()


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is list:
        nested = typing.get_origin(typing.get_args(hint)[0]) is list
        return "a list of commands, each a list of words" if nested else "a list of texts"
    if typing.get_origin(hint) is dict:
        return "names and texts" if typing.get_args(hint)[1] is str else "names and whole numbers above 0"
    return {Path: "a path", str: "text", bool: "true or false", int: "a whole number", float: "a number"}[hint]


def _check_names(path: Path, values: Mapping[str, Any]) -> None:
    for key, check in _NAMES.items():
        given = values.get(key, [])
        for name in given if isinstance(given, list) else [given]:
            try:
                check(name)
            except UsageError as error:
                raise ConfigError(f"{path}: {key}: {error}") from None


def _check_sender(name: str) -> None:
    if not (name.isprintable() and 1 <= len(name) <= 255):
        raise UsageError(f"{name!r} is no sender: printable characters only, 1 to 255")


_NAMES: Mapping[str, Callable[[str], object]] = {
    "collective": names.check_collective,
    "collectives": names.check_collective,
    "identity": names.check_identity,
    "caller": names.check_caller,
    "sender": _check_sender,
}
