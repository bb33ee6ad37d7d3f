"""`crpc watch`: print membership events as they happen, and run a command for each of them."""

from __future__ import annotations

import json
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from collective.clients import options, output, watch_options
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import write
from collective.errors import UsageError
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.fleet.watching import Watching
    from collective.membership import Event, StateFile
    from collective.membership.delivery import EventDelivery
    from collective.membership.handlers import CommandHandler

_COLUMNS = ("time", "event", "node", "address", "role", "changes", "reason")
_LAST_HANDLERS = 10.0  # seconds that running handlers have to end when the watcher is stopped


def make_parser() -> Parser:
    """Return the parser of `crpc watch`."""
    parser = Parser(
        "crpc watch",
        description=f"{COMMANDS['watch']}.\n\nThe nodes that are there at the start join first. A node has failed when "
        "its heartbeats are missing, it does not answer, and it does not read its queue. Ctrl-C and SIGTERM end the "
        "command, with exit code 0.",
        examples=[
            "crpc watch -F role=web --for 1",
            "crpc watch --once --state members.sqlite",
            "crpc watch -F role=web --exec ./handler.sh --on join,leave,failed --state members.sqlite",
            "crpc watch --exec-json 'jq -r .member.identity >> seen' --batch",
        ],
    )
    watch_options.add_watching(parser)
    watch_options.add_handlers(parser)
    options.add_targets(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Watch until an interrupt or the end of `--for`; return 0."""
    args = make_parser().parse_args(arguments)
    streaming = any(output.is_plain_text(args, _COLUMNS, form) for form in ("text", "jsonl"))
    if not streaming and not (args.once or args.for_):
        raise UsageError("watch: this form of output needs an end (add --once or --for, or use --jsonl alone)")
    command, view = watch_options.read_command(args), watch_options.read_view(args)
    config = options.client_config(args)
    path = watch_options.state_file(args)

    from collective.fleet.watching import watching
    from collective.membership import StateFile
    from collective.membership.handlers import CommandHandler
    from collective.membership.serf_convention import Self

    with (
        closing(StateFile(path, config.collective)) as store,
        watching(config, store, view, settle=args.settle, ping=not args.no_ping, ec2_events=args.ec2_events) as found,
    ):
        handler = CommandHandler(command, Self(config.sender)) if command else None
        printer = EventPrinter(args, handler, streaming=streaming)
        _watch(args, store, found, printer)
    if not streaming:
        printer.show(config)
    return 0


def _watch(args: Namespace, store: StateFile, found: Watching, printer: EventPrinter) -> None:
    from collective.clients.results import interruptible

    with interruptible(printer.stop), suppress(KeyboardInterrupt), _delivering(args, store, printer, found) as delivery:
        delivery.offer(store.pending())
        delivery.offer(found.watcher.step())
        if args.once:
            found.confirmation.join()
            delivery.offer(found.watcher.step())
            delivery.finish()
            return
        if found.terminations:
            found.terminations.start()
        end = time.monotonic() + (args.for_ or float("inf"))
        while (left := end - time.monotonic()) > 0:
            delivery.pause(min(found.watcher.pause(args.every), left))
            delivery.offer(found.watcher.attempt())
        delivery.finish()


@contextmanager
def _delivering(args: Namespace, store: StateFile, printer: EventPrinter, found: Watching) -> Iterator[EventDelivery]:
    """Deliver events, and at the end wait for the handlers that run."""
    from collective.membership.delivery import EventDelivery

    delivery = EventDelivery(store, printer, batch=args.batch or not printer.runs_command, wake=found.wake)
    try:
        yield delivery
    finally:
        delivery.stop(_LAST_HANDLERS)


class EventPrinter:
    """Prints each event after the command for it, if there is one, has ended. `streaming`: at once."""

    def __init__(self, args: Namespace, handler: CommandHandler | None, *, streaming: bool) -> None:
        self._args = args
        self._handler = handler
        self._streaming = streaming
        self._lock = threading.Lock()
        self._events: list[Event] = []

    @property
    def runs_command(self) -> bool:
        """Whether a command is run for events."""
        return self._handler is not None

    def handle(self, events: Sequence[Event]) -> bool:
        """Run the command and print the events; return False if the command was stopped."""
        chosen = [event for event in events if self._args.on is None or event.kind in self._args.on]
        if chosen and self._handler and not self._handler.handle(chosen):
            return False
        with self._lock:
            if not self._streaming:
                self._events += chosen
            elif chosen:
                as_line = _text if self._args.output == "text" else _json
                write("".join(map(as_line, chosen)))
                sys.stdout.flush()
        return True

    def stop(self) -> None:
        """End the commands that run."""
        if self._handler:
            self._handler.stop()

    def show(self, config: ClientConfig) -> None:
        """Print all events in the form that the options ask for."""
        document = {"collective": config.collective, "events": [event.to_data() for event in self._events]}
        rows = [_row(event) for event in self._events]
        output.show(self._args, Output("watch", document, _COLUMNS, rows, lambda: "".join(map(_text, self._events))))


def _json(event: Event) -> str:
    return json.dumps(event.to_data()) + "\n"


def _text(event: Event) -> str:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.time))
    member = event.member
    details = [member.address, member.role, _changes(event), event.reason]
    line = f"{when} {event.kind:<8} {member.identity:<30} {'  '.join(filter(None, details))}"
    return escape_controls(line.rstrip()) + "\n"


def _row(event: Event) -> list[Any]:
    member = event.member
    return [event.time, event.kind, member.identity, member.address, member.role, _changes(event), event.reason]


def _changes(event: Event) -> str:
    return "; ".join(f"{part}: {', '.join(names)}" for part, names in event.changes.items())
