"""The settings of the agent file for the folders of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def settings(area: Path) -> dict[str, Any]:
    """Return settings that allow reading below `read` and writing below `write`, and keep pieces in `staging`."""
    staging = str(area / "staging")
    return {"read": [str(area / "read")], "write": [str(area / "write")], "staging": staging, "max_size": 10**9}
