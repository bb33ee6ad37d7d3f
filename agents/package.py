"""Install, update and remove packages with the node's package manager.

If the package is already in the wanted state, the action succeeds with `changed: false`. A dry run returns the current
state, whether the package manager would change anything, and the output of its simulation.

Settings: `provider`, the name of one of `PROVIDERS`; without it the first available one is used.
"""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

from collective.agent import Aborted, Reply, Settings, action
from collective.agents._apk import Apk
from collective.agents._apt import Apt
from collective.agents._packages import Package, Provider
from collective.agents._rpm import Yum
from collective.agents._zypper import Zypper

# In order of preference, each with the command whose presence selects it.
PROVIDERS: dict[str, tuple[str, Provider]] = {
    "apt": ("apt-get", Apt()),
    "dnf": ("dnf", Yum("dnf")),
    "yum": ("yum", Yum("yum")),
    "zypper": ("zypper", Zypper()),
    "apk": ("apk", Apk()),
}


@action
def install(
    package: str, version: str | None = None, *, settings: Settings, deadline: float, dry_run: bool = False
) -> Reply:
    """Install a package, or change its version."""
    return _change("install", package, version, settings, deadline, dry_run)


@action
def update(package: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Update an installed package to the latest version in the package lists."""
    provider = choose(settings)
    found = provider.query(package, deadline)
    if not found.installed and not found.unfinished:
        raise Aborted(f"package '{package}' is not installed (use install)", data=_data(provider, found))
    return _change("update", found.name if found.provides else package, None, settings, deadline, dry_run)


@action
def uninstall(package: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Remove a package but keep its configuration files."""
    return _change("uninstall", package, None, settings, deadline, dry_run)


@action
def purge(package: str, *, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Remove a package and its configuration files."""
    return _change("purge", package, None, settings, deadline, dry_run)


@action
def status(package: str, *, settings: Settings, deadline: float) -> Reply:
    """Return the installed version of a package."""
    provider = choose(settings)
    return _finished(provider, provider.query(package, deadline), output="")


@action
def count(*, settings: Settings) -> Reply:
    """Count the installed packages."""
    provider = choose(settings)
    return {"count": len(provider.installed()), "provider": provider.name}


@action
def md5(*, settings: Settings) -> Reply:
    """Return a digest of the installed packages; it is equal on nodes with the same packages."""
    import hashlib  # loads OpenSSL, which no other action needs

    lines = "\n".join(sorted(choose(settings).installed()))
    return {"output": hashlib.md5(lines.encode(), usedforsecurity=False).hexdigest()}


@action
def refresh(*, settings: Settings, deadline: float, dry_run: bool = False) -> Reply:
    """Refresh the package lists."""
    provider = choose(settings)
    if dry_run:
        return {"output": f"would refresh the package lists of {provider.name}"}
    exitcode, output = provider.refresh(deadline)
    return {"exitcode": exitcode, "output": output}


@action
def checkupdates(*, settings: Settings, deadline: float) -> Reply:
    """List the available updates."""
    provider = choose(settings)
    return {"package_manager": provider.name, "outdated_packages": provider.outdated(deadline)}


@action
def search(package: str, *, settings: Settings, deadline: float) -> Reply:
    """List the available versions of a package."""
    return {"candidates": choose(settings).candidates(package, deadline)}


def choose(settings: Settings) -> Provider:
    """Return the provider from the settings, or the first available one; raise Aborted if there is none."""
    forced = settings.get("provider")
    if forced is not None:
        if forced not in PROVIDERS:
            raise Aborted(
                f"settings/package.yaml: provider: unknown provider '{forced}' (providers: {', '.join(PROVIDERS)})"
            )
        return PROVIDERS[forced][1]
    for command, provider in PROVIDERS.values():
        if shutil.which(command):
            return provider
    raise Aborted(f"this node has no supported package manager ({', '.join(PROVIDERS)})")


def _change(verb: str, package: str, version: str | None, settings: Settings, deadline: float, dry_run: bool) -> Reply:
    provider = choose(settings)
    settled = partial(_settled, provider, verb, version)
    removing = verb in ("uninstall", "purge")
    # What provides the name is not searched yet: there may be a package of exactly this name that is to be installed.
    exact = removing or (verb == "install" and version is None)
    found = provider.removable(package, deadline) if exact else provider.query(package, deadline, version)
    if settled(found) and not (found.provides and verb == "install"):
        return _data(provider, found) | {"changed": False, "output": ""}
    if dry_run:
        would_change, output = provider.simulate(verb, package, version, deadline)
        if verb == "install" and not would_change:
            found = provider.query(package, deadline, version)
        return _data(provider, found) | {"changed": would_change, "output": output}
    changed, output = provider.change(verb, package, version, settled, deadline)
    found = provider.removable(package, deadline) if removing else provider.query(package, deadline, version)
    if verb != "update" and not settled(found):
        raise Aborted(
            f"{provider.name} succeeded, but package '{package}' is {found.unfinished or found.ensure} "
            "(check whether another tool manages it)",
            data=_data(provider, found) | {"changed": changed, "output": output},
        )
    return _finished(provider, found, changed=changed, output=output)


def _settled(provider: Provider, verb: str, version: str | None, found: Package) -> bool:
    """Return whether a package is in the state that the action wants."""
    if verb == "install":
        return found.installed and (version is None or provider.same_version(found, version))
    gone = not found.installed and not found.unfinished
    return (verb == "uninstall" and gone) or (verb == "purge" and gone and not found.residue)


def _finished(provider: Provider, found: Package, **more: Any) -> Reply:
    data = _data(provider, found) | more
    if found.unfinished:
        raise Aborted(
            f"package '{found.name}' {found.ensure} is {found.unfinished}: a package run was interrupted "
            f"(run install, or complete it with {provider.name} on the node)",
            data=data,
        )
    return data


def _data(provider: Provider, found: Package) -> Reply:
    parts = ("ensure", "name", "version", "release", "epoch", "arch")
    known = {part: getattr(found, part) for part in parts if getattr(found, part)}
    return known | {"provider": provider.name}
