"""Install, update and remove packages, with the package manager that this node has.

Asking for what is so already is success with `changed: false`.
Settings: `provider` forces one of `PROVIDERS`.
"""

from __future__ import annotations

import hashlib
import shutil
from typing import Any

from collective.agent import Aborted, Reply, Settings, action
from collective.agents._apk import Apk
from collective.agents._apt import Apt
from collective.agents._packages import Package, Provider
from collective.agents._rpm import Yum
from collective.agents._zypper import Zypper

# In order of preference, by the command that shows that a node has it.
PROVIDERS: dict[str, tuple[str, Provider]] = {
    "apt": ("apt-get", Apt()),
    "dnf": ("dnf", Yum("dnf")),
    "yum": ("yum", Yum("yum")),
    "zypper": ("zypper", Zypper()),
    "apk": ("apk", Apk()),
}


@action
def install(package: str, version: str | None = None, *, settings: Settings, deadline: float) -> Reply:
    """Install a package, or bring it to the version asked for."""
    return _change("install", package, version, settings, deadline)


@action
def update(package: str, *, settings: Settings, deadline: float) -> Reply:
    """Bring an installed package to the newest version that the package lists offer."""
    provider = choose(settings)
    found = provider.query(package, deadline)
    if not found.installed and not found.unfinished:
        raise Aborted(f"{package} is not installed: nothing to update: use install", data=_data(provider, found))
    return _change("update", package, None, settings, deadline)


@action
def uninstall(package: str, *, settings: Settings, deadline: float) -> Reply:
    """Remove a package; its configuration files stay."""
    return _change("uninstall", package, None, settings, deadline)


@action
def purge(package: str, *, settings: Settings, deadline: float) -> Reply:
    """Remove a package and its configuration files."""
    return _change("purge", package, None, settings, deadline)


@action
def status(package: str, *, settings: Settings, deadline: float) -> Reply:
    """Tell which version of a package is installed."""
    provider = choose(settings)
    return _finished(provider, provider.query(package, deadline), output="")


@action
def count(*, settings: Settings) -> Reply:
    """Count the installed packages."""
    provider = choose(settings)
    return {"count": len(provider.installed()), "provider": provider.name}


@action
def md5(*, settings: Settings) -> Reply:
    """Digest the sorted list of installed packages: two nodes with one digest have the same."""
    lines = "\n".join(sorted(choose(settings).installed()))
    return {"output": hashlib.md5(lines.encode(), usedforsecurity=False).hexdigest()}


@action
def refresh(*, settings: Settings, deadline: float) -> Reply:
    """Bring the package lists up to date."""
    exitcode, output = choose(settings).refresh(deadline)
    return {"exitcode": exitcode, "output": output}


@action
def checkupdates(*, settings: Settings, deadline: float) -> Reply:
    """List the packages that could be updated."""
    provider = choose(settings)
    return {"package_manager": provider.name, "outdated_packages": provider.outdated(deadline)}


@action
def search(package: str, *, settings: Settings, deadline: float) -> Reply:
    """List the versions of a package that the package lists offer."""
    return {"candidates": choose(settings).candidates(package, deadline)}


def choose(settings: Settings) -> Provider:
    """Return the provider that settings force, or the first whose command is there, or raise Aborted."""
    forced = settings.get("provider")
    if forced is not None:
        if forced not in PROVIDERS:
            raise Aborted(f"settings: provider: there is no '{forced}': there are {', '.join(PROVIDERS)}")
        return PROVIDERS[forced][1]
    for command, provider in PROVIDERS.values():
        if shutil.which(command):
            return provider
    raise Aborted(f"this node has no package manager that collective knows: {', '.join(PROVIDERS)}")


def _change(verb: str, package: str, version: str | None, settings: Settings, deadline: float) -> Reply:
    provider = choose(settings)

    def settled(found: Package) -> bool:
        if verb == "install":
            return found.installed and version in (None, found.ensure)
        gone = not found.installed and not found.unfinished
        return (verb == "uninstall" and gone) or (verb == "purge" and gone and not found.residue)

    found = provider.query(package, deadline)
    if settled(found):
        return _data(provider, found) | {"changed": False, "output": ""}
    changed, output = provider.change(verb, package, version, settled, deadline)
    found = provider.query(package, deadline)
    if verb != "update" and not settled(found):
        raise Aborted(
            f"{provider.name} ended well, but {package} is {found.unfinished or found.ensure}: "
            "look whether something else manages this package",
            data=_data(provider, found) | {"changed": changed, "output": output},
        )
    return _finished(provider, found, changed=changed, output=output)


def _finished(provider: Provider, found: Package, **more: Any) -> Reply:
    data = _data(provider, found) | more
    if found.unfinished:
        raise Aborted(
            f"{found.name} {found.ensure} is {found.unfinished}: a package run was broken off: "
            f"ask for install, or let {provider.name} finish it on the node",
            data=data,
        )
    return data


def _data(provider: Provider, found: Package) -> Reply:
    parts = ("ensure", "name", "version", "release", "epoch", "arch")
    known = {part: getattr(found, part) for part in parts if getattr(found, part)}
    return known | {"provider": provider.name}
