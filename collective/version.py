"""The version of this package, in a module of its own: `collective/__init__.py` may be that of another distribution."""

__version__ = "0.2.0"
