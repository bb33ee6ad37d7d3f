"""The threads of a node run from the start: later, no further thread may be possible."""

from __future__ import annotations

import subprocess
import sys

LIMITED = """
import os, resource, threading
from collective.errors import Failed
from collective.node.requests.pools import thread_pool

def limit(more):
    size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + more, resource.RLIM_INFINITY))

threading.stack_size(64 * 1024 * 1024)
"""


def limited(code: str) -> str:
    """Run code that can `limit` its address space, and so the number of threads that it can start."""
    command = [sys.executable, "-c", LIMITED + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_calls_are_made_when_no_further_thread_can_be_started() -> None:
    """Calls that are submitted run at once: none is kept for a thread that cannot be started."""
    code = """
pool = thread_pool(4, "action")
limit(0)
together = threading.Barrier(4)
calls = [pool.submit(together.wait, 10) for _ in range(4)]
print(sorted(call.result() for call in calls))
"""
    assert limited(code) == "[0, 1, 2, 3]\n"


def test_a_pool_whose_threads_cannot_be_started_is_an_error() -> None:
    """The daemon does not start, and says which setting helps."""
    code = """
limit(150 * 1024 * 1024)
try: thread_pool(10, "action")
except Failed as error: print(error)
"""
    message = "10 threads cannot be started: can't start new thread (see 'max_actions')\n"
    assert limited(code) == message
