"""One real `collectived` with its own folder, against a server or a proxy in front of one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.crpc_process import BIN, clean_environment
from support.waiting import wait_until

COLLECTIVE = "outage"
IDENTITY = "web1.example.com"


def aws_environment(url: str) -> dict[str, str]:
    """Return an environment in which boto3 uses `url` and no real account."""
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
        """The log so far."""
        return (self.folder / "log").read_text()

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The entries of the audit log."""
        path = self.folder / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for_decision(self, count: int = 1) -> None:
        """Wait until the audit log has `count` decisions."""
        wait_until(lambda: sum(line["event"] == "decision" for line in self.audit) >= count, 30)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log entries of one event."""
        lines = [line for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 40.0) -> None:
        """Wait until an event has been logged `count` times."""
        wait_until(lambda: len(self.events(name)) >= count, seconds, lambda: f"no {name} in:\n{self.log}")


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
    """Run `collectived` with the configuration in `folder` against the server at `url`.

    `by` is a command that runs it, such as `ip netns exec`; `env` has further environment variables. The block starts
    when the daemon serves, or at once if `serving` is false.
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
