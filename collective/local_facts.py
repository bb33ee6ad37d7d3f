"""The file with a node's facts and classes, for people and programs on that machine: the daemon writes it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective.errors import ConfigError

FACTS, PROMPT = "facts.json", "prompt"  # files in the folder local_files
MAX_FILE = 16 * 1024 * 1024  # bytes
OLD = 600.0  # seconds after which the daemon has certainly not confirmed the files


@dataclass(frozen=True)
class LocalFacts:
    """What a node has written about itself. `age` is in seconds, since it was last confirmed."""

    collective: str
    identity: str
    facts: Mapping[str, Any]
    classes: tuple[str, ...]
    age: float

    @property
    def is_old(self) -> bool:
        """Whether the daemon has probably stopped."""
        return self.age > OLD


def read(folder: Path | None) -> LocalFacts:
    """Read the file in the folder `local_files` of node.yaml. Raises ConfigError."""
    if folder is None:
        raise ConfigError("node.yaml: local_files is not set, so the node keeps no facts here (set it to a folder)")
    path = folder / FACTS
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE)
        age = max(0.0, time.time() - path.stat().st_mtime)
        return _facts(json.loads(text), age)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: does not exist (start collectived, or restart it after a change of node.yaml)"
        ) from None
    except PermissionError:
        hint = "local_facts_readable in node.yaml is not true, or its folder is closed"
        raise ConfigError(f"{path}: this user cannot read it ({hint})") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigError(f"{path}: not what collectived writes (remove the file)") from None


def _facts(value: Any, age: float) -> LocalFacts:
    facts, classes = value["facts"], value["classes"]
    if not isinstance(facts, dict) or not isinstance(classes, list):
        raise TypeError
    return LocalFacts(str(value["collective"]), str(value["identity"]), facts, tuple(map(str, classes)), age)
