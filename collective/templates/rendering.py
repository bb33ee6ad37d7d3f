"""Render a template in a child process, which the kernel or this process ends when it takes too much.

render(read_source(path), path, template_values(membership, own)) ─► text, or ConfigError `FILE:LINE: WHAT`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collective.errors import ConfigError

SOURCE_LIMIT = 1024 * 1024  # bytes of a template
OUTPUT_LIMIT = 16 * 1024 * 1024  # characters of a rendered file
CPU_LIMIT = 10  # seconds of processor time
TIME_LIMIT = 30.0  # seconds, on a machine that is busy
_PASSED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")  # of the environment
MEMORY_LIMIT = 1024 * 1024 * 1024  # bytes


def read_source(path: Path) -> str:
    """Return the text of a template. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(SOURCE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > SOURCE_LIMIT:
        raise ConfigError(f"{path}: more than {SOURCE_LIMIT} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None


def check_syntax(source: str, path: Path) -> None:
    """Raise ConfigError, which names `path` and the line, if the template has a syntax error."""
    from jinja2 import TemplateSyntaxError  # the node checks few templates

    from collective.templates.environment import environment

    try:
        environment({"members": []}).compile(source, str(path), str(path))
    except TemplateSyntaxError as error:
        raise ConfigError(f"{path}:{error.lineno}: {error.message}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply") from None


def render(source: str, path: Path, values: Mapping[str, Any]) -> str:
    """Return the rendered text. Raises ConfigError, which names `path` and the line, if the template has an error."""
    request = json.dumps({"source": source, "name": str(path), "values": values})
    answer = _answer(request.encode(), path)
    if "text" in answer:
        return _encodable(str(answer["text"]), path)
    where = f"{path}:{answer['line']}" if answer["line"] else str(path)
    raise ConfigError(f"{where}: {answer['error']}")


def _encodable(text: str, path: Path) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{path}: the result has the character {text[error.start]!r}, which is not valid") from None
    return text


def _answer(request: bytes, path: Path) -> dict[str, Any]:
    """Return the answer of a child process, which gets no credentials, and no modules of the current folder."""
    command = [sys.executable, "-m", "collective.templates.child", str(os.getpid())]
    env = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            command, input=request, capture_output=True, timeout=TIME_LIMIT, check=False, cwd="/", env=env
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{path}: rendering takes longer than {TIME_LIMIT:g} s (simplify its loops)") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be rendered: {error.strerror}") from None
    if done.returncode < 0:
        raise ConfigError(f"{path}: rendering takes more than {CPU_LIMIT} s of processor time (simplify its loops)")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ConfigError(f"{path}: cannot be rendered: {last or f'exit code {done.returncode}'}") from None
    return answer
