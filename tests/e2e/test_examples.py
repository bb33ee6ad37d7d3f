"""Every example of README, documents and help pages runs in a lab, and prints what tests/cases/examples.txt has.

`make examples` runs them. After a change of an output: RECORD_EXAMPLES=1 make examples, then read the difference.
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
from support.documents import ROOT
from support.examples import NOT_RUN, STANDS_FOR, as_run, examples, reason, shape

from collective.lab.layout import Layout

pytestmark = pytest.mark.skipif("EXAMPLES" not in os.environ, reason="make examples")

RECORDED = ROOT / "tests" / "cases" / "examples.txt"
RECORDING = bool(os.environ.get("RECORD_EXAMPLES"))
LINES = sorted({as_run(line) for line in examples() if not reason(line)})
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
def place(tmp_path_factory: pytest.TempPathFactory, nagios_plugins: None) -> Iterator[Layout]:
    """A lab with a group and an alias."""
    layout = Layout(tmp_path_factory.mktemp("lab"))
    with own_lab(layout, 5):
        with (layout.folder / "client.yaml").open("a") as file:
            file.write(SETTINGS)
        make_crpc({**clean_environment(), **layout.environment()})("rpcutil", "ping")  # creates audit logs
        yield layout


@pytest.fixture(scope="module")
def outputs() -> Iterator[dict[str, str]]:
    """The recorded outputs; those of this run are written at the end when they are recorded."""
    found = {} if RECORDING else recorded()
    yield found
    if RECORDING:
        RECORDED.write_text("\n\n".join(f"$ {line}\n{text}" for line, text in sorted(found.items())) + "\n")


@pytest.fixture
def folder(place: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that examples name."""
    for name in [name for name in os.environ if name.startswith(("COLLECTIVE_", "AWS_"))]:
        monkeypatch.delenv(name)
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    node = place.node("node01.lab")
    audit = (node / "audit.jsonl").read_text().splitlines(keepends=True)
    files = {"filemgr.ddl": DDL, "policy.yaml": (node / "policy.yaml").read_text(), "audit.jsonl": "".join(audit[:2])}
    for name, text in {**FILES, **files}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def save_calls(place: Layout, capsys: Captured) -> None:
    """Leave three saved calls, which examples look back at."""
    shutil.rmtree(place.folder / "state" / "runs", ignore_errors=True)
    for words in (["package", "status", "package=bash"], ["rpcutil", "ping"], ["package", "status", "package=bash"]):
        assert called(words, capsys)[0] == 0


def run(line: str, capsys: Captured) -> str:
    """Run an example; return what it prints, and its exit code. One with characters of the shell runs in a shell."""
    if line.startswith("crpc ") and not re.search(r" [|>] ", line):
        code, out, err = called(shlex.split(line)[1:], capsys)
    else:
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        code, out, err = done.returncode, done.stdout, done.stderr
    return f"{out}{err}\nexit code {code}"


@pytest.mark.parametrize("line", LINES)
def test_an_example_prints_what_is_recorded(
    line: str, place: Layout, folder: Path, capsys: Captured, outputs: dict[str, str]
) -> None:
    """The output and the exit code are the recorded ones, except for times, identifiers, versions and sizes."""
    if re.match("crpc (runs|show|retry|diff)", line):
        save_calls(place, capsys)
    text = run(line, capsys)
    assert "internal error" not in text
    found = "\n".join(shape(text, {"LAB": place.folder, "HERE": folder, "ROOT": ROOT}))
    if RECORDING:
        outputs[line] = found
    assert found == outputs[line]


def test_every_recorded_example_exists() -> None:
    """Nothing is recorded of an example that is gone."""
    assert sorted(recorded()) == LINES


def test_every_reason_and_name_is_used() -> None:
    """Each entry of the two tables is of an example."""
    lines = examples()
    patterns = [pattern for pattern, _ in (*NOT_RUN, *STANDS_FOR)]
    assert [pattern for pattern in patterns if not any(re.search(pattern, line) for line in lines)] == []
    assert len(LINES) > 180
