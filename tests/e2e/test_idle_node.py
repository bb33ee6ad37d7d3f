"""What an idle daemon costs, in counts: requests, processes, threads and libraries."""

from __future__ import annotations

import re
import time
from pathlib import Path

from support.daemons import configure, daemon
from support.footprint import footprint
from support.proxy import Proxy
from support.waiting import wait_until

UNUSED = ("rpds",)  # a part of jsonschema
THREADS = 26  # 10 + 4 + 2 of the pools, and one or two of each part


def test_an_idle_daemon_polls_every_20_seconds_and_is_one_process(tmp_path: Path, proxy: Proxy) -> None:
    """Between two polls there is no request at all, no helper process, and no library of jsonschema."""
    began: list[tuple[str, float]] = []

    def note(step: str, _content: bytes) -> None:
        if step.startswith("before "):
            began.append((step, time.monotonic()))

    configure(tmp_path, collective="idle", heartbeat=86400)  # the first one comes at a random time
    proxy.watch = note
    with daemon(tmp_path, proxy.url) as node:
        wait_until(lambda: len(_polls(began)) >= 3, 80)
        _, first, second = _polls(began)[:3]  # during the first one, the daemon still starts
        assert second - first > 19
        assert [step for step, when in began if first < when < second] == []
        used = footprint(node.process.pid)
        assert used.processes == 1
        assert used.threads <= THREADS
        libraries = re.findall(r"[^/\n]+\.so\b", Path(f"/proc/{node.process.pid}/maps").read_text())
        assert not [name for name in libraries if name.startswith(UNUSED)]


def _polls(began: list[tuple[str, float]]) -> list[float]:
    return [when for step, when in began if step == "before ReceiveMessage"]
