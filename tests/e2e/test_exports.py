"""`crpc inventory export` on a lab: every format, and the exit codes."""

from __future__ import annotations

import json
import subprocess
import urllib.request

import pytest
from support.crpc_process import BIN, Crpc
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


def test_prometheus_is_served_until_sigterm(environment: dict[str, str]) -> None:
    """The targets are served on a loopback address, and the end is clean."""
    words = [str(BIN / "crpc"), *"inventory export --format prometheus-sd --listen 0 -F role=web".split()]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stderr
        line = server.stderr.readline()
        assert line.startswith("crpc: serving targets at http://127.0.0.1:")
        with urllib.request.urlopen(line.split()[-1], timeout=20) as answer:  # noqa: S310 - a URL of this machine
            nodes = [one["labels"]["node"] for one in json.load(answer)]
        server.terminate()
        assert (server.wait(30), server.stdout.read(), server.stderr.read()) == (0, "", "")
    assert nodes == ["node01.lab", "node04.lab"]


def test_puppet_asks_for_one_node(crpc: Crpc) -> None:
    """The data of one node, and of an unknown one none."""
    done = crpc("inventory", "export", "--format", "puppet-data", "--host", "node01.lab")
    assert (done.returncode, json.loads(done.stdout)["collective"]["facts"]["role"]) == (0, "web")
    done = crpc("inventory", "export", "--format", "puppet-enc", "--host", "node01.lab", "--max-age", "60")
    assert json.loads(done.stdout)["classes"] == ["base", "role::web"]
    done = crpc("inventory", "export", "--format", "puppet-data", "--host", "unknown.lab")
    assert (done.returncode, done.stdout) == (0, "{}\n")
