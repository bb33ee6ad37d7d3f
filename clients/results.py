"""Print the results of a call, while it runs and when it has ended, in the form that the options ask for.

present(CallOutput(call, args), call, fleet)     receive and print the replies of any action
present(PingOutput(call, args), call, fleet)     a command with its own text form and further members in its document
show_results(CallOutput(saved, args))            print a call that has ended before, a `render.CallView`

The options are those of `view_options`.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from collective import schemas
from collective.clients import output, view_options
from collective.clients.output import Output
from collective.clients.render.formatting import write_json, write_yaml
from collective.clients.render.view import Screen
from collective.clients.streams import notice, restore_terminal
from collective.errors import TransportError
from collective.exit_codes import FAILED, OK, SILENT, STOPPED
from collective.fleet.recording import INTERRUPTED
from collective.nodesets import fold_any
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.clients import displays
    from collective.clients.render import CallView
    from collective.clients.render.console import Console
    from collective.clients.render.records import NodeResult
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet
    from collective.messages import Reply

# The signals that interrupt a call, with their handlers in a program that has none of its own.
_USUAL = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


class CallOutput:
    """The output of one call, live or saved, in each form; a command overrides what is different for it.

    Raises UsageError for options that name an unknown field; `view_options.read_view` finds these before a call.
    """

    schema = "results"
    progress = True  # whether the text form has a progress bar
    pages = True  # whether the text form is written when the call has ended, and may be shown in a pager

    def __init__(self, call: CallView, args: argparse.Namespace) -> None:
        self.call = call
        self.args = args
        self.view = view_options.read_view(args, call.action)

    @property
    def streams(self) -> bool:
        """Whether an event is printed for each reply as it arrives."""
        return self.args.output == "jsonl" and not self.view.only

    def on_reply(self, reply: Reply) -> None:
        """Take a reply as it arrives; in the text form it may be printed at once."""

    def write(self, form: str, screen: Screen) -> None:
        """Write the whole output in a form."""
        if self.view.only:
            _Only(self).write(form, screen)
        elif self.view.query is not None:
            output.write_query(self.view.query, self.document(), form, screen)
        elif form == "text":
            self.write_text(screen)
        elif form in ("json", "yaml"):
            (write_json if form == "json" else write_yaml)(self.document(), screen.stream)
        elif form == "jsonl":
            self.write_events(screen.stream)
        else:
            heading, *body = self.rows()
            output.write_table(form, heading, body, screen, self.view)

    def write_text(self, screen: Screen) -> None:
        """Write the text form when the call has ended."""
        from collective.clients.render.console import Console

        self.show_on(Console(screen, self.view))

    def show_on(self, console: Console) -> None:
        """Write the text form with a console, and a notice after a dry run."""
        console.show(self.call)
        if self.call.dry_run:
            notice("dry run: the nodes changed nothing")

    def write_events(self, stream: TextIO) -> None:
        """Write an event for each reply, and the last event."""
        from collective.clients.render.json_document import reply_event, write_event
        from collective.clients.render.records import selected

        for record in selected(self.call, self.view):
            if record.answered:
                write_event(reply_event(record, self.view), stream)
        self.write_end(stream)

    def write_reply(self, reply: Reply) -> None:
        """Print the event of a reply, unless `--where` drops it."""
        from collective.clients.render.json_document import reply_event, write_event
        from collective.clients.render.records import matching, of_reply

        for record in matching([of_reply(reply, self.call.action)], self.view):
            write_event(reply_event(record, self.view), sys.stdout)

    def write_end(self, stream: TextIO) -> None:
        """Write the last event."""
        from collective.clients.render.json_document import end_event, write_event

        write_event({**end_event(self.call, self.view), **self.members()}, stream)

    def document(self) -> dict[str, Any]:
        """Return the document of the call with the members that only this command has."""
        from collective.clients.render import json_document

        document = json_document.document(self.call, self.view)
        return document | {"schema": schemas.schema_id(self.schema), **self.members()}

    def members(self) -> Mapping[str, Any]:
        """Return the members that the document has besides those of every call."""
        return {}

    def selected(self) -> list[NodeResult]:
        """Return the records of the nodes that the view selects, for `--names`, `--folded` and `--count`."""
        from collective.clients.render.records import selected

        return selected(self.call, self.view)

    def rows(self) -> list[list[Any]]:
        """Return the heading and one row per node, for tables and CSV."""
        from collective.clients.render import table

        return table.rows(self.call, self.view)


class _Only:
    """The nodes of a call for `--names`, `--folded` and `--count`: those that answered, or that `--where` keeps."""

    def __init__(self, shown: CallOutput) -> None:
        from collective.clients.render.replies import displayed

        view, call = shown.view, shown.call
        found = shown.selected()
        if view.where is None or view.display:
            found = displayed(found, replace(view, display=view.display or "all"), call.action)
        self._collective = call.collective
        self._only = view.only
        self._nodes = [record.sender for record in found]

    def write(self, form: str, screen: Screen) -> None:
        """Write the names, or their number."""
        count = len(self._nodes)
        document = {"collective": self._collective, "count": count, "nodes": self._nodes}
        names = [fold_any(self._nodes)] if self._only == "folded" and self._nodes else self._nodes
        column, values = ("count", [count]) if self._only == "count" else ("node", names)
        rows = [[value] for value in values]
        text = "".join(f"{escape_controls(str(value))}\n" for value in values)
        output.Output("find", document, [column], rows, lambda: text).write(form, screen)


def show_results(shown: CallOutput) -> None:
    """Print a call that has ended, live or saved, as its options ask: form, view, pager, file."""
    output.deliver(shown.args, shown, pages=shown.pages)


def present(shown: CallOutput, call: Call, fleet: Fleet) -> int:
    """Receive the replies of `call`, print them as `shown` does, and return the call's exit code.

    On a transport error or the first Ctrl-C the call stops: nothing more is sent, and the results so far are printed
    before the error. The second Ctrl-C ends the program at once. `fleet` explains why nodes did not answer.
    """
    from collective.clients.missing_nodes import print_missing

    error, interrupted = None, False
    with interruptible():
        try:
            _receive(shown, call)
        except TransportError as caught:
            call.stop(str(caught))
            error = caught
        except KeyboardInterrupt:
            call.stop(INTERRUPTED)
            interrupted = True
        call.close()
        _print(shown)
        sys.stdout.flush()  # what follows goes to standard error, which may be a terminal that was closed
        print_missing(call, fleet)
    if error is not None:
        raise error
    if call.stopped:
        _print_stopped(call)
    if interrupted:
        from collective.clients.interruption import offer_cancel

        offer_cancel(call, fleet, shown.args)
    if call.request.job is not None and not shown.args.quiet:
        notice(f"job {call.request_id}: 'crpc jobs wait {call.request_id[:8]}' shows the results")
    return call.outcomes.exit_code()


def print_sent(call: Call, args: argparse.Namespace, fleet: Fleet) -> int:
    """Print the id of a request without waiting for replies; return the exit code."""
    from collective.clients.missing_nodes import print_missing

    call.close()
    nodes = sorted(call.outcomes.expected - set(call.absent))
    members = {"request_id": call.request_id, "agent": call.agent, "action": call.action.name}
    document = {**members, "collective": call.collective, "caller": call.caller, "nodes": nodes, "absent": call.absent}
    rows = [list(members.values())]
    output.show(args, Output("sent", document, list(members), rows, lambda: f"{call.request_id}\n"))
    print_missing(call, fleet, waited=False)
    if call.outcomes.not_evaluated:
        return FAILED
    missing = set(call.outcomes.silent) - call.outcomes.expected
    return SILENT if call.absent or missing else OK


def _print_stopped(call: Call) -> None:
    """Print why a call ended early, and how many nodes that affects."""
    unsent, unanswered = len(call.outcomes.skipped), len(call.outcomes.silent)
    parts = [f"{plural(unsent, 'node')} not sent to"] if unsent else []
    if call.cut_short and unanswered:
        parts.append(f"{plural(unanswered, 'node')} had not answered yet")
    details = f" ({', '.join(parts)})" if parts else ""
    notice(f"stopped: {call.stopped}{details}")
    running, seconds = call.still_running()
    if running:
        notice(f"still running on {plural(len(running), 'node')}, for at most {math.ceil(seconds)} s")


@contextmanager
def interruptible(stop: Callable[[], None] | None = None) -> Iterator[None]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP raise KeyboardInterrupt, and the second one end the program at once.

    A lost connection or `timeout` must not end a call without a word: the actions go on. The second one calls `stop`
    before, which kills the processes that would go on without this one.
    """
    end = partial(_end_at_once, stop)
    # Any other handler is the program's own, or the parent process ignores the signal, as nohup does.
    before = {number: usual for number, usual in _USUAL.items() if signal.getsignal(number) == usual}

    def interrupt(received: int, _frame: object) -> None:
        for number in before:
            # A terminal that is closed sends SIGHUP twice: also when its shell has ended.
            twice = number == received == signal.SIGHUP
            signal.signal(number, signal.SIG_IGN if twice else end)
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        # After an interrupt the second handler stays: the interpreter may wait for threads at exit.
        for number, usual in before.items():
            if signal.getsignal(number) is interrupt:
                signal.signal(number, usual)


def _end_at_once(stop: Callable[[], None] | None, _signal: int, _frame: object) -> None:
    restore_terminal()
    if stop:
        stop()
    os.write(2, b"crpc: interrupted\n")
    os._exit(STOPPED)


def _receive(shown: CallOutput, call: Call) -> None:
    with _display(shown, call) as display:
        for reply in call:
            display.take(reply)
            shown.on_reply(reply)
            if shown.streams:
                shown.write_reply(reply)


def _display(shown: CallOutput, call: Call) -> displays.NoDisplay:
    """Return what is drawn on standard error while the replies arrive."""
    from collective.clients import displays

    paint = output.paint(shown.args, sys.stderr)
    if getattr(shown.args, "live", False):
        nodes = plural(call.progress.total, "node")
        title = f"{call.agent} {call.action.name} on {nodes} of {call.collective}"
        return displays.full_screen(title, lambda: call.progress, paint)
    visible = not shown.view.quiet and (shown.progress or shown.args.output != "text")
    return displays.bar(lambda: call.progress, paint, shown=visible)


def _print(shown: CallOutput) -> None:
    if not shown.streams:
        show_results(shown)
        return
    shown.write_end(sys.stdout)
    if shown.args.output_file is not None:
        output.write_file(shown.args, shown)
