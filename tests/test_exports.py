"""Nodes in the forms of other tools: hostile facts stay values, and each real tool reads its form."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.completing import configure
from support.crpc_call import Captured, called
from support.tools import check, nagios_configuration, puppet_command, tool

from collective.clients.exports import ansible, groups, host_files, nagios, prometheus, puppet
from collective.clients.exports.nodes import ExportedNode, _node
from collective.errors import UsageError

FACTS = ("environment", "role")
PUPPET = Path(__file__).resolve().parents[1] / "conf" / "puppet"
HOSTILE = (
    "a\nHost *\n  ProxyCommand touch ran",
    'a"}, {"targets": ["evil:1"]}',
    "{{ lookup('pipe', 'touch ran') }}",
    "{% for x in y %}",
    "../../etc/passwd",
    "a;b}\ndefine command {",
    "$(touch ran)`touch ran`$USER1$!x",
    "--\0\x1b[2J\u2028\ud800é",
    "x" * 5000,
)


def node(identity: str = "web1.my.net", **facts: Any) -> ExportedNode:
    """Return a node whose address is its name unless it has the fact `addresses`."""
    known = {"version": "1", "facts": facts, "classes": ("role::web",), "agents": {"rpcutil": "1"}}
    return _node(identity, known, ["addresses", "identity"])


def hostile() -> list[ExportedNode]:
    """Return a node for each hostile value, which is a fact and a class of it."""
    found = [node(f"evil{number}", role=value, **{value: value}) for number, value in enumerate(HOSTILE)]
    return [ExportedNode(**{**vars(one), "classes": (one.facts["role"],)}) for one in found]


# -- groups


def test_groups_are_facts_and_classes() -> None:
    """A list or a mapping makes no group; booleans are written as in JSON."""
    found = groups.groups_of([node("a", role="web", environment=True), node("b", role=["x"], environment={})], FACTS)
    assert found == {"class_role__web": ["a", "b"], "environment_true": ["a"], "role_web": ["a"]}


def test_values_with_equal_names_are_not_mixed() -> None:
    """Each of them gets a digest; a value that stands alone has none."""
    found = groups.groups_of([node("a", role="x-y"), node("b", role="x.y"), node("c", role="z-y")], ["role"])
    assert found.pop("role_z_y") == ["c"]
    assert found.pop("class_role__web") == ["a", "b", "c"]
    assert sorted(found.values()) == [["a"], ["b"]]
    assert all(re.fullmatch("role_x_y_[0-9a-f]{8}", name) for name in found)


def test_names_of_groups_are_always_safe() -> None:
    """Whatever the value is, the name has letters, digits and `_`, and is bounded."""
    for name in groups.groups_of(hostile(), FACTS):
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
        assert len(name) <= groups.LONGEST_GROUP + 9


# -- Ansible


def test_the_inventory_of_ansible() -> None:
    """Facts are below one variable; `ansible_host` is the address."""
    document = json.loads(
        ansible.as_list([node(role="web", addresses=["10.0.0.1"], ansible_connection="local")], FACTS)
    )
    assert document["role_web"] == {"hosts": ["web1.my.net"]}
    variables = document["_meta"]["hostvars"]["web1.my.net"]
    assert set(variables) == {"ansible_host", "collective"}
    assert variables["ansible_host"] == "10.0.0.1"
    assert variables["collective"]["facts"]["ansible_connection"] == "local"
    assert json.loads(ansible.as_host([node()], "web1.my.net"))["collective"]["version"] == "1"
    assert json.loads(ansible.as_host([node()], "unknown")) == {}


def test_ansible_evaluates_nothing_in_facts() -> None:
    """Strings with templates are marked as unsafe; the name of a fact marks nothing."""
    variables = json.loads(ansible.as_host(hostile(), "evil2"))["collective"]
    assert variables["facts"]["role"] == {"__ansible_unsafe": HOSTILE[2]}
    assert not any("{{" in key for key in variables["facts"])
    marked = json.loads(ansible.as_host([node("a", __ansible_vault="x", n=[{"__ansible_unsafe": "{{ x }}"}])], "a"))
    assert set(marked["collective"]["facts"]) == {"___ansible_vault", "n"}
    assert marked["collective"]["facts"]["n"] == [{"___ansible_unsafe": {"__ansible_unsafe": "{{ x }}"}}]


def test_a_node_with_a_name_of_ansible_is_skipped() -> None:
    """`all` is every host for Ansible, and `localhost` the controller."""
    document = json.loads(ansible.as_list([node("all"), node("localhost"), node("a")], FACTS))
    assert document["all"] == {"hosts": ["a"]}
    assert set(document["_meta"]["hostvars"]) == {"a"}
    assert json.loads(ansible.as_host([node("localhost")], "localhost")) == {}


def test_ansible_reads_the_inventory(tmp_path: Path) -> None:
    """The real `ansible-inventory` lists every host with its values."""
    program = tool("ansible-inventory")
    (tmp_path / "list.json").write_text(ansible.as_list([*hostile(), node(role="web")], FACTS))
    script = tmp_path / "inventory.sh"
    script.write_text(f"#!/bin/sh\ncat {tmp_path}/list.json\n")
    script.chmod(0o755)
    document = json.loads(check(program, "-i", script, "--list", cwd=tmp_path))
    assert len(document["_meta"]["hostvars"]) == len(HOSTILE) + 1
    assert document["role_web"]["hosts"] == ["web1.my.net"]
    assert not (tmp_path / "ran").exists()


# -- ssh, /etc/hosts


def test_ssh_reads_its_configuration(tmp_path: Path) -> None:
    """`ssh -G` finds the address of the node, and no option of a hostile one."""
    if shutil.which("ssh") is None:
        pytest.skip("this test needs openssh-client")
    evil = [node(f"evil{number}", addresses=[value]) for number, value in enumerate(HOSTILE)]
    usable = [one for one in [*evil, node(addresses=["10.0.0.7"])] if one.address]
    path = tmp_path / "config"
    path.write_text(host_files.as_ssh_config(usable))
    for name, address in [("web1.my.net", "10.0.0.7"), ("other", "other")]:
        done = subprocess.run(["ssh", "-F", path, "-G", name], capture_output=True, text=True, check=True)
        assert f"\nhostname {address}\n" in f"\n{done.stdout}"
        assert "proxycommand" not in done.stdout


def test_lines_of_etc_hosts_have_ip_addresses() -> None:
    """Loopback, zones and other values are not used."""
    good = node(addresses=["127.0.0.1", "::1", "fe80::1%eth0", "10.0.0.1\n1.2.3.4 bank", "2001:db8::1", "10.0.0.2"])
    assert host_files.as_hosts([good]) == "2001:db8::1\tweb1.my.net\n"
    assert node(addresses="web1").ip is None
    assert node(addresses=7).ip is None


# -- Prometheus


def test_targets_of_prometheus() -> None:
    """IPv6 addresses are in brackets; a fact without one value has no label."""
    nodes = [node(role="web", os={"family": "debian"}, addresses=["2001:db8::1"]), node("b", role=["x"])]
    found = json.loads(prometheus.as_targets(nodes, prometheus.labels_of(["role", "os.family"]), 9100, "lab"))
    labels = {"collective": "lab", "node": "web1.my.net", "role": "web", "os_family": "debian"}
    assert found[0] == {"targets": ["[2001:db8::1]:9100"], "labels": labels}
    assert found[1] == {"targets": ["b:9100"], "labels": {"collective": "lab", "node": "b"}}


@pytest.mark.parametrize("facts", [["node"], ["job"], ["__name__"], ["a.b", "a_b"]])
def test_labels_have_one_meaning(facts: list[str]) -> None:
    """A fact cannot replace a label of Prometheus, of the export, or of another fact."""
    with pytest.raises(UsageError, match="cannot be a label"):
        prometheus.labels_of(facts)


def test_promtool_reads_the_targets(tmp_path: Path) -> None:
    """The real `promtool check config` reads the file."""
    program = tool("promtool")
    (tmp_path / "targets.json").write_text(
        prometheus.as_targets([*hostile(), node()], prometheus.labels_of(FACTS), 9100, "lab")
    )
    config = tmp_path / "prometheus.yaml"
    config.write_text("scrape_configs: [{job_name: node, file_sd_configs: [{files: [targets.json]}]}]")
    check(program, "check", "config", config)


# -- Nagios


def test_hosts_of_nagios() -> None:
    """The host is in the groups of its facts and classes."""
    text = nagios.as_hosts([node(role="web", addresses=["10.0.0.1"])], FACTS)
    assert "define hostgroup {\n  hostgroup_name   role_web\n" in text
    assert "  address          10.0.0.1\n  hostgroups       class_role__web,role_web\n  _ROLE            web\n}" in text


def test_nagios_reads_no_hostile_value() -> None:
    """Each line is a directive that was meant: no comment, macro, quote or line break comes from a fact."""
    text = nagios.as_hosts(hostile(), FACTS)
    line = (
        r"define host(group)? \{|\}||  (use|host_name|alias|address|hostgroups|hostgroup_name|_ROLE) +[\w .:,/@+=%-]+"
    )
    assert [one for one in text.split("\n") if not re.fullmatch(line, one)] == []


def test_nagios_accepts_the_hosts(tmp_path: Path) -> None:
    """The real `nagios4 -v` finds no error in hosts with hostile facts."""
    program = tool("nagios4")
    found = check(program, "-v", nagios_configuration(tmp_path, nagios.as_hosts([*hostile(), node(role="web")], FACTS)))
    assert f"Checked {len(HOSTILE) + 1} hosts" in found
    assert "Total Errors:   0" in found


# -- Puppet


def test_data_for_puppet_are_below_one_name() -> None:
    """A fact cannot become a variable of Puppet; an unknown node has no data."""
    found = json.loads(puppet.as_external_data(node(role="web", environment="production")))
    assert set(found) == {"collective"}
    assert found["collective"]["facts"] == {"role": "web", "environment": "production"}
    assert json.loads(puppet.as_external_data(None)) == {}


def test_classes_for_puppet_have_names_of_puppet() -> None:
    """Puppet would refuse the catalog for another name."""
    names = ("role::web", "base", "Base", "role::", "a-b", "2x", "base; x", "::base", "role::web\n")
    found = yaml.safe_load(puppet.as_enc(ExportedNode(**{**vars(node()), "classes": names})))
    assert found["classes"] == ["base", "role::web"]
    assert found["parameters"]["collective"]["identity"] == "web1.my.net"
    assert yaml.safe_load(puppet.as_enc(None)) == {"classes": [], "parameters": {}}


@pytest.mark.parametrize(
    "value", [*HOSTILE, "\U0001f600 \\ud83d\\ude00", "\x7f\x85\u2028\ufeff", "!ruby/object:x", ": x"]
)
def test_data_for_puppet_are_json_and_yaml(value: str) -> None:
    """Both read the same values, whatever they are; an unpaired surrogate becomes `?`."""
    expected = value.encode("utf-8", "replace").decode()
    for text in (puppet.as_enc(node(role=value)), puppet.as_external_data(node(role=value))):
        for found in (json.loads(text), yaml.safe_load(text)):
            assert found.get("parameters", found)["collective"]["facts"] == {"role": expected}


LITERAL = "%{lookup('collective::address')} ${facts} #{1 + 1} <%= 1 %>"


@pytest.mark.skipif("EXPORTS" not in os.environ, reason="runs Puppet, which takes some seconds: make exports")
def test_hiera_evaluates_nothing_in_facts(tmp_path: Path) -> None:
    """The functions in conf/puppet return values as they are, and no node for a filter that matches none."""
    command = puppet_command(
        tmp_path, "web1.my.net", f"--modulepath={PUPPET / 'modules'}", f"--hiera_config={PUPPET / 'hiera.yaml'}"
    )
    (tmp_path / "data.json").write_text(puppet.as_external_data(node(role=LITERAL)))
    crpc = tmp_path / "crpc"
    crpc.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\ncase $1 in inventory) cat {tmp_path}/data.json;; *) exit 1;; esac'
    )
    crpc.chmod(0o755)
    manifest = tmp_path / "site.pp"
    manifest.write_text(f"file {{ '{tmp_path}/made': content => lookup('collective::facts')['role'] }}\n")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    check(*command, manifest, env=environment)
    assert (tmp_path / "made").read_text() == LITERAL
    assert "--host=web1.my.net" in (tmp_path / "calls").read_text()
    # A broken crpc ends with 1 as well, so the function does not take that for "no node".
    manifest.write_text("notice(collective::nodes(\"role='web'; touch ran\"))")
    done = subprocess.run([*command, manifest], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "has the exit code 1" in done.stderr
    assert "--select=role='web'; touch ran" in (tmp_path / "calls").read_text()


# -- the command


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "--format"),
        ("--format xml", "--format: invalid choice: 'xml'"),
        ("--format hosts --port 1", "--port: not with --format hosts"),
        ("--format json --host web1", "--host: not with --format json"),
        ("--format ssh-config --facts role", "--facts: not with --format ssh-config"),
        ("--format ansible -o json", "-o json: not with --format ansible"),
        ("--format prometheus-sd --port 65536", "--port: invalid port '65536'"),
        ("--format prometheus-sd --facts job", "'job' cannot be a label"),
        ("--format ansible --list --host a", "not allowed with argument --list"),
        ("--format ansible web1", "unexpected argument 'web1'"),
        ("--format puppet-enc", "--format puppet-enc: needs --host NAME"),
        ("--format puppet-data --host a -F role=web", "target options have no effect"),
        ("--format ansible --listen 9199", "--listen: not with --format ansible"),
        ("--format prometheus-sd --listen my.net:1", "invalid address 'my.net:1'"),
        ("--format prometheus-sd --listen 0 --max-age 5", "--max-age: not with --listen"),
        ("--format prometheus-sd --listen 0 --output-file x", "--listen: output options are not supported"),
    ],
)
def test_a_mistake_is_found_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, line: str, message: str
) -> None:
    """The line is one error, exit code 64."""
    configure(tmp_path)
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    code, out, err = called(["inventory", "export", *line.split()], capsys)
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert message in err
