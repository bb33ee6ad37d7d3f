"""Write a node's metrics to a file for Prometheus's node exporter (--collector.textfile.directory).

    every 30 s and at the end: NodeCollector ─► text ─► temporary file ─► rename

docs/reference/metrics.md lists the series. A file that cannot be written is logged at most every ten minutes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collective.errors import Failed
from collective.log_limiter import LogLimiter
from collective.node.requests.counters import Durations, Key
from collective.node.requests.reasons import COUNTERS
from collective.node.server import Server
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import Journal
from collective.periodic import PeriodicThread
from collective.replaced_file import replace_file
from collective.version import __version__

log = logging.getLogger(__name__)

PERIOD = 30.0  # seconds between writes
_MODE = 0o644  # another user runs the node exporter
_LAST_WRITE = 5.0  # seconds to wait for the last write
_LOG_PERIOD = 600.0  # seconds between log lines about a file that cannot be written

# Counter names of Replies, and the values of the label `result`.
_REPLIES = {"replies": "sent", "lost": "lost", "deferred": "deferred"}

Values = Mapping[Key, float]  # by label values


class Metrics:
    """Writes the metrics of one node to `path` in a thread of its own. `clock` returns monotonic seconds."""

    def __init__(
        self, path: Path, server: Server, journal: Journal, audit: AuditLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(server, journal, audit))
        self._thread = PeriodicThread("metrics", self.write, PERIOD, finish=self.write)
        self._limiter = LogLimiter(_LOG_PERIOD, clock)

    def start(self) -> None:
        """Write now and then every period."""
        self._thread.start()

    def stop(self) -> None:
        """Write a last time and end the thread."""
        self._thread.stop(_LAST_WRITE)

    def write(self) -> None:
        """Write once."""
        try:
            replace_file(self._path, generate_latest(self._registry), _MODE)
        except OSError as error:
            if self._limiter.allows():
                text = (
                    f"metrics: {self._path}: cannot be written: {error.strerror} (create its folder or change the path)"
                )
                log.warning("metrics.failed", extra={"error": text})
        except Exception:
            log.exception("node.internal_error")  # a metrics problem must not affect requests


class _NodeCollector(Collector):
    """Collects the counters of a node. Every series has the label `collective`: a machine may run several nodes."""

    def __init__(self, server: Server, journal: Journal, audit: AuditLog) -> None:
        self._server = server
        self._journal = journal
        self._audit = audit
        self._collective = server.collective
        self._started = time.time()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        server, counts = self._server, self._server.statistics.requests
        info = {"version": __version__, "identity": server.identity}
        yield self._gauges("info", "Always 1", {tuple(info.values()): 1}, *info)
        yield self._gauge("start_time_seconds", "Start time of the daemon in Unix seconds", self._started)
        received: Values = {(source,): counts[source] for source in ("received", "resumed")}
        yield self._counters(
            "requests", "Requests received from the queue, and resumed after a restart", received, "source"
        )
        results: Values = {(result,): counts[result] for result in COUNTERS}
        yield self._counters("request_results", "Requests by result; each request has one result", results, "result")
        yield self._histogram("request_age_seconds", "Age of requests when received", server.statistics.ages)
        took = server.statistics.durations
        yield self._histogram("action_duration_seconds", "Duration of actions", took, "agent", "action")
        ended = server.statistics.outcomes.read()
        yield self._counters("actions", "Actions by outcome", ended, "agent", "action", "outcome")
        replies: Values = {(result,): counts[name] for name, result in _REPLIES.items()}
        yield self._counters("replies", "Replies by result; a deferred one is sent or lost later", replies, "result")
        yield from self._state()

    def _state(self) -> Iterator[Metric]:
        """Yield the gauges of the current state."""
        server = self._server
        yield self._gauge(
            "requests_in_progress", "Requests that are queued, running or being replied to", server.pools.in_progress
        )
        yield self._gauge("agents", "Loaded agents", len(server.agents))
        yield self._gauge("plugin_errors", "Errors of plugins at the last load", len(server.plugins.problems))
        yield self._counters("audit_failures", "Audit log lines that could not be written", {(): self._audit.failures})
        if server.receiver.last_poll is not None:
            when = server.receiver.last_poll
            yield self._gauge("last_poll_timestamp_seconds", "Time of the last successful poll in Unix seconds", when)
        with suppress(Failed):  # the error of the journal is logged where requests use it
            entries, size = self._journal.size()
            yield self._gauge("journal_entries", "Requests in the journal", entries)
            yield self._gauge("journal_bytes", "Size of the journal in bytes", size)

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
