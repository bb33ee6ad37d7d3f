"""Structured remote procedure calls to fleets of servers, over AWS SQS.

The public API is this module, `collective.agent` (write agents) and `collective.testing` (test agents and programs).
All other modules are private: they may change in any release.

    from collective import Fleet, Targets

    with Fleet.connect() as fleet:
        call = fleet.call("package", "status", {"package": "zsh"}, targets=Targets.select(facts=["role=web"]))
        for reply in call:
            print(reply.sender, reply.statusmsg, reply.data)

Names are imported on first use: `import collective` alone loads neither boto3 nor jsonschema.
"""

import os
import sys

from collective.version import __version__

TYPE_CHECKING = False  # type checkers know the name; importing typing would take longer than this module

# Plone's packages share this name; extend_path finds those in other folders of sys.path.
_others = [entry for entry in sys.path if os.path.join(entry, __name__) not in __path__]  # noqa: PTH118 - see above
if any(os.path.isdir(os.path.join(entry, __name__)) or os.path.isfile(entry) for entry in _others):  # noqa: PTH112, PTH113, PTH118
    from pkgutil import extend_path

    __path__ = extend_path(__path__, __name__)

if TYPE_CHECKING:
    from collective.config import ClientConfig, load_client
    from collective.errors import (
        AccessDenied,
        CollectiveError,
        ConfigError,
        DDLError,
        Forbidden,
        InvalidInput,
        MessageError,
        MessageTooLarge,
        MissingInput,
        NoNodes,
        NotFound,
        PlanRefused,
        RPCError,
        SignatureError,
        TooManyTargets,
        TransportError,
        Unreachable,
        UsageError,
    )
    from collective.fleet.background import Background
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet
    from collective.fleet.gates import Gates
    from collective.fleet.outcomes import Outcomes
    from collective.fleet.pace import Pace
    from collective.fleet.steps import Hooks
    from collective.fleet.targets import Targets
    from collective.messages import Reply

__all__ = [
    "AccessDenied",
    "Background",
    "Call",
    "ClientConfig",
    "CollectiveError",
    "ConfigError",
    "DDLError",
    "Fleet",
    "Forbidden",
    "Gates",
    "Hooks",
    "InvalidInput",
    "MessageError",
    "MessageTooLarge",
    "MissingInput",
    "NoNodes",
    "NotFound",
    "Outcomes",
    "Pace",
    "PlanRefused",
    "RPCError",
    "Reply",
    "SignatureError",
    "Targets",
    "TooManyTargets",
    "TransportError",
    "Unreachable",
    "UsageError",
    "__version__",
    "load_client",
]

_MODULES = {
    "Background": "collective.fleet.background",
    "Call": "collective.fleet.call",
    "ClientConfig": "collective.config",
    "Fleet": "collective.fleet.fleet",
    "Gates": "collective.fleet.gates",
    "Hooks": "collective.fleet.steps",
    "Outcomes": "collective.fleet.outcomes",
    "Pace": "collective.fleet.pace",
    "Reply": "collective.messages",
    "Targets": "collective.fleet.targets",
    "load_client": "collective.config",
}  # all other names are in collective.errors

if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name on first use."""
        if name not in __all__:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        import importlib

        value = getattr(importlib.import_module(_MODULES.get(name, "collective.errors")), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
