"""Show text that is longer than the terminal in a pager, as git does: $COLLECTIVE_PAGER, $PAGER or `less`.

Without LESS in the environment `less` gets the options FRX: it ends by itself if all fits on the screen, shows colours,
and leaves the text on the screen. `cat` or an empty value disables the pager.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

_NONE = ("", "cat")


def command(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the words of the pager's command line; none if there is no pager."""
    chosen = next((environ[name] for name in ("COLLECTIVE_PAGER", "PAGER") if name in environ), "less")
    with suppress(ValueError):  # an open quote
        words = shlex.split(chosen)
        if chosen.strip() not in _NONE and words and shutil.which(words[0]):
            return words
    return []


def page(text: str, words: list[str], encoding: str) -> None:
    """Show `text` in the pager and wait for its end. The pager handles Ctrl-C itself."""
    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    with _ignoring_interrupts():
        process = subprocess.Popen(words, stdin=subprocess.PIPE, env=environment, preexec_fn=_heed_interrupts)
        with suppress(BrokenPipeError):  # the user has seen enough
            process.communicate(text.encode(encoding, "backslashreplace"))
        process.wait()


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
