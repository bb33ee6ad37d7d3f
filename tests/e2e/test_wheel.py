"""The built wheel in an empty environment: crpc and the lab work without anything for developers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from support.crpc_process import Completed, clean_environment, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon

ROOT = Path(__file__).resolve().parents[2]
DEVELOPERS_ONLY = {"hypothesis", "mypy", "ruff", "pytest-xdist"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and its extras `lab` and `testing`; returns its bin folder."""
    folder = tmp_path_factory.mktemp("wheel")
    python = folder / "venv" / "bin" / "python"
    # By way of an sdist: nothing stale of the checkout gets in.
    run_once(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    run_once(sys.executable, "-m", "venv", folder / "venv")
    wheel = next(folder.glob("collective_rpc-*.whl"))
    # Locked versions, so that the result does not depend on the day; pip refuses them if the wheel's ranges do.
    pip = (python, "-m", "pip", "install", "--quiet")
    run_once(*pip, "--require-hashes", "--requirement", ROOT / "requirements" / "demo.txt")
    run_once(*pip, "--no-index", f"{wheel}[lab,testing]")
    return python.parent


def run_once(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=110)


def run(installed: Path, *words: str | Path, cwd: Path | None = None) -> Completed:
    env = {**clean_environment(), "PATH": f"{installed}:/usr/bin:/bin"}
    return subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.timeout(400)
def test_the_wheel_brings_what_users_need_and_nothing_for_developers(installed: Path, tmp_path: Path) -> None:
    """The installed wheel has help, a lab, calls and checks of a configuration, outside the checkout."""
    listed = run(installed, installed / "python", "-m", "pip", "list").stdout.split()
    assert not DEVELOPERS_ONLY & set(listed)
    helped = run(installed, "crpc", "--help", cwd=tmp_path)
    assert helped.returncode == 0
    assert "package" in helped.stdout
    call = ("crpc", "shell", "run", "command=echo hello", "--yes")
    lab = run(installed, "crpc", "lab", "run", "--nodes", "2", "--", *call)
    assert lab.returncode == 0, lab.stdout + lab.stderr
    assert lab.stdout.startswith("node[01-02].lab (2) ")
    assert lab.stdout.count("Standard Output: hello\n") == 1
    checked = run(installed, "collectived", "--config", "/no/such/file")
    assert (checked.returncode, checked.stderr.count("\n")) == (78, 1)


def test_nothing_generic_lands_in_site_packages(installed: Path) -> None:
    """The top-level folders of the checkout are installed under one import name."""
    packages = next((installed.parent / "lib").glob("python*/site-packages"))
    assert (packages / "collective" / "agents" / "package.py").exists()
    assert (packages / "collective" / "ddls" / "package.json").exists()
    for name in ("node.yaml", "cloudformation.yaml", "cloud-init.yaml", "collectived.service", "iam/node.json"):
        assert (packages / "collective" / "conf" / name).exists()
    assert (installed.parent / "share" / "man" / "man1" / "crpc-ping.1").read_text().startswith(".TH CRPC")
    assert (installed.parent / "share" / "man" / "man8" / "collectived.8").exists()
    script = run(installed, "crpc", "completion", "zsh").stdout
    assert script.startswith("#compdef crpc\n")
    assert not {"agents", "clients", "ddl", "ddls", "conf", "tests"} & {path.name for path in packages.iterdir()}


def other_build(sdist: Path, folder: Path) -> Path:
    """Make a wheel of the same version whose processes for actions take orders that are not those of the first."""
    folder.mkdir()
    run_once("tar", "-xzf", sdist, "-C", folder)
    (source,) = folder.iterdir()
    main = source / "collective" / "node" / "actions" / "fork_server_main.py"
    before = main.read_text()
    main.write_text(before.replace("def main(control: int, idle_limit: float)", "def main(control: int)"))
    assert main.read_text() != before
    run_once(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source)
    return next(folder.glob("*.whl"))


def test_a_wheel_that_is_replaced_under_a_daemon_is_named(installed: Path, tmp_path: Path, moto_server: str) -> None:
    """The daemon runs no code of two versions: its refusals, its log and its problems name the restart."""
    replace = (installed / "python", "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--force-reinstall")
    built = installed.parents[1]
    wheel, sdist = next(built.glob("collective_rpc-*.whl")), next(built.glob("collective_rpc-*.tar.gz"))
    configure(tmp_path, collective=f"wheel-{uuid.uuid4().hex[:8]}")
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path / "client.yaml")})
    call = ("shell", "run", "command=echo hello", "--yes", "-I", IDENTITY, "--json", "-t", "60")
    try:
        with daemon(tmp_path, moto_server, by=[str(installed / "python")]) as node:
            assert "hello" in crpc(*call).stdout
            run_once(*replace, other_build(sdist, tmp_path / "other"))
            [refused] = json.loads(crpc(*call).stdout)["replies"]
            assert "restart collectived" in refused["statusmsg"]
            node.process.send_signal(signal.SIGHUP)
            node.wait_for("reload.refused")
            [logged] = node.events("package.replaced")
            assert refused["statusmsg"] == f"the action was not started: {logged['error']}"
            assert crpc("rpcutil", "ping", "-I", IDENTITY).returncode == 0
    finally:
        run_once(*replace, wheel)
