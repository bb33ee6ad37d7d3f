"""One real `collectived` in a folder of its own, pointed at a server (or a proxy before it), for tests of outages."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.crpc_process import BIN, clean_environment

COLLECTIVE = "outage"
IDENTITY = "web1.example.com"


def aws_environment(url: str) -> dict[str, str]:
    """Return variables that point boto3 at `url`, and at no account."""
    return {
        **clean_environment(),
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass
class Daemon:
    """A running daemon and its folder."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self.folder / "log").read_text()

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The lines of its audit."""
        path = self.folder / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for_decision(self, count: int = 1) -> None:
        """Wait until it has decided on so many requests."""
        wait_until(lambda: sum(line["event"] == "decision" for line in self.audit) >= count, 20)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log's lines about one event."""
        lines = [line for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 40.0) -> None:
        """Wait until an event has been logged `count` times."""
        wait_until(lambda: len(self.events(name)) >= count, seconds, lambda: f"no {name} in:\n{self.log}")


def wait_until(holds: Callable[[], bool], seconds: float, said: Callable[[], str] = lambda: "") -> None:
    """Wait until something holds; fail when it does not in time."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, said()
        time.sleep(0.05)


def configure(folder: Path, collective: str = COLLECTIVE, **node: Any) -> None:
    """Write node.yaml, client.yaml and a policy that allows everything (JSON is YAML)."""
    for name in ("agents", "ddl", "settings"):
        (folder / name).mkdir(exist_ok=True)
    values = {
        "collective": collective,
        "identity": IDENTITY,
        "accept_unsigned": True,
        "state": "state",
        "registry": "none",
        "agents": ["agents"],
        "ddls": ["ddl"],
        "settings": "settings",
        "policy": "policy.yaml",
        "audit": "audit.jsonl",
        "log_format": "json",
        **node,
    }
    (folder / "node.yaml").write_text(json.dumps(values))
    (folder / "policy.yaml").write_text('{"rules": [{"callers": ["*"]}]}')
    client = {"collective": collective, "caller": "alice", "key": "none", "state": "state", "registry": "none"}
    (folder / "client.yaml").write_text(json.dumps({**client, "ddls": ["ddl"]}))


@contextmanager
def daemon(
    folder: Path, url: str, *, serving: bool = True, by: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """Run `collectived` on the configuration in `folder` against the server at `url`.

    It is run `by` another command, or none; `env` are further variables.
    """
    command = [*by, str(BIN / "collectived"), "--config", str(folder / "node.yaml")]
    environment = {**aws_environment(url), **(env or {})}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    running = Daemon(folder, process)
    try:
        if serving:
            running.wait_for("daemon.serving")
        yield running
    finally:
        process.kill()
        process.wait()
