"""`crpc template render`: watch the members, and keep the file of a template current."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective.clients import options, output
from collective.clients.output import Output
from collective.clients.results import interruptible
from collective.clients.streams import notice, write
from collective.config import ClientConfig
from collective.errors import ConfigError, RPCError, UsageError
from collective.filters import Filter
from collective.fleet.record_selection import by_record
from collective.fleet.targets import Targets
from collective.fleet.watching import Watching, watching
from collective.membership import MemberView, StateFile
from collective.membership.serf_convention import Self
from collective.run_as import as_user
from collective.template_settings import TemplateSettings
from collective.templates.commands import Commands
from collective.templates.rendered_file import RenderedFile, Update
from collective.templates.updates import Updates
from collective.text import escape_controls, plural
from collective.watch_settings import WatchSettings, read_watch
from collective.yaml_file import read_yaml

_COLUMNS = ("time", "dest", "members", "changed", "reloaded")
_MOST_LINES = 5000  # of a file; difflib takes seconds for this number, and its time grows with the square


def render(args: argparse.Namespace) -> int:
    """Render once, or until an interrupt; return 0. Raises ConfigError, with `--once` also for a failed update."""
    settings, template = read_file(args.file)
    once = args.once or args.dry_run or args.noop
    streaming = any(output.is_plain_text(args, _COLUMNS, form) for form in ("text", "jsonl"))
    if not once and not streaming:
        raise UsageError("template render: this form of output needs an end (add --once, or use --jsonl alone)")
    config = options.client_config(args)
    file = RenderedFile(template, _commands(args.file, settings))
    with _watching(args, settings, config) as found, interruptible():
        if once:
            _show(args, config, _once(args, found, file, Self(config.sender)))
        else:
            with suppress(KeyboardInterrupt):
                _keep_current(args, found, Updates(file), settings, Self(config.sender))
    return 0


def read_file(path: Path) -> tuple[WatchSettings, TemplateSettings]:
    """Return the watch in a YAML file, and its template. Raises ConfigError, and UsageError for a file of confd."""
    if path.suffix == ".toml":
        raise UsageError(f"{path}: is not YAML (convert a file of confd with 'crpc template import {path}')")
    settings = read_watch("template", read_yaml(path), f"{path}: watch", path.absolute().parent)
    if settings.template is None:
        raise ConfigError(f"{path}: required key 'template' is missing")
    return settings, settings.template


@dataclass(frozen=True)
class _ShownUpdate:
    """An update, as it is printed."""

    time: float
    dest: str
    update: Update
    diff: str | None

    def to_data(self) -> dict[str, Any]:
        update = self.update
        found = {"members": update.members, "changed": update.changed, "reloaded": update.reloaded}
        return {"time": self.time, "dest": self.dest, **found, "diff": self.diff}


def _commands(path: Path, settings: WatchSettings) -> Commands:
    try:
        return Commands(settings.timeout, as_user(settings.user))
    except RPCError as error:
        raise ConfigError(f"{path}: user: {error}") from None


@contextmanager
def _watching(args: argparse.Namespace, settings: WatchSettings, config: ClientConfig) -> Iterator[Watching]:
    store = StateFile(None, config.collective)
    view = MemberView(by_record(Targets(filter=settings.filter or Filter())), ignored_facts=settings.ignore_facts)
    try:
        with watching(config, store, view, settle=settings.settle, ping=not args.no_ping) as found:
            yield found
    finally:
        store.close()


def _once(args: argparse.Namespace, found: Watching, file: RenderedFile, own: Self) -> _ShownUpdate:
    """Read the registry, examine suspected nodes, and update or preview the file."""
    found.watcher.step()
    found.confirmation.join()
    found.watcher.step()
    members = found.watcher.snapshot
    if args.dry_run or args.noop:
        return _shown(args, file, file.preview(members, own, check=args.dry_run))
    return _shown(args, file, file.update(members, own))


def _keep_current(
    args: argparse.Namespace, found: Watching, updates: Updates, settings: WatchSettings, own: Self
) -> None:
    """Print each update as it happens. Errors of the first read of the registry end the command, later ones do not."""
    events = found.watcher.step()
    while True:
        try:
            update = updates.step(found.watcher.snapshot, own, changed=bool(events))
            if update and (update.changed or update.reloaded):
                shown = _shown(args, updates.file, update)
                write(_text(args, shown) if args.output == "text" else json.dumps(shown.to_data()) + "\n")
                sys.stdout.flush()
        except ConfigError as error:
            notice(str(error))
        found.wake.wait(found.watcher.pause(settings.every))
        found.wake.clear()
        events = found.watcher.attempt()


def _shown(args: argparse.Namespace, file: RenderedFile, update: Update) -> _ShownUpdate:
    dest = str(file.settings.dest)
    return _ShownUpdate(round(time.time(), 3), dest, update, _difference(dest, update) if args.diff else None)


def _difference(dest: str, update: Update) -> str:
    """Return the difference in the form of diff -u; of a long file, of its first lines."""
    before, after = ((text or "").splitlines(keepends=True) for text in (update.before, update.text))
    lines = difflib.unified_diff(before[:_MOST_LINES], after[:_MOST_LINES], dest, dest)
    ended = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    return "".join(ended).encode(errors="backslashreplace").decode()


def _text(args: argparse.Namespace, shown: _ShownUpdate) -> str:
    update, preview = shown.update, args.dry_run or args.noop
    if update.changed:
        done = "would be written" if preview else "written"
    elif update.reloaded:
        done = "would be reloaded" if preview else "reloaded"
    else:
        done = "unchanged"
    if update.changed and update.reloaded:
        done += " and reloaded"
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(shown.time))
    line = f"{when} {shown.dest}: {done}, {plural(update.members, 'member')}"
    return f"{shown.diff or ''}{escape_controls(line)}\n"


def _show(args: argparse.Namespace, config: ClientConfig, shown: _ShownUpdate) -> None:
    document = {"collective": config.collective, "dry_run": args.dry_run or args.noop, **shown.to_data()}
    row = [document[name] for name in _COLUMNS]
    output.show(args, Output("template-render", document, _COLUMNS, [row], lambda: _text(args, shown)))
