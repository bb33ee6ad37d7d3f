"""Import `dataclasses` without `inspect`, which takes a sixth of the time that a fork server needs to start.

`dataclasses` uses `inspect` for the signatures of classes without a docstring, and Python 3.12 and 3.13 for the
annotations of all classes. The fork server imports this module first. For all others, `import inspect` is as usual.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

_NAME = "inspect"


class _LaterModule(ModuleType):
    """Stands for `inspect`, which is imported when an attribute other than `get_annotations` is used."""

    @staticmethod
    def get_annotations(cls: type) -> dict[str, Any]:
        """Return the annotations of a class itself, as `inspect.get_annotations` does without options."""
        return dict(vars(cls).get("__annotations__") or {})

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # looked up by the import itself
            raise AttributeError(attribute)
        import inspect

        return getattr(inspect, attribute)


if _NAME not in sys.modules:
    sys.modules[_NAME] = _LaterModule(_NAME)
    import dataclasses  # noqa: F401 - it keeps the module above

    del sys.modules[_NAME]
