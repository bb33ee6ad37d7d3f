"""The options that send notifications about a run: `--notify` and `--notify-template`.

add_notify(parser)
notifier(args, config) -> Notifier
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from collective.clients import options
from collective.clients.completed_by import completed_by
from collective.clients.notifier import NO_NOTIFIER, Notifier
from collective.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from collective.clients.parser import Parser
    from collective.config import ClientConfig
    from collective.notification_places import NotificationPlace


def add_notify(parser: Parser) -> None:
    """Add the options."""
    group = parser.add_argument_group("notification options")
    completed_by(
        "notification",
        group.add_argument(
            "--notify",
            action="append",
            default=[],
            metavar="NAME|URL",
            help="notify when the run ends, fails, pauses or waits: a name in client.yaml, or a URL of Apprise",
        ),
    )
    group.add_argument(
        "--notify-template",
        type=options.path,
        metavar="FILE",
        help="a Jinja2 template of the text; its first line is the title",
    )


def notifier(args: argparse.Namespace, config: ClientConfig) -> Notifier:
    """Return what notifies of a run; raise UsageError or ConfigError before anything is sent."""
    given: list[str] = args.notify
    if args.notify_template and not given:
        raise UsageError("--notify-template: has no effect without --notify")
    _check(args)
    if not given and not config.notify:
        return NO_NOTIFIER
    from collective.notification_places import EVENTS, always, select

    every = always(config.notify)
    places = {event: select(dict.fromkeys([*given, *every[event]]), config.notify) for event in EVENTS}
    if not any(places.values()) or getattr(args, "no_results", False):
        return NO_NOTIFIER
    _check_urls(places["end"], places["fail"], places["pause"], places["wait"])
    _check_templates(args.notify_template, *places.values())
    return Notifier(places, args.notify_template)


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError for an option with which a run has no end to notify of."""
    if args.notify and getattr(args, "no_results", False):
        raise UsageError("--notify: not allowed with --no-results")


def _check_templates(given: Path | None, *groups: list[NotificationPlace]) -> None:
    from collective.clients.notification_text import check

    try:
        for template in {given} if given else {place.template for places in groups for place in places}:
            if template:
                check(template)
    except ConfigError as error:
        if given:
            raise UsageError(f"--notify-template {error}") from None
        raise


def _check_urls(*groups: list[NotificationPlace]) -> None:
    from collective import notifications

    for place in {place.name: place for group in groups for place in group}.values():
        try:
            notifications.check([place.url])
        except UsageError as error:
            raise UsageError(f"notification '{place.name}': {error}") from None
