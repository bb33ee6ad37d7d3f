"""Keep the plug-ins that callers push: one folder for each version, and a link to the one in use.

    <state>/plugins/NAME/VERSION-DIGEST/{agents,ddl}
    <state>/plugins/NAME/current    a link to the version in use
    <state>/plugins/NAME/previous   a link to the version before, for a rollback

A version is loaded on trial before the link is changed: a plug-in that cannot be loaded is not installed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from collective import bounded_json, data_ddl, ddl
from collective.bundles import Bundle, unpack
from collective.errors import Aborted, CollectiveError
from collective.node.plugins import plugin_set
from collective.node.plugins.plugin_set import Plugins
from collective.suggestions import suggest

_KEPT = 5  # versions of one plug-in
_SHOWN = 12  # digits of a digest in replies


def code_folders(state: Path) -> list[Path]:
    """Return the folders of code of the plug-ins in use."""
    return [folder / "agents" for folder in _current(state / "plugins")]


def ddl_folders(state: Path) -> list[Path]:
    """Return the folders of DDLs of the plug-ins in use."""
    return [folder / "ddl" for folder in _current(state / "plugins")]


def _current(folder: Path) -> list[Path]:
    return sorted(link for link in folder.glob("*/current") if link.is_dir())


class PluginStore:
    """The pushed plug-ins of a node, in the folder `state`; safe for any number of threads.

    `serving` returns the plugins that serve, and `reload` makes the node serve what is in the folders now.
    """

    def __init__(self, state: Path, settings: Path, serving: Callable[[], Plugins], reload: Callable[[], None]) -> None:
        self._folder = state / "plugins"
        self._settings = settings
        self._serving = serving
        self._reload = reload
        self._lock = threading.Lock()

    def install(self, text: str, digest: str, dry_run: bool = False) -> dict[str, Any]:
        """Install a bundle and serve it; return `name`, `version`, `digest`, `changed` and `previous`.

        With `dry_run` it is only loaded on trial, and the state is the present one.
        Raises InvalidInput for an invalid bundle, Aborted for a plug-in that cannot be loaded.
        """
        bundle = unpack(text, digest)
        with self._lock:
            home = self._folder / bundle.name
            target = (
                home / f"{bundle.version}-{digest}"
            )  # all of it: two bundles with the same beginning are easy to make
            before = _target(home / "current")
            if before == target.name:
                return self._state(bundle.name, changed=False)
            if dry_run:
                self._examine(bundle)
                return self._state(bundle.name, changed=True)
            if not target.is_dir():
                self._write(bundle, home, target)
            if before:
                _link(home / "previous", before)
            _link(home / "current", target.name)
            self._prune(home)
            self._reload()
            return self._state(bundle.name, changed=True)

    def rollback(self, name: str, dry_run: bool = False) -> dict[str, Any]:
        """Use the version before, and keep the present one for another rollback. Raises Aborted without one."""
        with self._lock:
            home = self._folder / name
            before, now = _target(home / "previous"), _target(home / "current")
            if now is None:
                hint = suggest(name, [link.parent.name for link in _current(self._folder)])
                raise Aborted(f"no plug-in '{name}' was pushed to this node" + (f" ({hint})" if hint else ""))
            if before is None or not (home / before).is_dir():
                raise Aborted(f"there is no version of the plug-in '{name}' before {now}")
            if dry_run:
                return self._state(name, changed=True)
            _link(home / "current", before)
            _link(home / "previous", now)
            self._reload()
            return self._state(name, changed=True)

    def list(self) -> dict[str, Any]:
        """Return the state of each plug-in by name."""
        return {link.parent.name: self._state(link.parent.name, changed=False) for link in _current(self._folder)}

    def _state(self, name: str, *, changed: bool) -> dict[str, Any]:
        now, before = (_target(self._folder / name / link) for link in ("current", "previous"))
        version, _, digest = (now or "").rpartition("-")
        previous = (before or "").rpartition("-")[0] or None
        shown = digest[:_SHOWN]
        return {"name": name, "version": version, "digest": shown, "previous": previous, "changed": changed}

    def _write(self, bundle: Bundle, home: Path, target: Path) -> None:
        """Write the files of a version, and load them on trial."""
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
            try:
                _write_files(bundle, new)
                self._try(new, bundle.name)
                new.rename(target)
            finally:
                shutil.rmtree(new, ignore_errors=True)
        except OSError as error:
            raise Aborted(f"the plug-in '{bundle.name}' cannot be written: {error.strerror}") from None

    def _examine(self, bundle: Bundle) -> None:
        """Raise Aborted for a DDL that is not valid, or that is of an agent of another source.

        No code of the bundle is run: a caller that may only make dry runs must not be able to run any.
        """
        serving = self._serving()
        for path, file in sorted(bundle.files.items()):
            if not path.startswith("ddl/") or not path.endswith(".json"):
                continue
            is_data = path.startswith("ddl/data/")
            try:
                document = bounded_json.parse(file.content.decode(), "DDL")
                found = data_ddl.parse(document).name if is_data else ddl.parse(document).name
            except (CollectiveError, ValueError) as error:
                raise Aborted(f"the plug-in '{bundle.name}' was not installed: {path}: {error}") from None
            old: Mapping[str, Any] = serving.data if is_data else serving.agents
            self._check_name(bundle.name, found, old)

    def _try(self, folder: Path, name: str) -> None:
        loaded = plugin_set.load([folder / "agents"], [folder / "ddl"], self._settings)
        problems = [*loaded.agents.problems, *loaded.data.problems]
        if problems:
            line = problems[0].replace(f"{folder}/", "")
            raise Aborted(f"the plug-in '{name}' was not installed: {line}")
        serving = self._serving()
        pairs: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...] = (
            (loaded.agents, serving.agents),
            (loaded.data, serving.data),
        )
        for new, old in pairs:
            for found in sorted(new):
                self._check_name(name, found, old)

    def _check_name(self, plugin: str, found: str, old: Mapping[str, Any]) -> None:
        """Raise Aborted if an agent or data function of a plug-in exists in another place."""
        if found in old and not old[found].path.is_relative_to(self._folder / plugin):
            raise Aborted(f"the plug-in '{plugin}' was not installed: '{found}' exists in {old[found].path.parent}")

    def _prune(self, home: Path) -> None:
        """Delete old versions; those in use and before are kept."""
        used = {_target(home / "current"), _target(home / "previous")}
        versions = [path for path in home.iterdir() if path.is_dir() and not path.is_symlink()]
        for path in sorted(versions, key=lambda one: one.stat().st_mtime)[: -_KEPT or None]:
            if path.name not in used:
                shutil.rmtree(path, ignore_errors=True)


def _write_files(bundle: Bundle, folder: Path) -> None:
    for path, file in bundle.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(file.content)
        (folder / path).chmod(0o755 if file.executable else 0o644)


def _target(link: Path) -> str | None:
    try:
        return os.readlink(link)  # noqa: PTH115 - the text of the link, which is a name in the same folder
    except OSError:
        return None


def _link(link: Path, target: str) -> None:
    """Let a link lead to another name, atomically."""
    new = link.with_name(f".{link.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(target)
    new.replace(link)
