"""`crpc audit`: show what a node has written down, and verify that nothing of it is missing or changed."""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from collective.audit import chain, records
from collective.audit.records import OUTCOMES, Record
from collective.clients import options
from collective.clients.render.formatting import clean_line, in_words
from collective.exit_codes import FAILED

_AGO = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HASH = re.compile(r"[0-9a-f]{64}")


def run(arguments: Sequence[str]) -> int:
    """Parse and do one of show, verify."""
    given = _parser().parse_args(arguments)
    return {"show": _show, "verify": _verify}[given.verb](given)


def _parser() -> options.Parser:
    parser = options.Parser("crpc audit", description="Read the audit that a node writes.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="show|verify")
    show = verbs.add_parser("show", help="the requests, as they were concluded")
    show.add_argument("file", type=Path, metavar="FILE", help="a node's audit.jsonl")
    show.add_argument("--caller", default="*", metavar="NAME", help="of this caller; a name or glob")
    show.add_argument("--agent", default="*", metavar="NAME", help="for this agent; a name or glob")
    show.add_argument("--since", type=_moment, metavar="TIME", help="2026-11-21T10:00 (UTC), or 90s, 15m, 2h, 3d ago")
    show.add_argument("--until", type=_moment, metavar="TIME", help="in the same manner")
    show.add_argument("--outcome", choices=OUTCOMES, help="how it ended")
    show.add_argument("-j", "--json", action="store_true", help="a JSON line for each request")
    verify = verbs.add_parser("verify", help="find removed, changed and inserted lines; exit 2 when there are any")
    verify.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="an audit; of a rotated one the oldest first"
    )
    verify.add_argument(
        "--head", type=_hash, metavar="HASH", help="a line that must be there: audit_head of daemon_stats"
    )
    verify.add_argument("--after", type=_hash, metavar="HASH", help="what came before, when that is no longer there")
    return parser


def _verify(given: argparse.Namespace) -> int:
    report = chain.verify(given.files, given.after, given.head)
    for line in (*report.notes, *report.problems):
        sys.stdout.write(clean_line(line) + "\n")
    state = "broken" if report.problems else "unbroken"
    sys.stdout.write(f"{report.lines} lines, {state}, head {report.head or 'none'}\n")
    return FAILED if report.problems else 0


def _show(given: argparse.Namespace) -> int:
    for record in _wanted(given, records.read(given.file)):
        if given.json:
            sys.stdout.write(json.dumps({"decision": record.decision, "outcome": record.outcome}) + "\n")
        else:
            sys.stdout.write(clean_line(_line(record)) + "\n")
    return 0


def _wanted(given: argparse.Namespace, found: Iterator[Record]) -> Iterator[Record]:
    since = float("-inf") if given.since is None else given.since
    until = float("inf") if given.until is None else given.until
    for record in found:
        if (
            fnmatch.fnmatchcase(str(record.decision.get("caller")), given.caller)
            and fnmatch.fnmatchcase(str(record.decision.get("agent")), given.agent)
            and since <= record.time <= until
            and (given.outcome is None or given.outcome in record.outcomes)
        ):
            yield record


def _line(record: Record) -> str:
    said = record.decision
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.time))
    what = " ".join([*(str(said.get(name)) for name in ("caller", "agent", "action")), *_inputs(said.get("data"))])
    rule = f"rule '{said['rule']}'" if said.get("rule") else "no rule"
    return f"{when} {said.get('request')} {_ending(record)}: {what} ({said.get('verdict')}, {rule})"


def _ending(record: Record) -> str:
    if record.outcome is None:
        return "unanswered"
    code, reason = record.outcome.get("statuscode"), record.outcome.get("reason")
    return "ok" if code == 0 else f"status {code}" + (f" {reason}" if reason else "")


def _inputs(data: Any) -> list[str]:
    return [f"{name}={in_words(value)}" for name, value in data.items()] if isinstance(data, Mapping) else []


def _moment(text: str) -> float:
    """Read a time: how long ago, or in ISO 8601, UTC unless it says otherwise. Return Unix seconds."""
    ago = _AGO.fullmatch(text)
    if ago:
        return time.time() - int(ago[1]) * _SECONDS[ago[2]]
    try:
        found = datetime.fromisoformat(text.removesuffix("Z") + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no time such as 2026-11-21T10:00, and not how long ago"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no hash: 64 hexadecimal digits")
    return text
