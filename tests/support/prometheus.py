"""Read the Prometheus text format."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, ...], float]  # by name and label values; the label `collective` is omitted


def samples(path: Path) -> Samples:
    """Return the samples in a metrics file."""
    found: Samples = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            labels = [value for label, value in sample.labels.items() if label != "collective"]
            key = (sample.name, *labels)
            found[key] = sample.value
    return found
