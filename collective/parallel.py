"""Run a function for many items in a small pool of threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

THREADS = 10  # more would only wait: for the network, and for the transport's connections

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(function: Callable[[_Item], _Result], items: Sequence[_Item], threads: int = THREADS) -> list[_Result]:
    """Return the results of `function` in the order of `items`; an exception cancels the items not yet started."""
    if len(items) <= 1 or threads <= 1:
        return [function(item) for item in items]
    pool = ThreadPoolExecutor(min(threads, len(items)))
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)
