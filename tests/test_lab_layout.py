"""The files and variables of a lab, without its processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

import boto3
import pytest

from collective.errors import ConfigError, UsageError
from collective.lab import servers
from collective.lab.layout import Layout
from collective.lab.supervisor import Supervisor
from collective.node import daemon


@pytest.mark.parametrize(
    ("lower", "upper", "hosts"),
    [
        ("", "", "127.0.0.1"),
        ("intranet.example.com", "", "intranet.example.com,127.0.0.1"),
        ("a.example.com", "b.example.com, 127.0.0.1", "a.example.com,b.example.com,127.0.0.1"),
        ("*", "", "*"),
        ("", " * ", "*"),
        (".example.com", "10.0.0.0/8", ".example.com,10.0.0.0/8,127.0.0.1"),
    ],
)
def test_the_server_is_added_to_the_hosts_without_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lower: str, upper: str, hosts: str
) -> None:
    """Both names of the variable keep what they had; `*` stays alone, or it would mean nothing any more."""
    monkeypatch.setenv("no_proxy", lower)
    monkeypatch.setenv("NO_PROXY", upper)
    (tmp_path / "endpoint").write_text("http://127.0.0.1:5000")
    found = Layout(tmp_path).environment()
    assert (found["no_proxy"], found["NO_PROXY"]) == (hosts, hosts)
    monkeypatch.setenv("no_proxy", found["no_proxy"])
    assert proxy_bypass_environment("127.0.0.1")


def test_a_lab_has_the_endpoints_of_its_server(tmp_path: Path) -> None:
    """The first URL is that of all services; variables of single services follow."""
    urls = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:2"}
    layout = Layout(tmp_path)
    layout.write_endpoints(urls)
    found = layout.environment()
    assert {name: found.get(name) for name in [*urls, "AWS_ENDPOINT_URL_SNS"]} == {**urls, "AWS_ENDPOINT_URL_SNS": None}


@pytest.mark.parametrize("server", ["", "sqs", "ftp://127.0.0.1", "http://", "http://127.0.0.1:port", "http://[::1"])
def test_a_server_is_a_known_name_or_a_url(server: str) -> None:
    """Anything else is refused before a lab is made."""
    with pytest.raises(UsageError, match="invalid server"):
        servers.check(server)


def test_a_server_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to install it."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="npm install"):
        servers.check(servers.FAUXQS)


def test_moto_serves_fewer_nodes_than_other_servers(tmp_path: Path) -> None:
    """A publish on moto reaches 100 nodes only."""
    with pytest.raises(UsageError, match="between 1 and 100 with moto"):
        Layout(tmp_path / "lab").create(101)
    with pytest.raises(UsageError, match="between 1 and 500 with fauxqs"):
        Layout(tmp_path / "lab").create(501, servers.FAUXQS)


def test_the_crash_of_a_node_is_in_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that ends by an exception, such as one of another version of collective, has a traceback in its log."""

    def crash(*_: object) -> int:
        raise ImportError("of another version")

    monkeypatch.setattr(daemon, "main", crash)
    monkeypatch.setattr(sys, "stderr", os.fdopen(2, "w", closefd=False))  # the real one, not that of pytest
    layout = Layout(tmp_path)
    (tmp_path / "nodes" / "node01.lab").mkdir(parents=True)
    Supervisor(layout, boto3.Session(region_name="eu-central-1")).start("node01.lab")
    pid = int((layout.node("node01.lab") / "pid").read_text())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 70
    assert (layout.node("node01.lab") / "log").read_text().endswith("ImportError: of another version\n")
