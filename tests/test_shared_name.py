"""Other distributions, of Plone, install packages below the name `collective` too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.shared_name import FORMS, PKG_RESOURCES, PKGUTIL, install_ours, install_theirs

from collective.version import __version__

THEIRS = "import collective.easyform, collective.errors, collective.agents; print(collective.easyform.NAME)"
COMMANDS = {"crpc": "collective.clients.crpc", "collectived": "collective.node.daemon"}
PING = """
import sys
from pathlib import Path
from collective.testing import memory_fleet
if __name__ == "__main__":
    with memory_fleet(Path(sys.argv[1]), {"web1": {}}) as network:
        print(*(reply.sender for reply in network.fleet.call("rpcutil", "inventory") if reply.data["version"]))
"""


def run(path: list[Path], *words: str | Path) -> tuple[str, str]:
    """Return what Python prints with `path` first on sys.path, on standard output and on standard error."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, *words]
    done = subprocess.run(command, env=env, cwd=path[0], capture_output=True, text=True, check=False)
    return done.stdout, done.stderr


@pytest.fixture(params=[f"{form}-{first}" for form in FORMS for first in ("ours", "theirs")])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> list[Path]:
    """Folders for sys.path with both distributions, in either order, for each way to share a name."""
    form, _, first = str(request.param).rpartition("-")
    if form == PKG_RESOURCES:
        pytest.importorskip("pkg_resources")
    folders = [install_ours(tmp_path / "ours"), install_theirs(tmp_path / "theirs", form)]
    return folders if first == "ours" else folders[::-1]


def test_two_distributions_side_by_side_are_both_imported(path: list[Path]) -> None:
    """The packages of both can be imported, whichever `__init__.py` Python finds first."""
    assert run(path, "-c", THEIRS) == ("easyform\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_starts_beside_another_distribution(path: list[Path], command: str) -> None:
    """The console scripts do what they do alone, although `collective` may be the other one's package."""
    code = f"import sys; from {COMMANDS[command]} import main; sys.argv[0] = '{command}'; sys.exit(main())"
    assert run(path, "-c", code, "--version") == (f"{command} {__version__}\n", "")


def test_a_node_answers_beside_another_distribution(path: list[Path], tmp_path: Path) -> None:
    """A caller and a node with its agents, and the processes of actions, work in either order."""
    program, folder = tmp_path / "program.py", tmp_path / "fleet"
    program.write_text(PING)
    folder.mkdir()
    assert run(path, program, folder) == ("web1\n", "")


def test_a_namespace_file_in_the_same_folder_is_no_hindrance(tmp_path: Path) -> None:
    """The package works when a `*-nspkg.pth` of an older wheel keeps Python from running its `__init__.py`."""
    folder = install_ours(tmp_path / "site")
    install_theirs(folder, "nspkg.pth")
    (tmp_path / "sitecustomize.py").write_text(f"import site; site.addsitedir({str(folder)!r})")
    assert run([tmp_path], "-c", THEIRS) == ("easyform\n", "")
    code = "import sys; from collective.clients.crpc import main; sys.exit(main())"
    assert run([tmp_path], "-c", code, "--version") == (f"crpc {__version__}\n", "")
    assert run([tmp_path], "-c", "from collective.fleet.fleet import Fleet; print(Fleet.__name__)") == ("Fleet\n", "")


@pytest.mark.parametrize("content", [FORMS[PKGUTIL], None], ids=["overwritten", "removed"])
def test_our_init_file_of_a_common_folder_may_be_lost(tmp_path: Path, content: str | None) -> None:
    """Another distribution that has `collective/__init__.py` too overwrites ours, and its removal takes the file."""
    folder = install_ours(tmp_path / "site")
    file = folder / "collective" / "__init__.py"
    file.unlink()
    if content:
        file.write_text(content)
    for module in COMMANDS.values():
        code = f"import sys; from {module} import main; sys.argv[1:] = ['--version']; sys.exit(main())"
        assert run([folder], "-c", code)[0].endswith(f" {__version__}\n")


def test_the_public_names_need_our_package_first(tmp_path: Path) -> None:
    """docs/reference/python.md describes this limit, and the imports that work in either order."""
    path = [install_theirs(tmp_path / "theirs", PKGUTIL), install_ours(tmp_path / "ours")]
    assert "cannot import name 'Fleet' from 'collective'" in run(path, "-c", "from collective import Fleet")[1]
    for module, name in {"fleet.fleet": "Fleet", "fleet.targets": "Targets", "errors": "RPCError"}.items():
        assert run(path, "-c", f"from collective.{module} import {name}; print({name}.__name__)") == (f"{name}\n", "")
