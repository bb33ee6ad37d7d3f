"""Import and load what calls need, before the first fork. Nothing is connected: each child has its own connections."""

from __future__ import annotations

import gc
import importlib
import pkgutil

from collective.fleet.rehearsal import rehearse

_PACKAGES = (
    *("aws", "clients", "clients.apps", "clients.render", "clients.commands", "filters"),
    *("fleet", "fleet.runs", "registry", "signing", "transport"),
)
_OTHERS = ("collective.yaml_file", "encodings.ascii", "encodings.idna", "getpass", "queue", "termios")


def load() -> None:
    """Import the modules, and let botocore load what it needs for its clients."""
    for package in _PACKAGES:
        path = importlib.import_module(f"collective.{package}").__path__
        for module in pkgutil.iter_modules(path, f"collective.{package}."):
            importlib.import_module(module.name)
    for name in _OTHERS:
        importlib.import_module(name)
    rehearse()
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise copy every page
