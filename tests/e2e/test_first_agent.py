"""The tutorial about the first agent, followed step by step in a lab of its own."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from support.crpc_process import BIN, clean_environment
from support.documents import DOCS, blocks

PAGE = (DOCS / "tutorial" / "first-agent.md").read_text()
_STEP = re.compile(r"^(?:Replace the content of `([^`]+)`:\n\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script() -> str:
    """Return the page as a shell script: each command, and each file written where the text says."""
    lines = ["set -eu"]
    for path, language, block in _STEP.findall(PAGE):
        if language == "sh":
            lines += [f"echo {shlex.quote('$ ' + line)}; {line}" for line in block.splitlines()]
        else:
            lines.append(f"cat > {shlex.quote(path)} <<'END_OF_FILE'\n{block}END_OF_FILE")
    return "\n".join(lines)


def test_the_page_states_its_numbers() -> None:
    """The numbers of commands and lines in the introduction are those of the page."""
    counted = [sum(len(re.findall(r"^.*\S", block, re.MULTILINE)) for block in blocks(PAGE, one)) for one in
               ("sh", "python", "json")]  # fmt: skip
    stated = re.search(r"(\d+) commands, (\d+) lines of code with its test, and (\d+) lines of DDL", PAGE)
    assert stated
    assert [int(number) for number in stated.groups()] == counted


@pytest.mark.timeout(240)
def test_the_tutorial_leads_to_a_working_agent(tmp_path: Path) -> None:
    """Each command of the page succeeds, and the agent answers as the text says."""
    steps = tmp_path / "steps.sh"
    steps.write_text(script())
    done = subprocess.run(
        [BIN / "crpc", "lab", "run", "--nodes", "2", "--", "sh", steps],
        env={**clean_environment(), "PATH": f"{BIN}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sections = dict(re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", done.stdout, re.MULTILINE))
    assert "ddl/load.json\n" in sections["crpc new agent load --action status --input limit:number "
                                        "--output one:number --output five:number"]  # fmt: skip
    assert "1 DDL: no errors\n" in sections["crpc check ."]
    assert "is above the limit 0" in sections["crpc run-local load status limit=0 || true"]
    assert "1 passed" in sections["pytest -q tests"]
    assert "Average of 1 Minute" in sections["crpc load status"] + sections["crpc load status"].title()
    assert "is above the limit 0" in sections["crpc load status limit=0 -I node01.lab || true"]
    assert "-1 is less than the minimum of 0" in done.stderr
