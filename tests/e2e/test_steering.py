"""Rollouts that outlive their caller, over ten real daemons and a real table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.crpc_process import BIN, Crpc, make_crpc
from support.rollouts import lines, listed, printed
from support.waiting import wait_until

from collective.lab.layout import Layout

NODES = [f"node{number:02}.lab" for number in range(1, 11)]


@pytest.fixture
def environment(of_ten: dict[str, str]) -> dict[str, str]:
    """Let `crpc` use the lab of ten nodes."""
    return of_ten


@pytest.fixture
def bob(ten: Layout, of_ten: dict[str, str], tmp_path: Path) -> Callable[..., Crpc]:
    """Make another caller: a home folder and a key of its own; with `trusted`, nodes and runs accept the key."""

    def make(name: str = "bob@other", *, trusted: bool) -> Crpc:
        home = tmp_path / name
        home.mkdir()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "id"], check=True)
        if trusted:
            trust(ten, crpc_of(of_ten), name, home / "id.pub")
        config = yaml.safe_load((ten.folder / "client.yaml").read_text())
        config |= {"caller": name, "key": "id", "state": "state", "runs": "shared"}
        config["allowed_signers"] = str(ten.folder / "allowed_signers")
        config["ddls"] = [str(ten.folder / "ddl")]
        (home / "client.yaml").write_text(yaml.safe_dump(config))
        return make_crpc({**of_ten, "HOME": str(home), "COLLECTIVE_CONFIG": str(home)})

    return make


def crpc_of(environment: dict[str, str]) -> Crpc:
    return make_crpc(environment)


def trust(lab: Layout, crpc: Crpc, name: str, key: Path) -> None:
    """Let nodes and runs accept a caller."""
    signers = lab.folder / "allowed_signers"
    done = crpc("keys", "trust", str(key), "--as", name, "--file", str(signers))
    assert done.returncode == 0, done.stderr
    for node in lab.nodes():
        policy = lab.node(node) / "policy.yaml"
        rules = yaml.safe_load(policy.read_text())
        rules["rules"][0]["callers"] = [*rules["rules"][0]["callers"], name]
        policy.write_text(yaml.safe_dump(rules))
        os.kill(int((lab.node(node) / "pid").read_text()), signal.SIGHUP)


class Caller:
    """A rollout in a process of its own. Each action writes `begin NODE` and `end NODE` to a file."""

    def __init__(self, environment: dict[str, str], file: Path, seconds: float, *options: str) -> None:
        self.file = file
        script = f"echo begin-$(basename $PWD) >> {file}; sleep {seconds}; echo end >> {file}"
        words: list[str | Path] = [BIN / "crpc", "shell", "run", f"command={script}", "--yes", *options]
        self.process = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @property
    def begun(self) -> int:
        """How many actions have begun."""
        return sum(line.startswith("begin") for line in lines(self.file))

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_another_caller_finishes_the_rest_and_only_the_rest(
    of_ten: dict[str, str], crpc: Crpc, bob: Callable[..., Crpc], tmp_path: Path
) -> None:
    """Alice is killed in the middle of wave 2; Bob, with another home and key, takes the run: each action runs once.

    A caller without a trusted key is refused, and one that does not confirm the call of another one. Of two callers
    that take it at once one wins.
    """
    other, stranger = bob(trusted=True), bob("eve@other", trusted=False)
    shared = {**of_ten, "COLLECTIVE_CONFIG": str(shared_config(of_ten, tmp_path))}
    with Caller(shared, tmp_path / "ran", 3.0, "--waves", "2,4,rest") as caller:
        wait_until(lambda: caller.begun >= 4, 60)
        caller.process.send_signal(signal.SIGKILL)
        caller.process.wait()
    begun = caller.begun
    assert begun in range(4, 7)
    [run] = [one["run"] for one in listed(other) if one["state"] != "complete"]
    refused = stranger("run", "take", run)
    assert (refused.returncode, "is not trusted here" in refused.stderr or "may not steer" in refused.stderr) == (
        77,
        True,
    )
    early = other("run", "take", run, "--yes")
    assert (early.returncode, "goes on with run" in early.stderr) == (4, True), early.stderr
    wait_until(lambda: listed(other)[0]["state"] == "unfinished", 60)
    for options in ([], ["--detach"]):  # no terminal to ask on
        asked = other("run", "take", run, *options)
        assert (asked.returncode, "'operator@lab' has planned it: not confirmed" in asked.stderr) == (4, True)
    takers = [
        subprocess.Popen(
            [BIN / "crpc", "run", "take", run, "--yes", "-o", "json"],
            env={**of_ten, "HOME": str(tmp_path / "bob@other"), "COLLECTIVE_CONFIG": str(tmp_path / "bob@other")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [(*taker.communicate(timeout=100), taker.returncode) for taker in takers]
    codes = sorted(code for *_, code in outputs)
    assert codes == [0, 4], outputs
    results = json.loads(next(out for out, _, code in outputs if code == 0))
    assert results["outcomes"]["ok"] == 10
    assert caller.begun == 10
    log = printed(other("run", "log", run, "-o", "json"))["events"]
    assert [event["caller"] for event in log if event["event"] == "taken"] == ["operator@lab", "bob@other"]
    assert listed(crpc)[0]["state"] == "complete"


def shared_config(of_ten: dict[str, str], folder: Path) -> Path:
    """Return a configuration of the operator of the lab whose rollouts are shared."""
    lab = Path(of_ten["COLLECTIVE_CONFIG"])
    config = yaml.safe_load((lab / "client.yaml").read_text())
    paths = {"key": "key", "allowed_signers": "allowed_signers", "state": "state"}
    config |= {name: str(lab / value) for name, value in paths.items()}
    config |= {"ddls": [str(lab / "ddl")], "runs": "shared"}
    path = folder / "client.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.parametrize("shared", [False, True], ids=["on this machine", "shared"])
def test_a_rollout_is_paused_and_resumed_from_another_terminal(
    of_ten: dict[str, str], tmp_path: Path, shared: bool
) -> None:
    """While it is paused, working nodes end and no further node begins; `stop` ends it with exit code 4."""
    environment = {**of_ten, "COLLECTIVE_CONFIG": str(shared_config(of_ten, tmp_path))} if shared else of_ten
    crpc = make_crpc(environment)
    with Caller(environment, tmp_path / "ran", 0.1, "--waves", "1", "--wave-pause", "2") as caller:
        wait_until(lambda: caller.begun >= 2, 60)
        run = listed(crpc)[0]["run"]
        printed(crpc("run", "pause", run[:8], "-o", "json"))
        wait_until(lambda: listed(crpc)[0]["state"] == "paused", 30)
        paused = caller.begun
        assert [listed(crpc)[0]["state"] for _ in range(3)] == ["paused"] * 3
        assert caller.begun == paused < 9
        printed(crpc("run", "resume", run[:8], "-o", "json"))
        wait_until(lambda: caller.begun > paused, 30)
        printed(crpc("run", "stop", run[:8], "-o", "json"))
        _, error = caller.process.communicate(timeout=60)
        assert (caller.process.returncode, "stopped by 'operator@lab'" in error) == (4, True), error
        assert caller.begun < 10
    shown = printed(crpc("run", "show", run[:8], "-o", "json"))
    assert shown["outcomes"]["ok"] + shown["outcomes"]["skipped"] == 10
    again = crpc("run", "take", run)
    assert (again.returncode, "is complete" in again.stderr) == (4, True)
