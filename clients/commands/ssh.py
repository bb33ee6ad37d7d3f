"""`crpc ssh`: open ssh to the node that the target options find, choose from several, or open all in tmux."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.confirmation import ask
from collective.clients.output import Output
from collective.clients.parser import Parser, split_command
from collective.clients.streams import notice, write
from collective.errors import ConfigError, NoNodes, TooManyTargets, UsageError
from collective.suggestions import suggest
from collective.text import plural

if TYPE_CHECKING:
    from collective.clients.ssh_hosts import Host
    from collective.config import ClientConfig

_COLUMNS = ("node", "address", "problem", "command")
_LONGEST_MENU = 50  # nodes


def make_parser() -> Parser:
    """Return the parser of `crpc ssh`."""
    parser = Parser(
        "crpc ssh",
        usage="crpc ssh [NODE] [options] [-- SSH ARGUMENT ...]",
        description=f"{COMMANDS['ssh']}.\n\nIf several nodes match, a menu asks which one; --tmux opens all in the "
        "panes of one window. The address is the first of the facts 'ssh_address' in client.yaml that the node has: "
        "fqdn, addresses, and then its identity. Arguments after -- are given to ssh, behind the address: "
        "'crpc ssh node01.lab -- -l admin uptime'.",
        examples=[
            "crpc ssh node01.lab --print",
            "crpc ssh -W 'environment=development role=web' --print",
        ],
    )
    node = parser.add_argument("node", nargs="?", metavar="NODE", help="identity, /regex/ or range, as with -I")
    completed_by("node", node)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--tmux", action="store_true", help="open ssh to each matching node in a pane of tmux")
    way.add_argument("--print", action="store_true", dest="only_print", help="print the commands, do not run ssh")
    options.add_targets(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Find the nodes and become ssh or tmux; return the exit code only with `--print`."""
    words, further = split_command(arguments)
    args = make_parser().parse_args(words)
    if args.output != "text" and not args.only_print and "output" not in args.from_variables:
        raise UsageError(f"-o {args.output}: ssh has no output of this form (add --print)")
    if args.node:
        args.with_identity.append(args.node)
    hosts = _hosts(options.client_config(args), args)
    if args.only_print:
        return _print(args, hosts, further)
    if args.tmux:
        from collective.clients import tmux_panes

        return tmux_panes.open_panes({host.node: _command(host, further) for host in _reachable(hosts)})
    host = hosts[0] if len(hosts) == 1 else _choose(hosts)
    command = _command(host, further)
    notice(f"{host.node}: {' '.join(command[:2])}")
    return execute(command)


def execute(command: Sequence[str]) -> int:
    """Replace this process with a program, so that it has the terminal, the signals and the exit code."""
    program = shutil.which(command[0])
    if program is None:
        raise ConfigError(f"{command[0]}: command not found (install it, or use --print)")
    sys.stdout.flush()
    os.execv(program, list(command))  # noqa: S606 - no shell is involved


def _hosts(config: ClientConfig, args: argparse.Namespace) -> list[Host]:
    """Return the matching nodes with their addresses, sorted by name. Raises NoNodes."""
    targets = options.targets(args)

    from collective.clients.ssh_hosts import facts_of, host
    from collective.fleet.fleet import Fleet

    with Fleet.connect(config) as fleet:
        found = fleet.find(targets)
        for line in found.incomplete():
            notice(line)
        if not found.nodes:
            raise NoNodes(found.why_none)
        facts = facts_of(fleet, found.nodes)
    return [host(node, facts.get(node, {}), config.ssh_address) for node in sorted(found.nodes)]


def _command(host: Host, further: Sequence[str]) -> list[str]:
    """Return the command line; an address is checked, so it never begins with '-'."""
    if host.address is None:
        raise ConfigError(f"{host.node}: {host.problem}")
    return ["ssh", host.address, *further]


def _print(args: argparse.Namespace, hosts: Sequence[Host], further: Sequence[str]) -> int:
    """Print the command line of each node; a problem is reported, and the exit code is then 2."""
    import shlex

    from collective.exit_codes import FAILED, OK

    rows = [
        [host.node, host.address, host.problem, shlex.join(_command(host, further)) if host.address else None]
        for host in hosts
    ]
    document = {"nodes": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
    text = "".join(f"{command}\n" for *_, command in rows if command)
    output.show(args, Output("ssh", document, _COLUMNS, rows, lambda: text))
    return OK if len(_reachable(hosts)) == len(hosts) else FAILED


def _reachable(hosts: Sequence[Host]) -> list[Host]:
    """Return the hosts with an address, and report the others."""
    for host in hosts:
        if host.address is None:
            notice(f"{host.node}: {host.problem}")
    return [host for host in hosts if host.address is not None]


def _choose(hosts: Sequence[Host]) -> Host:
    """Ask on the terminal which host is meant. Raises TooManyTargets and UsageError."""
    if not sys.stdin.isatty():
        why = "standard input is not a terminal to choose on (narrow the targets, or use --one or --tmux)"
        raise TooManyTargets(len(hosts), why)
    if len(hosts) > _LONGEST_MENU:
        raise TooManyTargets(len(hosts), f"a menu has at most {_LONGEST_MENU} (narrow the targets, or use --one)")
    wide = max(len(host.node) for host in hosts)
    for number, host in enumerate(hosts, start=1):
        write(f"{number:>4}  {host.node:<{wide}}  {host.address or host.problem}\n", sys.stderr)
    sys.stderr.flush()
    answer = ask(f"node, 1 to {len(hosts)}: ")
    if not answer:
        raise TooManyTargets(len(hosts), "none was chosen")
    by_answer = {str(number): host for number, host in enumerate(hosts, start=1)} | {one.node: one for one in hosts}
    if answer not in by_answer:
        hint = suggest(answer, [host.node for host in hosts], f"the menu has {plural(len(hosts), 'node')}")
        raise UsageError(f"'{answer}' is not in the menu ({hint})")
    return by_answer[answer]
