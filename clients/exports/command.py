"""`crpc inventory export`: print the matching nodes in the form of another tool."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.clients import options, output
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice
from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.clients.exports.nodes import ExportedNode
    from collective.config import ClientConfig
    from collective.fleet.discovery import Discovery
    from collective.fleet.targets import Targets

FORMATS = (
    "ansible",
    "ssh-config",
    "prometheus-sd",
    "nagios",
    "hosts",
    "puppet-data",
    "puppet-enc",
    "json",
    "csv",
)
_COLUMNS = ("identity", "address", "ip", "version", "classes", "agents", "problem")
_FACTS = "environment,role"


def make_parser() -> Parser:
    """Return the parser of `crpc inventory export`."""
    parser = Parser(
        "crpc inventory export",
        description="Print the nodes for Ansible, ssh, Prometheus, Nagios, Puppet or /etc/hosts, or as JSON or CSV.\n\n"
        "The address of a node is that of 'crpc ssh'. In ssh-config, prometheus-sd, nagios and hosts, a node without "
        "one is skipped and reported, and the exit code is 2.\n\nWith --listen, Prometheus reads the targets by HTTP "
        "until Ctrl-C or SIGTERM, which end the command with exit code 0.",
        examples=[
            "crpc inventory export --format ansible --list",
            "crpc inventory export --format ssh-config -F role=web",
            "crpc inventory export --format prometheus-sd --facts role,environment",
            "crpc inventory export --format csv --facts os.family",
            "crpc inventory export --format puppet-data --host node01.lab",
        ],
    )
    parser.add_argument("--format", required=True, choices=FORMATS, metavar="FORMAT", help=f"{', '.join(FORMATS)}")
    parser.add_argument(
        "--facts",
        type=_paths,
        metavar="A,B.C",
        help="facts that become groups (ansible, nagios), labels (prometheus-sd) or columns (csv); default: "
        + _FACTS.replace(",", ", "),
    )
    parser.add_argument("--port", type=_port, metavar="N", help="port of the prometheus-sd targets (default: 9100)")
    parser.add_argument(
        "--listen",
        type=_address,
        metavar="ADDRESS:PORT",
        help="serve the prometheus-sd targets by HTTP; a port alone is one of 127.0.0.1",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--list", action="store_true", help="all groups and nodes, as Ansible asks for them (default)")
    way.add_argument("--host", metavar="NAME", help="one node, as Ansible and Puppet ask for it")
    options.add_targets(parser)
    options.add_max_age(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the nodes; return 0, 2 if some were skipped, or 3 if some did not answer."""
    facts = _checked(args)
    if args.listen is not None:
        from collective.clients.exports import serving

        return serving.serve(args, facts)
    targets, config = options.targets(args), options.client_config(args)

    from collective.clients.exports import forms
    from collective.exit_codes import FAILED, OK

    if args.format.startswith("puppet-"):
        _check_for_puppet(targets, config)
    found, nodes = _read(args, config, targets)
    usable = forms.usable(args.format, nodes)
    _show(args, config, usable, facts)
    code = _exit_code(found, config.expect_all)
    return FAILED if code == OK and len(usable) < len(nodes) else code


def _read(args: argparse.Namespace, config: ClientConfig, targets: Targets) -> tuple[Discovery, list[ExportedNode]]:
    """Return the nodes; report those that may be missing.

    For Puppet that is the one node, whether or not its daemon runs now: a stopped daemon must not change a catalog.
    """
    from collective.clients.exports.nodes import read_nodes
    from collective.fleet.discovery import Discovery
    from collective.fleet.fleet import Fleet

    with Fleet.connect(config, recent=args.max_age) as fleet:
        if args.format.startswith("puppet-"):
            named = [record.identity for record in fleet.records() if record.identity == args.host]
            return Discovery(tuple(named)), read_nodes(fleet, named)
        found = fleet.find(targets, verify=True)
        for line in found.incomplete():
            notice(line)
        return found, read_nodes(fleet, found.nodes)


def _exit_code(found: Discovery, expect_all: bool) -> int:
    from collective.exit_codes import FAILED, OK, SILENT

    if found.not_evaluated:
        return FAILED
    return SILENT if found.silent or (expect_all and found.not_asked) else OK


def _checked(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the facts; raise UsageError for options that do not belong to the format."""
    own = {
        "--host": args.host,
        "--list": args.list or None,
        "--port": args.port,
        "--listen": args.listen,
        "--facts": args.facts,
    }
    if args.listen is not None and args.max_age is not None:
        raise UsageError("--max-age: not with --listen, which reads the registry at most every 10 s")
    accepted = {
        "ansible": ("--host", "--list", "--facts"),
        "prometheus-sd": ("--port", "--listen", "--facts"),
        "puppet-data": ("--host",),
        "puppet-enc": ("--host",),
        "nagios": ("--facts",),
        "csv": ("--facts",),
    }
    for option, value in own.items():
        if value is not None and option not in accepted.get(args.format, ()):
            raise UsageError(f"{option}: not with --format {args.format}")
    if args.format.startswith("puppet-") and args.host is None:
        raise UsageError(f"--format {args.format}: needs --host NAME")
    if args.output != "text" and args.output != args.format and "output" not in args.from_variables:
        raise UsageError(f"-o {args.output}: not with --format {args.format} (use --format json or csv)")
    args.output = args.format if args.format in ("json", "csv") else "text"
    facts: tuple[str, ...] = tuple(_FACTS.split(",")) if args.facts is None else args.facts
    if args.format == "prometheus-sd":
        from collective.clients.exports.prometheus import labels_of

        labels_of(facts)
    return facts


def _check_for_puppet(targets: Targets, config: ClientConfig) -> None:
    if not targets.unrestricted:
        raise UsageError("--format puppet-…: target options have no effect (--host names the node)")
    if config.registry == "none":
        raise UsageError("--format puppet-…: this collective has no registry (client.yaml has 'registry: none')")


def _show(args: argparse.Namespace, config: ClientConfig, nodes: Sequence[ExportedNode], facts: Sequence[str]) -> None:
    from collective.clients.exports import forms
    from collective.clients.exports.groups import text_of
    from collective.filters import look_up

    rows = [[getattr(node, name) for name in _COLUMNS] for node in nodes]
    documents = [
        {**dict(zip(_COLUMNS, row, strict=True)), "facts": dict(node.facts)}
        for node, row in zip(nodes, rows, strict=True)
    ]
    if args.format == "csv":
        rows = [
            [*row, *(text_of(look_up(node.facts, one)) for one in facts)] for node, row in zip(nodes, rows, strict=True)
        ]
    columns = [*_COLUMNS, *(facts if args.format == "csv" else ())]
    document = {"collective": config.collective, "nodes": documents}
    text = forms.text(args, config, nodes, facts)
    output.show(args, Output("inventory-export", document, columns, rows, lambda: text))


def _paths(text: str) -> tuple[str, ...]:
    """Read the names of facts; an empty list means none."""
    from collective.filters.paths import steps

    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    for name in names:
        try:
            steps(name)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return names


def _address(text: str) -> tuple[str, int]:
    from collective.clients.exports.http_discovery import read_address

    return read_address(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536 and len(text) < 6):
        raise argparse.ArgumentTypeError(f"invalid port '{text[:20]}': use an integer from 1 to 65535")
    return int(text)
