"""A disk check for labs on machines without Nagios plugins: `check_disk -w N% -c N% -p PATH`.

Output and exit codes follow the Nagios plugin guidelines: 0 OK, 1 WARNING, 2 CRITICAL.
"""

from __future__ import annotations

import argparse
import shutil
import sys

_MEGABYTE = 1024 * 1024


def main() -> int:
    """Print a line and return the state: warning or critical when less than the given percentage is free."""
    parser = argparse.ArgumentParser(prog="check_disk")
    for letter in "wc":
        parser.add_argument(f"-{letter}", type=lambda text: float(text.rstrip("%")), required=True)
    parser.add_argument("-p", required=True)
    options = parser.parse_args()
    usage = shutil.disk_usage(options.p)
    free = 100 * usage.free / usage.total
    state = 2 if free < options.c else 1 if free < options.w else 0
    name = ("OK", "WARNING", "CRITICAL")[state]
    text = f"free space: {options.p} {usage.free // _MEGABYTE} MB ({free:.0f}%);"
    sys.stdout.write(f"DISK {name} - {text}| {options.p}={usage.used // _MEGABYTE}MB\n")
    return state


if __name__ == "__main__":
    sys.exit(main())
