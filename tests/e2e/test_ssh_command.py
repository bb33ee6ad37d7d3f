"""`crpc ssh` with a real sshd on loopback, a real terminal and real tmux; all nodes of the lab are this machine."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.crpc_process import BIN, Crpc, make_crpc
from support.json_documents import check_document
from support.ssh import make_key
from support.terminal import TmuxTerminal
from support.waiting import wait_until

CLIENT = """
Host *
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {key}
    UserKnownHostsFile {known}
    StrictHostKeyChecking accept-new
"""


@pytest.fixture(scope="module")
def ssh_config(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str, str], None]) -> Iterator[Path]:
    """Run sshd on a port of loopback; yield a configuration of ssh in which every host name leads there."""
    needs("/usr/sbin/sshd", "openssh-server")
    needs("ssh", "openssh-client")
    folder = tmp_path_factory.mktemp("sshd")
    Path("/run/sshd").mkdir(exist_ok=True)
    key, host_key = make_key(folder / "key"), make_key(folder / "host_key")
    shutil.copy(f"{key}.pub", folder / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": host_key,
        "AuthorizedKeysFile": folder / "authorized_keys",
        "StrictModes": "no",
        "PidFile": "none",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    config = folder / "config"
    config.write_text(CLIENT.format(port=port, user=getpass.getuser(), key=key, known=folder / "known"))
    with subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", folder / "sshd_config"]) as server:
        wait_until(lambda: reachable(port), 30)
        yield config
        server.terminate()


def reachable(port: int) -> bool:
    """Return whether a port of loopback takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def ssh_environment(environment: dict[str, str], ssh_config: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of crpc, with an `ssh` on PATH that is the real one with the configuration for the test."""
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {ssh_config} "$@"\n')
    program.chmod(0o755)
    return {**environment, "PATH": f"{tmp_path}:{BIN}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


@pytest.fixture
def ssh_crpc(ssh_environment: dict[str, str]) -> Crpc:
    """Run crpc with that ssh."""
    return make_crpc(ssh_environment)


@pytest.fixture
def ssh_terminal(ssh_environment: dict[str, str], needs: Callable[[str, str], None]) -> Iterator[TmuxTerminal]:
    """A terminal with that ssh."""
    needs("tmux", "tmux")
    terminal = TmuxTerminal(ssh_environment)
    yield terminal
    terminal.close()


def test_ssh_runs_a_command_on_the_node_that_a_filter_finds(ssh_crpc: Crpc) -> None:
    """MCollective's form of the filter; the exit code is that of the command, and arguments after -- reach ssh."""
    done = ssh_crpc("ssh", "-W", "environment=production role=web", "-1", "--", "-q", "echo to-$((40+2)); exit 7")
    assert (done.returncode, done.stdout) == (7, "to-42\n")
    assert re.fullmatch(r"crpc: node0\d\.lab: ssh \S+\n", done.stderr), done.stderr


def test_an_unknown_node_is_refused_with_a_suggestion(ssh_crpc: Crpc) -> None:
    """Nothing is opened for a name that is not in the registry."""
    done = ssh_crpc("ssh", "node1.lab", "--", "true")
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr == "crpc: node 'node1.lab' is not in the registry (did you mean 'node01.lab'?)\n"
    assert ssh_crpc("ssh", "-F", "role=nothing").returncode == 1


def test_several_nodes_need_a_terminal(ssh_crpc: Crpc) -> None:
    """Without a terminal there is no menu: exit code 4."""
    done = ssh_crpc("ssh")
    assert (done.returncode, done.stdout) == (4, "")
    assert "5 nodes matched: standard input is not a terminal to choose on" in done.stderr


def test_the_commands_are_printed(ssh_crpc: Crpc) -> None:
    """`--print` runs nothing; the arguments are quoted for a shell."""
    done = ssh_crpc("ssh", "node01.lab", "--print", "--", "-l", "admin", "echo a b")
    assert (done.returncode, done.stdout) == (0, "ssh node01.lab -l admin 'echo a b'\n")
    document = json.loads(ssh_crpc("ssh", "--print", "-j").stdout)
    check_document(document)
    nodes = document["nodes"]
    assert [node["node"] for node in nodes] == [f"node0{number}.lab" for number in range(1, 6)]
    assert [node["command"] for node in nodes] == [f"ssh {node['address']}" for node in nodes]


def test_a_menu_asks_which_node(ssh_terminal: TmuxTerminal) -> None:
    """The number or the name of the menu is typed; ssh has the terminal, and an empty line chooses none."""
    ssh_terminal.type("crpc ssh -- 'test -t 0 || echo no terminal; echo on-$((40+2))'; echo ended with $?")
    wait_until(lambda: "node, 1 to 5:" in ssh_terminal.screen(), 30, ssh_terminal.screen)
    assert "   2  node02.lab  " in ssh_terminal.screen()
    ssh_terminal.type("2")
    wait_until(lambda: "ended with 0" in ssh_terminal.screen(), 30, ssh_terminal.screen)
    assert "crpc: node02.lab: ssh" in ssh_terminal.screen()
    assert "on-42" in ssh_terminal.screen()
    ssh_terminal.type("clear; crpc ssh; echo ended with $?")
    wait_until(lambda: "node, 1 to 5:" in ssh_terminal.screen(), 30, ssh_terminal.screen)
    ssh_terminal.type("")
    wait_until(lambda: "ended with 4" in ssh_terminal.screen(), 30, ssh_terminal.screen)


def test_all_nodes_open_in_panes(ssh_terminal: TmuxTerminal, tmp_path: Path) -> None:
    """`--tmux` shows each node in a pane with its name."""
    own = f"env -u TMUX TMUX_TMPDIR={tmp_path}"  # a server of its own, within the terminal of the test
    ssh_terminal.type(f"{own} crpc ssh -I 'node[01-03].lab' --tmux -- 'echo on-$((40+2)); read x'")
    try:
        wait_until(lambda: ssh_terminal.screen().count("on-42") == 3, 30, ssh_terminal.screen)
        shown = ssh_terminal.screen()
        assert all(f" node0{number}.lab " in shown for number in (1, 2, 3)), shown
    finally:
        ssh_terminal.close()
        subprocess.run([*own.split(), "tmux", "kill-server"], check=False)
