"""Tests of conf/cloud-init.yaml: its script runs in a temporary root with a fake metadata service, and makes a node."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.crpc_process import Completed
from support.metadata_service import serving

from collective.config import load_node
from collective.policy import read
from collective.yaml_file import read_yaml

CONF = Path(__file__).resolve().parents[2] / "conf"
INSTANCE = "i-0123456789abcdef0"
METADATA = {
    "meta-data/instance-id": INSTANCE,
    "meta-data/placement/region": "eu-central-1",
    "meta-data/services/partition": "aws",
    "dynamic/instance-identity/document": f'{{\n  "accountId" : "111122223333",\n  "instanceId" : "{INSTANCE}"\n}}',
}
# Replaces each command that would change the machine: it records its arguments, and creates the venv it is asked for.
COMMAND = f"""#!/bin/sh
echo "${{0##*/}} $*" >> "$ROOT/called"
case "$*" in
    "-m venv "*) mkdir -p "$3/bin"; for name in pip python collectived; do cp "$0" "$3/bin/$name"; done ;;
    "-c "*) exec {sys.executable} "$@" ;;
esac
"""


@pytest.fixture(scope="module")
def user_data() -> dict[str, Any]:
    """Return the document that cloud-init reads."""
    path = CONF / "cloud-init.yaml"
    assert path.read_text().startswith("#cloud-config\n")
    found = read_yaml(path)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def root(tmp_path: Path, user_data: dict[str, Any]) -> Path:
    """Return a root folder with the files that cloud-init writes, and with commands that record how they are called."""
    for folder in ("bin", "usr/local/bin", "etc/default", "etc/systemd/system"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("apt-get", "python3", "systemctl"):
        (tmp_path / "bin" / name).write_text(COMMAND)
        (tmp_path / "bin" / name).chmod(0o755)
    for file in user_data["write_files"]:
        path = tmp_path / file["path"].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file["content"])
        path.chmod(int(file.get("permissions", "0644"), 8))
    return tmp_path


def test_the_user_data_has_only_keys_that_cloud_init_supports(user_data: dict[str, Any]) -> None:
    """cloud-init ignores unknown keys with a warning in its log (cloud-init "Module reference")."""
    assert set(user_data) == {"write_files", "runcmd"}
    assert all(set(file) <= {"path", "content", "permissions"} for file in user_data["write_files"])
    assert all(isinstance(word, str) for command in user_data["runcmd"] for word in command)


def test_the_script_sets_up_a_node(root: Path, user_data: dict[str, Any], needs: Callable[[str, str], None]) -> None:
    """The script installs, configures, starts and checks the node in this order; it can be run twice."""
    needs("curl", "curl")
    with serving() as service:
        service.pages = METADATA
        for _ in range(2):
            (root / "called").unlink(missing_ok=True)
            done = run_user_data(root, user_data, service.address)
            assert (done.returncode, done.stderr) == (0, "")
            called = re.sub(r"/\S*/(collective_rpc)", r"DOWNLOADS/\1", (root / "called").read_text())
            assert [line.split(" -c ")[0] for line in called.splitlines()] == [
                "apt-get -qq update",
                "apt-get -qq install -y python3-venv",
                f"python3 -m venv {root}/opt/collective",
                "pip install --quiet --upgrade DOWNLOADS/collective_rpc-1-py3-none-any.whl",
                "python",
                "systemctl daemon-reload",
                "systemctl enable --now collectived",
                "collectived --check",
            ]
    config = load_node(root / "etc/collective/node.yaml")
    assert (config.collective, config.identity) == ("production", INSTANCE)
    assert config.queue_tags == {"collective:instance": f"arn:aws:ec2:eu-central-1:111122223333:instance/{INSTANCE}"}
    assert len(read(root / "etc/collective/policy.yaml").rules) == 1
    unit = root / "etc/systemd/system/collectived.service"
    assert "ExecStart=/opt/collective/bin/collectived\n" in unit.read_text()
    assert "EnvironmentFile=-/etc/default/collectived\n" in unit.read_text()
    assert (root / "etc/default/collectived").read_text() == "AWS_DEFAULT_REGION=eu-central-1\n"
    assert (root / "usr/local/bin/crpc").readlink() == Path("/opt/collective/bin/crpc")


@pytest.mark.parametrize("hash_", ["HASH", "", "0" * 64, hashlib.sha256(b"another").hexdigest()])
def test_another_wheel_is_not_installed(
    root: Path, user_data: dict[str, Any], needs: Callable[[str, str], None], hash_: str
) -> None:
    """A wheel with another hash, or an unedited file, ends the script before it changes anything."""
    needs("curl", "curl")
    with serving() as service:
        service.pages = METADATA
        done = run_user_data(root, user_data, service.address, hash_=hash_)
    assert done.returncode != 0
    assert not (root / "called").exists()
    assert not (root / "etc/collective/node.yaml").exists()


def test_the_wheel_is_an_argument(user_data: dict[str, Any]) -> None:
    """No package index is asked for collective, whose name is not registered: URL and hash are placeholders."""
    [[_, _, url, digest]] = user_data["runcmd"]
    assert url.startswith("https://YOUR-BUCKET.s3.")
    assert digest == "HASH"
    script = user_data["write_files"][-1]["content"]
    assert "collective-rpc" not in script


def test_without_metadata_nothing_is_changed(root: Path, user_data: dict[str, Any]) -> None:
    """On a machine without instance metadata, the script fails before it changes anything."""
    assert run_user_data(root, user_data, "127.0.0.1:9").returncode != 0
    assert not (root / "called").exists()


def test_shell_scripts_pass_the_linter(root: Path, needs: Callable[[str, str], None]) -> None:
    """Shellcheck finds nothing in the scripts that are shipped or run by CI."""
    needs("shellcheck", "shellcheck")
    scripts = [root / "usr/local/sbin/make-collective-node", CONF / "demo.sh", CONF.parent / ".ci" / "run"]
    done = subprocess.run(
        ["shellcheck", "--severity=warning", *scripts], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def run_user_data(root: Path, user_data: dict[str, Any], metadata: str, hash_: str | None = None) -> Completed:
    """Run the `runcmd` of the user data as cloud-init does, in `root`, with a wheel; `hash_` instead of the wheel's."""
    [[script, collective, *_]] = user_data["runcmd"]
    wheel = root / "collective_rpc-1-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    digest = hashlib.sha256(b"a wheel").hexdigest() if hash_ is None else hash_
    words = [collective, f"file://{wheel}?X-Amz-Signature=1", digest]
    env = {
        **os.environ,
        "ROOT": str(root),
        "METADATA": f"http://{metadata}",
        "PATH": f"{root}/bin:{os.environ['PATH']}",
    }
    command = [f"{root}{script}", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
