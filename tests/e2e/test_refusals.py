"""An invalid command line: one error line, exit 64, and no request to AWS."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.crpc_process import Crpc
from support.proxy import Proxy

from collective.lab.layout import Layout

WRONG: dict[str, tuple[list[str], str]] = {
    "unknown agent": (["pakage", "install"], "unknown agent 'pakage' (did you mean 'package'?)"),
    "unknown action": (["package", "instal"], "package: unknown action 'instal' (did you mean 'install'"),
    "no action": (["package"], "package: action missing"),
    "unknown option": (["package", "install", "package=zsh", "--forse"], "unknown option '--forse'"),
    "shortened option": (["rpcutil", "ping", "--time", "3"], "unknown option '--time'"),
    "unknown collective": (["rpcutil", "ping", "-T", "prod"], "unknown collective 'prod'"),
    "missing input": (["package", "install"], "package install: required input 'package' is missing"),
    "unknown input": (["package", "install", "pakage=zsh"], "there is no input 'pakage'"),
    "wrong input": (["package", "install", "package=-zsh"], "package install: input 'package'"),
    "input with a newline": (["package", "install", "package=zsh\n"], "package install: input 'package'"),
    "no KEY=VALUE": (["package", "install", "zsh", "vim"], "'vim': only one input can be given without its name"),
    "no number": (["shell", "run", "command=true", "timeout=soon"], "timeout=soon"),
    "no such file": (["shell", "run", "command=@/no/such/file"], "/no/such/file"),
    "bad fact": (["rpcutil", "ping", "-F", "role"], "-F 'role'"),
    "bad select": (["rpcutil", "ping", "-S", "role=web and"], "-S 'role=web and'"),
    "bad range": (["rpcutil", "ping", "-I", "node[01-.lab"], "node[01-.lab"),
    "bad timeout": (["rpcutil", "ping", "-t", "0"], "invalid duration '0'"),
    "bad discovery": (["rpcutil", "ping", "--dm", "flatfile"], "--dm"),
    "no limit": (["rpcutil", "ping", "--limit", "0%"], "--limit '0%': must be a number of nodes"),
    "negative limit": (["rpcutil", "ping", "--limit=-5"], "--limit '-5'"),
    "limit and one": (["rpcutil", "ping", "--limit", "5", "-1"], "-1/--one: not allowed with argument --limit"),
    "bad seed": (["rpcutil", "ping", "-1", "--limit-seed", "x"], "--limit-seed: invalid integer 'x'"),
    "seed without limit": (["rpcutil", "ping", "--limit-seed", "3"], "--limit-seed: nothing is selected at random"),
    "bad concurrency": (["rpcutil", "ping", "--concurrency", "10%"], "--concurrency '10%': must be a number of nodes"),
    "bad batch": (["rpcutil", "ping", "--batch", "1.1"], "--batch '1.1'"),
    "sleep without batch": (
        ["rpcutil", "ping", "--batch-sleep", "3"],
        "--batch-sleep: there is no pause without batches",
    ),
    "bad sleep": (["rpcutil", "ping", "--batch", "2", "--batch-sleep", "nan"], "--batch-sleep: invalid duration 'nan'"),
    "bad failures": (["rpcutil", "ping", "--max-fail", "101%"], "--max-fail '101%'"),
    "batches without results": (
        ["rpcutil", "ping", "--no-results", "--batch", "2"],
        "--no-results: not allowed with rollout options such as --concurrency",
    ),
    "two forms": (["rpcutil", "ping", "--csv", "--json"], "not allowed with argument"),
    "no node file": (["rpcutil", "ping", "--nodes", "/no/such/file"], "--nodes /no/such/file"),
    "unknown option first": (["--jsn", "rpcutil", "ping"], "unknown option '--jsn' (did you mean '--json'?)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_command_line_is_one_line_and_sends_nothing(crpc: Crpc, lab: Layout, name: str) -> None:
    """A wrong command line is one line on standard error and exit code 64, and no request is sent to any service."""
    words, message = WRONG[name]
    with Proxy(lab.endpoint.read_text().strip()) as proxy:
        done = crpc(*words, AWS_ENDPOINT_URL=proxy.url)
        assert (done.returncode, done.stdout, proxy.counts) == (64, "", {}), done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("crpc: ")
    assert message in done.stderr


def test_a_valid_command_line_sends_one_request(crpc: Crpc, lab: Layout) -> None:
    """The proxy that counts no request for a wrong command line counts that of a valid one."""
    with Proxy(lab.endpoint.read_text().strip()) as proxy:
        done = crpc("rpcutil", "ping", "-I", "node01.lab", AWS_ENDPOINT_URL=proxy.url)
        assert done.returncode == 0, done.stderr
        assert proxy.counts["SendMessage"] == 1


def test_an_empty_list_of_nodes_selects_no_node(crpc: Crpc, tmp_path: Path) -> None:
    """An empty list of nodes is exit code 1, and never selects all nodes."""
    (tmp_path / "none").write_text("# no nodes today\n\n")
    done = crpc("rpcutil", "ping", "--nodes", str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (1, "crpc: the list of nodes is empty\n")


def test_a_wrong_configuration_is_named_with_file_and_key(crpc: Crpc, tmp_path: Path) -> None:
    """An unknown key in client.yaml is exit 78, and the line names file and key."""
    path = tmp_path / "client.yaml"
    path.write_text("collective: lab\ntimout: 3\n")
    done = crpc("rpcutil", "ping", "--config", str(path))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith(f"crpc: {path}: unknown key 'timout'")
    assert done.stderr.count("\n") == 1
