"""The JSON Schemas that the project ships: shown on pages, and published at the addresses in their `$id`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from _reference import markdown
from collective import schemas

NAMES = schemas.names()


def section(name: str) -> Callable[[], str]:
    """Return what shows one schema."""
    return lambda: markdown.block(schemas.text(name), "json")


def published(site_url: str) -> Mapping[str, str]:
    """Return the text of each schema by its path on the site; raise ValueError for an `$id` outside the site."""
    found = {}
    for name in NAMES:
        address = str(schemas.load(name)["$id"])
        if not address.startswith(site_url):
            raise ValueError(f"{name}: its $id '{address}' is not below site_url '{site_url}'")
        found[address.removeprefix(site_url)] = schemas.text(name)
    return found
