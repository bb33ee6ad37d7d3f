"""`crpc playbook`: run a playbook, check one without running it, list and show playbooks."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import options, rollout_options
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.notify_options import add_notify
from collective.clients.output import Output, show
from collective.clients.parser import Parser
from collective.clients.view_options import add_quiet
from collective.errors import ConfigError, UsageError
from collective.suggestions import suggest
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.clients.playbooks.preview import PreviewedStep
    from collective.clients.playbooks.running import PlaybookCommand

_RUN = re.compile(r"last|-[0-9]+|[0-9a-f]{4,32}")
_COLUMNS = ("step", "name", "kind", "does", "when", "omitted", "nodes", "settings", "later")


def make_parser() -> Parser:
    """Return the parser of `crpc playbook`."""
    parser = Parser(
        "crpc playbook",
        description=f"{COMMANDS['playbook']}.\n\nA playbook is a YAML file with steps: calls with the targets and "
        "the pace of any call, waits, conditions, loops, questions and local commands. NAME is a file, or a playbook "
        "in the folder 'playbooks' beside client.yaml.",
        examples=["crpc playbook list", "crpc playbook check rolling-restart", "crpc playbook show rolling-restart"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="run|check|list|show")
    _add_run(verbs)
    check = verbs.add_parser(
        "check",
        help="check a playbook without a run: keys, expressions, agents, actions, inputs and options",
        examples=[
            "crpc playbook check rolling-restart",
            "crpc playbook check rolling-restart service=nginx role=web balancer=./lb",
        ],
    )
    _add_words(check)
    options.add_target(check)
    listing = verbs.add_parser("list", help="list the playbooks", examples=["crpc playbook list"])
    options.add_target(listing)
    shown = verbs.add_parser("show", help="print the file of a playbook", examples=["crpc playbook show rotate-key"])
    completed_by("playbook", shown.add_argument("name", metavar="NAME"))
    options.add_target(shown)
    return parser


def _add_words(parser: Parser) -> None:
    completed_by("playbook", parser.add_argument("name", metavar="NAME", help="a file, or the name of a playbook"))
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="inputs of the playbook")


def _add_run(verbs: Any) -> None:
    run_parser: Parser = verbs.add_parser(
        "run",
        help="run a playbook",
        description="Run a playbook.\n\nEverything that is known before is checked before anything is sent. A run "
        "that stops at a failed step is resumed there with --resume: finished steps are not repeated, a call is sent "
        "only to the nodes that were not OK. Secret inputs are not saved, and are given again.",
        examples=[
            "crpc playbook run rolling-restart service=nginx balancer=./balancer role=web --plan",
            "crpc playbook run ./update.yaml --check",
            "crpc playbook run ./update.yaml --resume",
        ],
    )
    _add_words(run_parser)
    how = run_parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="resolve and check what is known before; send nothing")
    how.add_argument("--plan", action="store_true", help="show the steps with nodes and pace; send nothing")
    how.add_argument(
        "--resume", nargs="?", const="last", metavar="RUN", help="continue a run that stopped (default: the last one)"
    )
    run_parser.add_argument("--allow-drift", action="store_true", help="resume although the playbook has changed")
    run_parser.add_argument("--yes", action="store_true", help="do not ask for confirmation; answer 'ask' with yes")
    rollout_options.add_reason(run_parser)
    options.add_saving(run_parser)
    add_notify(run_parser)
    options.add_target(run_parser)
    views = run_parser.add_argument_group("result options")
    views.add_argument("--no-group", action="store_true", help="print equal replies of several nodes one by one")
    add_quiet(views)


def run(arguments: Sequence[str]) -> int:
    """Do what the verb says; return the exit code: that of the call at which a playbook stopped."""
    args = make_parser().parse_args(arguments)
    verbs = {"run": _run, "check": _check, "list": _list, "show": _show}
    return verbs[args.verb](args)


def _run(args: argparse.Namespace) -> int:
    _separate_resume(args)
    if args.allow_drift and not args.resume:
        raise UsageError("--allow-drift: has no effect without --resume")
    command = _command(args, fetch=not (args.check or args.plan))
    if args.check or args.plan:
        return _preview(command)
    return command.run(args.words)


def _separate_resume(args: argparse.Namespace) -> None:
    """Take the word after `--resume` as an input if it is one: `--resume password=@file`."""
    if args.resume is not None and not _RUN.fullmatch(args.resume):
        if "=" not in args.resume:
            hint = suggest(args.resume, ["last"], "use an ID or its first 4 or more digits, or last")
            raise UsageError(f"--resume: invalid run '{args.resume}' ({hint})")
        args.words, args.resume = [args.resume, *args.words], "last"


def _command(args: argparse.Namespace, *, fetch: bool) -> PlaybookCommand:
    """Return the playbook, checked, with all that a run needs. Raises ConfigError and UsageError."""
    config = options.client_config(args)

    from collective.catalog import Catalog
    from collective.clients.playbooks import folders, loading
    from collective.clients.playbooks.running import PlaybookCommand

    catalog = Catalog(config.ddls)
    path = folders.find(args.name, config.playbooks)
    return PlaybookCommand(args, config, catalog, loading.load(path, args, config, catalog, fetch=fetch))


def _preview(command: PlaybookCommand) -> int:
    """Show what a run would do; send nothing."""
    from collective.clients.inputs import read_inputs
    from collective.clients.playbooks.preview import PlaybookPreview
    from collective.clients.prepared_call import connected

    action, args = command.playbook.inputs, command.args
    inputs = action.check_input(read_inputs(args.words, action))
    with connected(command.config, command.catalog) as fleet:
        steps = PlaybookPreview(args, command.config, command.catalog, fleet).look(command.scope(inputs, fleet))
    _show_steps(command, steps, inputs)
    return 0


def _show_steps(command: PlaybookCommand, steps: Sequence[PreviewedStep], inputs: dict[str, Any]) -> None:
    from collective.clients.playbooks.preview_text import as_text
    from collective.clients.playbooks.saved_state import without_secrets

    secrets = tuple(command.playbook.inputs.secret_texts(inputs))
    rows = [[*vars(step).values()] for step in steps]
    rows = [[list(value) if isinstance(value, tuple) else value for value in row] for row in rows]
    rows = without_secrets(rows, secrets)
    document = {
        "title": command.playbook.title,
        "file": str(command.playbook.file.path),
        "collective": command.config.collective,
        "inputs": command.playbook.inputs.masked(inputs),
        "steps": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
    }
    text = as_text(command.playbook, steps, secrets, whole=command.args.plan)
    show(command.args, Output("playbook-plan", document, _COLUMNS, rows, lambda: text))


def _check(args: argparse.Namespace) -> int:
    """Check a playbook; with inputs, also what they decide."""
    from collective.catalog import Catalog
    from collective.clients.playbooks import folders, loading

    try:
        config = options.client_config(args)
    except ConfigError:
        if args.config or args.target:
            raise
        config = None
    catalog = Catalog(config.ddls if config else [])
    args.yes = args.no_save = args.quiet = False
    args.reason = None
    path = folders.find(args.name, config.playbooks if config else [])
    playbook = loading.load(path, args, config, catalog, fetch=False)
    if args.words and config:
        from collective.clients.inputs import read_inputs
        from collective.clients.playbooks.preview import PlaybookPreview
        from collective.clients.playbooks.running import PlaybookCommand

        inputs = playbook.inputs.check_input(read_inputs(args.words, playbook.inputs))
        scope = PlaybookCommand(args, config, catalog, playbook).scope(inputs, None)
        PlaybookPreview(args, config, catalog).look(scope)
    count = sum(1 for _ in playbook.every_step())
    document = {"file": str(path), "title": playbook.title, "steps": count, "files": [*playbook.digests]}
    rows = [list(document.values())]
    text = f"{path}: no problem found in {plural(count, 'step')}\n"
    show(args, Output("playbook-check", document, list(document), rows, lambda: escape_controls(text[:-1]) + "\n"))
    return 0


def _list(args: argparse.Namespace) -> int:
    from collective.clients.playbooks import folders

    found = [_listed(name, path) for name, path in folders.paths(_folders(args)).items()]
    width = max(len(one["name"]) for one in found)

    def text() -> str:
        return "".join(f"{one['name']:<{width}}   {escape_controls(one['title'])}\n" for one in found)

    rows = [list(one.values()) for one in found]
    show(args, Output("playbook-list", {"playbooks": found}, ("name", "title", "inputs", "file"), rows, text))
    return 0


def _listed(name: str, path: Path) -> dict[str, Any]:
    """Return the entry of a playbook; one that is invalid is described as such."""
    from collective.clients.playbooks.reading import read_playbook

    try:
        playbook = read_playbook(path)
    except ConfigError as error:
        return {"name": name, "title": f"cannot be used: {error}", "inputs": [], "file": str(path)}
    return {"name": name, "title": playbook.title, "inputs": list(playbook.inputs.inputs), "file": str(path)}


def _show(args: argparse.Namespace) -> int:
    from collective.clients.playbooks import folders
    from collective.yaml_file import read_text

    path = folders.find(args.name, _folders(args))
    document = {"name": path.stem, "file": str(path), "text": read_text(path)}
    rows = [list(document.values())]
    show(args, Output("playbook-show", document, list(document), rows, lambda: document["text"]))
    return 0


def _folders(args: argparse.Namespace) -> list[Path]:
    """Return the folders of the user's playbooks; none without a configuration."""
    try:
        return options.client_config(args).playbooks
    except ConfigError:
        if args.config:
            raise
        return []
