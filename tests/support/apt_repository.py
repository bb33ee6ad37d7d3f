"""A folder with small Debian packages as a repository for apt, and apt's own folders apart from the machine's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_CONTROL = (
    "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n{more}"
)
# Only the dpkg database is the machine's: lists, sources and preferences are below the folder of the test.
_CONFIG = """
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/none";
Dir::Etc::preferences "{folder}/preferences";
Dir::Etc::preferencesparts "{folder}/none";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}/cache";
Acquire::Retries "0";
"""


@dataclass(frozen=True)
class AptRepository:
    """Packages in `folder`; `config` is the file for APT_CONFIG."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "apt.conf"

    def create(self) -> None:
        """Write the configuration, with this repository as the only source."""
        for name in ("packages", "lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True)
        self.config.write_text(_CONFIG.format(folder=self.folder))
        (self.folder / "preferences").touch()
        self.source(f"file:{self.folder}/packages")

    def source(self, url: str) -> None:
        """Use another source."""
        (self.folder / "sources.list").write_text(f"deb [trusted=yes] {url} ./\n")

    def pin(self, name: str, version: str) -> None:
        """Prefer a version of a package, as an administrator does in /etc/apt/preferences."""
        (self.folder / "preferences").write_text(f"Package: {name}\nPin: version {version}\nPin-Priority: 1001\n")

    def add(self, name: str, version: str, files: Mapping[str, str], control: str = "") -> Path:
        """Build a package: `files` by path below the root, those of `DEBIAN/` included. Return its file."""
        tree = self.folder / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        texts = {"DEBIAN/control": _CONTROL.format(name=name, version=version, more=control), **files}
        for path, text in texts.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
            (tree / path).chmod(0o755 if path.startswith("DEBIAN/") else 0o644)
        package = self.folder / "packages" / f"{name}_{version}_all.deb"
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, package], check=True, capture_output=True)
        self.index()
        return package

    def index(self) -> None:
        """Write the index of all packages."""
        folder = self.folder / "packages"
        entries = []
        for package in sorted(folder.glob("*.deb")):
            fields = subprocess.run(["dpkg-deb", "--field", package], check=True, capture_output=True, text=True).stdout
            digest = subprocess.run(["sha256sum", package], check=True, capture_output=True, text=True).stdout.split()[
                0
            ]
            size = package.stat().st_size
            entries.append(f"{fields}Filename: ./{package.name}\nSize: {size}\nSHA256: {digest}\n")
        (folder / "Packages").write_text("\n".join(entries))
