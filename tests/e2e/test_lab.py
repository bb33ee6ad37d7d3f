"""A lab cleans up after itself, whatever happens, and several labs can run at the same time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from support.crpc_process import BIN, Completed, Crpc, clean_environment, make_crpc, own_server
from support.json_documents import check_document
from support.servers import PROGRAMS, SELECTED
from support.shared_name import PKGUTIL, install_ours, install_theirs
from support.waiting import wait_until

from collective.lab.layout import Layout
from collective.processes import runs


def crpc_in(folder: Path) -> Crpc:
    """Return a function that runs crpc with the home folder `folder`, which separates its lab from others."""
    return make_crpc({**clean_environment(), "HOME": str(folder), "TMPDIR": str(folder)})


def processes_of(folder: Path) -> list[str]:
    """Return the processes with `folder` in their command line or environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in text and int(entry.name) != os.getpid():
            found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def assert_nothing_left(folder: Path) -> None:
    """Check that no process and no file of a lab is left in `folder`."""
    wait_until(lambda: not processes_of(folder), 10, lambda: f"still there: {processes_of(folder)}")
    assert not list(folder.rglob("supervisor.pid"))
    assert not list(folder.glob("collective-lab-*"))


def test_run_starts_a_collective_for_a_command(tmp_path: Path) -> None:
    """`crpc lab run` sets the environment of a command, exits with its exit code, and leaves nothing behind."""
    done = crpc_in(tmp_path)("lab", "run", "--nodes", "2", "--", "sh", "-c", "crpc find; exit 7")
    assert (done.returncode, done.stdout) == (7, "node01.lab\nnode02.lab\n"), done.stderr
    assert_nothing_left(tmp_path)


def test_a_lab_runs_beside_another_distribution_of_that_name(tmp_path: Path) -> None:
    """Plone's `collective/__init__.py` comes first on sys.path: a caller and a node do not need ours."""
    theirs = install_theirs(tmp_path / "theirs", PKGUTIL)
    path = f"{theirs}{os.pathsep}{install_ours(tmp_path / 'ours')}"
    crpc = make_crpc({**clean_environment(), "TMPDIR": str(tmp_path), "PYTHONPATH": path})
    done = crpc("lab", "run", "--nodes", "1", "--", "sh", "-c", "crpc ping; crpc shell run command='echo hi' -j --yes")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "node01.lab" in done.stdout
    assert '"hi\\n"' in done.stdout
    assert_nothing_left(tmp_path)


def test_a_lab_uses_a_server_that_is_running(tmp_path: Path) -> None:
    """`--endpoint` names the server; the lab does not stop it."""
    with own_server() as url:
        lab = ("lab", "run", "--nodes", "1", "--endpoint", url, "--", "sh", "-c")
        first, second = (crpc_in(tmp_path)(*lab, "crpc find; echo $AWS_ENDPOINT_URL") for _ in range(2))
    assert (first.returncode, first.stdout) == (0, f"node01.lab\n{url}\n"), first.stderr
    assert second.stdout == first.stdout
    assert_nothing_left(tmp_path)


@pytest.mark.skipif("fauxqs" not in SELECTED, reason="make servers selects it")
def test_a_lab_runs_on_fauxqs(tmp_path: Path) -> None:
    """SQS and SNS are those of fauxqs, the registry is moto's."""
    path = os.pathsep.join([str(PROGRAMS), os.environ["PATH"]])
    crpc = make_crpc({**clean_environment(), "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": path})
    done = crpc("lab", "run", "--nodes", "2", "--server", "fauxqs", "--", "sh", "-c", "crpc rpcutil ping -o csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".lab,") == 2
    assert_nothing_left(tmp_path)


def test_two_labs_run_side_by_side(tmp_path: Path) -> None:
    """Two labs have their own ports, folders and nodes."""
    labs = [
        subprocess.Popen(
            [BIN / "crpc", "lab", "run", "--nodes", nodes, "--", "sh", "-c", "crpc find --dm broadcast | wc -l"],
            env={**clean_environment(), "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for nodes in ("2", "3")
    ]
    assert [lab.communicate(timeout=60)[0].strip() for lab in labs] == ["2", "3"]
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_lab_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """SIGINT, SIGTERM and SIGKILL leave neither processes nor files."""
    lab = subprocess.Popen(
        [BIN / "crpc", "lab", "run", "--nodes", "2", "--", "sleep", "600"],
        env={**clean_environment(), "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    wait_until(lambda: any("sleep 600" in line for line in processes_of(tmp_path)), 40)
    if number is signal.SIGKILL:
        lab.kill()
    else:
        os.killpg(lab.pid, number)
    lab.wait(30)
    for line in Path("/proc").glob("[0-9]*"):  # the user's command outlives a SIGKILL of crpc
        if number is signal.SIGKILL and _is_sleep(line):
            os.kill(int(line.name), signal.SIGKILL)
    assert_nothing_left(tmp_path)


def _is_sleep(entry: Path) -> bool:
    try:
        return (entry / "cmdline").read_bytes() == b"sleep\x00600\x00"
    except OSError:
        return False


def test_a_lab_interrupted_during_its_start_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C ends a lab before its nodes are up, and leaves nothing behind."""
    lab = subprocess.Popen(
        [BIN / "crpc", "lab", "run", "--nodes", "9", "--", "true"],
        env={**clean_environment(), "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: bool(list(tmp_path.glob("collective-lab-*/supervisor.pid"))), 30)
    os.killpg(lab.pid, signal.SIGINT)
    stderr = lab.communicate(timeout=30)[1]
    assert lab.returncode == 4
    assert stderr == "crpc: interrupted\n"
    assert_nothing_left(tmp_path)


def test_a_failed_start_leaves_nothing(tmp_path: Path) -> None:
    """When the lab's server does not start, there is one line, and the exit code is 69."""
    broken = tmp_path / "broken"
    (broken / "moto").mkdir(parents=True)
    (broken / "moto" / "__init__.py").write_text("raise SystemExit('moto has a cold')\n")
    done = crpc_in(tmp_path)("lab", "run", "--", "true", PYTHONPATH=str(broken))
    assert done.returncode == 69
    assert re.fullmatch(r"crpc: lab did not start: .*\n", done.stderr)
    assert_nothing_left(tmp_path)


def test_invalid_arguments_are_one_line(tmp_path: Path) -> None:
    """Invalid arguments of `crpc lab` are one line with exit code 64, and hints contain the folder."""
    crpc = crpc_in(tmp_path)
    for words, message in (
        (("run", "--nodes", "101", "--", "true"), "--nodes 101: must be between 1 and 100"),
        (("run", "--nodes", "many"), "invalid int value"),
        (("run", "--", "no-such-command"), "command 'no-such-command' not found"),
        (("start", "--folder", "/proc/lab"), "/proc/lab: cannot create a lab: No such file or directory (use"),
        (("stop",), "no lab is running in"),
        (("stop",), "(start one with 'crpc lab start')"),
        (("stop", "--folder", "/srv/a lab"), "(start one with 'crpc lab start --folder '/srv/a lab'')"),
        (("env",), "no lab is running in"),
        (("node", "node01.lab", "kill"), "no lab is running in"),
        (("stopp",), "invalid choice"),
    ):
        done = crpc("lab", *words)
        assert (done.returncode, done.stdout) == (64, ""), words
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert_nothing_left(tmp_path)


def test_a_lab_in_the_background(tmp_path: Path) -> None:
    """A lab in the background has status and env, survives the kill of a node, refuses a second start, and stops."""
    crpc = crpc_in(tmp_path)
    started = crpc("lab", "start", "--nodes", "3")
    assert started.returncode == 0, started.stderr
    try:
        layout = Layout(tmp_path / ".local/state/collective/lab")
        environment = _exported(crpc("lab", "env"))
        assert crpc("ping", **environment).returncode == 0
        again = crpc("lab", "start")
        assert (again.returncode, again.stderr.count("\n")) == (64, 1)
        assert "already running in" in again.stderr

        assert crpc("lab", "node", "node02.lab", "stop").returncode == 0
        assert crpc("find", **environment).stdout.split() == ["node01.lab", "node03.lab"]
        gone = crpc("rpcutil", "ping", "-I", "node02.lab", **environment)
        assert gone.returncode == 3
        assert re.search(r"^crpc: node02\.lab: stopped cleanly \d+ s ago$", gone.stderr, re.MULTILINE)
        assert crpc("lab", "node", "node03.lab", "kill").returncode == 0
        silent = crpc("rpcutil", "ping", "-t", "2", **environment)
        assert silent.returncode == 3
        assert "node03.lab" in silent.stdout
        assert re.search(r"^node03\.lab +not running$", crpc("lab", "status").stdout, re.MULTILINE)
        status = json.loads(crpc("lab", "status", "--json").stdout)
        assert check_document(status) == "lab"
        assert status["folder"] == str(layout.folder)
        assert [(node["identity"], node["running"]) for node in status["nodes"]] == [
            ("node01.lab", True),
            ("node02.lab", False),
            ("node03.lab", False),
        ]
        env = json.loads(crpc("lab", "env", "--json").stdout)
        assert (check_document(env), env["variables"]) == ("lab-env", environment)
        every = crpc("lab", "node", "all", "start")
        assert (every.returncode, every.stderr) == (2, "crpc: node01.lab: already running\n")
        assert_reload_and_log(crpc, layout)
        checked = subprocess.run(
            [BIN / "collectived", "--check"],
            env={**clean_environment(), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (checked.returncode, checked.stderr) == (0, "")
        assert checked.stdout.startswith("node01.lab in lab: agents ")
        assert crpc("rpcutil", "ping", **environment).returncode == 0
        assert crpc("lab", "node", "node09.lab", "stop").returncode == 64
        assert layout.folder.stat().st_mode & 0o777 == 0o700
    finally:
        stopped = crpc("lab", "stop")
    assert stopped.returncode == 0
    assert_nothing_left(tmp_path)


def assert_reload_and_log(crpc: Crpc, layout: Layout) -> None:
    """Check that `reload` waits for the nodes and reports refused agents, and that `log` prints their logs."""
    assert crpc("lab", "node", "all", "reload").returncode == 0
    (layout.folder / "agents" / "load.py").write_text("x(")
    (layout.folder / "ddl" / "load.json").write_text("{")
    refused = crpc("lab", "node", "node[01-02].lab", "reload")
    assert refused.returncode == 2
    assert [line.split(" with ")[0] for line in refused.stderr.splitlines()] == [
        "crpc: node01.lab: reloaded",
        "crpc: node02.lab: reloaded",
    ]
    assert "the last valid version, if there is one, stays in use (see 'collectived --check'" in refused.stderr
    for name in ("agents/load.py", "ddl/load.json"):
        (layout.folder / name).unlink()
    log = crpc("lab", "node", "node03.lab", "log")
    assert log.returncode == 0
    assert "daemon.serving" in log.stdout
    both = json.loads(crpc("lab", "node", "node[01-02].lab", "log", "--json").stdout)
    assert check_document(both) == "lab-log"
    assert {line["identity"] for line in both["lines"]} == {"node01.lab", "node02.lab"}
    assert crpc("lab", "node", "node09.lab", "reload").returncode == 64
    assert crpc("lab", "node", "all", "reload").returncode == 0


def assert_a_dead_node_is_started(layout: Layout) -> None:
    """Check that a node is started whose end the supervisor has not seen when it reads the command."""
    file, supervisor = layout.node("node01.lab") / "pid", int(layout.supervisor_pid.read_text())
    dead = int(file.read_text())
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(dead, signal.SIGKILL)
    wait_until(lambda: not runs(dead), 30)
    layout.control.write_text("start node01.lab\n")
    os.kill(supervisor, signal.SIGCONT)
    wait_until(lambda: layout.pid(file) not in (None, dead), 30)


def test_a_killed_supervisor_leaves_no_process(tmp_path: Path) -> None:
    """Nodes and server end with the supervisor, and the next start removes the remaining files."""
    crpc = crpc_in(tmp_path)
    assert crpc("lab", "start", "--nodes", "1").returncode == 0
    layout = Layout(tmp_path / ".local/state/collective/lab")
    assert_a_dead_node_is_started(layout)
    os.kill(int(layout.supervisor_pid.read_text()), signal.SIGKILL)
    wait_until(lambda: not processes_of(tmp_path), 30)
    assert crpc("lab", "start", "--nodes", "1").returncode == 0
    assert crpc("lab", "stop").returncode == 0
    assert_nothing_left(tmp_path)


def _exported(done: Completed) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^export (\w+)=(.*)$", done.stdout, re.MULTILINE))


def test_actions_run_with_a_long_temporary_folder(tmp_path: Path) -> None:
    """The path of a Unix socket is limited to 107 bytes; actions still get the configured TMPDIR."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    words = ("lab", "run", "--nodes", "1", "--", "sh", "-c", "crpc shell run 'command=echo $TMPDIR' --json --yes")
    done = crpc_in(tmp_path)(*words, TMPDIR=str(long))
    assert done.returncode == 0, done.stdout + done.stderr
    [reply] = json.loads(done.stdout)["replies"]
    assert (reply["statusmsg"], reply["data"]["stdout"]) == ("OK", f"{long}\n")
    assert list(long.iterdir()) == []


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_a_lab_does_not_use_a_proxy(tmp_path: Path, name: str) -> None:
    """Both names of the variable have the server of the lab in addition to the hosts that either of them had."""
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy"), "http://127.0.0.1:9")
    words = ("lab", "run", "--nodes", "1", "--", "sh", "-c", "crpc find; echo $no_proxy $NO_PROXY")
    other = "NO_PROXY" if name == "no_proxy" else "no_proxy"
    done = crpc_in(tmp_path)(*words, **{**proxies, name: "intranet.example.com", other: ""})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["node01.lab", *2 * ["intranet.example.com,127.0.0.1"]]
