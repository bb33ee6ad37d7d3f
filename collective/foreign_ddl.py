"""Recognize the DDLs of MCollective (Ruby) and Choria (JSON), which must be converted.

metadata :name => "package", …                                        MCollective: package.ddl
{"$schema": "https://choria.io/schemas/mcorpc/ddl/v1/agent.json", …}  Choria: package.json, with a list of actions
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_RUBY = re.compile(r"^\s*metadata[\s(]+(:name\b|name:|:\"?name\"?\s*=>)", re.MULTILINE)
_CONVERT = "convert it with 'crpc ddl import'"
RUBY = f"a DDL of MCollective, in Ruby ({_CONVERT})"
CHORIA = f"a DDL of Choria ({_CONVERT})"


def ruby_problem(text: str) -> str | None:
    """Return what is wrong with the text of a DDL in Ruby; None for another text."""
    return RUBY if _RUBY.search(text) else None


def choria_problem(document: Any) -> str | None:
    """Return what is wrong with a DDL in Choria's form; None for another document."""
    if not isinstance(document, dict):
        return None
    by_schema = str(document.get("$schema", "")).startswith(("https://choria.io/", "http://choria.io/"))
    if by_schema or (isinstance(document.get("actions"), list) and "metadata" in document):
        return CHORIA
    return None


def ruby_files(folder: Path) -> list[Path]:
    """Return the files of a folder that have the name of a Ruby DDL; they are not read."""
    return sorted(folder.glob("*.ddl"))
