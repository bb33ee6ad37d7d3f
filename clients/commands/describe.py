"""`crpc describe AGENT [ACTION]`: documentation, from the DDL."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from collective.clients import apps, options
from collective.errors import CollectiveError


def run(arguments: Sequence[str]) -> int:
    """Print what an agent, or one of its actions, takes, does and returns."""
    parser = options.Parser("crpc describe", description="Tell what an agent takes, does and returns.")
    parser.add_argument("agent")
    parser.add_argument("action", nargs="?")
    given = parser.parse_args(arguments)

    from collective.catalog import Catalog
    from collective.clients.render.describe import describe_action, describe_agent
    from collective.config import load_client

    try:
        folders = load_client(given.config).ddls
    except CollectiveError:
        if given.config:
            raise
        folders = []  # the standard agents can be read about before anything is configured
    catalog = Catalog(folders)
    width = min(shutil.get_terminal_size().columns, 100)
    if given.action:
        text = describe_action(catalog.action(given.agent, given.action), width)
    else:
        verbs = {name: verb.about for name, verb in apps.verbs(given.agent).items()}
        text = describe_agent(catalog.ddl(given.agent), width, verbs)
    sys.stdout.write(text)
    return 0
