"""The folder of the standard agents' DDLs, which callers and nodes have."""

from __future__ import annotations

from pathlib import Path

from collective import ddls

DDLS = Path(*ddls.__path__)  # without importlib.resources, which takes 5 ms to import
