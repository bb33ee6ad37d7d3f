"""Manual pages are made from the parsers of --help, and are correct for groff and mandoc."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from collective.clients.commands import COMMANDS, make_parsers
from collective.clients.render import man
from collective.node.daemon import make_parser


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """All pages by file name."""
    return man.pages(make_parser())


def shown(text: str) -> str:
    """Return roff as it is read: without escapes of fonts and hyphens."""
    return text.replace("\\fB", "").replace("\\fR", "").replace("\\fI", "").replace("\\-", "-")


def test_every_command_has_a_page(pages: dict[str, str]) -> None:
    """There is a page for each command and for the daemon; crpc.1 lists the commands and agents."""
    assert set(pages) == {"crpc.1", "collectived.8", *(f"crpc-{name}.1" for name in COMMANDS)}
    overview = shown(pages["crpc.1"])
    assert [name for name in (*COMMANDS, "package", "nrpe") if f".TP\n{name}\n" not in overview] == []


def test_every_option_is_in_the_page_of_its_command(pages: dict[str, str]) -> None:
    """A page has the options of its command and of its verbs, their values and an example."""
    for parser in make_parsers():
        page = shown(pages[f"{parser.prog.replace(' ', '-')}.1"])
        for one in (parser, *parser.verbs.values()):
            assert [name for name in one.options if name not in page] == []
            assert [line for line in one.examples if man._text(line).replace("\\-", "-") not in page] == []  # noqa: SLF001


def test_text_is_never_a_request_of_roff() -> None:
    """A line that begins with a dot, and characters with a meaning in roff, are printed as they are."""
    assert man._text(".so /etc/passwd") == "\\&.so /etc/passwd"  # noqa: SLF001
    assert man._text("'a' \\n -x …") == "\\(aqa\\(aq \\en \\-x \\[u2026]"  # noqa: SLF001


@pytest.mark.parametrize("command", [("mandoc", "-Tlint", "-Wwarning"), ("groff", "-man", "-Tutf8", "-ww", "-z")])
def test_the_pages_are_correct(
    pages: dict[str, str], tmp_path: Path, needs: Callable[[str, str], None], command: tuple[str, ...]
) -> None:
    """Neither mandoc nor groff has a warning."""
    needs(command[0], command[0])
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
    ended = subprocess.run([*command, *map(str, tmp_path.iterdir())], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
