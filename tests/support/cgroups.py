"""Find the cgroup v2 hierarchy, for tests."""

from __future__ import annotations

from pathlib import Path

MOUNTED = [root for root in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")) if (root / "cgroup.procs").exists()]
