"""`crpc inventory export`: print the matching nodes in the form of another tool."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from collective.clients import options, output
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice
from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.clients.exports.nodes import ExportedNode
    from collective.config import ClientConfig
    from collective.fleet.discovery import Discovery

FORMATS = ("ansible", "ssh-config", "prometheus-sd", "nagios", "hosts", "json", "csv")
_COLUMNS = ("identity", "address", "ip", "version", "classes", "agents", "problem")
_FACTS = "environment,role"
_PORT = 9100  # of Prometheus's node exporter


def make_parser() -> Parser:
    """Return the parser of `crpc inventory export`."""
    parser = Parser(
        "crpc inventory export",
        description="Print the nodes for Ansible, ssh, Prometheus, Nagios or /etc/hosts, or as JSON or CSV.\n\nThe "
        "address of a node is that of 'crpc ssh'. Except in ansible, json and csv, a node without one is skipped and "
        "reported, and the exit code is 2.",
        examples=[
            "crpc inventory export --format ansible --list",
            "crpc inventory export --format ssh-config -F role=web",
            "crpc inventory export --format prometheus-sd --facts role,environment",
            "crpc inventory export --format csv --facts os.family",
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
    parser.add_argument("--port", type=_port, metavar="N", help=f"port of the prometheus-sd targets (default: {_PORT})")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--list", action="store_true", help="all groups and nodes, as Ansible asks for them (default)")
    way.add_argument("--host", metavar="NAME", help="the variables of one node, as Ansible asks for them")
    options.add_targets(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the nodes; return 0, 2 if some were skipped, or 3 if some did not answer."""
    facts = _checked(args)
    targets, config = options.targets(args), options.client_config(args)

    from collective.clients.exports.nodes import read_nodes
    from collective.exit_codes import FAILED, OK
    from collective.fleet.fleet import Fleet

    with Fleet.connect(config) as fleet:
        found = fleet.find(targets, verify=True)
        for line in found.incomplete():
            notice(line)
        nodes = read_nodes(fleet, found.nodes)
    usable = _usable(args.format, nodes)
    _show(args, config, usable, facts)
    code = _exit_code(found, config.expect_all)
    return FAILED if code == OK and len(usable) < len(nodes) else code


def _exit_code(found: Discovery, expect_all: bool) -> int:
    from collective.exit_codes import FAILED, OK, SILENT

    if found.not_evaluated:
        return FAILED
    return SILENT if found.silent or (expect_all and found.not_asked) else OK


def _checked(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the facts; raise UsageError for options that do not belong to the format."""
    own = {"--host": args.host, "--list": args.list or None, "--port": args.port, "--facts": args.facts}
    accepted = {
        "ansible": ("--host", "--list", "--facts"),
        "prometheus-sd": ("--port", "--facts"),
        "nagios": ("--facts",),
        "csv": ("--facts",),
    }
    for option, value in own.items():
        if value is not None and option not in accepted.get(args.format, ()):
            raise UsageError(f"{option}: not with --format {args.format}")
    if args.output != "text" and args.output != args.format and "output" not in args.from_variables:
        raise UsageError(f"-o {args.output}: not with --format {args.format} (use --format json or csv)")
    args.output = args.format if args.format in ("json", "csv") else "text"
    facts: tuple[str, ...] = tuple(_FACTS.split(",")) if args.facts is None else args.facts
    if args.format == "prometheus-sd":
        from collective.clients.exports.prometheus import labels_of

        labels_of(facts)
    return facts


def _usable(form: str, nodes: Sequence[ExportedNode]) -> list[ExportedNode]:
    """Return the nodes that the form can hold; report the others."""
    from collective.clients.exports.ansible import RESERVED

    usable = []
    for node in nodes:
        problem = None
        if form == "ansible" and node.identity in RESERVED:
            problem = "Ansible has another meaning for this name"
        elif form == "hosts" and (node.ip is None or node.identity == "localhost"):
            problem = "it has no IP address in its facts" if node.ip is None else "this name is reserved"
        elif form in ("ssh-config", "prometheus-sd", "nagios"):
            problem = node.problem
        if problem:
            notice(f"{node.identity}: skipped: {problem}")
        else:
            usable.append(node)
    return usable


def _show(args: argparse.Namespace, config: ClientConfig, nodes: Sequence[ExportedNode], facts: Sequence[str]) -> None:
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
    text = _text(args, config, nodes, facts)
    output.show(args, Output("inventory-export", document, columns, rows, lambda: text))


def _text(args: argparse.Namespace, config: ClientConfig, nodes: Sequence[ExportedNode], facts: Sequence[str]) -> str:
    from collective.clients.exports import ansible, host_files, nagios, prometheus

    if args.format == "ansible":
        return ansible.as_list(nodes, facts) if args.host is None else ansible.as_host(nodes, args.host)
    if args.format == "prometheus-sd":
        return prometheus.as_targets(nodes, prometheus.labels_of(facts), args.port or _PORT, config.collective)
    if args.format == "nagios":
        return nagios.as_hosts(nodes, facts)
    return {"ssh-config": host_files.as_ssh_config, "hosts": host_files.as_hosts}.get(args.format, _nothing)(nodes)


def _nothing(_nodes: Any) -> str:
    return ""  # json and csv have no text form


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


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536 and len(text) < 6):
        raise argparse.ArgumentTypeError(f"invalid port '{text[:20]}': use an integer from 1 to 65535")
    return int(text)
