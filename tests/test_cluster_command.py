"""The program of a cluster and its hooks: their words, their signals and their ends, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.clusters import HeldCommand, MemoryCluster, cluster_command, started_first
from support.waiting import wait_until

from collective.cluster import words
from collective.cluster.state import ClusterMachine, ClusterPlace, check_address, check_cluster
from collective.cluster.words import PeerForm
from collective.errors import AccessDenied, ClusterRefused, UsageError
from collective.processes import runs

WEB2 = ClusterMachine("web2", "fe80::2")
OTHER = "f" * 32


def test_words_and_variables(tmp_path: Path) -> None:
    """The program gets its place in the command line and in variables; addresses of version 6 are quoted."""
    out = tmp_path / "out"
    program = cluster_command(
        f"printf '%s|' {{self}} {{first}} {{state}} {{place}} {{size}} {{peers}} {{others}} {{replaced}} "
        f'"$CLUSTER_PEERS" "$CLUSTER_OTHER_ADDRESSES" "$CLUSTER_CLUSTER" ${{HOME}}end > {out}'
    )
    assert program.command.run() == 0
    peers = "web1=http://10.0.0.1:2380,web2=http://[fe80::2]:2380"
    others = "web2=http://[fe80::2]:2380"
    home = os.environ.get("HOME", "")
    assert out.read_text() == f"web1|true|new|0|2|{peers}|{others}||{peers}|fe80::2|c|{home}end|"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (" ", "--exec: the command must not be empty"),
        ("etcd {adress}", "--exec: unknown word '{adress}' (did you mean 'address'?)"),
        ("awk {print}", "--exec: unknown word '{print}' (words: "),
    ],
)
def test_a_command_with_a_misspelt_word_is_refused(line: str, message: str) -> None:
    """A misspelt word is an error before anything is done, and not an argument of the program."""
    with pytest.raises(UsageError) as caught:
        words.check_command("--exec", line)
    assert str(caught.value).startswith(message)


def test_a_form_of_peers_with_an_unknown_word_is_refused() -> None:
    """The words of --peer are name, address and host."""
    with pytest.raises(UsageError, match=r"--peer: unknown word '\{port\}' \(words: address, host, name\)"):
        PeerForm("{name}:{port}").check()


@pytest.mark.parametrize("name", ["", "Etcd", "a b", "-a", "a" * 41, "a/b", "a\n"])
def test_a_name_of_a_cluster_has_few_characters(name: str) -> None:
    """The name becomes a key of the table and the name of a file."""
    assert check_cluster("etcd-1") == "etcd-1"
    with pytest.raises(UsageError, match="invalid name of a cluster"):
        check_cluster(name)


@pytest.mark.parametrize("address", ["", "a b", "-x", "10.0.0.1:80", "$(id)", "a;b", "[::1]", "a\n"])
def test_an_address_is_an_address_or_a_host_name(address: str) -> None:
    """A port, an option or a metacharacter of the shell is refused."""
    assert [check_address(one) for one in ("10.0.0.1", "db-1.my.net", "2001:db8::7")]
    with pytest.raises(UsageError, match="invalid address"):
        check_address(address)


@pytest.mark.parametrize(("line", "code"), [("exit 3", 3), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
def test_the_exit_code_is_that_of_the_program(line: str, code: int) -> None:
    """A signal that ended it is added to 128, as in a shell."""
    assert cluster_command(line).command.run() == code


def test_the_place_is_reported_as_started(tmp_path: Path) -> None:
    """Without --ready the program has started when it runs; the cluster is ready then."""
    program = cluster_command(f"until [ -e {tmp_path}/seen ]; do sleep 0.05; done")
    thread = threading.Thread(target=touch_when_started, args=(program, tmp_path / "seen"))
    thread.start()
    assert program.command.run() == 0
    thread.join()
    assert program.table.stored.state
    assert program.table.stored.state.beginning
    assert program.table.stored.state.beginning.ready


def touch_when_started(program: HeldCommand, path: Path) -> None:
    """Make a file when the place of a program is stored as started."""
    wait_until(lambda: is_started(program.table), 30)
    path.touch()


def is_started(table: MemoryCluster) -> bool:
    return bool(table.stored.state and table.stored.state.places[0].started)


def test_the_program_is_ready_when_the_check_succeeds(tmp_path: Path) -> None:
    """The check is repeated until it succeeds; before that the place is not reported as started."""
    ready = tmp_path / "ready"
    program = cluster_command(
        f"until [ -e {tmp_path}/tried ]; do sleep 0.05; done; touch {ready}; "
        f"until [ -e {tmp_path}/seen ]; do sleep 0.05; done",
        ready=f"touch {tmp_path}/tried; [ -e {ready} ]",
    )
    thread = threading.Thread(target=touch_when_started, args=(program, tmp_path / "seen"))
    thread.start()
    assert program.command.run() == 0
    thread.join()
    assert ready.exists()


def test_the_hook_is_repeated_until_it_succeeds(tmp_path: Path) -> None:
    """Each machine that had the place is removed, in order; then the place has nothing to remove any more."""
    old = (ClusterMachine("old1", "10.0.0.8"), ClusterMachine("old2", "10.0.0.9"))
    done, marker = tmp_path / "done", tmp_path / "marker"
    hook = (
        f"[ -e {marker} ] || {{ touch {marker}; exit 1; }}; "
        f"echo {{replaced}} {{replaced_address}} $CLUSTER_REPLACED >> {done}"
    )
    program = cluster_command("true", started_first(False, False, old), on_replace=hook)
    program.command.remove_replaced()
    assert done.read_text() == "old1 10.0.0.8 old1\nold2 10.0.0.9 old2\n"
    assert program.table.stored.state
    assert program.table.stored.state.places[0].replaces == ()


def test_a_hook_that_hangs_is_killed(tmp_path: Path) -> None:
    """All its processes are killed after its time, and it is tried again."""
    marker = tmp_path / "marker"
    hook = f"[ -e {marker} ] && exit 0; touch {marker}; sleep 600 & echo $! > {tmp_path}/pid; wait"
    program = cluster_command("true", started_first(False, False, (WEB2,)), on_replace=hook, hook_timeout=2.0)
    program.command.remove_replaced()
    wait_until(lambda: not runs(int((tmp_path / "pid").read_text())), 30)


def test_the_program_is_stopped_when_the_place_is_lost(tmp_path: Path) -> None:
    """Another machine has the place, so two programs would run in it."""
    program = cluster_command(
        f"trap 'echo stopped > {tmp_path}/end; exit 0' TERM; touch {tmp_path}/up; while :; do sleep 0.05; done"
    )

    def take_away() -> None:
        wait_until((tmp_path / "up").exists, 30)
        state = program.table.stored.state
        assert state
        successor = ClusterPlace(0, ClusterMachine("web3", "10.0.0.3"), OTHER, OTHER)
        assert program.table.write(program.table.stored, state.with_place(successor))
        program.held.renew()  # what its thread does

    thread = threading.Thread(target=take_away)
    thread.start()
    with pytest.raises(ClusterRefused, match=r"'web3' has taken the place of this node.*; the program was stopped"):
        program.command.run()
    thread.join()
    assert (tmp_path / "end").read_text() == "stopped\n"


def test_a_denied_write_does_not_end_the_program(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Expired credentials are logged, and the program runs on; its start is stored with a later renewal."""
    program = cluster_command(f"until [ -e {tmp_path}/seen ]; do sleep 0.05; done")
    program.table.error = AccessDenied("memory: ExpiredToken")

    def restore() -> None:
        wait_until(lambda: bool(caplog.records), 30)
        program.table.error = None
        program.held.renew()
        touch_when_started(program, tmp_path / "seen")

    thread = threading.Thread(target=restore)
    thread.start()
    assert program.command.run() == 0
    thread.join()
    assert caplog.records[0].error == (  # type: ignore[attr-defined]
        "cluster c: place not renewed: memory: ExpiredToken"
    )


PROGRAM = """
import sys
sys.path[:0] = {path!r}
from support.clusters import cluster_command
sys.exit(cluster_command({line!r}).command.run())
"""


def run_apart(tmp_path: Path, line: str) -> subprocess.Popen[bytes]:
    """Run a program in a process of its own; return when it has written its process ID."""
    code = PROGRAM.format(path=[str(Path(__file__).parent)], line=line)
    process = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"), 30)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on(tmp_path: Path, number: signal.Signals) -> None:
    """The program decides what a signal means."""
    line = f"trap 'exit 7' {number.name[3:]}; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    process = run_apart(tmp_path, line)
    process.send_signal(number)
    assert process.wait(30) == 7


def test_the_program_ends_with_the_command(tmp_path: Path) -> None:
    """A killed `crpc cluster join` leaves no program in a place that is not renewed any more."""
    process = run_apart(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    process.kill()
    process.wait()
    wait_until(lambda: not runs(int((tmp_path / "pid").read_text())), 30)
