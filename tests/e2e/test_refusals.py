"""A command line that is wrong: one line, exit 64, and not one message sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.crpc_process import Crpc
from support.proxy import Proxy

from collective.lab.layout import Layout

WRONG: dict[str, tuple[list[str], str]] = {
    "unknown agent": (["pakage", "install"], "unknown agent 'pakage' (did you mean 'package'?)"),
    "unknown action": (["package", "instal"], "package: unknown action 'instal' (did you mean 'install'"),
    "no action": (["package"], "package: which action?"),
    "unknown option": (["package", "install", "package=zsh", "--forse"], "unrecognized arguments: --forse"),
    "shortened option": (["rpcutil", "ping", "--time", "3"], "unrecognized arguments: --time"),
    "unknown collective": (["rpcutil", "ping", "-T", "prod"], "unknown collective 'prod'"),
    "missing input": (["package", "install"], "package install: required input 'package' is missing"),
    "unknown input": (["package", "install", "pakage=zsh"], "there is no input 'pakage'"),
    "wrong input": (["package", "install", "package=-zsh"], "package install: input 'package'"),
    "input with a newline": (["package", "install", "package=zsh\n"], "package install: input 'package'"),
    "no KEY=VALUE": (["package", "install", "zsh"], "'zsh': inputs are given as KEY=VALUE"),
    "no number": (["shell", "run", "command=true", "timeout=soon"], "timeout=soon"),
    "no such file": (["shell", "run", "command=@/no/such/file"], "/no/such/file"),
    "bad fact": (["rpcutil", "ping", "-F", "role"], "-F 'role'"),
    "bad select": (["rpcutil", "ping", "-S", "role=web and"], "-S 'role=web and'"),
    "bad range": (["rpcutil", "ping", "-I", "node[01-.lab"], "node[01-.lab"),
    "bad timeout": (["rpcutil", "ping", "-t", "0"], "'0' is no number of seconds"),
    "bad discovery": (["rpcutil", "ping", "--dm", "flatfile"], "--dm"),
    "no limit": (["rpcutil", "ping", "--limit", "0%"], "--limit '0%': must be a number of nodes"),
    "negative limit": (["rpcutil", "ping", "--limit=-5"], "--limit '-5'"),
    "limit and one": (["rpcutil", "ping", "--limit", "5", "-1"], "-1/--one: not allowed with argument --limit"),
    "bad seed": (["rpcutil", "ping", "-1", "--limit-seed", "x"], "--limit-seed: 'x' is no whole number"),
    "seed without limit": (["rpcutil", "ping", "--limit-seed", "3"], "--limit-seed: only a limit"),
    "bad concurrency": (["rpcutil", "ping", "--concurrency", "10%"], "--concurrency '10%': must be a number of nodes"),
    "bad batch": (["rpcutil", "ping", "--batch", "1.1"], "--batch '1.1'"),
    "sleep without batch": (["rpcutil", "ping", "--batch-sleep", "3"], "--batch-sleep: there is a pause"),
    "bad sleep": (["rpcutil", "ping", "--batch", "2", "--batch-sleep", "nan"], "--batch-sleep: 'nan' is no number"),
    "bad failures": (["rpcutil", "ping", "--max-fail", "101%"], "--max-fail '101%'"),
    "nobody waits": (["rpcutil", "ping", "--no-results", "--batch", "2"], "--no-results: nobody would wait"),
    "nothing to show": (["rpcutil", "ping", "--no-results", "--json"], "not allowed with argument"),
    "no node file": (["rpcutil", "ping", "--nodes", "/no/such/file"], "--nodes /no/such/file"),
    "option first": (["--json", "rpcutil", "ping"], "options come after"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_line_is_one_line_and_sends_nothing(crpc: Crpc, lab: Layout, name: str) -> None:
    """Exit 64, nothing on standard output, one line that names what is wrong, and no request to any service."""
    words, said = WRONG[name]
    with Proxy(lab.endpoint.read_text().strip()) as proxy:
        done = crpc(*words, AWS_ENDPOINT_URL=proxy.url)
        assert (done.returncode, done.stdout, proxy.counts) == (64, "", {}), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("crpc: ")
    assert said in done.stderr


def test_the_same_line_made_right_is_counted(crpc: Crpc, lab: Layout) -> None:
    """The test above could fail: a call that is right does send, once for its one node."""
    with Proxy(lab.endpoint.read_text().strip()) as proxy:
        done = crpc("rpcutil", "ping", "-I", "node01.lab", AWS_ENDPOINT_URL=proxy.url)
        assert done.returncode == 0, done.stderr
        assert proxy.counts["SendMessage"] == 1


def test_an_empty_list_of_nodes_is_nobody(crpc: Crpc, tmp_path: Path) -> None:
    """Exit 1: never everybody."""
    (tmp_path / "none").write_text("# nobody today\n\n")
    done = crpc("rpcutil", "ping", "--nodes", str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (1, "crpc: the list of nodes is empty\n")


def test_a_wrong_configuration_is_named_with_file_and_key(crpc: Crpc, tmp_path: Path) -> None:
    """Exit 78."""
    path = tmp_path / "client.yaml"
    path.write_text("collective: lab\ntimout: 3\n")
    done = crpc("rpcutil", "ping", "--config", str(path))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith(f"crpc: {path}: unknown key 'timout'")
    assert done.stderr.count("\n") == 1
