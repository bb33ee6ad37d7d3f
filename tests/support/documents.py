"""Read the project's documents: their code blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES]
PROGRAMS = ("crpc", "collectived")

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"^(\w+=\S* )+")


def name(path: Path) -> str:
    """Return a document's path below the root of the repository."""
    return str(path.relative_to(ROOT))


def blocks(document: str, *languages: str) -> list[str]:
    """Return the code blocks in one of some languages."""
    return [block for _, language, block in _BLOCK.findall(document) if language in languages]


def commands(document: str) -> Iterator[list[str]]:
    """Yield the words of each call of one of PROGRAMS, in code blocks and in inline code."""
    for line in _lines(document):
        for part in re.split(r"&&|\||;", line.strip().removeprefix("$ ")):
            command = _ASSIGNMENT.sub("", part.strip())
            if command.split(" ")[0] in PROGRAMS:
                words = shlex.split(command, comments=True)
                yield words[: words.index("--")] if "--" in words else words


def headings(document: str) -> list[str]:
    """Return the headings of all levels, without their marks."""
    return re.findall(r"^#+ (.+)$", _BLOCK.sub("", document), re.MULTILINE)


def _lines(document: str) -> Iterator[str]:
    for block in blocks(document, "sh", "console"):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", _BLOCK.sub("", document))
