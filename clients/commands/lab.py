"""`crpc lab`: run a collective on this machine, with real daemons and an AWS emulator on the loopback interface."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from collective.clients import output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser, Verbs, split_command
from collective.clients.streams import notice, write
from collective.config import user_name
from collective.errors import UsageError
from collective.exit_codes import FAILED
from collective.lab import control, servers
from collective.lab.layout import Layout
from collective.nodesets import unfold
from collective.text import plural

_DEFAULT_NODES = 5
_COLUMNS = ("identity", "running", "pid")
_UNSET = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION")  # they override what the lab's environment sets
_WELCOME = """\
A lab of {nodes}: real daemons, and a local server for SQS, SNS and DynamoDB.
Actions run on this machine, as {user}: 'crpc shell run' and 'crpc package install' change it.

  crpc ping                                        measure how fast nodes answer
  crpc find -F role=web                            list the nodes that match
  crpc nrpe runcommand command=check_disk          run a check; one node is critical
  crpc help                                        list commands and agents

Put your agents into $COLLECTIVE_LAB/agents and their DDLs into $COLLECTIVE_LAB/ddl; then:

  collectived --check && crpc lab node all reload

'exit' stops the lab and removes it.

"""


def make_parser() -> Parser:
    """Return the parser of `crpc lab`."""
    parser = Parser(
        "crpc lab",
        description=f"{COMMANDS['lab']}.\n\n"
        "A lab has real daemons and an AWS emulator on the loopback interface. Actions run on this machine, "
        "with the rights of the user who started the lab.",
        examples=["crpc lab run --nodes 3", "crpc lab start --nodes 3", "crpc lab env", "crpc lab stop"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="run|start|stop|status|env|node")
    _add_starts(verbs)
    _add_node(verbs)
    verbs.add_parser("stop", help="stop the lab", examples=["crpc lab stop"])
    verbs.add_parser(
        "status", help="list the nodes and their processes", examples=["crpc lab status", "crpc lab status -o json"]
    )
    verbs.add_parser("env", help="print shell commands that point crpc at the lab, for eval", examples=["crpc lab env"])
    for name, parser_ in parser.verbs.items():
        if name != "run":
            parser_.add_argument("--folder", type=Path, metavar="DIR", help="folder of the lab")
    return parser


def _add_starts(verbs: Verbs) -> None:
    """Add what starts a lab."""
    run_ = verbs.add_parser(
        "run",
        usage="crpc lab run [--nodes N] [--server NAME | --endpoint URL] [-- COMMAND ...]",
        help="run a shell or a command in a temporary lab",
        description="Run a shell or a command in a temporary lab.\n\n"
        "The command follows '--', as in 'crpc lab run -- crpc ping'. The exit code is that of the command.",
        examples=["crpc lab run", "crpc lab run --nodes 3"],
    )
    start = verbs.add_parser(
        "start", help="start a lab in the background", examples=["crpc lab start", "crpc lab start --nodes 3"]
    )
    for parser_ in (run_, start):
        parser_.add_argument("--nodes", type=int, default=_DEFAULT_NODES, metavar="N", help="default: %(default)s")
        server = parser_.add_mutually_exclusive_group()
        server.add_argument(
            "--server", choices=servers.NAMES, default=servers.MOTO, help="AWS emulator to run; default: %(default)s"
        )
        server.add_argument("--endpoint", metavar="URL", help="use an AWS emulator that is running already")


def _add_node(verbs: Verbs) -> None:
    node = verbs.add_parser(
        "node",
        help="kill, stop, start or reload nodes, or print their logs",
        examples=[
            "crpc lab node node02.lab stop",
            "crpc lab node node02.lab start",
            "crpc lab node all reload",
            "crpc lab node node02.lab log",
        ],
    )
    completed_by(
        "lab_node",
        node.add_argument("name", metavar="NAME", help="a node, several as node[01-03].lab, or 'all'"),
    )
    node.add_argument("operation", choices=("kill", "stop", "start", "reload", "log"))


def run(arguments: Sequence[str]) -> int:
    """Run `crpc lab run`, `start`, `stop`, `status`, `env` or `node`; return the exit code."""
    words, command = split_command(arguments)
    args = make_parser().parse_args(words)
    if command and args.verb != "run":
        raise UsageError("lab: only 'crpc lab run' takes a command after '--'")
    if args.verb == "run":
        return _run(args.nodes, args.endpoint or args.server, command)
    layout = Layout(args.folder or control.default_folder())
    verbs = {"start": _start, "stop": _stop, "status": _status, "env": _env, "node": _node}
    return verbs[args.verb](layout, args)


def _start(layout: Layout, args: argparse.Namespace) -> int:
    env = control.command(layout, "env")  # before the lab's variables are set, which make it the default
    control.start(layout, args.nodes, args.endpoint or args.server)
    text = (
        f'{plural(args.nodes, "node")} running; to point crpc at the lab: eval "$({env})"\n'
        f"Actions run on this machine, as {user_name()}.\n"
    )
    return _show(layout, args, control.status(layout), text)


def _stop(layout: Layout, args: argparse.Namespace) -> int:
    control.stop(layout)
    return _show(layout, args, {}, "")


def _status(layout: Layout, args: argparse.Namespace) -> int:
    pids = control.status(layout)
    lines = (f"{name:<40} {f'running, pid {pid}' if pid else 'not running'}\n" for name, pid in pids.items())
    return _show(layout, args, pids, "".join(lines))


def _node(layout: Layout, args: argparse.Namespace) -> int:
    pids = control.status(layout)
    names = list(pids) if args.name == "all" else unfold(args.name)
    if args.operation == "log":
        return _show_logs(layout, args, names)
    failed = [name for name in names if _has_failed(layout, args.operation, name, single=len(names) == 1)]
    _show(layout, args, control.status(layout), "")
    return FAILED if failed else 0


def _has_failed(layout: Layout, operation: str, name: str, *, single: bool) -> bool:
    """Return whether an operation has failed; of several nodes, one that is not running does not stop the others."""
    try:
        return bool(_operate(layout, operation, name))
    except UsageError as error:
        if single:
            raise
        notice(str(error))
        return True


def _operate(layout: Layout, operation: str, name: str) -> int:
    """Kill, stop, start or reload a node; return the number of problems of a reload."""
    if operation == "reload":
        problems = control.reload_node(layout, name)
        if problems:
            log = control.command(layout, f"node {name} log")
            kept = "the last valid version, if there is one, stays in use"
            see = f"see 'collectived --check' and '{log}'"
            notice(f"{name}: reloaded with {plural(problems, 'problem')}: {kept} ({see})")
        return problems
    operations = {"kill": control.kill_node, "stop": control.stop_node, "start": control.start_node}
    operations[operation](layout, name)
    return 0


def _show_logs(layout: Layout, args: argparse.Namespace, names: Sequence[str]) -> int:
    lines = [(name, line) for name in names for line in control.read_log(layout, name).splitlines()]
    prefix = len(names) > 1
    text = "".join(f"{name}: {line}\n" if prefix else f"{line}\n" for name, line in lines)
    document = {"lines": [{"identity": name, "line": line} for name, line in lines]}
    output.show(args, Output("lab-log", document, ("identity", "line"), lines, lambda: text))
    return 0


def _show(layout: Layout, args: argparse.Namespace, pids: Mapping[str, int | None], text: str) -> int:
    """Print the nodes of a lab with their processes; as text print `text`. Return the exit code."""
    rows = [(name, pid is not None, pid) for name, pid in pids.items()]
    document = {"folder": str(layout.folder), "nodes": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
    output.show(args, Output("lab", document, _COLUMNS, rows, lambda: text))
    return 0


def _env(layout: Layout, args: argparse.Namespace) -> int:
    control.status(layout)  # raises UsageError if no lab is running
    variables = layout.environment()
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    text = "\n".join([*lines, f"unset {' '.join(_UNSET)}\n"])
    rows = [*variables.items(), *((name, None) for name in _UNSET)]
    document = {"variables": variables, "unset": list(_UNSET)}
    output.show(args, Output("lab-env", document, ("name", "value"), rows, lambda: text))
    return 0


def _run(nodes: int, server: str, command: Sequence[str]) -> int:
    """Run `command`, or a shell, in a temporary lab; return its exit code."""
    is_shell = not command
    command = command or [os.environ.get("SHELL", "/bin/sh")]
    program = shutil.which(command[0])
    if program is None:
        raise UsageError(f"command '{command[0]}' not found")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # an exception, so that the lab is stopped
    folder = Path(tempfile.mkdtemp(prefix="collective-lab-"))
    with control.running(Layout(folder), nodes, server) as environment:
        for name in _UNSET:
            os.environ.pop(name, None)
        if is_shell:
            write(_WELCOME.format(nodes=plural(nodes, "node"), user=user_name()), sys.stderr)
        # `crpc` must be found in the lab, even if its folder is not in PATH.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return _wait(subprocess.Popen([program, *command[1:]], env={**os.environ, **environment, "PATH": path}))


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process that shares this terminal; return its exit code.

    Ctrl-C reaches the process as well and is its to handle. A second one kills it.
    """
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
