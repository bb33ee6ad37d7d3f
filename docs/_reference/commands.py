"""The help page of every command and verb, as the argument parsers print it."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout

from collective.clients import apps, crpc
from collective.clients.commands import COMMANDS
from collective.clients.render import markdown
from collective.node import daemon

WIDTH = 100  # columns of a help page
_VERBS = re.compile(r"\{?([a-z-]+(?:[|,][a-z-]+)+)\}?(?= \.\.\.| \[|$)")  # in a usage line
_COMMON = re.compile(r"common options:\n(.*?)(?:\n\n|\Z)", re.DOTALL)
_ANY = ["rpcutil", "ping"]  # an action without inputs stands for all actions


def commands() -> str:
    """Return one section for each command of `crpc` and each of its verbs, and for the extra verbs of agents."""
    calls = [_ANY]
    for name in sorted(COMMANDS):
        calls += [[name], *([name, verb] for verb in verbs(name))]
    calls += [[agent, verb] for agent in apps.agents() for verb in apps.verbs(agent)]
    return "\n\n".join(_section(call) for call in calls)


def common_options() -> str:
    """Return the options of every command."""
    found = _COMMON.search(help_page(crpc.main, _ANY))
    return markdown.block(found[1] if found else "")


def collectived() -> str:
    """Return the help page of the daemon."""
    return markdown.block(help_page(daemon.main, []))


def verbs(command: str) -> list[str]:
    """Return the verbs of a command, such as `list` and `prune` of `nodes`."""
    usage = " ".join(help_page(crpc.main, [command]).partition("\n\n")[0].split())
    found = _VERBS.search(usage)
    return re.split(r"[|,]", found[1]) if found else re.findall(rf"crpc {command} ([a-z]+) --", usage)


def help_page(main: Callable[[Sequence[str]], int], words: Sequence[str]) -> str:
    """Return what a program prints for `WORDS --help`."""
    page, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with redirect_stdout(page):
            main([*words, "--help"])
    except SystemExit:  # argparse ends so after --help
        pass
    finally:
        if columns is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = columns
    return page.getvalue()


def _section(call: Sequence[str]) -> str:
    level = "##" if len(call) == 1 or call[0] not in COMMANDS else "###"
    title = "AGENT ACTION" if call == _ANY else " ".join(call)
    page = _COMMON.sub("", help_page(crpc.main, call))
    if call == _ANY:  # the reference of agents describes actions
        page = f"usage: crpc AGENT ACTION [KEY=VALUE ...] [options]\n\n{page[page.index('target options:') :]}"
    return f"{level} crpc {title}\n\n{markdown.block(page)}"
