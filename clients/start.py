"""The console script `crpc`: give the command line to the warm process if there is one, or else run it here.

Until it is known that there is no warm process, next to nothing is imported: not even `logging` or `typing`.
"""

import sys

_ALLOCATIONS = 100_000  # of objects until Python looks for cycles among them: a short command has none worth it


def main() -> int:
    """Run `crpc` and return its exit code."""
    from collective.clients.warm import front

    front.run(sys.argv)  # does not return if the warm process has run the command line
    import gc

    gc.set_threshold(_ALLOCATIONS)
    from collective.clients import crpc

    code = crpc.main()
    if "collective.aws.session" in sys.modules:
        from collective.clients.warm import launch

        launch.start_if_configured()
    return end(code)


def end(code: int) -> int:
    """End the process at once: taking 600 modules apart takes longer than a help page. Return `code` if it cannot."""
    import atexit
    import os
    import threading

    if all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        atexit._run_exitfuncs()  # noqa: SLF001 - `_exit` skips them
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):
            return code
        os._exit(code)
    return code
