"""Read Prometheus's text format."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, ...], float]  # by name, and the values of its labels in their order, but for `collective`


def samples(path: Path) -> Samples:
    """Return what a file of figures says."""
    found: Samples = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            labels = [value for label, value in sample.labels.items() if label != "collective"]
            key = (sample.name, *labels)
            found[key] = sample.value
    return found
