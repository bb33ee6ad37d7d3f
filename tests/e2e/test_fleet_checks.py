"""`crpc check nodes`, `queues`, `replies` and `registry` on a lab, with each exit code."""

from __future__ import annotations

import re

import pytest
from support.crpc_process import Crpc, make_crpc


@pytest.mark.parametrize("check", ["nodes", "queues", "replies", "registry"])
def test_each_exit_code(crpc: Crpc, environment: dict[str, str], check: str) -> None:
    """The thresholds decide between 0, 1 and 2; without AWS the state is unknown."""
    for words, code, state in [
        ("-w 100000 -c 100000", 0, "OK"),
        ("-w @0:100000 -c 100000", 1, "WARNING"),
        ("-c @0:100000", 2, "CRITICAL"),
    ]:
        done = crpc("check", check, *words.split())
        assert (done.returncode, done.stderr) == (code, "")
        assert re.fullmatch(rf"{check}: {state}: [^|\n]+\|(\w+=[0-9.e-]+s?;[^; ]*;[^; ]*;0 ?)+\n", done.stdout)
    done = make_crpc({**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})("check", check)
    assert done.returncode == 3
    assert done.stdout.startswith(f"{check}: UNKNOWN: ")


def test_the_form_for_prometheus(crpc: Crpc) -> None:
    """The exit code is 0 whatever the state, so that the file is replaced."""
    done = crpc("check", "nodes", "-c", "@0:100", "--format", "prometheus")
    assert done.returncode == 0
    assert re.search(r'^collective_check_nodes_state\{collective="\S+"\} 2$', done.stdout, re.MULTILINE)
    assert re.search(r'^collective_check_nodes_alive\{collective="\S+"\} 5$', done.stdout, re.MULTILINE)
