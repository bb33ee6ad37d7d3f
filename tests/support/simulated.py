"""Simulated fleets for tests."""

from __future__ import annotations

from collections.abc import Callable

from collective.testing import Simulation

Make = Callable[..., Simulation]
