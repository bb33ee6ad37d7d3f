"""A node's or caller's clock that is an hour off (by libfaketime) is detected, and affects no other machine."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from support import failures
from support.crpc_process import Crpc, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.proxy import Proxy
from support.waiting import wait_until

HOUR = "+1h"


@pytest.fixture
def hour_off(needs: Callable[[str, str], None]) -> dict[str, str]:
    """Return environment variables that set the clock of a process and its children forward by an hour."""
    needs("faketime", "faketime")
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return {"LD_PRELOAD": str(library), "FAKETIME": HOUR, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder with the configuration of a unique collective."""
    configure(tmp_path, collective=f"clock-{uuid.uuid4().hex[:8]}")
    return tmp_path


@pytest.fixture
def crpc(folder: Path, proxy: Proxy) -> Crpc:
    """Return a caller."""
    return make_crpc({**aws_environment(proxy.url), "COLLECTIVE_CONFIG": str(folder)})


def by(variables: dict[str, str]) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in variables.items())]


@pytest.mark.failure(failures.CLOCK, "the node's clock is an hour off")
def test_a_node_an_hour_off_serves(crpc: Crpc, folder: Path, proxy: Proxy, hour_off: dict[str, str]) -> None:
    """Ages are by the server's clock; `ping -v` and the node's log report the wrong clock."""
    with daemon(folder, proxy.url, by=by(hour_off)) as node:
        assert re.search(r"clock=\+3(600|599)\.\d+ s", crpc("ping", "-v", "-I", IDENTITY).stdout)
        # Not in the first second of the journal: the server gives its time in whole seconds.
        wait_until(lambda: crpc("shell", "run", "command=true", "-I", IDENTITY).returncode == 0, 30)
        (warning,) = node.events("clock.off")
        assert warning["level"] == "WARNING"
        assert abs(warning["skew_s"] - 3600) < 2


@pytest.mark.failure(failures.CLOCK, "the caller's clock is an hour off")
def test_a_request_of_a_caller_an_hour_off_is_refused(
    crpc: Crpc, folder: Path, proxy: Proxy, hour_off: dict[str, str]
) -> None:
    """A request of a caller an hour off does not run; the refusal and `ping -v` contain the difference."""
    with daemon(folder, proxy.url):
        done = crpc("shell", "run", f"command=touch {folder}/ran", "-I", IDENTITY, "--json", **hour_off)
        (reply,) = json.loads(done.stdout)["replies"]
        assert (reply["statuscode"], reply["reason"]) == (5, "expired")
        assert re.search(r"the caller's clock is \+3(600|599|601) s off, the limit is 300 s", reply["statusmsg"])
        assert not (folder / "ran").exists()
        seen = crpc("ping", "-v", "-I", IDENTITY, **hour_off).stdout
        assert re.search(r"clock of this machine: \+3(600|599)\.\d s relative to AWS \(allowed: 300 s\)", seen)


@pytest.mark.failure(failures.CLOCK, "the same, and AWS checks its signatures")
def test_aws_refuses_such_signatures(crpc: Crpc, folder: Path, proxy: Proxy, hour_off: dict[str, str]) -> None:
    """The caller reports its clock and the refusal (exit 77); the node logs both, and retries."""
    proxy.strict = True
    done = crpc("ping", "-I", IDENTITY, **hour_off)
    assert done.returncode == 77, done.stderr
    clock, refused = done.stderr.splitlines()
    assert re.fullmatch(r"crpc: this machine's clock is \+3\d{3} s off; AWS allows 300 s \(.*", clock)
    assert "InvalidSignatureException: Signature not yet current" in refused
    with daemon(folder, proxy.url, serving=False, by=by(hour_off)) as node:
        node.wait_for("transport.failed", 2)
        assert "InvalidSignatureException" in node.events("transport.failed")[0]["error"]
        assert len(node.events("clock.off")) == 1
        proxy.strict = False  # equivalent to a corrected clock
        node.wait_for("daemon.serving")
