"""The folders of the user: the home folder, and those of collective for configuration and state (XDG).

Actions need them too, so this imports little.
"""

from __future__ import annotations

import os
from pathlib import Path

from collective.errors import ConfigError


def home_folder() -> Path:
    """Return the user's home folder; raise ConfigError for a user without one, as in many containers."""
    try:
        return Path.home()
    except RuntimeError:
        raise ConfigError(f"user ID {os.getuid()} has no home folder (set HOME)") from None


def user_folder(kind: str) -> Path:
    """Return the user's XDG folder of collective; `kind` is `CONFIG` or `STATE`."""
    fallback = {"CONFIG": ".config", "STATE": ".local/state"}[kind]
    base = os.environ.get(f"XDG_{kind}_HOME")
    return (Path(base) if base else home_folder() / fallback) / "collective"
