"""Read NRPE's configuration, substitute arguments, and split the output of plugins.

nrpe.cfg ── include, include_dir, nrpe.d/ ──► read ──► {name: command line} ── fill ──► command line for /bin/sh
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from collective.agent import Aborted

CONFIG = "/etc/nagios/nrpe.cfg"

_COMMAND = re.compile(r"command\[([^\]]+)\]")
_ARGUMENT = re.compile(r"""(["']?)\$ARG([0-9]+)\$\1""")
_SHELL_QUOTING = re.compile(r"""["'\\`]|\$\(|<<""")


def read(config: Path) -> dict[str, str]:
    """Return the checks in `config`, the files it includes and the folder nrpe.d beside it: `{name: command line}`.

    Of checks with the same name the last one is used, as in NRPE. Raises Aborted if there is no configuration.
    """
    settings: dict[str, str] = {}
    extra = config.parent / "nrpe.d"
    if not config.exists() and not extra.is_dir():
        raise Aborted(f"{config}: does not exist (install NRPE, or set config in the settings of nrpe)")
    _read_file(config, settings, set())
    _read_folder(extra, settings, {config})
    prefix = settings.pop("command_prefix", "")
    return {
        _COMMAND.fullmatch(key)[1]: f"{prefix} {line}".strip()  # type: ignore[index]  # only such keys are kept
        for key, line in settings.items()
    }


def fill(line: str, values: Sequence[str]) -> str:
    """Return `line` with each `$ARGn$` replaced by the n-th value, quoted, or by nothing without a value.

    Raises ValueError if the line contains shell quoting, inside which a quoted value would not be safe.
    """
    unquoted = _ARGUMENT.sub("", line)
    risky = _SHELL_QUOTING.search(unquoted) is not None

    def substitute(found: re.Match[str]) -> str:
        number = int(found[2])
        if not 1 <= number <= len(values):
            return found[1] * 2
        quoted = shlex.quote(values[number - 1])
        if risky and quoted != values[number - 1]:
            raise ValueError(
                f"argument {number} needs quoting, but the command line of the check contains quotes "
                "(use letters, digits and _@%+=:,./- only)"
            )
        return quoted

    return _ARGUMENT.sub(substitute, line)


def split(text: str) -> tuple[str, str]:
    """Return a plugin's output and its performance data.

    Monitoring Plugins guidelines: the first line is text, `|`, data; the following lines are long text, `|`, data.
    """
    first, _, rest = text.partition("\n")
    summary, _, data = first.partition("|")
    long_text, _, more_data = rest.partition("|")
    output = "\n".join(part for part in (summary.strip(), long_text.strip()) if part)
    perfdata = " ".join(part.strip() for part in (data, *more_data.splitlines()) if part.strip())
    return output, perfdata


def _read_file(path: Path, settings: dict[str, str], seen: set[Path]) -> None:
    if path in seen or not path.exists():  # NRPE ignores missing includes
        return
    seen.add(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Aborted(f"{path}: cannot be read: {error.strerror}") from None
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key in ("include", "include_file"):
            _read_file(path.parent / value, settings, seen)
        elif key == "include_dir":
            _read_folder(path.parent / value, settings, seen)
        elif key == "command_prefix" or _COMMAND.fullmatch(key):
            settings[key] = value


def _read_folder(folder: Path, settings: dict[str, str], seen: set[Path]) -> None:
    for path in sorted(folder.rglob("*.cfg")):
        _read_file(path, settings, seen)
