"""Other distributions, of Plone, install packages below the name `collective` too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import collective

OURS = str(Path(collective.__file__).parents[1])
CODE = "import collective.easyform, collective.errors, collective.agents; print(collective.easyform.NAME)"


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_two_distributions_side_by_side_are_both_imported(tmp_path: Path, first: str) -> None:
    """In either order on the path; theirs has the usual `__init__.py` that shares the name."""
    package = tmp_path / "collective" / "easyform"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("NAME = 'easyform'")
    shared = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    (tmp_path / "collective" / "__init__.py").write_text(shared)
    path = [OURS, str(tmp_path)] if first == "ours" else [str(tmp_path), OURS]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("easyform\n", "")
