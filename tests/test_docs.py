"""The documents are correct: their commands, links, messages, examples and tables are those of the code."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.documents import DOCS, DOCUMENTS, PAGES, ROOT, blocks, commands, headings, name

from collective.catalog import Catalog
from collective.clients import crpc
from collective.clients.commands import COMMANDS
from collective.node import daemon
from collective.policy.parsing import parse

STANDS_FOR = {"load": "nrpe", "status": "runcommand"}  # the agent that the documents write, and its action
OWN = {"up": "ping", "restart-web": "ping"}  # an alias and a command file that the documents write
MISTYPED = "instal"  # the README shows that it is refused
MAIN: dict[str, Callable[[list[str]], int]] = {"crpc": crpc.main, "collectived": daemon.main}
SOURCES = ("agents", "clients", "collective", "conf", "ddl", "tests")
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def calls() -> list[tuple[str, ...]]:
    """Return each call in the documents once: the program, up to two words, and all options."""
    found = set()
    for path in DOCUMENTS:
        for program, *words in commands(path.read_text()):
            names = [word.partition("@")[0] for word in words[:2]]  # package@>=1.2
            leading = [name for name in names if re.fullmatch(r"[a-z][a-z0-9_-]*", name)]
            options = [word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)]
            found.add((program, *leading, *sorted(set(options))))
    return sorted(found)


@pytest.mark.parametrize("call", calls(), ids=" ".join)
def test_every_command_and_option_exists(call: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Each call names a command or an agent, and its help page has the options."""
    program, *rest = call
    options = [word for word in rest if word.startswith("-")]
    words = [word for word in rest if word not in options]
    if words[:1] == ["load"]:
        words = [STANDS_FOR[word] for word in words]
    words = [OWN.get(word, word) for word in words if word != MISTYPED]
    if program == "crpc":
        assert not words or words[0] in {*COMMANDS, *Catalog().paths}
    try:
        code = MAIN[program]([*words, "--help"])
    except SystemExit as ended:  # as argparse ends
        code = ended.code  # type: ignore[assignment]
    page = capsys.readouterr().out
    assert code == 0
    general = {"-h", "--help", "--version"}  # 'crpc --version' has no help page of its own
    assert [
        word for word in options if word not in general and not re.search(rf"(?<![\w-]){word}(?![\w-])", page)
    ] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_link_leads_to_a_file(path: Path) -> None:
    """Links between documents lead to files that exist; `mkdocs build --strict` checks their anchors too."""
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")), ids=name)
def test_every_link_to_the_site_leads_to_a_page(path: Path) -> None:
    """The README works outside the repository: it links to the site's address, and each page exists."""
    text = path.read_text()
    for target in re.findall(rf"{re.escape(SITE['site_url'])}([^\s)]*)", text):
        page = target.partition("#")[0].rstrip("/")
        assert (DOCS / f"{page}.md").exists() or (DOCS / page / "index.md").exists(), target
    if path.name == "README.md":
        assert not re.findall(r"\]\((?!http)|^\[.+\]: (?!http)", text, re.MULTILINE)


def test_the_package_names_the_site() -> None:
    """The address of the documentation is the same in setup.cfg and mkdocs.yml."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["url"] == SITE["site_url"]
    assert SITE["site_url"] in setup["metadata"]["project_urls"]


def test_every_document_that_the_code_names_exists() -> None:
    """Comments and docstrings refer to documents by path."""
    sources = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.*") if "__pycache__" not in path.parts]
    named = {
        (name(path), document) for path in sources for document in re.findall(r"docs/[\w/-]+\.md", path.read_text())
    }
    assert len(named) > 5
    assert [entry for entry in sorted(named) if not (ROOT / entry[1]).exists()] == []


def test_every_module_on_the_map_exists() -> None:
    """The architecture names files by path, or by name if their folder is clear from the text."""
    named = set(re.findall(r"`([\w/]+\.py)`", (DOCS / "architecture.md").read_text()))
    existing = [str(path.relative_to(ROOT)) for path in ROOT.glob("*/**/*.py")]
    assert len(named) > 10
    assert [path for path in sorted(named) if not any(f"/{known}".endswith(f"/{path}") for known in existing)] == []


def test_every_page_is_in_the_navigation() -> None:
    """Each page of the site has one entry in mkdocs.yml."""

    def files(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        parts = entry.values() if isinstance(entry, dict) else entry
        return [file for part in parts for file in files(part)]  # type: ignore[attr-defined]

    assert sorted(files(SITE["nav"])) == sorted(str(path.relative_to(DOCS)) for path in PAGES)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_examples_can_be_parsed(path: Path) -> None:
    """Blocks of Python, JSON and YAML are Python, JSON and YAML."""
    text = path.read_text()
    for block in blocks(text, "python"):
        compile(block, str(path), "exec")
    for block in blocks(text, "json"):
        json.loads(block)
    for block in blocks(text, "yaml"):
        yaml.safe_load(block)


def test_the_policy_in_the_guide_is_valid() -> None:
    """The policies in the guides are valid."""
    found = [
        block
        for path in PAGES
        for block in blocks(path.read_text(), "yaml")
        if re.search("^rules:", block, re.MULTILINE)
    ]
    assert len(found) >= 2
    assert all(parse(block, "example").rules for block in found)


def test_every_message_in_the_guide_is_in_the_code() -> None:
    """The guide's headings quote messages as they are in the code; three dots stand for what differs."""
    code = "".join(path.read_text() for folder in ("collective", "clients") for path in (ROOT / folder).rglob("*.py"))
    guide = (DOCS / "how-to" / "troubleshoot.md").read_text()
    quoted = [text for heading in headings(guide) for text in re.findall(r"`([^`]+)`", heading)]
    pieces = [piece.strip() for text in quoted for piece in text.split("…")]
    assert len(quoted) > 12
    assert [piece for piece in pieces if piece not in code] == []


def test_the_bill_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """The guide shows the output of `crpc cost`, to the cent."""
    guide = (DOCS / "how-to" / "set-up-aws.md").read_text()
    [(line, shown)] = re.findall(r"^```console\n\$ crpc (cost .*?)\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert crpc.main(shlex.split(line)) == 0
    assert capsys.readouterr().out == shown


def test_every_proof_of_the_security_page_is_a_test() -> None:
    """Comments such as `<!-- test: FILE::TEST -->` name existing test functions, read from the file's syntax tree."""
    text = (DOCS / "security.md").read_text()
    proofs = re.findall(r"<!-- test: (\S+)::(\w+) -->", text)
    assert len(proofs) == text.count("<!-- test:") > 30
    modules = {file: ast.parse((ROOT / file).read_text()) for file, _ in proofs}
    existing = {
        (file, part.name)
        for file, module in modules.items()
        for part in module.body
        if isinstance(part, ast.FunctionDef)
    }
    assert [proof for proof in proofs if proof not in existing or not proof[1].startswith("test_")] == []


ATTACKERS = (
    "With write access to a node's queue, or to the topic",
    "With read access to a node's queue",
    "As a caller with few permissions",
    "With a node and its key",
    "With an account on a node",
    "With an account on a caller's machine",
    "With write access to a plugin folder",
)


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_everything_about_an_attacker_has_a_proof(attacker: str) -> None:
    """The page says what each attacker can do, what stops them and what stays possible, each with a test."""
    section = (DOCS / "security.md").read_text().partition(f"\n### {attacker}\n")[2].partition("\n#")[0]
    bullets = re.findall(r"^- \*\*(.*?)\*\*: (.*?)(?=\n- |\n\n|\n*\Z)", section, re.MULTILINE | re.DOTALL)
    assert [title for title, _ in bullets] == ["Can", "Stopped by", "Still possible"]
    assert [text for _, text in bullets if not text.endswith(" -->")] == []


def test_what_the_daemon_does_as_root_names_every_agent() -> None:
    """The list has a row for each standard agent; rpcutil runs nothing."""
    section = (DOCS / "security.md").read_text().partition("\n## What the daemon does as root\n")[2].partition("\n#")[0]
    assert [agent for agent in Catalog().paths if f"\n| `{agent}`" not in section and agent != "rpcutil"] == []


def test_every_defence_on_the_security_page_has_a_proof() -> None:
    """Each bullet 'Stopped by' ends with the comment that names its test, unless nothing stops the attacker."""
    section = (DOCS / "security.md").read_text().partition("## What an attacker can do\n")[2].partition("\n## ")[0]
    bullets = re.findall(r"^- \*\*Stopped by\*\*: (.*?)(?=\n- |\n\n)", section, re.MULTILINE | re.DOTALL)
    assert len(bullets) == section.count("### ") > 10
    assert [bullet for bullet in bullets if not bullet.endswith(" -->") and bullet != "nothing here."] == []


def test_every_statement_about_an_attacker_has_a_proof() -> None:
    """Each bullet of the threat model ends with a test, unless nothing stops the attacker."""
    section = (DOCS / "security.md").read_text().partition("## What an attacker can do\n")[2].partition("\n## ")[0]
    bullets = re.findall(
        r"^- \*\*(?:Can|Stopped by|Still possible)\*\*: (.*?)(?=\n- |\n\n|\n*\Z)", section, re.MULTILINE | re.DOTALL
    )
    assert len(bullets) == 3 * section.count("### ")
    assert [bullet for bullet in bullets if not bullet.endswith(" -->") and bullet != "nothing here."] == []


def test_nothing_asks_to_install_a_name_that_is_not_published() -> None:
    """The name `collective-rpc` is free on PyPI, so neither documents nor messages ask pip to install that name."""
    files = [*DOCUMENTS, *(path for folder in SOURCES[:5] for path in (ROOT / folder).rglob("*") if path.is_file())]
    texts = {path: path.read_text(errors="replace") for path in files if path.suffix not in (".pyc", ".png", ".svg")}
    asks = re.compile(r"(?:pip|pipx|uv tool) install[^\n`]*[ '\"]collective[-_]rpc(?![-_\w]*\.whl|-0|_rpc-)")
    assert [str(path) for path, text in texts.items() if asks.search(text)] == []
