"""Measure how long the results of many replies take in each form; prints the table of docs/performance.md.

    PYTHONPATH=tests .venv/bin/python tests/bench/render.py [--replies 10000]

Each form is printed in a process of its own to /dev/null: processor seconds, and memory beyond the replies.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

from support.rendering import FinishedCall, make_action, make_call, make_reply, titled

from collective.clients.commands import rpc
from collective.clients.render.view import Screen
from collective.clients.results import CallOutput

TEXT = "".join(f"line {number} of the output of a command\n" for number in range(50))[:1900]
TERMINAL = 100  # columns
WAYS = (
    ("text, on a terminal", TERMINAL, ["--display", "all"]),
    ("text, in a pipe", None, ["--display", "all"]),
    ("text, --diff on a terminal", TERMINAL, ["--diff"]),
    ("text, --group-by", TERMINAL, ["--group-by", "version"]),
    ("table, on a terminal", TERMINAL, ["--table"]),
    ("table, in a pipe", None, ["--table"]),
    ("csv", None, ["--csv"]),
    ("json", None, ["--json"]),
    ("jsonl", None, ["--jsonl"]),
    ("yaml", None, ["--yaml"]),
    ("json, --where and --sort", None, ["--json", "--where", "data.version>0", "--sort", "version"]),
    ("--folded", None, ["--folded"]),
)


def finished_call(count: int) -> FinishedCall:
    """Return a call with `count` different replies of 2 KB, every seventh a failure."""
    outputs = titled({"ensure": "Ensure", "version": "Version", "output": "Output"})
    action = make_action(outputs, [{"function": "summary", "output": "version"}])
    data = ({"ensure": "1.2", "version": number % 3, "output": f"{number}\n{TEXT}"} for number in range(count))
    replies = [make_reply(f"node{place:05}.my.net", one, int(place % 7 == 0)) for place, one in enumerate(data)]
    return make_call(action, replies)


def measure(call: FinishedCall, options: list[str], columns: int | None) -> str:
    """Print the call in a child process; return its processor seconds and megabytes."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        before, began = peak(), time.process_time()
        args = rpc.make_parser().parse_args(["package", "install", *options])
        with Path(os.devnull).open("w", encoding="utf-8") as stream:
            CallOutput(call, args).write(args.output, Screen(stream, columns=columns))
        figures = f"{time.process_time() - began:.2f} | {peak() - before:.0f}"
        os.write(writing, figures.encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    with os.fdopen(reading) as stream:
        return stream.read()


def peak() -> float:
    """Return the highest memory use of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a table with a row for each form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--replies", type=int, default=10_000)
    args = parser.parse_args()
    call = finished_call(args.replies)
    print(f"| {args.replies:,} replies of 2 KB | Processor time, s | Memory, MB |\n|---|---|---|")
    for name, columns, options in WAYS:
        print(f"| {name} | {measure(call, options, columns)} |", flush=True)


if __name__ == "__main__":
    main()
