"""The facts of an EC2 instance: from its metadata, and what these do not have from the APIs of AWS.

    metadata (each facts_period) ─► id, region, tags ─┐
    APIs (each PERIOD, after an error RETRY) ─────────┴─► the fact ec2

An API that fails is reported, and its last values are kept. The metadata are never lost because of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from collective import ec2_metadata
from collective.errors import ConfigError
from collective.fact_files.formats import Values
from collective.fact_files.json_values import FactValues
from collective.node.actions.job import ActionJob
from collective.node.actions.runner import Runner

PERIOD = 900.0  # seconds between reads of the APIs; each has up to a tenth more, so that a fleet does not ask at once
RETRY = 300.0  # seconds after an error
SECONDS = 30.0  # time limit of a read
_PATH = f"{__file__.rpartition('/')[0]}/ec2_api.py"

Describe = Callable[[str, str, Sequence[str]], Mapping[str, Any]]


class EC2Facts:
    """Reads the fact `ec2`; `wanted` is what `describe` reads. `metadata` and `clock` are for tests."""

    def __init__(
        self,
        wanted: Sequence[str],
        describe: Describe,
        metadata: Callable[[], Values] = ec2_metadata.read,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted = wanted
        self._describe = describe
        self._metadata = metadata
        self._clock = clock
        self._instance = ""
        self._facts: dict[str, Any] = {}
        self._errors: tuple[str, ...] = ()
        self._next = float("-inf")

    def read(self) -> FactValues:
        """Return the facts. Raises ConfigError when the metadata cannot be read."""
        values = FactValues(self._metadata())
        if values and self._wanted:
            known = values["ec2"]
            self._refresh(str(known.get("instance_id", "")), str(known.get("region", "")))
            tags = known["tags"] or self._facts.get("tags", {})  # those of the metadata are newer
            values["ec2"] = {**known, **self._facts, "tags": tags}
            values.omitted = self._errors
        return values

    def _refresh(self, instance: str, region: str) -> None:
        if instance != self._instance:  # a machine made from the image of another one
            self._instance, self._facts, self._next = instance, {}, float("-inf")
        if self._clock() < self._next:
            return
        try:
            found = self._describe(instance, region, self._wanted)
            self._facts.update(found["facts"])
            self._errors = tuple(f"ec2.{line}" for line in found["errors"])
        except ConfigError as error:
            self._errors = (str(error),)
        period = RETRY if self._errors else PERIOD
        self._next = self._clock() + period * random.uniform(1, 1.1)  # noqa: S311 - spreads requests


def described_by(runner: Runner) -> Describe:
    """Return a function that asks the APIs in a process of the runner; it raises ConfigError."""

    def describe(instance: str, region: str, wanted: Sequence[str]) -> Mapping[str, Any]:
        inputs = {"instance": instance, "region": region, "wanted": list(wanted)}
        result = runner.run(ActionJob(_PATH, "describe", inputs, {}), SECONDS)
        if result.reason == "timeout":
            raise ConfigError(f"EC2 API: timed out after {SECONDS:.0f} s")
        if result.statuscode:
            raise ConfigError(f"EC2 API: {result.statusmsg}")
        found: Mapping[str, Any] = result.data
        return found

    return describe
