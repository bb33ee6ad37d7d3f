"""Two distributions that install packages below the name `collective`: this one and one of Plone."""

from __future__ import annotations

from pathlib import Path

import collective
import collective.agents
import collective.clients
import collective.conf
import collective.ddls

PKGUTIL = "pkgutil"
PKG_RESOURCES = "pkg_resources"
# Ways to share a name (packaging.python.org, "Packaging namespace packages"): the content of `__init__.py`, if any.
FORMS = {
    PKGUTIL: "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
    PKG_RESOURCES: "__import__('pkg_resources').declare_namespace(__name__)\n",
    "native": None,
}
# What setuptools wrote as `NAME-nspkg.pth` for wheels with `namespace_packages`.
_NSPKG = (
    "import sys, types, os;"
    "p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('collective',));"
    "importlib = __import__('importlib.util');__import__('importlib.machinery');"
    "m = sys.modules.setdefault('collective', importlib.util.module_from_spec("
    "importlib.machinery.PathFinder.find_spec('collective', [os.path.dirname(p)])));"
    "mp = m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)\n"
)


def install_ours(folder: Path) -> Path:
    """Lay this package out in `folder` as its wheel does, and return the folder."""
    package = folder / "collective"
    package.mkdir(parents=True)
    parts = (collective.agents, collective.clients, collective.conf, collective.ddls)
    for part in Path(str(collective.__file__)).parent.iterdir():
        if part.name != "__pycache__":
            (package / part.name).symlink_to(part)
    for module in parts:
        (package / module.__name__.rpartition(".")[2]).symlink_to(module.__path__[0])
    return folder


def install_theirs(folder: Path, form: str) -> Path:
    """Install `collective.easyform` in `folder`, sharing the name in one of FORMS or by `nspkg.pth`; return it."""
    package = folder / "collective" / "easyform"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("NAME = 'easyform'\n")
    if shared := FORMS.get(form):
        (package.parent / "__init__.py").write_text(shared)
    if form == "nspkg.pth":
        (folder / "collective.easyform-nspkg.pth").write_text(_NSPKG)
    return folder
