"""Read NRPE's configuration: the checks, and the settings that decide how they run.

    nrpe.cfg ── include, include_file, include_dir, nrpe.d/ ──► read ──► NrpeConfig

The format is that of nrpe.c, read_config_file (https://github.com/NagiosEnterprises/nrpe). Lines that are not
understood are in `problems`; an invalid value of a setting that decides how checks run is an error.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from collective import lines
from collective.agent import Aborted
from collective.ownership import replaceable
from collective.run_as import account_environment
from collective.suggestions import suggest
from collective.text import escape_controls

CONFIG = "/etc/nagios/nrpe.cfg"

# NRPE's own network service: without effect on a check.
_OF_THE_SERVICE = frozenset(
    "address_family allow_weak_random_seed allowed_hosts connection_timeout debug disable_syslog listen_queue_size "
    "log_facility log_file pid_file server_address server_port ssl_cacert_file ssl_cert_file ssl_cipher_list "
    "ssl_client_certs ssl_enabled ssl_logging ssl_privatekey_file ssl_shutdown_timeout ssl_use_adh ssl_version".split()
)
# Values of callers are quoted, so command substitution in them is never run, whatever this setting is.
_WITHOUT_EFFECT = _OF_THE_SERVICE | {"allow_bash_command_substitution"}
_INCLUDES = ("include", "include_file", "include_dir")
_CHECK = re.compile(r"command\[([^\]]+)\]")
_IDS = 2**32 - 1  # numbers of users and groups; the last one means "unchanged" in setuid(2)
_LONGEST_ID = 10  # digits
_MOST_HINTS = 10  # unknown options that get a suggestion; more mean a file of another program, and a search each
_MOST_FOLDERS = 200  # with configuration; `include_dir=/` would read the whole disk
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass
class NrpeConfig:
    """NRPE's configuration. `timeout` is in seconds.

    `files` were read, `real_paths` are the same with links followed, `folders` and `unknown_options` are numbers.
    `user` and `group` are names or numbers, None for those of the node. `refused` has the characters that arguments
    must not contain, `kept_variables` the beginnings of the names of environment variables that checks get.
    """

    checks: dict[str, str] = field(default_factory=dict)
    prefix: str = ""
    user: str | None = None
    group: str | None = None
    timeout: float = 60.0
    allow_arguments: bool = False
    refused: str = ""
    kept_variables: tuple[str, ...] = ()
    max_commands: int = 0
    files: list[Path] = field(default_factory=list)
    real_paths: set[str] = field(default_factory=set)
    folders: int = 0
    unknown_options: int = 0
    problems: list[str] = field(default_factory=list)

    def line(self, check: str) -> str:
        """Return the command line of a check, with NRPE's `command_prefix`."""
        return f"{self.prefix} {self.checks[check]}".strip()


def read(config: Path) -> NrpeConfig:
    """Return the content of `config`, the files that it includes and the folder nrpe.d beside it.

    Of checks and settings with the same name the last one is used, as in NRPE. Raises Aborted if there is no
    configuration, or if it has an invalid value.
    """
    extra = config.parent / "nrpe.d"
    if not config.exists() and not extra.is_dir():
        raise Aborted(f"{config}: does not exist (install NRPE, or set 'config' in settings/nrpe.yaml)")
    found = NrpeConfig()
    if config.exists():
        _read_file(config, found)
    if extra.is_dir():
        _read_folder(extra, found)
    return found


def identity(config: NrpeConfig, forced: str | None) -> tuple[str | None, int | None]:
    """Return the user name and the group number that checks run with; None for those of the node.

    `forced` is the user from the agent's settings. Raises Aborted if they do not exist, if the node cannot change to
    them, or if other users could change NRPE's configuration.
    """
    name = forced or config.user
    if name is None and config.group is None and not _has_account():
        return None, None
    try:
        user = _user(name)
        group = _group(config.group) if config.group and not forced else None
    except KeyError as error:
        raise Aborted(f"NRPE's configuration: {error.args[0]} does not exist on this node") from None
    if os.geteuid() != 0 and user.pw_uid != os.geteuid():
        own = account_environment()["USER"]
        raise Aborted(
            f"checks run as '{user.pw_name}' (nrpe_user), but this node runs as '{own}' "
            f"(run the node as root, or set 'user: {own}' in settings/nrpe.yaml)"
        )
    for path in config.files:
        groups = (user.pw_gid if group is None else group,) if user.pw_uid else ()
        if problem := replaceable(path, (user.pw_uid,), groups):
            raise Aborted(f"{path}: not trusted, because its checks run as '{user.pw_name}': {problem}")
    return user.pw_name, group


def _has_account() -> bool:
    """Return whether the node's user is in passwd(5); in a container it need not be."""
    try:
        return bool(pwd.getpwuid(os.geteuid()))
    except KeyError:
        return False


def _user(name: str | None) -> pwd.struct_passwd:
    try:
        if name is None:
            return pwd.getpwuid(os.geteuid())
        return pwd.getpwuid(_id(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        raise KeyError(f"user '{os.geteuid() if name is None else name[:100]}'") from None


def _group(name: str) -> int:
    try:
        return _id(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise KeyError(f"group '{name[:100]}'") from None


def _id(digits: str) -> int:
    """Return the number of a user or group; raise KeyError for one that the system cannot have."""
    if len(digits) > _LONGEST_ID or int(digits) >= _IDS:
        raise KeyError(digits)
    return int(digits)


def _read_file(path: Path, found: NrpeConfig) -> None:
    real = os.path.realpath(path)  # `include_dir=..` makes ever longer names of the same file
    if real in found.real_paths:
        return
    try:
        # A check is run with the bytes of its line, also if they are those of Latin-1 (PEP 383).
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        _note(found, f"{path}: does not exist, but is included")
        return
    except OSError as error:
        raise Aborted(f"{path}: cannot be read: {error.strerror}") from None
    found.files.append(path)
    found.real_paths.add(real)
    for number, line in lines.numbered(text):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            _read_line(path, f"{path}:{number}", stripped, found)


def _read_line(path: Path, where: str, line: str, found: NrpeConfig) -> None:
    key, equals, value = (part.strip() for part in line.partition("="))
    check = _CHECK.fullmatch(key)
    if problem := lines.problem(line):
        _note(found, f"{where}: {problem}")
    elif not equals or not value:
        _note(found, f"{where}: '{key[:100]}' has no value (the line has no effect)")
    elif check:
        _add_check(found, where, check[1], value)
    elif key == "include_dir":
        _read_folder(path.parent / _readable(value), found)
    elif key in _INCLUDES:
        _read_file(path.parent / _readable(value), found)
    elif key in _SETTINGS:
        _set(found, where, key, _readable(value))
    elif key not in _WITHOUT_EFFECT:
        _note(found, f"{where}: unknown option '{key[:100]}' ({_hint(key, found)})")


def _add_check(found: NrpeConfig, where: str, name: str, line: str) -> None:
    if name != _readable(name):
        _note(found, f"{where}: the name of the check is not UTF-8 (the line has no effect)")
    else:
        found.checks[name] = line


def _readable(text: str) -> str:
    """Return text with U+FFFD for bytes that are not UTF-8."""
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")


def _set(found: NrpeConfig, where: str, key: str, value: str) -> None:
    """Apply a setting; NRPE reads a number with atoi(3), which ignores what follows it."""
    if key in _NUMBERS and (number := re.match(r"[+-]?[0-9]+", value)) and number[0] != value:
        _note(found, f"{where}: {key}: '{value[:100]}' is read as {number[0][:100]}, as NRPE does (delete the rest)")
        value = number[0]
    try:
        _SETTINGS[key](found, value)
    except (ValueError, OverflowError):
        shown = escape_controls(value[:100])
        raise Aborted(f"{where}: {key}: invalid value '{shown}' (no check is run)") from None


def _hint(key: str, found: NrpeConfig) -> str:
    """Return what may be meant by an unknown option."""
    found.unknown_options += 1
    known = [*_SETTINGS, *_INCLUDES, *_WITHOUT_EFFECT] if found.unknown_options <= _MOST_HINTS else []
    return suggest(key, known, "the line has no effect")


def _note(found: NrpeConfig, problem: str) -> None:
    found.problems.append(escape_controls(problem))


def _read_folder(folder: Path, found: NrpeConfig) -> None:
    """Read the files *.cfg of a folder and its subfolders, as NRPE: sorted, through links, without hidden folders."""
    found.folders += 1
    if found.folders > _MOST_FOLDERS:
        raise Aborted(f"{folder}: more than {_MOST_FOLDERS} folders are included (no check is run)")
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        _note(found, f"{folder}: cannot be read: {error.strerror}")
        return
    for path in paths:
        if path.name.endswith(".cfg") and os.path.isfile(path):  # noqa: PTH113 - false for a name that is too long
            _read_file(path, found)
        elif os.path.isdir(path) and not path.name.startswith(".") and not _is_ancestor(path, path.parent):  # noqa: PTH112
            _read_folder(path, found)


def _is_ancestor(path: Path, folder: Path) -> bool:
    """Return whether `path` is `folder` or above it, links followed."""
    real = Path(os.path.realpath(folder))
    return Path(os.path.realpath(path)) in (real, *real.parents)


# -- settings that decide how checks run


def _set_user(found: NrpeConfig, value: str) -> None:
    found.user = value


def _set_group(found: NrpeConfig, value: str) -> None:
    found.group = value


def _set_prefix(found: NrpeConfig, value: str) -> None:
    found.prefix = value


def _set_timeout(found: NrpeConfig, value: str) -> None:
    found.timeout = float(_whole(value, 1))


def _set_arguments(found: NrpeConfig, value: str) -> None:
    found.allow_arguments = _whole(value, 0) == 1


def _set_refused(found: NrpeConfig, value: str) -> None:
    found.refused = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), value)


def _set_variables(found: NrpeConfig, value: str) -> None:
    found.kept_variables = tuple(part.strip() for part in value.split(",") if part.strip())


def _set_max_commands(found: NrpeConfig, value: str) -> None:
    found.max_commands = _whole(value, 0)


def _whole(value: str, least: int) -> int:
    number = int(value)
    if number < least:
        raise ValueError(value)
    return number


_SETTINGS: dict[str, Callable[[NrpeConfig, str], None]] = {
    "nrpe_user": _set_user,
    "nrpe_group": _set_group,
    "command_prefix": _set_prefix,
    "command_timeout": _set_timeout,
    "dont_blame_nrpe": _set_arguments,
    "nasty_metachars": _set_refused,
    "keep_env_vars": _set_variables,
    "max_commands": _set_max_commands,
}
_NUMBERS = ("command_timeout", "dont_blame_nrpe", "max_commands")
