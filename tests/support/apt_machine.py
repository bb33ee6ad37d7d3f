"""Check that this machine can run the tests that install packages: root, Debian, apt.

Otherwise the tests are skipped with the reason, or fail if CI is set.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def require_apt() -> None:
    """Skip the calling test if packages cannot be installed; fail it under CI."""
    if os.geteuid() != 0:
        _cannot("installing packages needs root")
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        _cannot("this test needs Debian with apt-get")


def _cannot(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
