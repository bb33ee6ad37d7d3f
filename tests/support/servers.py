"""Independent servers for SQS and SNS, each started on a free loopback port, and stopped after the tests.

moto        comes with the `lab` extra; all tests use it
ministack   in a separate virtual environment, because it pins botocore
fauxqs      runs on Node.js; moto provides DynamoDB, which it does not have

`make servers` installs and selects the last two; docs/servers.md describes how they differ.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.ports import accepts, free_port
from support.waiting import wait_until

FOLDER = Path(__file__).parents[2] / ".servers"
PROGRAMS = FOLDER / "fauxqs/node_modules/.bin"
SELECTED = os.environ.get("SERVERS", "moto").split()
WITH_DYNAMODB = [name for name in SELECTED if name != "fauxqs"]
_UP = 30.0  # seconds within which a server must listen

Endpoints = Mapping[str, str]  # environment variables of boto3, with URLs


@contextmanager
def moto() -> Iterator[Endpoints]:
    """Run the server of the lab."""
    command = [sys.executable, "-m", "collective.lab.aws_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield {"AWS_ENDPOINT_URL": process.stdout.readline().strip()}
        finally:
            process.kill()


@contextmanager
def ministack() -> Iterator[Endpoints]:
    """Run ministack from its own environment."""
    variables = {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1"}
    with _listening([FOLDER / "ministack/bin/ministack"], "GATEWAY_PORT", variables) as url:
        yield {"AWS_ENDPOINT_URL": url}


@contextmanager
def fauxqs() -> Iterator[Endpoints]:
    """Run fauxqs, and moto for the registry."""
    command = [PROGRAMS / "fauxqs"]
    variables = {"FAUXQS_HOST": "127.0.0.1", "FAUXQS_LOGGER": "false"}
    with moto() as rest, _listening(command, "FAUXQS_PORT", variables) as url:
        yield {**rest, "AWS_ENDPOINT_URL_SQS": url, "AWS_ENDPOINT_URL_SNS": url}


SERVERS = {"moto": moto, "ministack": ministack, "fauxqs": fauxqs}


@pytest.fixture(scope="module", params=SELECTED)
def endpoints(request: pytest.FixtureRequest) -> Iterator[Endpoints]:
    """Return the endpoints of each selected server."""
    with SERVERS[request.param]() as found:
        yield found


@contextmanager
def _listening(command: Sequence[Path], port_variable: str, variables: Mapping[str, str]) -> Iterator[str]:
    """Run a server that listens on the port in an environment variable; yield its URL when it listens."""
    port = free_port()
    environment = {**os.environ, **variables, port_variable: str(port)}
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdin=silent, stdout=silent, stderr=silent) as process:
        try:
            name = command[0]
            wait_until(lambda: accepts(port) or process.poll() is not None, _UP, lambda: f"{name}: not listening")
            assert process.poll() is None, f"{name}: exited with {process.returncode}"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
