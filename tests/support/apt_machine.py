"""Say whether this machine can run the tests that install packages for real: root, on Debian, with apt.

Where it cannot, they are skipped with the reason; with CI in the environment they fail instead.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def require_apt() -> None:
    """Skip the calling test, or fail it under CI, where packages cannot be installed."""
    if os.geteuid() != 0:
        _cannot("only root may install packages")
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        _cannot("this is no Debian with apt-get")


def _cannot(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
