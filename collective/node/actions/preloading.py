"""Choose what the fork server imports for an agent, so that the processes of its actions need not import it.

It is what the agent's file imports at module level, of the standard library and of this package: the fork server must
stay without threads, so it runs no code of others. The file itself is executed by each worker, as it was checked.
"""

from __future__ import annotations

import dis
import marshal
import sys
from collections.abc import Iterator


def preloaded(code: bytes) -> tuple[str, ...]:
    """Return the names of the modules to import, in order; `code` is the compiled file of an agent or data function."""
    return tuple(dict.fromkeys(name for name in _imports(code) if _is_safe(name))) if code else ()


def _imports(code: bytes) -> Iterator[str]:
    """Yield what module-level imports may mean: `from a import b` imports `a`, and `a.b` if that is a module."""
    package = ""
    for one in dis.get_instructions(marshal.loads(code)):  # noqa: S302 - our own
        if one.opname == "IMPORT_NAME":
            package = one.argval
            yield package
        elif one.opname == "IMPORT_FROM":
            yield f"{package}.{one.argval}"


def _is_safe(name: str) -> bool:
    """Return whether a module can be imported in the fork server: this process has imported it without an error."""
    is_standard = name.partition(".")[0] in sys.stdlib_module_names
    return name in sys.modules and (is_standard or name.startswith("collective."))
