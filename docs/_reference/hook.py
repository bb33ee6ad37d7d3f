"""MkDocs calls this while it builds the site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[1]))

from _reference import fill
from _reference.schemas import published


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the schemas to the site."""
    for path, text in published(config.site_url or "").items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page's text with the generated sections in it."""
    return fill(markdown)
