"""Render one template, in a process of its own with bounded time and memory: `python -m collective.templates.child`.

    standard input     {"source", "name", "values"} as JSON
    standard output    {"text"} or {"error", "line"} as JSON; `line` may be null

A loop of Python cannot be interrupted from another thread, and a string can take all memory: the kernel ends this
process instead. It gives up the rights of root.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from types import CodeType
from typing import Any

from jinja2 import Template

from collective.processes import die_with_parent
from collective.sandbox import problem, written
from collective.templates.environment import TemplateFailed, environment
from collective.templates.keys import KeyMissing
from collective.templates.rendering import CPU_LIMIT, MEMORY_LIMIT, OUTPUT_LIMIT

_NOBODY = 65534  # user and group of Debian, Red Hat and SUSE for processes without rights
# Python and Jinja2 import some modules only when they are needed, which may then be out of reach.
_WARM_UP = {"source": "{{ 'a' | pprint }}{{ x }}", "name": "warm-up", "values": {"members": []}}


def main() -> None:
    """Answer one request."""
    die_with_parent(int(sys.argv[1]))
    _render(_WARM_UP)
    request = json.load(sys.stdin.buffer)
    _give_up_rights()
    answer = _render(request)
    sys.stdout.write(json.dumps(answer))


def _give_up_rights() -> None:
    if os.geteuid() == 0:
        with suppress(OSError):  # in a container without the capability
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT, CPU_LIMIT))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _render(request: Mapping[str, Any]) -> dict[str, Any]:
    name, values = request["name"], request["values"]
    made = environment(values)
    try:
        code: CodeType = made.compile(request["source"], name, name)
        template = Template.from_code(made, code, made.globals)
        return {"text": written(template, values, OUTPUT_LIMIT)}
    except MemoryError:
        return {"error": f"needs more than {MEMORY_LIMIT // 1024**2} MiB of memory", "line": None}
    except (TemplateFailed, KeyMissing) as error:
        return {"error": str(error), "line": _line(error, name)}
    except Exception as error:
        return {"error": problem(error), "line": getattr(error, "lineno", None) or _line(error, name)}


def _line(error: BaseException, name: str) -> int | None:
    """Return the line of the template that an error is from; Jinja2 puts the template's lines into the traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return lines[-1] if lines else None


if __name__ == "__main__":
    main()
