"""Choose what the fork server imports when it starts, so that the processes of actions need not import it again.

It is what the loaded agents import at module level, of the standard library and of the standard agents: the fork
server must stay without threads, so it runs no code of others. An agent's own file is executed by each worker, as it
was checked.
"""

from __future__ import annotations

import dis
import marshal
import sys
from collections.abc import Iterable, Iterator

_ALWAYS = ("collective.node.actions.monitor", "collective.node.daemon", "runpy")
_LAST = "collective.node.actions.frozen"


def preloaded(codes: Iterable[bytes]) -> list[str]:
    """Return the names of the modules to import, in order; `codes` are compiled files of agents and data functions."""
    wanted = {name for code in codes if code for name in _imports(code) if _is_safe(name)}
    return [*_ALWAYS, *sorted(wanted), _LAST]


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
    return name in sys.modules and (is_standard or name.startswith("collective.agents."))
