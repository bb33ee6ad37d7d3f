"""Read the TOML file of a template resource, and convert it with its template.

Source: confd, "Template Resources" in its documentation.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from collective import schemas
from collective.confd_import.go_template import converted
from collective.errors import ConfigError
from collective.template_settings import CANDIDATE
from collective.yaml_file import read_text

# The type checker reads this for Python 3.10, which has no tomllib; on others, tomli is not installed.
_toml: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
_SRC = re.compile(r"\{\{-?\s*\.src\s*-?\}\}")
_ACTION = re.compile(r"\{\{.*?\}\}")
_KNOWN = {"src", "dest", "mode", "owner", "uid", "gid", "check_cmd", "reload_cmd"}
_SILENT = {"keys"}  # which keys confd reads from its store: the members have all of theirs


@dataclass(frozen=True)
class ImportedTemplate:
    """A converted resource: the content of NAME.yaml and NAME.j2. `lost` has a line for each part not converted."""

    name: str
    settings: str
    template: str
    lost: tuple[str, ...]


def read(path: Path, template: Path | None, keys: Mapping[str, str]) -> ImportedTemplate:
    """Convert a resource; `keys` replaces the starts of keys. Raises ConfigError if a file cannot be read."""
    text = read_text(path)
    section, others = _sections(path, text)
    for name in ("src", "dest"):
        if not isinstance(section.get(name), str):
            raise ConfigError(f"{path}: template.{name}: required key is missing, or is not a string")
    source = template or _template(path, section["src"])
    go = converted(read_text(source), str(source), keys)
    values, lost = _settings(section, path.stem)
    lost += [(name, f"{name}: has no counterpart") for name in others]
    lines = [f"{path}:{_line(text, name)}: {problem}" for name, problem in lost]
    return ImportedTemplate(path.stem, _yaml(path, values), go.text, (*lines, *go.lost))


def _sections(path: Path, text: str) -> tuple[dict[str, Any], list[str]]:
    """Return the section [template], and the names of the others."""
    try:
        document = _toml.loads(text)
    except _toml.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    section = document.get("template")
    if not isinstance(section, dict):
        raise ConfigError(f"{path}: has no section [template] (is it a template resource of confd?)")
    return section, [name for name in document if name != "template"]


def _template(path: Path, src: str) -> Path:
    """Return the path of a template: in the folder `templates` beside `conf.d`, or beside the resource."""
    usual = path.absolute().parent.parent / "templates" / src
    return usual if usual.exists() else path.parent / src


def _settings(section: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the template of a watch, and for each key that has no counterpart its name and why."""
    values: dict[str, Any] = {"src": f"{name}.j2", "dest": section["dest"]}
    lost = list(_without_counterpart(section))
    if "mode" in section:
        values["mode"] = str(section["mode"])
    if owner := _owner(section):
        values["owner"] = owner
    for key, ours in (("check_cmd", "check"), ("reload_cmd", "reload")):
        line = _SRC.sub(CANDIDATE if ours == "check" else "\\g<0>", str(section.get(key, "")))
        if action := _ACTION.search(line):
            lost.append((key, f"{key}: {action[0]} has no counterpart"))
        elif line and ours == "check" and CANDIDATE not in line:
            lost.append((key, "check_cmd: has no {{.src}}, so that it cannot check the new file (put it into reload)"))
        elif line:
            values[ours] = line
    return values, lost


def _without_counterpart(section: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in section:
        if name == "prefix":
            yield name, "prefix: the keys of members have none (use --key to replace keys)"
        elif name not in _KNOWN | _SILENT:
            yield name, f"{name}: has no counterpart"


def _owner(section: Mapping[str, Any]) -> str:
    user = section.get("owner", section.get("uid", ""))
    return f"{user}:{section['gid']}" if "gid" in section else str(user)


def _line(text: str, name: str) -> int:
    found = re.search(rf"^\s*(\[{re.escape(name)}\]|{re.escape(name)}\s*=)", text, re.MULTILINE)
    return text.count("\n", 0, found.end()) + 1 if found else 1


def _yaml(path: Path, values: Mapping[str, Any]) -> str:
    import yaml

    head = f"# yaml-language-server: $schema={schemas.schema_id('template')}\n# Converted from confd's {path.name}.\n"
    return head + yaml.safe_dump({"template": dict(values)}, sort_keys=False, allow_unicode=True)
