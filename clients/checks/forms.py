"""A measured check as the line of a Nagios plug-in, or as text for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from collective.clients.checks.measures import Measured
from collective.clients.checks.thresholds import Threshold
from collective.clients.nagios import CRITICAL, OK, WARNING, one_line

_STATES = {OK: "OK", WARNING: "WARNING", CRITICAL: "CRITICAL"}


def state_of(measured: Measured, warning: Threshold, critical: Threshold) -> int:
    """Return the state of a check: the exit code for Nagios."""
    value = next(iter(measured.values.values()))
    if measured.critical or critical.alerts(value):
        return CRITICAL
    return WARNING if warning.alerts(value) else OK


def as_nagios(check: str, measured: Measured, state: int, thresholds: Mapping[str, Threshold]) -> str:
    """Return the line with performance data; the first value has the `warning` and `critical` thresholds."""
    (name, value), *others = measured.values.items()
    warning, critical = thresholds["warning"].text, thresholds["critical"].text
    data = [f"{name}={value:.15g}{measured.unit};{warning};{critical};0", *(f"{one}={n:.15g};;;0" for one, n in others)]
    text = ", ".join(filter(None, (measured.critical, measured.text)))
    return f"{check}: {_STATES[state]}: {one_line(text)}|{' '.join(data)}\n"


def as_prometheus(check: str, collective: str, measured: Measured, state: int) -> str:
    """Return a gauge for each value, and one for the state: 0 ok, 1 warning, 2 critical."""
    label = f'{{collective="{collective}"}}'  # a name has no characters to escape
    gauges = {f"collective_check_{check}_state": (f"State of crpc check {check}: 0, 1 or 2", float(state))}
    for name, value in measured.values.items():
        suffix = "_seconds" if name == "time" else ""
        gauges[f"collective_check_{check}_{name}{suffix}"] = (f"Value '{name}' of crpc check {check}", value)
    return "".join(
        f"# HELP {name} {about}.\n# TYPE {name} gauge\n{name}{label} {value:.15g}\n"
        for name, (about, value) in gauges.items()
    )
