"""Programs that read what a lab exports: Ansible, Prometheus, Nagios, ssh and Puppet, as a user would set them up."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.crpc_process import BIN, Crpc
from support.tools import check, nagios_configuration, puppet_command, tool
from support.waiting import wait_until

pytestmark = [
    pytest.mark.skipif("EXPORTS" not in os.environ, reason="needs large tools of others: make exports"),
    pytest.mark.timeout(240),
]
CONF = Path(__file__).resolve().parents[2] / "conf"
NODES = [f"node0{number}.lab" for number in range(1, 6)]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """That of the lab, with crpc in PATH, as in the scripts of conf/."""
    return {**environment, "PATH": f"{BIN}:{os.environ['PATH']}"}


def test_ansible_runs_the_inventory_script(environment: dict[str, str]) -> None:
    """`--list` for the whole inventory, and `--host` for one node."""
    program, script = tool("ansible-inventory"), CONF / "ansible_inventory.sh"
    found = json.loads(check(program, "-i", script, "--list", env=environment))
    assert sorted(found["_meta"]["hostvars"]) == NODES
    assert found["role_web"]["hosts"] == ["node01.lab", "node04.lab"]
    one = json.loads(check(program, "-i", script, "--host", "node02.lab", env=environment))
    assert one["collective"]["facts"]["role"] == "db"
    own = json.loads(check(script, "--host", "node02.lab", env=environment))
    assert own == one


def test_nagios_accepts_the_hosts_of_a_lab(crpc: Crpc, tmp_path: Path) -> None:
    """`nagios4 -v` has no errors."""
    hosts = crpc("inventory", "export", "--format", "nagios").stdout
    found = check(tool("nagios4"), "-v", nagios_configuration(tmp_path, hosts))
    assert "Checked 5 hosts" in found
    assert "Total Errors:   0" in found


def test_ssh_reads_the_configuration(crpc: Crpc, tmp_path: Path) -> None:
    """`ssh -G` finds the address of each node."""
    (tmp_path / "config").write_text(crpc("inventory", "export", "--format", "ssh-config").stdout)
    for name in NODES:
        assert f"\nhostname {name}\n" in check(tool("ssh"), "-F", tmp_path / "config", "-G", name)


@contextmanager
def running(environment: dict[str, str], *words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program that writes to standard error, and end it with SIGTERM."""
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def ask(url: str) -> Any:
    """Return the JSON at a URL of this machine; None if nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
            return json.load(answer)
    except OSError:
        return None


def test_prometheus_discovers_the_nodes_by_http(environment: dict[str, str], tmp_path: Path) -> None:
    """A real Prometheus has the nodes and their labels as its targets."""
    serve = [str(BIN / "crpc"), *"inventory export --format prometheus-sd --listen 0".split()]
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with running(environment, *serve) as server:
        assert server.stderr
        url = server.stderr.readline().split()[-1]
        config = tmp_path / "prometheus.yaml"
        jobs = [{"job_name": "nodes", "http_sd_configs": [{"url": url, "refresh_interval": "5s"}]}]
        config.write_text(json.dumps({"scrape_configs": jobs}))
        check(tool("promtool"), "check", "config", config)
        options = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address={address}"]
        with running(environment, tool("prometheus"), *options, "--log.level=error"):
            found: list[Any] = []

            def discovered() -> bool:
                answer = ask(f"http://{address}/api/v1/targets?state=active")
                found[:] = answer["data"]["activeTargets"] if answer else []
                return len(found) == len(NODES)

            wait_until(discovered, 60)
    assert {one["labels"]["node"]: one["labels"]["role"] for one in found}["node02.lab"] == "db"
    assert sorted(one["labels"]["instance"] for one in found) == [f"{name}:9100" for name in NODES]


MANIFEST = """
$webs = collective::nodes('role=web')
file { '%(folder)s/webs': content => join($webs, ' ') }
file { '%(folder)s/none': content => String(collective::nodes('role=nothing')) }
file { '%(folder)s/later': content => Deferred('join', [Deferred('collective::nodes', ['role=db']), ' ']) }
file { '%(folder)s/hiera': content => lookup('collective::facts')['role'] }
file { '%(folder)s/trusted': content => String($trusted['external']['collective']['identity']) }
"""


def test_a_manifest_uses_nodes_and_facts(environment: dict[str, str], tmp_path: Path) -> None:
    """A function for a filter, also deferred to the agent, a Hiera backend, and data in `$trusted`."""
    puppet = CONF / "puppet"
    settings = (
        f"--modulepath={puppet / 'modules'}",
        f"--hiera_config={puppet / 'hiera.yaml'}",
        f"--trusted_external_command={puppet / 'trusted_external.sh'}",
    )
    manifest = tmp_path / "site.pp"
    manifest.write_text(MANIFEST % {"folder": tmp_path})
    check(*puppet_command(tmp_path, "node01.lab", *settings), manifest, env=environment)
    made = {name: (tmp_path / name).read_text() for name in ("webs", "none", "later", "hiera", "trusted")}
    assert made == {
        "webs": "node01.lab node04.lab",
        "none": "[]",
        "later": "node02.lab node05.lab",
        "hiera": "web",
        "trusted": "node01.lab",
    }


def test_the_registry_classifies_a_node(environment: dict[str, str], tmp_path: Path) -> None:
    """With the external node classifier, a node gets its classes and the parameter `collective`."""
    classes = tmp_path / "modules"
    for name, text in (("base", "class base {}"), ("role", "class role::web { notify { 'a web server': } }")):
        (classes / name / "manifests").mkdir(parents=True)
        (classes / name / "manifests" / f"{'init' if name == 'base' else 'web'}.pp").write_text(text)
    settings = ("--node_terminus=exec", f"--external_nodes={CONF / 'puppet' / 'enc.sh'}", f"--modulepath={classes}")
    command = puppet_command(tmp_path, "node01.lab", *settings)
    found = check(*command, "--execute", "notice($collective['facts']['role'])", env=environment)
    assert "a web server" in found
    assert ": web\n" in found


def test_without_aws_no_catalog_is_compiled(environment: dict[str, str], tmp_path: Path) -> None:
    """A node is not classified as one without classes because the registry could not be read."""
    command = puppet_command(
        tmp_path, "node01.lab", "--node_terminus=exec", f"--external_nodes={CONF / 'puppet' / 'enc.sh'}"
    )
    (tmp_path / "state").mkdir()
    away = {**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "COLLECTIVE_CONFIG": str(tmp_path)}
    (tmp_path / "client.yaml").write_text("{collective: lab, state: state, key: none}")
    done = subprocess.run([*command, "--execute", ""], env=away, capture_output=True, text=True, check=False)
    assert done.returncode != 0
