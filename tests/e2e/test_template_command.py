"""`crpc template render` in a lab: one update, a preview, and a file that is kept current."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from support.crpc_process import BIN, Crpc
from support.json_documents import check_document
from support.waiting import wait_until

SOURCE = "{% for node in members %}\n{{ node.identity }}\n{% endfor %}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A YAML file with a template of the nodes with the role web: two of the lab's five."""
    (tmp_path / "t.j2").write_text(SOURCE)
    path = tmp_path / "t.yaml"
    check = f"cat {{candidate}} >> {tmp_path}/checked"
    template = {"src": "t.j2", "dest": "out", "check": check, "reload": f"echo x >> {tmp_path}/reloaded"}
    path.write_text(json.dumps({"filter": "role=web", "every": "0.2", "template": template}))
    return path


def test_once_and_previews(crpc: Crpc, file: Path) -> None:
    """Previews change nothing, the first update writes, the second has nothing to do; an error is exit code 78."""
    out, checked, reloaded = (file.parent / name for name in ("out", "checked", "reloaded"))
    found = crpc("template", "render", str(file), "--noop", "--diff")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines()[:-1] == [
        f"--- {out}",
        f"+++ {out}",
        "@@ -0,0 +1,2 @@",
        "+node01.lab",
        "+node04.lab",
    ]
    assert found.stdout.endswith(f"Z {out}: would be written and reloaded, 2 members\n")
    assert not checked.exists()
    assert "would be written" in crpc("template", "render", str(file), "--dry-run").stdout
    assert (checked.read_text(), out.exists()) == ("node01.lab\nnode04.lab\n", False)
    document = json.loads(crpc("template", "render", str(file), "--once", "--json").stdout)
    assert check_document(document) == "template-render"
    assert (document["members"], document["changed"], document["reloaded"]) == (2, True, True)
    assert out.read_text() == "node01.lab\nnode04.lab\n"
    assert crpc("template", "render", str(file), "--once").stdout.endswith(f"Z {out}: unchanged, 2 members\n")
    assert reloaded.read_text() == "x\n"
    (file.parent / "t.j2").write_text("\n{{ node }}")
    failed = crpc("template", "render", str(file), "--once")
    assert (failed.returncode, failed.stdout) == (78, "")
    assert failed.stderr == f"crpc: {file.parent}/t.j2:2: 'node' is undefined\n"
    refused = crpc("template", "render", str(file), "--json")
    assert (refused.returncode, refused.stderr.partition(" (")[0]) == (
        64,
        "crpc: template render: this form of output needs an end",
    )


def test_a_file_is_kept_current(environment: dict[str, str], file: Path) -> None:
    """A line for each update; an error of the template does not end the command, SIGTERM does with exit code 0."""
    command = [str(BIN / "crpc"), "template", "render", str(file), "--jsonl", "--no-ping"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout
            assert process.stderr
            first = json.loads(process.stdout.readline())
            assert (first["members"], first["changed"], first["diff"]) == (2, True, None)
            (file.parent / "t.j2").write_text("{{ node }}")
            assert process.stderr.readline() == f"crpc: {file.parent}/t.j2:1: 'node' is undefined\n"
            (file.parent / "t.j2").write_text("{{ members | length }}")
            assert json.loads(process.stdout.readline())["changed"]
            (file.parent / "out").write_text("by hand")
            wait_until(lambda: (file.parent / "out").read_text() == "2", 30)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("filter: role=web\nexec: x\n", "required key 'template' is missing"),
        ("template: {src: t.j2}\n", "watch.template: required key 'dest' is missing"),
        (
            "template: {src: t.j2, dest: out}\nuser: no-such-user\n",
            "user: user 'no-such-user' does not exist on this node",
        ),
        ("template: {src: t.j2, dest: no/out}\n", None),
    ],
)
def test_an_invalid_file_is_refused(crpc: Crpc, file: Path, content: str, error: str | None) -> None:
    """Exit code 78, with the file and the key."""
    file.write_text(content)
    found = crpc("template", "render", str(file), "--once")
    expected = f"{file}: {error}" if error else f"{file.parent}/no/out: the folder {file.parent}/no does not exist"
    assert (found.returncode, found.stderr.startswith(f"crpc: {expected}")) == (78, True), found.stderr
