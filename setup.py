"""Write the manual pages when the package is built; everything else about the package is in setup.cfg."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

_WRITE = """
import pathlib, sys
from collective.clients.render.man import pages
from collective.node.daemon import make_parser
for name, text in pages(make_parser()).items():
    pathlib.Path(sys.argv[1], name).write_text(text, encoding="ascii")
"""


class BuildWithManualPages(build_py):
    """Build the package, then let its parsers write the pages into the data files of the wheel."""

    def run(self) -> None:
        """Build; an editable installation has no manual pages, because its parsers change."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib).parent / "man"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        # A process of its own: the parsers are those that were just built, and need only the standard library.
        code = f"import sys; sys.path.insert(0, {str(Path(self.build_lib).absolute())!r}){_WRITE}"
        subprocess.run([sys.executable, "-S", "-c", code, str(folder)], check=True)
        for section in ("1", "8"):
            pages = sorted(str(path) for path in folder.glob(f"*.{section}"))
            self.distribution.data_files.append((f"share/man/man{section}", pages))


setup(cmdclass={"build_py": BuildWithManualPages}, data_files=[])
