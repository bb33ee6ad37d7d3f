"""A mistyped name gets a suggestion, whatever it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.completing import RUN, configure
from support.crpc_call import Captured, called

from collective.catalog import Catalog
from collective.clients import request_parser
from collective.clients.view_options import report_undeclared

KINDS = {
    "command": ("pnig", "ping"),
    "alias": ("wbs", "webs"),
    "own command": ("ftech", "fetch"),
    "agent": ("rpcutl ping", "rpcutil"),
    "action": ("package instal package=zsh", "install"),
    "input": ("rpcutil get_fact fat=role", "fact"),
    "option": ("find --fied role", "--fields"),
    "value of an option": ("find -o jsn", "json"),
    "verb": ("jobs wiat last", "wait"),
    "output in --where": ("package status package=zsh --where versoin=1", "version"),
    "output in --fields": ("package status package=zsh --fields versoin", "version"),
    "column in --sort": ("help --sort nmae", "name"),
    "collective": ("find -T stagin", "staging"),
    "context": ("config use stagin", "staging"),
    "group": ("find -I @frnt", "@front"),
    "report": ("report hardwre", "hardware"),
    "run": ("diff lst last", "last"),
    "rollout": ("run pause lst", "last"),
    "run of a playbook": ("playbook run rolling-restart --resume lst", "last"),
    "playbook": ("playbook show rolling-restrt", "rolling-restart"),
    "ID of a run": (f"show {RUN[:7]}0", RUN[:8]),
    "schema": ("schema clinet", "client"),
    "shell": ("completion bsh", "bash"),
    "agent of describe": ("describe pakage", "package"),
    "action of help": ("help package instal", "install"),
    "action of run-local": ("run-local package instal package=x", "install"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistyped_name_gets_a_suggestion(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """One line, exit code 64, before anything is sent; nodes, facts, classes and data functions: other tests."""
    configure(tmp_path)
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    line, name = KINDS[kind]
    code, out, err = called(line.split(), capsys)
    assert (code, out, err.count("\n")) == (64, "", 1), err
    assert f"did you mean '{name}'?" in err


@pytest.mark.parametrize(
    ("option", "path", "warned"),
    [
        ("--where", "data.versoin=1", "did you mean 'version'?"),
        ("--fields", "sender,data.versoin", "did you mean 'version'?"),
        ("--sort", "data.xyz", "outputs: "),
        ("--fields", "data.version,data.version.major,version", ""),
    ],
)
def test_a_path_that_the_ddl_lacks_is_reported(
    option: str, path: str, warned: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Replies may have outputs that the DDL does not declare, so the path is not refused."""
    configure(tmp_path)
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    args = request_parser.make_parser().parse_args(["package", "status", option, path])
    report_undeclared(args, Catalog().action("package", "status"))
    err = capsys.readouterr().err
    assert warned in err
    assert ("is not in the DDL of package status" in err) == bool(warned)
