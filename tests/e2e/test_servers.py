"""A complete call against each selected server: a real daemon and crpc, directly and by broadcast."""

from __future__ import annotations

import json
from pathlib import Path

from support.crpc_process import make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.servers import Endpoints
from support.servers import endpoints as endpoints


def test_a_request_is_answered(tmp_path: Path, endpoints: Endpoints) -> None:
    """A node is discovered by broadcast and called by name; nothing depends on one particular server."""
    configure(tmp_path, "servers")
    url = endpoints["AWS_ENDPOINT_URL"]
    crpc = make_crpc({**aws_environment(url), **endpoints, "COLLECTIVE_CONFIG": str(tmp_path)})
    with daemon(tmp_path, url, env=endpoints):
        found = crpc("find", "--dt", "2")
        assert (found.returncode, found.stdout) == (0, f"{IDENTITY}\n"), found.stderr
        done = crpc("shell", "run", "command=echo here", "-I", IDENTITY, "--json")
    [reply] = json.loads(done.stdout)["replies"]
    assert (reply["statuscode"], reply["data"]["stdout"]) == (0, "here\n")
