"""`crpc inventory export --format prometheus-sd --listen ADDRESS:PORT`: serve targets until an interrupt or SIGTERM."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from collective.clients import options, output
from collective.clients.exports import forms
from collective.clients.exports.http_discovery import DiscoveryServer, TargetsNow
from collective.clients.exports.nodes import read_nodes
from collective.clients.results import interruptible
from collective.clients.streams import notice
from collective.config import ClientConfig
from collective.errors import UsageError
from collective.fleet.fleet import Fleet
from collective.fleet.targets import Targets
from collective.log_limiter import LogLimiter
from collective.nodesets import fold
from collective.text import plural

_LOG_PERIOD = 3600.0  # seconds between lines about nodes that are skipped


def serve(args: argparse.Namespace, facts: Sequence[str]) -> int:
    """Serve the targets with these facts as labels; return 0."""
    if not output.is_plain_text(args, ()):
        raise UsageError("--listen: output options are not supported")
    targets, config = options.targets(args), options.client_config(args)
    address, port = args.listen
    with Fleet.connect(config) as fleet:
        reader = FleetTargets(args, config, fleet, targets)
        with DiscoveryServer(address, port, TargetsNow(partial(reader.text, facts)), notice) as server:
            notice(f"serving targets at {server.url}")
            with interruptible(), suppress(KeyboardInterrupt):
                server.serve_forever()
    return 0


class FleetTargets:
    """The nodes of a fleet as targets; nodes without an address are reported each hour."""

    def __init__(self, args: argparse.Namespace, config: ClientConfig, fleet: Fleet, targets: Targets) -> None:
        self._args = args
        self._config = config
        self._fleet = fleet
        self._targets = targets
        self._limiter = LogLimiter(_LOG_PERIOD)

    def text(self, facts: Sequence[str]) -> str:
        """Return the targets as of now. Raises CollectiveError, also if no node matches."""
        nodes = read_nodes(self._fleet, self._fleet.find(self._targets, verify=True).nodes)
        skipped = [node.identity for node in nodes if node.problem is not None]
        if skipped and self._limiter.allows():
            notice(f"{plural(len(skipped), 'node')} skipped, without an address: {fold(skipped)}")
        return forms.text(self._args, self._config, [node for node in nodes if node.problem is None], facts)
