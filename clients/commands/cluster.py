"""`crpc cluster`: form clusters of nodes that run one program, and give a failed node's place to its successor."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import node_files, options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice, write
from collective.cluster_lease import LEASE, REPLACE_AFTER
from collective.errors import TransportError, UsageError
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.cluster.command import ClusterCommands
    from collective.cluster.holding import HeldPlace
    from collective.cluster.joining import ClusterJoin
    from collective.cluster.place_file import PlaceFile
    from collective.cluster.table import ClusterTable
    from collective.config import NodeConfig

_COLUMNS = ("place", "node", "address", "state", "seen", "replaces")
_MOST_PLACES = 99  # collective.cluster.state.MAX_SIZE, which is not imported here


def make_parser() -> Parser:
    """Return the parser of `crpc cluster`."""
    parser = Parser(
        "crpc cluster",
        description=f"{COMMANDS['cluster']}.\n\nRun it on the nodes, as the user of collectived: it reads node.yaml "
        "(or --config FILE), and finds the other nodes in the registry's table. One of them is chosen to begin.",
        examples=["crpc cluster show etcd"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="join|show|leave")
    _add_join(
        verbs.add_parser(
            "join",
            help="wait for the other nodes, run a program, and hold a place in the cluster while it runs",
            examples=[
                "crpc cluster join search --size 3 --exec 'exec /usr/local/sbin/start-search --seeds {addresses}'",
                "crpc cluster join galera --size 3 --ready 'mysqladmin ping' --exec /usr/local/sbin/start-galera",
            ],
        )
    )
    show = verbs.add_parser("show", help="list the places of a cluster", examples=["crpc cluster show etcd"])
    leave = verbs.add_parser(
        "leave",
        help="give up this node's place, after its program was stopped: the next node takes it at once",
        examples=["crpc cluster leave etcd"],
    )
    for verb in (show, leave):
        verb.add_argument("name", metavar="NAME", help="name of the cluster")
    return parser


def _add_join(join: Parser) -> None:
    join.add_argument("name", metavar="NAME", help="name of the cluster: a-z, 0-9 and '-'")
    join.add_argument("--size", type=_size, required=True, metavar="N", help="number of places, the same on all nodes")
    group = join.add_argument_group("cluster commands, run by /bin/sh -c")
    group.add_argument(
        "--exec", dest="exec_", required=True, metavar="CMD", help="the program, with words such as {peers} and {self}"
    )
    group.add_argument("--on-replace", metavar="CMD", help="first remove {replaced}, the node that had the place")
    group.add_argument(
        "--ready", metavar="CMD", help="the program is ready when CMD succeeds; the others wait for that"
    )
    group.add_argument(
        "--peer", default=None, metavar="FORM", help="a machine in {peers} ({name}={address}; {host} is for URLs)"
    )
    group.add_argument("--separator", default=",", metavar="TEXT", help="between the machines of {peers} (,)")
    group.add_argument(
        "--hook-timeout", type=options.seconds, default=60.0, metavar="DURATION", help="time of --on-replace (60s)"
    )
    group = join.add_argument_group("cluster options")
    group.add_argument(
        "--address", metavar="ADDRESS", help="this node's address for its peers (default: its first one)"
    )
    group.add_argument(
        "--data", type=options.path, metavar="FOLDER", help="the program's data: an empty folder means they are lost"
    )
    group.add_argument(
        "--replace-after",
        type=options.seconds,
        default=REPLACE_AFTER,
        metavar="DURATION",
        help="take the place of a node that was not heard of for this long (60s, at least 20s)",
    )
    group.add_argument(
        "--wait", type=options.seconds, metavar="DURATION", help="exit if no place is free after this time"
    )


def run(arguments: Sequence[str]) -> int:
    """Run the verb; return the exit code of the program for `join`."""
    args = make_parser().parse_args(arguments)
    from collective.cluster.state import check_cluster

    check_cluster(args.name)
    return {"join": _join, "show": _show, "leave": _leave}[args.verb](args)


def _join(args: argparse.Namespace) -> int:
    commands = _commands(args)
    from collective.clients.results import interruptible
    from collective.cluster.holding import HeldPlace

    config = node_files.node(args.config)
    table, file = _table(config, args.name), _file(config, args.name)
    with file.locked():
        join = _joiner(args, config, table, file)
        try:
            with interruptible():
                start = join.wait()
        except BaseException:
            with suppress(TransportError):
                join.withdraw()
            raise
        return _run(commands, HeldPlace(args.name, table, start), file)


def _run(commands: ClusterCommands, held: HeldPlace, file: PlaceFile) -> int:
    from collective.clients.results import interruptible
    from collective.cluster.command import ClusterCommand
    from collective.cluster.place_file import KeptPlace

    held.keep()
    command = ClusterCommand(commands, held, notice)
    try:
        with interruptible():
            command.remove_replaced()
        file.write(KeptPlace(held.start.place.token, started=True))
        return command.run()
    finally:
        held.release()


def _commands(args: argparse.Namespace) -> ClusterCommands:
    if not output.is_plain_text(args, ()):
        raise UsageError("cluster join: it prints what the program prints (remove the output options)")
    if args.replace_after < LEASE:
        raise UsageError("--replace-after: use at least 20s, so that a short outage replaces no node")
    from collective.cluster.command import ClusterCommands
    from collective.cluster.words import PEER, PeerForm

    form = PeerForm(PEER if args.peer is None else args.peer, args.separator)
    return ClusterCommands(args.exec_, args.on_replace, args.ready, form, args.hook_timeout).check()


def _joiner(args: argparse.Namespace, config: NodeConfig, table: ClusterTable, file: PlaceFile) -> ClusterJoin:
    from collective.cluster import joining
    from collective.cluster.state import ClusterMachine, check_address
    from collective.cluster.steps import Joiner

    address = check_address(args.address or _first_address())
    me = Joiner(
        args.name,
        ClusterMachine(config.identity, address),
        args.size,
        joining.new_process(),
        has_data=args.data is None or _has_files(args.data),
        replace_after=args.replace_after,
        needs_ready=args.ready is not None,
    )
    limit = float("inf") if args.wait is None else args.wait
    return joining.ClusterJoin(me, table, file, joining.JoinWaiting(limit, report=notice))


def _first_address() -> str:
    from collective.machine_addresses import addresses

    found = sorted(addresses())
    if not found:
        raise UsageError("--address: this machine has no address except loopback ones (give one)")
    return found[0]


def _has_files(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"--data {folder}: {error.strerror}") from None


def _show(args: argparse.Namespace) -> int:
    config = node_files.node(args.config)
    table = _table(config, args.name)
    stored = table.read()
    if stored.state is None:
        raise UsageError(f"cluster {args.name}: the collective '{config.collective}' has no such cluster")
    from collective.cluster.description import describe

    document = {"collective": config.collective, **describe(args.name, stored, table.now())}
    rows = [[place[column] for column in _COLUMNS] for place in document["places"]]
    heading = f"{args.name}: {len(rows)} of {stored.state.size} places, {document['phase']}\n"
    lines = "".join(f"{_line(place)}\n" for place in document["places"])
    output.show(args, Output("cluster", document, _COLUMNS, rows, lambda: heading + lines))
    return 0


def _line(place: Any) -> str:
    replaces = f"  replaces {', '.join(place['replaces'])}" if place["replaces"] else ""
    seen = f"seen {place['seen']:.0f} s ago"
    text = f"{place['place']:>3}  {place['node']:<30} {place['address']:<20} {place['state']:<9} {seen}{replaces}"
    return escape_controls(text)


def _leave(args: argparse.Namespace) -> int:
    from collective.cluster import joining

    config = node_files.node(args.config)
    table, file = _table(config, args.name), _file(config, args.name)
    with file.locked():
        left = joining.leave(args.name, config.identity, table, file)
    write(f"{args.name}: {'released the place of' if left else 'has no place of'} '{config.identity}'\n")
    return 0


def _table(config: NodeConfig, name: str) -> ClusterTable:
    if config.registry != "dynamodb":
        raise UsageError("cluster: needs a registry (node.yaml has registry: none)")
    from collective.cluster.table import ClusterTable

    return ClusterTable.connect(config.collective, name)


def _file(config: NodeConfig, name: str) -> PlaceFile:
    from collective.cluster.place_file import PlaceFile

    return PlaceFile(config.state / "clusters", name)


def _size(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST_PLACES:
        raise argparse.ArgumentTypeError(f"invalid size '{text}': use 1 to {_MOST_PLACES}")
    return int(text)
