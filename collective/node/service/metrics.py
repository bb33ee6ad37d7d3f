"""Write a node's figures for Prometheus: a text file that its node exporter reads (--collector.textfile.directory).

    every 30 s, and at the stop: Figures ─► the registry's text ─► a file, put in its place at once

docs/reference/metrics.md lists them. A file that cannot be written is logged every ten minutes.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collective import __version__
from collective.errors import Failed
from collective.node.requests.counters import Durations, Key
from collective.node.requests.reasons import COUNTERS
from collective.node.server import Server
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import Journal

log = logging.getLogger(__name__)

PERIOD = 30.0  # seconds between writings
_LAST = 5.0  # seconds that the last writing may take
_LOG_PERIOD = 600.0  # seconds between log lines about a file that cannot be written

# What becomes of replies, as Replies counts it.
_REPLIES = {"replies": "sent", "lost": "lost", "deferred": "deferred"}


Values = Mapping[Key, float]  # by the labels' values


class Metrics:
    """Writes the figures of one node to `path` in a thread of its own. `clock` returns seconds that only grow."""

    def __init__(
        self, path: Path, server: Server, journal: Journal, audit: AuditLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(server, journal, audit))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._next_log = clock()

    def start(self) -> None:
        """Write now, and every period from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Write a last time, and no more."""
        self._stopping.set()
        self._thread.join(_LAST)

    def write(self) -> None:
        """Write once."""
        try:
            _put(self._path, generate_latest(self._registry))
        except OSError as error:
            if self._clock() >= self._next_log:
                self._next_log = self._clock() + _LOG_PERIOD
                text = f"metrics: {self._path}: cannot be written: {error.strerror}: make its folder, or name another"
                log.warning("metrics.failed", extra={"error": text})
        except Exception:
            log.exception("node.defect")  # nobody who waits for an answer misses a figure

    def _run(self) -> None:
        self.write()
        while not self._stopping.wait(PERIOD):
            self.write()
        self.write()


class _Figures(Collector):
    """Collects what a node has counted. Every figure has the label `collective`: a machine may be in several."""

    def __init__(self, server: Server, journal: Journal, audit: AuditLog) -> None:
        self._server = server
        self._journal = journal
        self._audit = audit
        self._collective = server.collective
        self._started = time.time()

    def collect(self) -> Iterator[Metric]:
        """Yield all figures."""
        server, counts = self._server, self._server.statistics.requests
        info = {"version": __version__, "identity": server.identity}
        yield self._gauges("info", "Always 1", {tuple(info.values()): 1}, *info)
        yield self._gauge("start_time_seconds", "When the daemon began, in Unix seconds", self._started)
        received: Values = {(source,): counts[source] for source in ("received", "resumed")}
        yield self._counters("requests", "Requests from the queue, and left by an earlier daemon", received, "source")
        fates: Values = {(fate,): counts[fate] for fate in COUNTERS}
        yield self._counters("request_fates", "What became of requests: each has one fate", fates, "fate")
        yield self._histogram("request_age_seconds", "How old requests were on receipt", server.statistics.ages)
        took = server.statistics.durations
        yield self._histogram("action_duration_seconds", "How long actions took", took, "agent", "action")
        ended = server.statistics.outcomes.read()
        yield self._counters("actions", "How actions ended", ended, "agent", "action", "outcome")
        sent: Values = {(fate,): counts[name] for name, fate in _REPLIES.items()}
        yield self._counters("replies", "What became of replies; a deferred one is sent or lost later", sent, "fate")
        yield from self._state()

    def _state(self) -> Iterator[Metric]:
        """Yield how things are now."""
        server = self._server
        yield self._gauge(
            "requests_in_progress", "Requests that wait, run or are being answered", server.pools.in_progress
        )
        yield self._gauge("agents", "Agents that serve", len(server.agents))
        yield self._gauge(
            "plugin_faults", "Plugins that were refused when they were loaded", len(server.plugins.problems)
        )
        yield self._counters(
            "audit_failures", "Lines of the audit that could not be written", {(): self._audit.failures}
        )
        if server.receiver.last_poll is not None:
            when = server.receiver.last_poll
            yield self._gauge("last_poll_timestamp_seconds", "When a poll last went well, in Unix seconds", when)
        with suppress(Failed):  # a journal that cannot be read says so elsewhere
            entries, size = self._journal.size()
            yield self._gauge("journal_entries", "Requests that the journal remembers", entries)
            yield self._gauge("journal_bytes", "Bytes that it takes for them", size)

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        return self._gauges(name, text, {(): value})

    def _gauges(self, name: str, text: str, values: Values, *labels: str) -> Metric:
        family = GaugeMetricFamily(f"collective_{name}", text, labels=["collective", *labels])
        for key, value in values.items():
            family.add_metric([self._collective, *key], value)
        return family

    def _counters(self, name: str, text: str, values: Values, *labels: str) -> Metric:
        family = CounterMetricFamily(f"collective_{name}", text, labels=["collective", *labels])
        for key, value in values.items():
            family.add_metric([self._collective, *key], value)
        return family

    def _histogram(self, name: str, text: str, durations: Durations, *labels: str) -> Metric:
        family = HistogramMetricFamily(f"collective_{name}", text, labels=["collective", *labels])
        for key, (counts, total) in durations.read().items():
            bounds = [*map(str, durations.BOUNDS), "+Inf"]
            family.add_metric([self._collective, *key], list(zip(bounds, counts, strict=True)), sum_value=total)
        return family


def _put(path: Path, content: bytes) -> None:
    """Put a file that everybody may read in its place at once; raise OSError.

    The folder may be another user's, and hold links of his: the name is new, and nothing is opened through a link.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
