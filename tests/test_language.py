"""Every text that people read is plain English: it has none of the phrases in BANNED. CONTRIBUTING.md has the rules."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from _reference import commands
from support.documents import DOCUMENTS, ROOT, name

# Each phrase, with an example and what to write instead.
BANNED = (
    (r"(?<!there )\bis no (?!longer|more\b)\w", "'7w' is no duration", "invalid duration '7w'"),
    (r"\bit is not so that\b", "it is not so that class apache is there", "class apache is absent"),
    (r"\bfaults?\b", "every fault has a line", "error, problem, failure"),
    (r"\b(whoever|whomever|whom)\b", "whoever may write may act", "anyone who can write can act"),
    (r"\b(nobody|somebody|everybody)\b", "nobody is trusted", "no key is trusted"),
    (r"\b(he|him|his|himself)\b", "his key", "their key, the caller's key"),
    (r"\bmend(s|ed|ing)?\b", "how to mend it", "how to fix it"),
    (r"\breckon\w*\b", "reckon what AWS takes", "compute the price"),
    (r"\bfarewells?\b", "it stopped, saying farewell", "it stopped cleanly"),
    (r"\banew\b", "made anew", "created again"),
    (r"\bin vain\b", "sent in vain", "without effect"),
    (r"\bat one blow\b", "ended at one blow", "killed atomically"),
    (r"\b(takes?|taken|took) away\b", "a file that is taken away", "a removed file"),
    (r"\b(leav(e|es|ing)|left) out\b", "what is left out", "omitted, absent, skipped"),
    (r"\b(let|lets|letting) go\b", "let go of the file", "close the file"),
    (r"\bof ours\b", "a defect of ours", "internal error"),
    (r"\bsaid twice\b", "-t is said twice", "-t given more than once"),
    (r"\b(must say|is told|are told|was told)\b", "every configuration must say it", "required key is missing"),
    (r"(?-i:^(Tells?|Says?)\b)", "Tell what a node is", "Report, return, show"),
    (r"\bwhole numbers?\b", "'x' is not a whole number", "integer"),
    (r"\bblanks\b", "without blanks", "whitespace"),
    (r"\btexts\b", "must hold texts", "must be a list of strings"),
    (r"\bso many\b", "so many nodes at a time", "N nodes at a time"),
    (r"\ba (line|word|row) each\b", "a line each", "one per line"),
    (r"\bfates?\b", "its fate", "outcome, result"),
    (r"\b(keepers?|workshop|lanes?|deaf)\b", "the keeper ends", "monitor, scheduler, fair queue, unresponsive"),
    (r"\broll-outs?\b", "a roll-out", "rollout"),
    (r"\btime-outs?\b", "the time-out", "timeout"),
    (r"\bback-offs?\b", "the back-off", "backoff"),
)
PATTERNS = [(re.compile(pattern, re.IGNORECASE), advice) for pattern, _, advice in BANNED]
# Terms of the field that contain a banned word.
TERMS = re.compile(
    r"fault injection|injected faults?|fault rates|segmentation faults?|page faults?"
    r"|'(user: )?nobody'|nobody nogroup nobody",
    re.IGNORECASE,
)
# What simulates faults may call them so.
FAULTS = re.compile(r"\bfaults?\b", re.IGNORECASE)
SIMULATES_FAULTS = (
    "collective/testing/",
    "tests/support/simulated.py",
    "tests/test_faulty.py",
    "tests/test_simulation.py",
)

CODE = ("agents", "clients", "collective", "conf", "docs", "tests")
SENTENCE = re.compile(r"\s")  # a string without any whitespace is a name or a symbol

LONGEST = 25  # words of a sentence in a document

Text = tuple[str, str]  # where it is, and what it says


def python_texts(path: Path) -> Iterator[Text]:
    """Yield the comments of a module, and its strings: docstrings, errors, log messages, help."""
    source = path.read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [(token.start[0], token.string.lstrip("#: ")) for token in tokens if token.type == tokenize.COMMENT]
    for _, lines in groupby(enumerate(comments), lambda entry: entry[1][0] - entry[0]):
        together = [comment for _, comment in lines]
        yield f"{name(path)}:{together[0][0]}", " ".join(text for _, text in together)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SENTENCE.search(node.value):
            yield f"{name(path)}:{node.lineno}", node.value


def json_texts(path: Path) -> Iterator[Text]:
    """Yield the titles and descriptions of a DDL or schema."""

    def texts(part: object) -> Iterator[str]:
        if isinstance(part, dict):
            yield from (part[key] for key in ("title", "description") if isinstance(part.get(key), str))
            part = list(part.values())
        if isinstance(part, list):
            for entry in part:
                yield from texts(entry)

    for text in texts(json.loads(path.read_text(encoding="utf-8"))):
        yield name(path), text


def document_texts(path: Path) -> Iterator[Text]:
    """Yield the paragraphs of a document, without code."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for paragraph in re.sub(r"`[^`\n]+`", "", prose).split("\n\n"):
        yield name(path), paragraph


def sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of a document, and the cells of its tables; a colon or semicolon ends one too."""
    for _, paragraph in document_texts(path):
        for part in re.split(r"\n *(?:[*-]|\d+\.) |\n: |^ *[|#]|\|", paragraph, flags=re.MULTILINE):
            yield from re.split(r"(?<=[.!?:;])(?:\*\*)?\s+", " ".join(part.split()))


def file_texts(path: Path) -> Iterator[Text]:
    """Yield the lines of any other file."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        yield f"{name(path)}:{number}", line.lstrip("# ")


def texts() -> Iterator[Text]:
    """Yield all texts of the project."""
    for path in sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        if path != Path(__file__):
            yield from python_texts(path)
    for path in sorted([*(ROOT / "ddl").rglob("*.json"), *(ROOT / "collective" / "schemas").glob("*.json")]):
        yield from json_texts(path)
    for path in DOCUMENTS:
        yield from document_texts(path)
    for path in [ROOT / "Makefile", ROOT / "mkdocs.yml", *sorted((ROOT / "conf").glob("*.[!p]*"))]:
        yield from file_texts(path)
    for line in (commands.commands() + commands.collectived()).splitlines():
        yield "help pages", line.strip()


def problems(text: str) -> list[str]:
    """Return the banned phrases in a text, each with what to write instead."""
    plain = TERMS.sub("", " ".join(text.split()))
    return [f"'{found[0]}': write {advice}" for pattern, advice in PATTERNS if (found := pattern.search(plain))]


@pytest.mark.parametrize(("phrase", "advice"), [(phrase, advice) for _, phrase, advice in BANNED])
def test_a_banned_phrase_is_found(phrase: str, advice: str) -> None:
    """Each pattern finds its example, and not what to write instead."""
    assert any(advice in problem for problem in problems(phrase))
    assert problems(advice) == []


@pytest.mark.parametrize(
    "text",
    ["it is no longer there", "there is no node", "use the default", "20 injected faults", "FaultyTransport loses"],
)
def test_an_ordinary_sentence_passes(text: str) -> None:
    """Words that contain a banned word are not banned."""
    assert problems(text) == []


def test_no_text_has_a_banned_phrase() -> None:
    """No help page, error, log message, DDL, schema, document, docstring or comment has a banned phrase."""
    found = [
        f"{where}: {problem}: {' '.join(text.split())[:120]}"
        for where, text in texts()
        for problem in problems(FAULTS.sub("", text) if where.startswith(SIMULATES_FAULTS) else text)
    ]
    assert found == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_sentences_are_short(path: Path) -> None:
    """A sentence or a cell of a table has at most 25 words; inline code does not count."""
    assert [sentence for sentence in sentences(path) if len(sentence.split()) > LONGEST and "://" not in sentence] == []
