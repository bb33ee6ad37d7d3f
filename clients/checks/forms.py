"""A measured check as the line of a Nagios plug-in, as text for Prometheus, or as the line of a Cacti script."""

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


def as_prometheus(check: str, collective: str, measured: Measured, state: int, now: float) -> str:
    """Return a gauge for each value, for the state (0 ok, 1 warning, 2 critical, 3 unknown), and for the time."""
    label = f'{{collective="{collective}"}}'  # a name has no characters to escape
    prefix = f"collective_check_{check}"
    gauges = {
        f"{prefix}_state": (f"State of crpc check {check}: 0 ok, 1 warning, 2 critical, 3 unknown", float(state)),
        f"{prefix}_timestamp_seconds": (f"Time of crpc check {check} in Unix seconds", now),
    }
    for number, (name, value) in enumerate(measured.values.items()):
        suffix = "_seconds" if measured.unit == "s" and number == 0 else ""
        gauges[f"{prefix}_{name}{suffix}"] = (f"Value '{name}' of crpc check {check}", value)
    return "".join(
        f"# HELP {name} {about}.\n# TYPE {name} gauge\n{name}{label} {value:.15g}\n"
        for name, (about, value) in gauges.items()
    )


def as_cacti(measured: Measured, state: int) -> str:
    """Return `name:value` for the state and each value, as Cacti's data input methods read a script's output."""
    values = {"state": state, **measured.values}
    return " ".join(f"{name}:{value:.15g}" for name, value in values.items()) + "\n"
