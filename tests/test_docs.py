"""The documents cannot name what does not exist: commands, options, files, messages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collective.catalog import Catalog
from collective.clients import crpc
from collective.clients.commands import COMMANDS
from collective.node import daemon

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
STANDS_FOR = {"load": "nrpe", "status": "runcommand"}  # the agent that the README writes, and its action
MISTYPED = "instal"  # what the README shows being refused
PROGRAMS: dict[str, Callable[[list[str]], int]] = {"crpc": crpc.main, "collectived": daemon.main}


def lines(document: str) -> Iterator[str]:
    """Yield what a document tells people to type: lines of its blocks, and code within its text."""
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", document, flags=re.MULTILINE | re.DOTALL))


def commands(document: str) -> Iterator[list[str]]:
    """Yield the words of each call of a program of ours; those in capitals stand for something else."""
    for line in lines(document):
        for part in re.split(r"&&|\||;", line.removeprefix("$ ")):
            if part.strip().split(" ")[0] in PROGRAMS:
                words = shlex.split(part, comments=True)
                yield words[: words.index("--")] if "--" in words else words


def named() -> list[tuple[str, ...]]:
    """Return each call once: the program, up to two words, and all options."""
    calls = set()
    for path in DOCUMENTS:
        for program, *words in commands(path.read_text()):
            leading = [word for word in words[:2] if re.fullmatch(r"[a-z][a-z0-9_-]*", word)]
            options = [word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
            calls.add((program, *leading, *sorted(set(options))))
    return sorted(calls)


@pytest.mark.parametrize("call", named(), ids=" ".join)
def test_every_command_and_option_exists(call: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It is a command or an agent, and its own help has the options."""
    program, *rest = call
    options = [word for word in rest if word.startswith("-")]
    words = [word for word in rest if word not in options]
    if words[:1] == ["load"]:
        words = [STANDS_FOR[word] for word in words]
    words = [word for word in words if word != MISTYPED]
    if program == "crpc":
        assert not words or words[0] in {*COMMANDS, *Catalog().paths}
    try:
        code = PROGRAMS[program]([*words, "--help"])
    except SystemExit as ended:  # as argparse ends
        code = ended.code  # type: ignore[assignment]
    page = capsys.readouterr().out
    assert code == 0
    assert [option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", page)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    """To a file that exists."""
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_every_message_is_one_of_ours() -> None:
    """The table of troubles quotes what the code says, but for what stands where there are three dots."""
    table = (ROOT / "docs" / "operations.md").read_text().partition("| it says |")[2]
    code = "".join(path.read_text() for folder in ("collective", "clients") for path in (ROOT / folder).rglob("*.py"))
    quoted = [piece for row in table.splitlines() for piece in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    pieces = [piece.strip() for text in quoted for piece in text.split("…")]
    assert len(quoted) > 15
    assert [piece for piece in pieces if piece not in code] == []


def test_the_bill_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """To the cent."""
    operations = (ROOT / "docs" / "operations.md").read_text()
    [(line, shown)] = re.findall(r"^```console\n\$ crpc (cost .*?)\n(.*?)^```$", operations, re.MULTILINE | re.DOTALL)
    assert crpc.main(shlex.split(line)) == 0
    assert capsys.readouterr().out == shown
