"""MkDocs calls this for each page, before it is rendered."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from _reference import fill


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page's text with the generated sections in it."""
    return fill(markdown)
