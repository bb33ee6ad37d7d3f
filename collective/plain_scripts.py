"""Run executable files without a `#!` line by /bin/sh, as shells and execvp(3) do.

execve(2) refuses such a file: `Exec format error`. The programs that run the same files elsewhere accept it: NRPE
starts plugins with popen(3), and people start commands from a shell.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

_LOOKED_AT = 80  # bytes; as in bash, a file with a zero byte in them is a binary


def by_shell(command: Sequence[str], path: str | None = None) -> list[str] | None:
    """Return the command that runs a plain script with /bin/sh; None if the program is not one.

    `path` is the PATH in which a name is searched (default: that of this process).
    """
    program = shutil.which(command[0], path=path)
    if program is None:
        return None
    try:
        with open(program, "rb") as file:  # noqa: PTH123 - imported by every worker
            start = file.read(_LOOKED_AT)
    except OSError:
        return None
    return None if b"\0" in start else ["/bin/sh", program, *command[1:]]
