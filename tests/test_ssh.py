"""Addresses for ssh: facts come from nodes, so nothing in them becomes an option or reaches a shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.completing import configure
from support.crpc_call import Captured, called

from collective.clients import tmux_panes
from collective.clients.ssh_hosts import Host, host

WANTED = ["fqdn", "net.address", "addresses", "identity"]


@pytest.mark.parametrize(
    ("facts", "address"),
    [
        ({"fqdn": "web1.my.net", "addresses": ["10.0.0.1"]}, "web1.my.net"),
        ({"addresses": ["10.0.0.1", "10.0.0.2"]}, "10.0.0.1"),
        ({"fqdn": "", "net": {"address": "fe80::1"}}, "fe80::1"),
        ({"fqdn": None, "addresses": []}, "web1"),
        ({}, "web1"),
    ],
)
def test_the_first_fact_that_a_node_has_is_its_address(facts: dict[str, Any], address: str) -> None:
    """Of an array the first member counts; `identity` is the name of the node."""
    assert host("web1", facts, WANTED) == Host("web1", address)


@pytest.mark.parametrize(
    "value",
    ["-oProxyCommand=touch ran", "-v", "a;b", "$(x)", "a b", "me@web1", "%h", "a\nb", "[::1]", 7, {"a": 1}, True],
)
def test_another_value_is_refused(value: object) -> None:
    """The problem names the fact; no later fact is used instead."""
    found = host("web1", {"fqdn": value}, WANTED)
    assert found.address is None
    assert found.problem is not None
    assert found.problem.startswith("its fact 'fqdn' is not an address: '")
    assert found.problem.isprintable()


def test_an_identity_that_begins_with_a_hyphen_is_no_address() -> None:
    """Identities may begin with a hyphen, arguments of ssh must not."""
    assert host("-rf", {}, WANTED).address is None
    assert host("web1", {}, ["fqdn"]).problem == (
        "no address: it has none of the facts fqdn (ssh_address in client.yaml)"
    )


def test_the_arguments_of_tmux(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each node has a pane with its name; an argument that ends with a semicolon does not end the command."""
    words = tmux_panes._words("crpc-1", {"a": ["ssh", "a", "date;"], "b": ["ssh", "b"]})  # noqa: SLF001
    assert words[:4] == ["new-session", "-d", "-s", "crpc-1"]
    assert words[8:12] == ["ssh", "a", "date\\;", ";"]
    assert " ".join(words).endswith(
        "; split-window -t =crpc-1: ssh b ; set-option -p -t =crpc-1: @node b ; select-layout -t =crpc-1: tiled"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ssh web1 -o json", "-o json: ssh has no output of this form (add --print)"),
        ("ssh web1 web2", "unexpected argument 'web2' (see 'crpc ssh --help')"),
        ("ssh --tmux --print", "--print: not allowed with argument --tmux"),
        ("ssh a/b", "a/b"),
    ],
)
def test_a_mistake_is_found_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, line: str, message: str
) -> None:
    """The line is one error, exit code 64."""
    configure(tmp_path)
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    code, out, err = called(line.split(), capsys)
    assert (code, out) == (64, "")
    assert message in err
