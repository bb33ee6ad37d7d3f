"""`crpc inventory export` on a lab: every format, and the exit codes."""

from __future__ import annotations

import json

import pytest
from support.crpc_process import Crpc
from support.json_documents import check_document

NODES = [f"node0{number}.lab" for number in range(1, 6)]


@pytest.mark.parametrize("form", ["ansible", "ssh-config", "prometheus-sd", "nagios", "csv", "json"])
def test_every_node_is_exported(crpc: Crpc, form: str) -> None:
    """Each format has each node of the lab."""
    done = crpc("inventory", "export", "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in NODES)
    if form == "json":
        document = json.loads(done.stdout)
        check_document(document)
        assert [one["identity"] for one in document["nodes"]] == NODES


def test_ansible_asks_for_one_host(crpc: Crpc) -> None:
    """`--host` prints the variables of one node, and the target options select the nodes of `--list`."""
    done = crpc("inventory", "export", "--format", "ansible", "--host", "node01.lab")
    assert json.loads(done.stdout)["collective"]["identity"] == "node01.lab"
    some = crpc("inventory", "export", "--format", "ansible", "--list", "-I", "node02.lab")
    assert json.loads(some.stdout)["all"] == {"hosts": ["node02.lab"]}


def test_no_matching_node_is_an_error(crpc: Crpc) -> None:
    """The output is empty and the exit code 1, so that a script does not replace a file."""
    done = crpc("inventory", "export", "--format", "hosts", "-F", "role=nothing")
    assert (done.returncode, done.stdout) == (1, "")
