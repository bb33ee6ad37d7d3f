"""`crpc lab`: a whole collective on this machine, with real daemons and a server on loopback."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from collective.clients import options
from collective.errors import UsageError
from collective.lab import control
from collective.lab.layout import Layout

_DEFAULT_NODES = 5


def run(arguments: Sequence[str]) -> int:
    """Parse and do one of run, start, stop, status, env, node."""
    given_words, command = _split(arguments)
    parser = _parser()
    given = parser.parse_args(given_words)
    if command and given.verb != "run":
        raise UsageError("only 'crpc lab run' takes a command after '--'")
    if given.verb == "run":
        return _run(given.nodes, command)
    layout = Layout(given.folder or control.default_folder())
    if given.verb == "node":
        verbs = {"kill": control.kill_node, "stop": control.stop_node, "start": control.start_node}
        verbs[given.what](layout, given.name)
    elif given.verb == "start":
        control.start(layout, given.nodes)
        env = control.command(layout, "env")
        sys.stdout.write(f'{given.nodes} nodes run: point crpc at them with: eval "$({env})"\n')
    elif given.verb == "stop":
        control.stop(layout)
    elif given.verb == "status":
        for name, pid in control.status(layout).items():
            sys.stdout.write(f"{name:<40} {f'runs as process {pid}' if pid else 'does not run'}\n")
    else:
        control.status(layout)  # says so when none runs
        for name, value in layout.environment().items():
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
        sys.stdout.write("unset AWS_PROFILE AWS_SESSION_TOKEN AWS_REGION\n")
    return 0


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    words = list(arguments)
    if "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]


def _parser() -> options.Parser:
    parser = options.Parser("crpc lab", description="Run a whole collective on this machine, to try things.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="run|start|stop|status|env|node")
    run_ = verbs.add_parser("run", usage="crpc lab run [--nodes N] [-- COMMAND ...]", help="for one command or shell")
    start = verbs.add_parser("start", help="in the background")
    for with_nodes in (run_, start):
        with_nodes.add_argument("--nodes", type=int, default=_DEFAULT_NODES, metavar="N", help="default: %(default)s")
    node = verbs.add_parser("node", help="do to one node what an outage does")
    node.add_argument("name")
    node.add_argument("what", choices=("kill", "stop", "start"))
    for verb, text in (
        ("stop", "end it"),
        ("status", "what runs"),
        ("env", "variables that point crpc at it"),
    ):
        verbs.add_parser(verb, help=text)
    for name, with_folder in verbs.choices.items():
        if name != "run":
            with_folder.add_argument("--folder", type=Path, metavar="DIR", help="where the lab lies, if not the usual")
    return parser


def _run(nodes: int, command: Sequence[str]) -> int:
    """Run `command`, or a shell, in a lab of its own; return its exit code."""
    command = command or [os.environ.get("SHELL", "/bin/sh")]
    program = shutil.which(command[0])
    if program is None:
        raise UsageError(f"'{command[0]}' is no program that can be found")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by an exception: the lab is ended too
    folder = Path(tempfile.mkdtemp(prefix="collective-lab-"))
    with control.running(Layout(folder), nodes) as environment:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
            os.environ.pop(name, None)
        # In a lab one types `crpc`, wherever it is installed.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return _attend(subprocess.Popen([program, *command[1:]], env={**os.environ, **environment, "PATH": path}))


def _attend(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process that shares our terminal: Ctrl-C is its business, we wait on."""
    interrupted = False
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            if interrupted:
                process.kill()
            interrupted = True
        except SystemExit:
            process.terminate()
            process.wait()
            raise
        else:
            return code if code >= 0 else 128 - code
