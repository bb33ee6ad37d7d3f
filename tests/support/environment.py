"""The environment of the tests: nothing of a developer's shell changes what the programs under test do."""

from __future__ import annotations

import os
import signal
from collections.abc import MutableMapping

_PREFIXES = ("AWS_", "COLLECTIVE_", "XDG_")
_OUTPUT = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES"}
_SERVICES = {"SSH_AUTH_SOCK", "NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM"}


def make_neutral(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove the variables that could change a result; pip and apt keep their proxy, servers on loopback have none."""
    for name in list(environment):
        if name in _OUTPUT | _SERVICES or name.startswith(_PREFIXES):
            del environment[name]
    # boto3 reads ~/.aws even when nothing in it is needed, and fails if it cannot parse it.
    environment["AWS_CONFIG_FILE"] = environment["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    environment["AWS_EC2_METADATA_DISABLED"] = "true"  # on an instance, its own credentials would be found
    environment["NO_PROXY"] = environment["no_proxy"] = "127.0.0.1,localhost"
    # A shell starts its background jobs with SIGINT ignored, and the programs under test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
