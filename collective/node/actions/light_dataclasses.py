"""Import `dataclasses` without `inspect`, which takes a sixth of the time that a fork server needs to start.

`dataclasses` uses `inspect` only for classes without a docstring, and from Python 3.13 on for all. The fork server
imports this module first. For all others, `import inspect` is as usual.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

_NAME = "inspect"


class _LaterModule(ModuleType):
    """Stands for a module that is imported when one of its attributes is used."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # looked up by the import itself
            raise AttributeError(attribute)
        import inspect

        return getattr(inspect, attribute)


if _NAME not in sys.modules:
    sys.modules[_NAME] = _LaterModule(_NAME)
    import dataclasses  # noqa: F401 - it keeps the module above

    del sys.modules[_NAME]
