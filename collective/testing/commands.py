"""Replace commands in tests: executables at the front of PATH return canned output and record their calls."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CannedAnswer = Mapping[str, Any]

# Records its arguments, finds the longest key that they start with, and returns the answer for that key.
_STAND_IN = """#!{python} -IS
import fcntl, json, pathlib, sys
folder = pathlib.Path(__file__).parent
words = [pathlib.Path(__file__).name, *sys.argv[1:]]
answers = json.loads((folder / ".answers.json").read_text())
keys = [key for key in answers if words[: len(key.split())] == key.split()]
key = max(keys, key=len, default=None)
with (folder / ".calls.jsonl").open("a+") as calls:
    fcntl.flock(calls, fcntl.LOCK_EX)
    calls.seek(0)
    earlier = sum(json.loads(line)["key"] == key for line in calls)
    print(json.dumps({{"key": key, "words": words}}), file=calls)
if key is None:
    sys.exit(f"{{words}}: the test has no answer for this call")
answer = answers[key][min(earlier, len(answers[key]) - 1)]
sys.stdout.write(answer.get("stdout", ""))
sys.stderr.write(answer.get("stderr", ""))
sys.exit(answer.get("exitcode", 0))
"""


@contextmanager
def fake_commands(
    answers: Mapping[str, CannedAnswer | Sequence[CannedAnswer]], *, only: bool = False
) -> Iterator[Callable[[], list[list[str]]]]:
    """Replace commands in PATH, and yield a function that returns the list of calls.

    A key of `answers` is the name of a command, or its name and first arguments (`systemctl show`); the longest
    matching key is used. An answer is `{"stdout": str, "stderr": str, "exitcode": int}`, with every key optional. In a
    list of answers, each call uses the next one, and all further calls the last one. A call is
    `[name, argument, …]`; the list is also available after the block.
    With `only`, PATH contains no other commands.
    """
    table = {key: [answer] if isinstance(answer, Mapping) else list(answer) for key, answer in answers.items()}
    path = os.environ.get("PATH", os.defpath)
    with tempfile.TemporaryDirectory(prefix="fake-commands-") as name:
        folder = Path(name)
        noted = folder / ".calls.jsonl"
        noted.touch()
        ended: list[list[str]] = []
        (folder / ".answers.json").write_text(json.dumps(table), encoding="utf-8")
        for command in {key.split()[0] for key in table}:
            stand_in = folder / command
            stand_in.write_text(_STAND_IN.format(python=sys.executable), encoding="utf-8")
            stand_in.chmod(0o755)
        os.environ["PATH"] = name if only else f"{name}{os.pathsep}{path}"
        try:
            yield lambda: _calls(noted) if noted.exists() else ended
        finally:
            os.environ["PATH"] = path
            ended.extend(_calls(noted))


def _calls(path: Path) -> list[list[str]]:
    return [json.loads(line)["words"] for line in path.read_text(encoding="utf-8").splitlines()]
