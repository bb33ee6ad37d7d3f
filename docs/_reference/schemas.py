"""The JSON Schemas that the project ships: shown on pages, and published at the addresses in their `$id`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from collective import schemas
from collective.clients.render import markdown

NAMES = schemas.names()


def section(name: str) -> Callable[[], str]:
    """Return what shows one schema."""
    return lambda: markdown.block(schemas.text(name), "json")


def published(site_url: str) -> Mapping[str, str]:
    """Return the text of each schema whose `$id` is on the site, by its path there."""
    texts = {str(schemas.load(name).get("$id", "")): schemas.text(name) for name in NAMES}
    return {address.removeprefix(site_url): text for address, text in texts.items() if address.startswith(site_url)}


def documents() -> str:
    """Return the table of the schemas of `--json` documents."""
    found = [schemas.load(name) for name in NAMES]
    rows = [
        [markdown.plain(schema["title"]), f"<{schema['$id']}>"]
        for schema in found
        if "schema" in schema.get("properties", {})
    ]
    return markdown.table(["Document", "Schema"], rows)
