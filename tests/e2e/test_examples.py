"""Every example of README, documents and help pages runs in a lab, and prints what tests/cases/examples.txt has.

`make examples` runs them, and `make test` those that need no node. After a change of an output: RECORD_EXAMPLES=1 make
examples, then read the difference.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crpc_call import Captured, called
from support.crpc_process import BIN, clean_environment, make_crpc, own_lab
from support.documents import DOCS, ROOT, blocks
from support.examples import NOT_RUN, STANDS_FOR, as_run, examples, needs_nodes, reason, shape

from collective.lab.layout import Layout

ALL = pytest.mark.skipif("EXAMPLES" not in os.environ, reason="make examples")
RECORDED = ROOT / "tests" / "cases" / "examples.txt"
RECORDING = bool(os.environ.get("RECORD_EXAMPLES"))
LINES = sorted({as_run(line) for line in examples() if not reason(line)})
WITHOUT_NODES = [line for line in LINES if not needs_nodes(line)]
WITH_NODES = [line for line in LINES if needs_nodes(line)]
POLICY = blocks((DOCS / "how-to" / "policies.md").read_text(), "yaml")[0]
SETTINGS = """
groups: {web-prod: {filter: role=web}}
aliases: {up: rpcutil ping}
"""
FILES = {
    "hosts.txt": "node01.lab\nnode04.lab\n",
    "setup.sh": "#!/bin/sh\nuptime\n",
    "facts.yaml": "role: web\n",
    "classes.txt": "role::web\n",
}
DDL = """metadata :name => "filemgr", :description => "File Manager", :author => "A", :license => "Apache-2",
            :version => "1.0.1", :url => "http://example.com", :timeout => 5
action "touch", :description => "Creates an empty file or touch it's timestamp" do
    input :file, :prompt => "File", :description => "File to touch", :type => :string,
          :validation => '^.+$', :optional => false, :maxlength => 256
end
"""


def recorded() -> dict[str, str]:
    """Return the recorded outputs by example."""
    text = RECORDED.read_text() if RECORDED.exists() else ""
    pieces = [piece.partition("\n") for piece in text.split("\n\n$ ") if piece.strip()]
    return {line.removeprefix("$ "): rest.strip("\n") for line, _, rest in pieces}


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The files of a lab that does not run, with a group and an alias."""
    layout = Layout(tmp_path_factory.mktemp("files"))
    layout.create(5)
    layout.write_endpoints({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    configure(layout)
    return layout


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, nagios_plugins: None) -> Iterator[Layout]:
    """A lab with a group and an alias."""
    layout = Layout(tmp_path_factory.mktemp("lab"))
    with own_lab(layout, 5):
        configure(layout)
        make_crpc({**clean_environment(), **layout.environment()})("rpcutil", "ping")  # creates audit logs
        yield layout


def configure(layout: Layout) -> None:
    """Add a group and an alias to client.yaml."""
    with (layout.folder / "client.yaml").open("a") as file:
        file.write(SETTINGS)


@pytest.fixture(scope="module")
def outputs() -> Iterator[dict[str, str]]:
    """The recorded outputs; those of this run replace them at the end when they are recorded."""
    found = recorded()
    yield found
    if RECORDING:
        kept = "\n\n".join(f"$ {line}\n{found[line]}" for line in LINES if line in found)
        RECORDED.write_text(f"{kept}\n")


def enter(place: Layout, folder: Path, monkeypatch: pytest.MonkeyPatch, policy: str = "") -> None:
    """Use a lab in a current folder with the files that examples name; `policy` is another one than node01's."""
    for name in [name for name in os.environ if name.startswith(("COLLECTIVE_", "AWS_"))]:
        monkeypatch.delenv(name)
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    monkeypatch.chdir(folder)
    node = place.node("node01.lab")
    audit = node / "audit.jsonl"
    entries = "".join(audit.read_text().splitlines(keepends=True)[:2]) if audit.exists() else ""
    policy = policy or (node / "policy.yaml").read_text()
    files = {"filemgr.ddl": DDL, "policy.yaml": policy, "audit.jsonl": entries}
    for name, text in {**FILES, **files}.items():
        (folder / name).write_text(text)


@pytest.fixture(scope="module")
def saved_runs(lab: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of four saved calls, which examples look back at; the nodes of the last one failed."""
    crpc = make_crpc({**clean_environment(), **lab.environment()})
    check = ("service", "status", "service=nginx")
    status = ("package", "status", "package=bash")
    shutil.rmtree(lab.folder / "state" / "runs", ignore_errors=True)
    codes = [crpc(*words).returncode for words in (status, check, (*status, "--batch", "50%"), check)]
    assert codes == [0, 2, 0, 2]
    copy = tmp_path_factory.mktemp("saved") / "runs"
    shutil.copytree(lab.folder / "state" / "runs", copy)
    return copy


def run(line: str, capsys: Captured) -> str:
    """Run an example; return what it prints, and its exit code. One with characters of the shell runs in a shell."""
    if line.startswith("crpc ") and not re.search(r" [|>] ", line):
        code, out, err = called(shlex.split(line)[1:], capsys)
    else:
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        code, out, err = done.returncode, done.stdout, done.stderr
    return f"{out}{err}\nexit code {code}"


def check(line: str, places: dict[str, Path], capsys: Captured, outputs: dict[str, str]) -> None:
    """Run an example, and compare or record its output."""
    text = run(line, capsys)
    assert "internal error" not in text
    found = "\n".join(shape(text, {**places, "ROOT": ROOT}))
    if RECORDING:
        outputs[line] = found
    assert found == outputs[line]


@pytest.mark.parametrize("line", WITHOUT_NODES)
def test_an_example_without_nodes_prints_what_is_recorded(
    line: str,
    configuration: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    outputs: dict[str, str],
) -> None:
    """The output and the exit code are the recorded ones, except for times, identifiers, versions and sizes."""
    enter(configuration, tmp_path, monkeypatch, POLICY)
    check(line, {"LAB": configuration.folder, "HERE": tmp_path}, capsys, outputs)


@ALL
@pytest.mark.parametrize("line", WITH_NODES)
def test_an_example_prints_what_is_recorded(
    line: str,
    lab: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    outputs: dict[str, str],
    saved_runs: Path,
) -> None:
    """The same in a lab, after some calls; nodes answer in any order."""
    enter(lab, tmp_path, monkeypatch)
    shutil.rmtree(lab.folder / "state" / "runs")
    shutil.copytree(saved_runs, lab.folder / "state" / "runs")
    check(line, {"LAB": lab.folder, "HERE": tmp_path}, capsys, outputs)


@ALL
def test_every_recorded_example_exists() -> None:
    """Nothing is recorded of an example that is gone."""
    assert sorted(recorded()) == LINES


def test_every_reason_and_name_is_used() -> None:
    """Each entry of the two tables is of an example."""
    lines = examples()
    patterns = [pattern for pattern, _ in (*NOT_RUN, *STANDS_FOR)]
    assert [pattern for pattern in patterns if not any(re.search(pattern, line) for line in lines)] == []
    assert len(LINES) > 180
