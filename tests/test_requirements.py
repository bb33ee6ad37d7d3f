"""The locked requirements are what setup.cfg allows: `make lock` renews them."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKED = {"tests": ("dev", "lab"), "demo": ("lab", "testing"), "docs": ("docs",), "fuzz": ("fuzz",)}
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def declared(extras: tuple[str, ...]) -> Iterator[Requirement]:
    """Yield what the package and some of its extras require."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    texts = [setup["options"]["install_requires"], *(setup["options.extras_require"][extra] for extra in extras)]
    for line in "\n".join(texts).splitlines():
        if line.strip() and not line.startswith("#"):
            yield Requirement(line)


def locked(name: str) -> list[tuple[Requirement, int]]:
    """Return the requirements of a lock file, each with the number of its hashes."""
    entries = re.split(r"^(?=\S)", (ROOT / "requirements" / f"{name}.txt").read_text(), flags=re.MULTILINE)
    return [
        (Requirement(entry.partition("\\\n")[0].strip()), entry.count("--hash=sha256:"))
        for entry in entries
        if re.match("[a-z]", entry)
    ]


def applies(requirement: Requirement, python: str) -> bool:
    """Return whether a requirement holds for a version of Python, on Linux."""
    environment = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", LOCKED)
def test_a_lock_file_has_one_allowed_version_of_each_requirement(name: str, python: str) -> None:
    """Each lock file has one allowed version of each requirement for every supported Python."""
    versions: dict[str, list[str]] = {}
    for entry, _ in locked(name):
        if applies(entry, python):
            versions.setdefault(canonicalize_name(entry.name), []).extend(pin.version for pin in entry.specifier)
    assert {name: pins for name, pins in versions.items() if len(pins) != 1} == {}
    for requirement in declared(LOCKED[name]):
        if applies(requirement, python):
            [version] = versions[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{requirement}: {version}"


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_every_locked_version_has_hashes(path: Path) -> None:
    """Every locked version has hashes, so that `pip install --require-hashes` installs nothing else."""
    entries = locked(path.stem)
    assert entries
    assert [str(entry) for entry, hashes in entries if not hashes or "==" not in str(entry.specifier)] == []


def test_what_is_installed_into_one_environment_has_one_version() -> None:
    """The locks of the demo, the documentation and fuzzing do not change what the tests are run with."""
    tested: dict[str, set[str]] = {}
    for entry, _ in locked("tests"):
        tested.setdefault(entry.name, set()).add(str(entry.specifier))
    for name in ("demo", "docs", "fuzz"):
        for entry, _ in locked(name):
            version = str(entry.specifier)
            assert version in tested.get(entry.name, {version}), f"{name}.txt: {entry}"


def test_the_commands_install_locked_versions_only() -> None:
    """Every `pip install` of the Makefile and of the demo checks hashes, or takes nothing but the package itself."""
    for path in (ROOT / "Makefile", ROOT / "conf" / "demo.sh"):
        for line in path.read_text().splitlines():
            if "pip install" in line:
                assert "--require-hashes" in line or "--no-deps --no-build-isolation" in line, line
