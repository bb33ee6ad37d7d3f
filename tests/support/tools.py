"""Programs of others that read what is exported: `make exports` installs them, other runs skip what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDERS = "/usr/sbin:/opt/puppetlabs/bin"  # where Debian has nagios4, and where Puppet's own packages have puppet


def tool(name: str) -> str:
    """Return the path of a program; without it skip the test, and in `make exports` fail it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:{FOLDERS}")
    if found is None:
        (pytest.fail if "EXPORTS" in os.environ else pytest.skip)(f"this test needs {name}: make exports")
    return found


def check(*words: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, text: str = "") -> str:
    """Run a program, which must succeed, with a standard input; return its output."""
    done = subprocess.run(
        words,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=cwd,
        env=env,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nagios_configuration(folder: Path, hosts: str) -> Path:
    """Write hosts, the template that they use, and a main file; return that file."""
    (folder / "collective.cfg").write_text(hosts)
    (folder / "templates.cfg").write_text(
        """
define timeperiod {
  timeperiod_name  always
  alias            always
  sunday           00:00-24:00
}
define command {
  command_name  check-host-alive
  command_line  /bin/true
}
define contact {
  contact_name                   root
  host_notifications_enabled     0
  service_notifications_enabled  0
  host_notification_period       always
  service_notification_period    always
  host_notification_commands     check-host-alive
  service_notification_commands  check-host-alive
}
define host {
  name                generic-host
  register            0
  check_command       check-host-alive
  max_check_attempts  3
  check_period        always
  contacts            root
}
define service {
  host_name            *
  service_description  up
  check_command        check-host-alive
  max_check_attempts   3
  check_period         always
  contacts             root
}
"""
    )
    main = folder / "nagios.cfg"
    paths = {"log_file": "log", "object_cache_file": "cache", "status_file": "status", "lock_file": "lock"}
    lines = [f"cfg_file={folder / name}.cfg" for name in ("templates", "collective")]
    lines += [f"{name}={folder / path}" for name, path in paths.items()]
    lines += [f"nagios_user={os.getuid()}", f"nagios_group={os.getgid()}"]  # it must be able to read the files
    lines += [f"temp_path={folder}", f"check_result_path={folder}", f"command_file={folder / 'command'}"]
    main.write_text("\n".join(lines) + "\n")
    return main


def puppet_command(folder: Path, certname: str, *settings: str) -> list[str | Path]:
    """Return the words of `puppet apply` with folders of its own; --execute or a manifest follows."""
    places = [f"--{name}dir={folder / name}" for name in ("conf", "var", "public")]
    return [tool("puppet"), "apply", "--color=false", f"--certname={certname}", *places, *settings]
