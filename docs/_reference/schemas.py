"""The JSON Schemas that the project ships."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from _reference import markdown

NAMES = sorted(
    path.name.removesuffix(".json") for path in files("collective.schemas").iterdir() if path.name.endswith(".json")
)


def section(name: str) -> Callable[[], str]:
    """Return a section that shows one schema."""

    def show() -> str:
        return markdown.block((files("collective.schemas") / f"{name}.json").read_text(encoding="utf-8"), "json")

    return show
