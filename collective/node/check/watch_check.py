"""Find problems of `watches:` that a daemon would have at its start, or with its first file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from collective.config import NodeConfig
from collective.errors import ConfigError
from collective.template_settings import TemplateSettings
from collective.watch_settings import NO_REGISTRY, WatchSettings, read_watch


def problems(config: NodeConfig) -> Iterator[str]:
    """Yield a line for each problem. Nothing is run, and nothing is written."""
    if config.watches and config.registry == "none":
        yield NO_REGISTRY
    for name, watch in config.watches.items():
        yield from _of_watch(read_watch(name, watch, f"watches.{name}", Path()))


def _of_watch(watch: WatchSettings) -> Iterator[str]:
    from collective.node.service.watches import account  # few nodes watch others

    try:
        account(watch)
    except ConfigError as error:
        yield str(error)
    if watch.template:
        yield from (f"watches.{watch.name}.template: {problem}" for problem in _of_template(watch.template))


def _of_template(template: TemplateSettings) -> Iterator[str]:
    from collective.templates.destination import Destination
    from collective.templates.rendering import check_syntax, read_source

    try:
        check_syntax(read_source(template.src), template.src)
    except ConfigError as error:
        yield str(error)
    try:
        Destination(template).check()
    except ConfigError as error:
        yield str(error)
