"""The `template` of a watch: a file that is rendered from the members of a collective, and what is done with it.

template:
  src: haproxy.cfg.j2                     Jinja2
  dest: /etc/haproxy/haproxy.cfg
  mode: 0640
  owner: root:haproxy
  check: haproxy -c -f {candidate}        before the file is replaced
  reload: systemctl reload haproxy        afterwards; if it fails, the file before is restored
  min_interval: 10s
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import durations
from collective.errors import ConfigError, UsageError
from collective.suggestions import suggest

CANDIDATE = "{candidate}"  # in `check`: the path of the rendered file
_MODE = re.compile("0?[0-7]{3}")
_OWNER = re.compile(r"[^:\s]+(:[^:\s]+)?|:[^:\s]+")


@dataclass(frozen=True)
class TemplateSettings:
    """One template. `mode` is a number, `owner` is `USER`, `USER:GROUP` or `:GROUP`; None: as the file has them.

    `check` and `reload` are lines for `/bin/sh`. `min_interval` is the shortest time between two changes, in seconds.
    """

    src: Path
    dest: Path
    mode: int | None = None
    owner: str | None = None
    check: str | None = None
    reload: str | None = None
    min_interval: float = 0.0


def read_template(value: Any, where: str, folder: Path) -> TemplateSettings:
    """Return the settings; paths are relative to `folder`. `where` begins the message of a ConfigError."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a mapping, not {value!r}")
    for key in value:
        if key not in _READ:
            raise ConfigError(f"{where}: unknown key '{key}' ({suggest(str(key), _READ, 'keys: ' + ', '.join(_READ))})")
    for key in ("src", "dest"):
        if key not in value:
            raise ConfigError(f"{where}: required key '{key}' is missing")
    read = {key: _READ[key](one, f"{where}.{key}") for key, one in value.items()}
    if CANDIDATE not in read.get("check", CANDIDATE):
        raise ConfigError(f"{where}.check: has no {CANDIDATE}, the path of the file to check (add it)")
    src, dest = folder / read["src"], folder / read["dest"]
    if os.path.realpath(src) == os.path.realpath(dest):
        raise ConfigError(f"{where}.dest: {dest} is the template itself (name another file)")
    return TemplateSettings(**{**read, "src": src, "dest": dest})


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ConfigError(f"{where}: must be a string that is not empty, not {value!r}")
    return value


def _mode(value: Any, where: str) -> int:
    """Return a mode: YAML reads 0644 as a string, and 644 as a number, which stands for the same."""
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if not _MODE.fullmatch(text):
        raise ConfigError(f"{where}: invalid mode {value!r}: use three octal digits, such as 0644")
    return int(text, 8)


def _owner(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _OWNER.fullmatch(value):
        raise ConfigError(f"{where}: invalid owner {value!r}: use USER, USER:GROUP or :GROUP")
    return value


def _interval(value: Any, where: str) -> float:
    text = str(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else repr(value)
    try:
        return durations.read_wait(text)
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from None


_READ: Mapping[str, Callable[[Any, str], Any]] = {
    "src": _text,
    "dest": _text,
    "mode": _mode,
    "owner": _owner,
    "check": _text,
    "reload": _text,
    "min_interval": _interval,
}
