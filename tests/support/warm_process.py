"""The warm process of `crpc`, for tests."""

from __future__ import annotations

import json
from pathlib import Path

from support.crpc_process import make_crpc


class Warm:
    """The warm process of an environment."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.crpc = make_crpc(environment)
        self.cold = make_crpc({**environment, "COLLECTIVE_WARM": "no"})

    def state(self) -> dict[str, int]:
        """Return its state."""
        found: dict[str, int] = json.loads(self.crpc("warm", "status", "--json").stdout)
        logs = Path(self.environment["XDG_RUNTIME_DIR"]).glob("collective-warm/*.log")
        assert found["running"], "".join(log.read_text() for log in logs)
        return found

    def served(self) -> int:
        """Return the number of calls that it has run."""
        return self.state()["calls"]
