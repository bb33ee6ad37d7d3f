"""README and tutorial are correct: commands print what they show, and the program and the agent run."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.crpc_process import BIN, clean_environment, own_lab
from support.documents import DOCS, ROOT, blocks

from collective.lab.layout import Layout

README_FILE = ROOT / "README.md"
README = README_FILE.read_text()
SHOWN = [README_FILE, DOCS / "index.md", *sorted((DOCS / "tutorial").glob("*.md")), DOCS / "how-to" / "nagios.md"]
SHOWN += [DOCS / "how-to" / "set-up-aws.md"]

# What differs between runs and machines.
VARYING = (
    (r"[0-9]+\.[0-9]{2} ms", "N ms"),
    (r"checktime=[0-9.]+", "checktime=N"),
    (r"/=[0-9]+B;[0-9;]+", "/=N"),
    (r"free space: / [0-9]+MiB \([0-9]+% inode=[0-9]+%\)", "free space: / N"),
)
VERSION = r"\b[0-9][0-9a-z.+~:-]*"


def outputs() -> list[str]:
    """Return the commands that the documents show with their output, each once."""
    return sorted({block for path in SHOWN for block in blocks(path.read_text(), "console")})


def shape(command: str, text: str) -> list[str]:
    """Return the lines of an output without what differs between runs; those of nodes are sorted."""
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    if "--table" in command:  # columns are as wide as their content
        text = re.sub(r"--+|  +", "  ", re.sub(VERSION, "N", text))
    paragraphs = re.split(r"\n\n|\n(?=node[0[])", re.sub(r" +$", "", text.strip(), flags=re.MULTILINE))
    lines: list[str] = []
    for of_nodes, group in itertools.groupby(paragraphs, lambda paragraph: paragraph.startswith(("node0", "node["))):
        together = list(group)
        lines += sorted(together) if of_nodes else together
    return lines


@pytest.mark.parametrize("block", outputs(), ids=lambda block: block.splitlines()[0][2:])
def test_commands_print_what_the_documents_show(environment: dict[str, str], nagios_plugins: None, block: str) -> None:
    """The output is the same except for times, versions, and the order in which nodes answer."""
    command, _, shown = block.removeprefix("$ ").partition("\n")
    env = {**environment, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False)
    assert shape(command, done.stdout + done.stderr) == shape(command, shown)


def test_the_program_runs(environment: dict[str, str]) -> None:
    """The example of the Python API prints one line for each node in production."""
    program = blocks(README, "python")[0]
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"^(node\d+\.lab) OK (\w+)$", done.stdout, re.MULTILINE)) == [
        ("node01.lab", "web"),
        ("node03.lab", "app"),
        ("node05.lab", "db"),
    ]
    assert "'ok': 3" in done.stdout


def test_an_agent_is_written_as_the_readme_shows(tmp_path: Path) -> None:
    """The commands of "Write an agent", typed into the shell of `crpc lab run` beside the two files."""
    _, code = blocks(README, "python")
    [ddl] = blocks(README, "json")
    (tmp_path / "load.py").write_text(code)
    (tmp_path / "load.json").write_text(ddl)
    commands = next(block for block in blocks(README, "sh") if "collectived --check" in block and "load.py" in block)
    done = subprocess.run(
        [BIN / "crpc", "lab", "run", "--nodes", "2"],
        cwd=tmp_path,
        env={**clean_environment(), "SHELL": "/bin/sh", "TMPDIR": str(tmp_path)},
        input=f"set -e\n{commands}",
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    agents = "control, eip, fact, file, load, nettest, nrpe, package, plugins, process, puppet, rpcutil, service, shell"
    assert f"node01.lab in lab: agents {agents}\n" in done.stdout
    assert re.search(r"^Maximum of 1 Minute: [0-9.]+$", done.stdout, re.MULTILINE)
    assert done.stderr.startswith("A lab of 2 nodes: ")
    assert "Actions run on this machine, as " in done.stderr


def test_the_agent_works(tmp_path: Path) -> None:
    """The example's two files are an agent, in the folders of a lab."""
    _, code = blocks(README, "python")
    [ddl] = blocks(README, "json")
    layout = Layout(tmp_path / "lab")
    create = layout.create

    def create_with_agent(nodes: int, server: str) -> None:
        create(nodes, server)
        (layout.folder / "agents" / "load.py").write_text(code)
        (layout.folder / "ddl" / "load.json").write_text(ddl)

    layout.create = create_with_agent  # type: ignore[assignment, method-assign]
    with own_lab(layout, 2) as environment:

        def crpc(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([BIN / "crpc", *words], env=environment, capture_output=True, text=True, check=False)

        fine = crpc("load", "status", "limit=10000")
        assert fine.returncode == 0, fine.stdout + fine.stderr
        assert re.search(r"^Average of 1 Minute: [0-9.]+$", fine.stdout, re.MULTILINE)
        busy = crpc("load", "status", "limit=-1")
        assert busy.returncode == 64
        assert "limit" in busy.stderr
