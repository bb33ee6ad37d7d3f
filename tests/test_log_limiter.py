"""Limits on repeated log lines."""

from __future__ import annotations

from collective.log_limiter import LogLimiter


def test_one_line_is_allowed_per_period() -> None:
    """Further lines are suppressed until a period after the last allowed line."""
    times = iter([100.0, 100.0, 101.0, 159.9, 160.0, 219.0, 220.0])
    limiter = LogLimiter(60.0, clock=lambda: next(times))
    assert [limiter.allows() for _ in range(6)] == [True, False, False, True, False, True]
