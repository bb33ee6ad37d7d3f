"""With a warm process, `crpc` does exactly what it does without one: in pipes, with signals, after changes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.crpc_process import BIN, Completed, make_crpc
from support.waiting import wait_until
from support.warm_process import Warm

CALLS = int(os.environ.get("WARM_CALLS", "40"))


LINES = [
    "rpcutil ping --json -I node01.lab --one --quiet --no-save --select wrong(",
    "--version",
    "package statu",
    "package status package=zsh -T elsewhere",
    "rpcutil ping -F role=none",
    "rpcutil agent_inventory -I node01.lab --fields agents",
    "nrpe runcommand command=missing -I node01.lab -o csv",
    "find -F role=web",
    "nrpe check command=check_disk",
]


def test_output_and_exit_code_are_the_same(warm: Warm) -> None:
    """Standard output, standard error and the exit code do not depend on the warm process."""
    before = warm.served()
    for line in LINES:
        ends = [run(*line.split()) for run in (warm.crpc, warm.cold)]
        found = [(end.returncode, *(_without_times(text) for text in (end.stdout, end.stderr))) for end in ends]
        assert found[0] == found[1], line
    assert warm.served() == before + len(LINES)


def _without_times(text: str) -> str:
    return re.sub(r"[0-9.]+ ms|[0-9]+\.[0-9]+|[0-9]+ seconds? ago", "N", text)


SHELL_LINES = [
    "{crpc} rpcutil inventory -I node01.lab | head -1",
    "{crpc} find | sort | {crpc} rpcutil ping --nodes - --json | wc -l",
    "{crpc} package status package=bash --json > /dev/full; echo $?",
    "{crpc} rpcutil ping 2>&- >&-; echo $?",
    "{crpc} shell run true <&-; echo $?",
    "{crpc} rpcutil ping >&-; echo $?",
    "cd $(mktemp -d) && rmdir $PWD && {crpc} find | wc -l",
    "umask 027; {crpc} rpcutil ping --output-file=/tmp/out.$$ -j | wc -l; stat -c %a /tmp/out.$$; rm -f /tmp/out.$$",
    "trap '' INT; {crpc} rpcutil ping --json | wc -l",
]


def test_pipes_and_closed_files_are_the_same(warm: Warm) -> None:
    """Pipes, full devices, closed files, a deleted folder, the umask and ignored signals work as without it."""

    def run(line: str, **env: str) -> Completed:
        shell = ["sh", "-c", line.format(crpc=BIN / "crpc")]
        environment = {**warm.environment, **env}
        return subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=60, check=False)

    before = warm.served()
    for line in SHELL_LINES:
        ends = [run(line), run(line, COLLECTIVE_WARM="no")]
        found = [(end.returncode, _without_times(end.stdout), _without_times(end.stderr)) for end in ends]
        assert found[0] == found[1], line
    assert warm.served() > before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_ends_it_in_the_same_way(warm: Warm, number: signal.Signals) -> None:
    """A signal to crpc has the same effect on the call, the output and the exit status."""
    found = []
    for environment in (warm.environment, {**warm.environment, "COLLECTIVE_WARM": "no"}):
        command: list[str | Path] = [BIN / "crpc", "shell", "run", "sleep 3", "--yes", "--jsonl"]
        with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        found.append((process.returncode, re.sub("[0-9]+", "N", errors)))
    assert found[0] == found[1]


def test_the_child_ends_with_its_caller(warm: Warm) -> None:
    """A caller that is killed takes its call along."""
    command: list[str | Path] = [BIN / "crpc", "shell", "run", "sleep 30", "--yes", "--jsonl"]
    with subprocess.Popen(command, env=warm.environment, stdout=-1, stderr=-1) as process:
        wait_until(lambda: warm.state()["active"] == 1, 30)
        process.kill()
        wait_until(lambda: warm.state()["active"] == 0, 30)


def test_another_user_has_another_process(warm: Warm, runtime: Path, needs: Callable[[str, str], None]) -> None:
    """`sudo -u` runs a command line as that user, and never in the process of another one, root included."""
    if os.geteuid():
        pytest.skip("this test needs root")
    needs("sudo", "sudo")
    before = warm.served()
    call: list[str | Path] = ["sudo", "-u", "nobody", "--preserve-env", BIN / "crpc"]
    runtime.chmod(0o711)
    for words in (["warm", "status"], ["--version"], ["rpcutil", "ping"]):
        kept = {**warm.environment, "HOME": "/nonexistent"}
        ends = [
            subprocess.run([*call, *words], env=env, capture_output=True, text=True, check=False)
            for env in (kept, {**kept, "COLLECTIVE_WARM": "no"})
        ]
        assert ends[0].stdout == ends[1].stdout
        assert ends[0].returncode == ends[1].returncode
    assert warm.served() == before


def test_the_profile_of_each_call_is_used(warm: Warm, tmp_path: Path) -> None:
    """AWS_PROFILE, AWS_CONFIG_FILE and the files themselves are those of the call, not of the warm process."""
    endpoint = warm.environment["AWS_ENDPOINT_URL"]
    profiles, keys = tmp_path / "config", "aws_access_key_id = a\naws_secret_access_key = b\nregion = eu-central-1\n"
    profiles.write_text(
        f"[profile lab]\n{keys}endpoint_url = {endpoint}\n[profile dead]\n{keys}endpoint_url = http://127.0.0.1:9\n"
    )
    unset = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    environment = {name: value for name, value in warm.environment.items() if name not in unset}
    environment["AWS_CONFIG_FILE"] = str(profiles)
    before = warm.served()

    def ping(profile: str, **env: str) -> Completed:
        return make_crpc({**environment, "AWS_PROFILE": profile, **env})("rpcutil", "ping", "-I", "node01.lab")

    for profile in ("lab", "dead", "missing", "lab"):
        ends = [ping(profile), ping(profile, COLLECTIVE_WARM="no")]
        assert ends[0].returncode == ends[1].returncode == (0 if profile == "lab" else ends[1].returncode)
        assert _without_times(ends[0].stderr) == _without_times(ends[1].stderr)
    profiles.write_text(profiles.read_text().replace(endpoint, "http://127.0.0.1:9"))
    assert ping("lab").returncode == ping("lab", COLLECTIVE_WARM="no").returncode != 0
    assert warm.served() == before + 5


def test_another_environment_of_python_has_another_process(warm: Warm, tmp_path: Path) -> None:
    """The warm process is not used in another locale, or with other variables of Python."""
    before = warm.served()
    for env in ({"LC_ALL": "C"}, {"PYTHONWARNINGS": "error::UserWarning"}, {"PYTHONPATH": str(tmp_path)}):
        assert warm.crpc("--version", **env).returncode == 0
    assert warm.served() == before


def test_a_changed_folder_of_modules_replaces_it(environment: dict[str, str], runtime: Path, tmp_path: Path) -> None:
    """After an upgrade, which replaces files below the folders of Python, no call runs what was imported before."""
    changed = {**environment, "XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(tmp_path)}
    warm = Warm(changed)
    assert warm.crpc("warm", "start").returncode == 0
    assert warm.crpc("--version").returncode == 0
    assert warm.served() == 1
    pid = warm.state()["pid"]
    (tmp_path / "upgraded.py").write_text("")
    assert warm.crpc("--version").returncode == 0
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 30)
    assert not json.loads(warm.crpc("warm", "status", "--json").stdout)["running"]


def test_a_change_of_the_configuration_replaces_it(environment: dict[str, str], runtime: Path, tmp_path: Path) -> None:
    """After an upgrade no call runs the old code, and `warm` in client.yaml starts the next process by itself."""
    folder = tmp_path / "config"
    shutil.copytree(environment["COLLECTIVE_CONFIG"], folder, ignore=shutil.ignore_patterns("nodes", "control", "pid"))
    config = folder / "client.yaml"
    config.write_text(f"{config.read_text()}\nwarm: 5m\n")
    changed = {**environment, "COLLECTIVE_CONFIG": str(folder), "XDG_RUNTIME_DIR": str(runtime), "LC_ALL": "C.UTF-8"}
    warm = Warm(changed)
    assert warm.crpc("rpcutil", "ping", "-I", "node01.lab").returncode == 0
    wait_until(lambda: warm.crpc("warm", "status").returncode == 0, 40)
    first = warm.state()["pid"]
    assert warm.crpc("--version").returncode == 0
    assert warm.served() == 1
    config.write_text(f"{config.read_text()}\n# changed\n")
    assert warm.crpc("rpcutil", "ping", "-I", "node01.lab").returncode == 0
    wait_until(lambda: warm.crpc("warm", "status").returncode == 0, 40)
    assert warm.state()["pid"] != first
    warm.crpc("warm", "stop")


def test_a_process_that_does_not_answer_is_not_waited_for(warm: Warm) -> None:
    """Without an answer within some seconds the command line runs in the usual way, and only there."""
    pid = warm.state()["pid"]
    before = warm.served()
    os.kill(pid, signal.SIGSTOP)
    try:
        assert warm.crpc("--version").stdout.startswith("crpc ")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: warm.state()["active"] == 0, 30)
    assert warm.served() <= before + 1


def test_many_calls_leak_nothing(warm: Warm) -> None:
    """The open files and the memory of the warm process do not grow, and no process is left."""

    def footprint() -> tuple[int, int]:
        pid = warm.state()["pid"]
        memory = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
        return len([*Path(f"/proc/{pid}/fd").iterdir()]), int(memory.split()[1])

    for _ in range(10):
        warm.crpc("find")
    files, memory = footprint()
    for number in range(CALLS):
        assert warm.crpc(*(["find"] if number % 2 else ["rpcutil", "ping", "-I", "node01.lab"])).returncode == 0
    wait_until(lambda: footprint()[0] == files, 30)  # its answer about the state is one more
    assert footprint()[1] < memory + 1024
    pid = warm.state()["pid"]
    assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""


IMPORTED = """
import sys
from collective.clients.crpc import main
started = []
sys.addaudithook(lambda event, _: started.append(event) if event in EVENTS else None)
EVENTS = ("os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen")
assert main(["rpcutil", "ping", "-I", "node01.lab", "--json"]) == 0
slow = {"boto3", "s3transfer", "jsonschema", "regex", "jinja2", "asyncio", "multiprocessing"}
print(len(sys.modules), *started, *sorted(slow & set(sys.modules)))
"""


def test_a_call_imports_what_it_needs_and_starts_no_process(environment: dict[str, str]) -> None:
    """A whole call imports neither boto3 nor jsonschema, and no more modules than it did when this was written."""
    done = subprocess.run([sys.executable, "-c", IMPORTED], env=environment, capture_output=True, text=True, check=True)
    count, *others = done.stdout.splitlines()[-1].split()
    assert others == []
    assert int(count) <= 640
