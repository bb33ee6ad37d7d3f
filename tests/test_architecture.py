"""The import order: which part may import which other parts. The diagram is checked against the code.

__init__           the public API, for users only: the library imports from its own modules
clients            the command line
authoring          tools for the authors of agents
lab, testing       whole collectives, made of both sides
setup              what a collective needs on AWS
node │ fleet       the two sides: they never meet
templates          files that are rendered from the members, for both sides
membership         which nodes there are, for both sides
cluster            programs that find each other by the registry
transport registry edges; aws is what those on AWS share
agents             plugins
values             errors, names, config, messages, ddl, filters, signing …: no network, no clock, no side
"""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import collective

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "collective": ROOT / "collective",
    "collective.agents": ROOT / "agents",
    "collective.clients": ROOT / "clients",
}

MAY_IMPORT = {
    "values": "",
    "agents": "values",
    "aws": "values",
    "transport": "values aws",
    "registry": "values aws",
    "membership": "values transport registry",
    "cluster": "values aws registry",
    "templates": "values membership",
    "node": "values aws transport registry membership templates",
    "fleet": "values aws transport registry membership",
    "setup": "values aws transport registry",
    "lab": "values aws transport registry node",
    "testing": "values transport registry node fleet membership",
    "authoring": "values node fleet testing",
    "clients": "values fleet lab setup authoring membership templates cluster",
    "__init__": "values fleet",
    "__main__": "clients",
}
PUBLIC = {*collective.__all__} - {"__version__"}
MAY_LOAD_BOTO3 = (
    *("collective.aws", "collective.lab.", "collective.transport.sqs", "collective.registry.dynamodb"),
    "collective.agents._downloads",  # scripts from S3
    "collective.agents._elastic_ips",  # addresses of EC2
)


class Import(NamedTuple):
    """`importer` imports `imported`, both by their full names; `checking`: only for the type checker."""

    importer: str
    imported: str
    checking: bool


def part(module: str) -> str:
    """Return the row of MAY_IMPORT that a module of this package belongs to; the library's own modules are values."""
    name = module.removeprefix("collective.").split(".")[0]
    if name in PUBLIC:
        return "__init__"
    return name if name in MAY_IMPORT else "values"


def found(importer: str, tree: ast.AST, checking: bool = False) -> Iterator[Import]:
    """Yield every import below `tree`, those within functions included."""
    for node in ast.iter_child_nodes(tree):
        below = checking or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        if isinstance(node, ast.Import):
            yield from (Import(importer, alias.name, below) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer}: relative import"
            # `from collective import names` names a module by its last word.
            yield from (Import(importer, f"{node.module}.{alias.name}", below) for alias in node.names)
        else:
            yield from found(importer, node, below)


def everything() -> Iterator[Import]:
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            module = ".".join([package, *path.relative_to(folder).with_suffix("").parts])
            yield from found(module, ast.parse(path.read_text()))


def out_of_order(imports: Iterator[Import]) -> list[str]:
    """Return a line for each import that the table does not allow."""
    own = [one for one in imports if one.imported.split(".")[0] == "collective"]
    return [
        f"{one.importer} imports {one.imported}: {part(one.importer)} may import {MAY_IMPORT[part(one.importer)]}"
        for one in own
        if part(one.imported) not in {part(one.importer), *MAY_IMPORT[part(one.importer)].split()}
    ]


def loading_boto3(imports: Iterator[Import]) -> list[str]:
    """Return a line for each module that loads boto3 and may not."""
    return [
        f"{one.importer} imports {one.imported}"
        for one in imports
        if one.imported.split(".")[0] in ("boto3", "botocore", "moto")
        and not one.checking
        and not one.importer.startswith(MAY_LOAD_BOTO3)
    ]


def from_the_package(imports: Iterator[Import]) -> list[str]:
    """Return a line for each import that needs our own `collective/__init__.py`."""
    names = {"collective", *(f"collective.{name}" for name in collective.__all__)}
    return [f"{one.importer} imports {one.imported}" for one in imports if one.imported in names and not one.checking]


def test_imports_follow_the_order() -> None:
    """Nothing imports upwards, and the two sides never meet: not even for the type checker."""
    assert out_of_order(everything()) == []


def test_only_modules_that_use_aws_load_boto3() -> None:
    """Only modules that use AWS load boto3, so that a second transport or a mistyped command does not need it."""
    assert loading_boto3(everything()) == []


def test_no_module_needs_our_init_file() -> None:
    """Another distribution's `collective/__init__.py` may be the one that Python found (test_shared_name.py)."""
    assert from_the_package(everything()) == []
    for source in ("import collective", "from collective import names, Fleet", "from collective import __version__"):
        assert len(from_the_package(found("collective.a", ast.parse(source)))) == 1


def test_every_part_is_checked() -> None:
    """No row of the import table is empty: a folder that was renamed would otherwise pass unseen."""
    assert {part(one.importer) for one in everything()} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("collective.node.server", "from collective.fleet.fleet import Fleet"),
        ("collective.node.server", "from collective import Fleet"),
        ("collective.fleet.fleet", "from collective.node import server"),
        ("collective.fleet.call", "def f():\n    import collective.node.server"),
        ("collective.fleet.call", "if TYPE_CHECKING:\n    from collective.node.server import Server"),
        ("collective.messages", "from collective.transport import Delivery"),
        ("collective.filters.match", "from collective.registry import NodeRecord"),
        ("collective.config", "from collective import aws"),
        ("collective.ddl", "from collective.clients import exits"),
        ("collective.node.daemon", "from collective.clients.options import targets"),
        ("collective.agents.shell", "from collective.node.facts import Facts"),
        ("collective.clients.crpc", "from collective.node.plugins.agents import load"),
        ("collective.clients.crpc", "from collective.testing import memory_fleet"),
    ],
)
def test_an_import_against_the_order_is_found(importer: str, source: str) -> None:
    """An import against the order is one line of the check."""
    assert len(out_of_order(found(importer, ast.parse(source)))) == 1


@pytest.mark.parametrize(
    ("importer", "source", "lines"),
    [
        ("collective.node.daemon", "import boto3", 1),
        ("collective.clients.crpc", "def f():\n    from botocore.exceptions import ClientError", 1),
        ("collective.node.daemon", "if TYPE_CHECKING:\n    import boto3", 0),
        ("collective.transport.sqs", "import boto3", 0),
        ("collective.transport.memory", "import boto3", 1),
    ],
)
def test_loading_boto3_elsewhere_is_found(importer: str, source: str, lines: int) -> None:
    """Loading boto3 elsewhere is one line of the check, except for the type checker."""
    assert len(loading_boto3(found(importer, ast.parse(source)))) == lines


def writes(module: str, tree: ast.AST) -> Iterator[str]:
    """Yield a line for each call that writes to a standard stream: `sys.stdout.write`, `print`, and the like."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            text = ast.unparse(node.func)
            if text == "print" or re.fullmatch(r"sys\.(stdout|stderr)(\.buffer)?\.(write|writelines)", text):
                yield f"{module}: {ast.unparse(node)}"


def test_clients_write_through_one_module() -> None:
    """Everything that `crpc` prints goes through one function, which escapes what terminals interpret."""
    folder = FOLDERS["collective.clients"]
    found = [line for path in folder.rglob("*.py") for line in writes(path.stem, ast.parse(path.read_text()))]
    assert found == []
    assert len(list(writes("x", ast.parse("sys.stdout.write('a')\nprint('b')\nsys.stderr.buffer.write(b'')")))) == 3


def test_every_folder_is_on_the_page_about_the_code() -> None:
    """The page about the code names each folder with modules, so that a reader finds what a new folder is for."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = [path.parent for part in ("collective", "clients") for path in (ROOT / part).rglob("*/__init__.py")]
    assert len(folders) > 30
    assert [str(folder.relative_to(ROOT)) for folder in folders if f"{folder.name}/`" not in page] == []


def test_every_package_is_in_the_wheel() -> None:
    """setup.cfg names each folder with modules; a missing one would only be noticed after an installation."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = set(setup["options"]["packages"].split())
    found = {
        ".".join((package, *path.parent.relative_to(folder).parts))
        for package, folder in {**FOLDERS, "collective.conf": ROOT / "conf", "collective.ddls": ROOT / "ddl"}.items()
        for path in folder.rglob("*.py")
    }
    assert found == named
