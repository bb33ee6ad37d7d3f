"""`crpc config`: show the configuration in force and where each value comes from; `crpc config use NAME`."""

from __future__ import annotations

import argparse
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.formatting import in_words
from collective.clients.streams import write
from collective.errors import ConfigError, UsageError
from collective.replaced_file import replace_file
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.config import ClientConfig

_COLUMNS = ("key", "value", "source")
_AWS = {  # the variables that boto3 reads, the first one that is set counts
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "profile": ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    "endpoint": ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"),
}
_HELP = frozenset({"-h", "--help"})
_TTL = "COLLECTIVE_TTL"  # the option --ttl of calls, which takes precedence over the file
_DEFAULT_LINE = re.compile(r"^collective:([ \t]*)([^\s#]+)", re.MULTILINE)
# The beginning of `collectives`; what adds a name there depends on the form in which they are written.
_LISTED = re.compile(
    r"^collectives:[ \t]*(?:#.*)?(?P<form>\[|\{|\n(?=(?P<indent> *)(?:(?P<dash>- )|[a-z0-9])))", re.MULTILINE
)


class Setting(NamedTuple):
    """A key with its value in force, and where the value comes from."""

    key: str
    value: Any
    source: str


def make_parser() -> Parser:
    """Return the parser of `crpc config`."""
    parser = Parser(
        "crpc config",
        description=f"{COMMANDS['config']}.\n\n'show', the default, prints each key with its value and where it "
        "comes from: an option, an environment variable, client.yaml, or the default. 'list' prints the collectives "
        "that -T can select.",
        examples=["crpc config", "crpc config list -o json", "crpc config show -o table"],
    )
    verbs = parser.add_subparsers(dest="verb", metavar="show|list|use")
    show = verbs.add_parser("show", help="print the values in force", examples=["crpc config show -T lab"])
    options.add_target(show)
    verbs.add_parser("list", help="print the collectives in client.yaml", examples=["crpc config list"])
    use = verbs.add_parser(
        "use",
        help="make a collective the default: changes the line 'collective:' of client.yaml",
        examples=["crpc config use staging"],
    )
    completed_by(
        "collective",
        use.add_argument("name", metavar="NAME", help="one of the collectives that 'crpc config list' prints"),
    )
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run a verb of `crpc config`, by default `show`; return 0."""
    parser = make_parser()
    words = parser.command_first(arguments)
    if _HELP.isdisjoint(words) and (not words or words[0].startswith("-")):
        words = ["show", *words]
    args = parser.parse_args(words)
    {"show": _show, "list": _list, "use": _use}[args.verb](args)
    return 0


def _show(args: argparse.Namespace) -> None:
    config, path = options.client_config(args), _path(args)
    found = [_file(args, path), *_settings(args, config, path)]
    rows = [list(setting) for setting in found]
    width = max(len(setting.key) for setting in found)
    values = [escape_controls(in_words(setting.value)) for setting in found]
    column = min(40, max(map(len, values)))

    def text() -> str:
        return "".join(
            f"{setting.key:<{width}}  {value:<{column}}  {escape_controls(setting.source)}\n"
            for setting, value in zip(found, values, strict=True)
        )

    document = {"file": str(path), "settings": [setting._asdict() for setting in found[1:]]}
    output.show(args, Output("config", document, _COLUMNS, rows, text))


def _list(args: argparse.Namespace) -> None:
    from collective.config import read_client

    path = _path(args)
    whole = read_client(path)
    names = list(dict.fromkeys([whole.collective, *whole.collectives]))
    columns = ("name", "default", "collective", "region", "profile", "caller")
    rows = []
    for name in names:
        config = whole.in_collective(name)
        rows.append([name, name == whole.collective, config.collective, config.region, config.profile, config.caller])
    document = {"file": str(path), "collectives": [dict(zip(columns, row, strict=True)) for row in rows]}

    def text() -> str:
        width = max(map(len, names))
        return "".join(
            f"{'*' if name == whole.collective else ' '} {name:<{width}}  {escape_controls(_described(whole, name))}\n"
            for name in names
        )

    output.show(args, Output("config-list", document, columns, rows, text))


def _described(whole: ClientConfig, name: str) -> str:
    values = {key: value for key, value in whole.collectives.get(name, {}).items() if key != "notify"}
    return ", ".join(f"{key} {in_words(str(value))}" for key, value in values.items())


def _use(args: argparse.Namespace) -> None:
    """Change the default collective in the file; raise ConfigError if that is not possible."""
    from collective.config import read_client
    from collective.yaml_file import parse_yaml, read_text

    path = _path(args)
    whole = read_client(path)
    whole.in_collective(args.name)  # refuses an unknown one
    text = _DEFAULT_LINE.sub(rf"collective:\g<1>{args.name}", read_text(path))
    if whole.collective not in whole.collectives:  # or it would not be known any more
        text = _LISTED.sub(lambda found: found[0] + _listed(found, whole.collective), text)
    changed = parse_yaml(text, str(path))
    known = {*changed.get("collectives", ()), args.name}
    if changed.get("collective") != args.name or not {*whole.collectives, whole.collective} <= known:
        raise ConfigError(f"{path}: 'collective' cannot be changed by this command (edit the file)")
    _replace(path, text)
    write(f"{escape_controls(str(path))}: default collective {args.name}, before {whole.collective}\n")


def _listed(found: re.Match[str], name: str) -> str:
    """Return a further name for `collectives`, in the form in which they are written."""
    if found["form"] == "\n":
        return f"{found['indent']}- {name}\n" if found["dash"] else f"{found['indent']}{name}: {{}}\n"
    return f"{name}, " if found["form"] == "[" else f"{name}: {{}}, "


def _replace(path: Path, text: str) -> None:
    """Replace the content of a file at once; its permissions stay."""
    target = path.resolve()
    try:
        replace_file(target, text.encode(), stat.S_IMODE(target.stat().st_mode))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def _path(args: argparse.Namespace) -> Path:
    from collective.config import client_file

    return args.config or client_file()


def _file(args: argparse.Namespace, path: Path) -> Setting:
    variable = os.environ.get("COLLECTIVE_CONFIG")
    source = "--config" if args.config else "COLLECTIVE_CONFIG" if variable else "found in the usual places"
    return Setting("file", str(path), source)


def _settings(args: argparse.Namespace, config: ClientConfig, path: Path) -> Iterator[Setting]:
    """Yield each key with its value in force."""
    from collective.config import read_client
    from collective.yaml_file import read_yaml

    whole, written = read_client(path), read_yaml(path)
    name = args.target or whole.collective
    own = whole.collectives.get(name, {})
    for entry in fields(config):
        value = getattr(config, entry.name)
        if entry.name == "collectives":
            yield Setting(entry.name, list(value), path.name if value else "default")
        elif entry.name == "collective":
            yield Setting(entry.name, value, _source_of_collective(args, path, name, own))
        elif entry.name == "notify":
            yield Setting(entry.name, _without_secrets(value), _source(entry.name, path, name, own, written))
        elif entry.name in _AWS and value is None:
            yield _of_boto3(entry.name)
        elif entry.name == "ttl" and os.environ.get(_TTL):
            yield Setting(entry.name, _seconds(os.environ[_TTL]), _TTL)
        else:
            value = value if isinstance(value, (bool, int, float, dict, type(None))) else _plain(value)
            yield Setting(entry.name, value, _source(entry.name, path, name, own, written))


def _seconds(text: str) -> float:
    try:
        return options.seconds(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{_TTL}: {error}") from None


def _without_secrets(places: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    from collective.notification_places import shown

    return shown(places)


def _source_of_collective(args: argparse.Namespace, path: Path, name: str, own: Mapping[str, Any]) -> str:
    chosen = args.from_variables.get("target", "-T") if args.target else path.name
    return f"{chosen}, collectives.{name}" if "collective" in own else chosen


def _source(key: str, path: Path, name: str, own: Mapping[str, Any], written: Mapping[str, Any]) -> str:
    if key in own:
        return f"{path.name}, collectives.{name}"
    return path.name if key in written else "default"


def _of_boto3(key: str) -> Setting:
    for variable in _AWS[key]:
        if os.environ.get(variable):
            return Setting(key, os.environ[variable], variable)
    return Setting(key, None, "boto3's own settings")


def _plain(value: Any) -> Any:
    return [str(part) for part in value] if isinstance(value, list) else str(value)
