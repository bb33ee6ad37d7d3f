"""Facts that need no configuration, from the kernel and os-release(5). Only `full_name` may use the network."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from collections.abc import Mapping
from typing import Any

from collective.fact_files.json_values import FactValues
from collective.machine_addresses import addresses

# Keys are values of ID and ID_LIKE in os-release. Any other distribution is a family of its own.
_FAMILIES = {
    "debian": "debian",
    "ubuntu": "debian",
    "rhel": "redhat",
    "fedora": "redhat",
    "centos": "redhat",
    "suse": "suse",
    "opensuse": "suse",
}


def built_in() -> FactValues:
    """Return facts of this machine. `memory` is in bytes; `addresses` excludes loopback and link-local addresses.

    `os.name` and `os.version` are ID and VERSION_ID of os-release. `os.family` is `debian`, `redhat`, `suse`, or
    `os.name` for a distribution outside these families.
    """
    release, problems = _release()
    facts = {
        "hostname": socket.gethostname().partition(".")[0],
        "fqdn": socket.gethostname(),
        "os": _operating_system(release),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "processors": os.cpu_count() or 1,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "addresses": sorted(set(addresses())),
        "python": platform.python_version(),
    }
    values = FactValues(facts)
    values.omitted = problems
    return values


def full_name() -> Mapping[str, Any]:
    """Return the fact `fqdn` from the resolver, as `hostname -f` does. A slow DNS server delays it."""
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)[0][3]
        if "." in found and not found.startswith("localhost"):
            name = found
    return {"fqdn": name}


def _release() -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Return the content of os-release, and why it cannot be used; a machine need not have one."""
    try:
        return platform.freedesktop_os_release(), ()
    except UnicodeDecodeError:
        return {}, ("os-release: fact 'os' is unknown: the file is not UTF-8",)
    except OSError:
        return {}, ()


def _operating_system(release: Mapping[str, str]) -> dict[str, str]:
    name = release.get("ID", "unknown")
    names = [name, *release.get("ID_LIKE", "").split()]
    family = next((_FAMILIES[each] for each in names if each in _FAMILIES), name)
    return {"family": family, "name": name, "version": release.get("VERSION_ID", "")}
