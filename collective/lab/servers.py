"""The servers that a lab can use for SQS, SNS and DynamoDB.

    moto        in this Python; all three services; a publish reaches the first 100 queues only
    fauxqs      a package for Node.js, for SQS and SNS; moto serves DynamoDB beside it
    ministack   a Python package with an environment of its own; all three services
    URL         a server that runs already

`fauxqs` and `ministack` are programs that must be in PATH. Each server listens on a free loopback port.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from collective.errors import ConfigError, UsageError
from collective.lab.waiting import until

MOTO, FAUXQS, MINISTACK = NAMES = ("moto", "fauxqs", "ministack")
MAX_NODES_MOTO = 100  # nodes; moto delivers a publish only to the first 100 subscribers
_START_TIMEOUT = 30.0  # seconds
_INSTALL: Mapping[str, str] = {FAUXQS: "npm install -g fauxqs", MINISTACK: "pip install ministack"}
_HINT = f"use {', '.join(NAMES)}, or the URL of a server"

Endpoints = Mapping[str, str]  # URLs by environment variable of boto3


def check(server: str) -> None:
    """Raise UsageError for what is neither the name of a server nor a URL, ConfigError if it is not installed."""
    if server in _INSTALL and shutil.which(server) is None:
        raise ConfigError(f"lab: '{server}' is not in PATH ({_INSTALL[server]})")
    if server in NAMES:
        return
    try:
        parts = urlsplit(server)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # the port is not a number
        valid = False
    if not valid:
        raise UsageError(f"invalid server '{server}': {_HINT}")


@contextlib.contextmanager
def running(server: str) -> Iterator[Endpoints]:
    """Run a server for the time of the block; yield its URLs. A URL is that of a server that runs already."""
    with contextlib.ExitStack() as stack:
        if server not in NAMES:
            yield {"AWS_ENDPOINT_URL": server}
            return
        if server == MINISTACK:
            yield {"AWS_ENDPOINT_URL": stack.enter_context(_started(MINISTACK))}
            return
        found = {"AWS_ENDPOINT_URL": stack.enter_context(_started(MOTO))}
        if server == FAUXQS:
            url = stack.enter_context(_started(FAUXQS))
            found |= {"AWS_ENDPOINT_URL_SQS": url, "AWS_ENDPOINT_URL_SNS": url}
        yield found


@contextlib.contextmanager
def _started(name: str) -> Iterator[str]:
    """Run one program until the end of the block, or of this process; yield its URL when it listens."""
    command = [sys.executable, "-m", "collective.lab.aws_server", name]
    # With `-m`, Python would import modules from the current folder.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd="/")
    try:
        assert process.stdout is not None  # noqa: S101 - because of stdout=PIPE
        url = process.stdout.readline().decode().strip()
        port = urlsplit(url).port or 0
        until(lambda: process.poll() is not None or _listens(port), _START_TIMEOUT)
        if process.poll() is not None or not _listens(port):
            raise SystemExit(f"server '{name}' of the lab did not start (see above)")
        yield url
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return bool(port) and tried.connect_ex(("127.0.0.1", port)) == 0
