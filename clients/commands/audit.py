"""`crpc audit`: show the requests in a node's audit log, and verify that no line is missing or changed."""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from collective import durations
from collective.audit import chain, records
from collective.audit.records import OUTCOMES, Record
from collective.clients import node_files, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.formatting import in_words
from collective.clients.streams import write
from collective.clients.view_options import read_view
from collective.errors import UsageError
from collective.exit_codes import FAILED
from collective.text import escape_controls, plural

_CALL = ("request", "run", "caller", "agent", "action")
_COLUMNS = ("time", *_CALL, "dry_run", "job", "inputs", "outcome", "verdict", "rule")
_JOBS = {"request": "as a background job", "start": "as a background job that starts"}
_RUN = re.compile(r"[0-9a-f]{4,32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def make_parser() -> Parser:
    """Return the parser of `crpc audit`."""
    parser = Parser(
        "crpc audit",
        description=f"{COMMANDS['audit']}.\n\n"
        "The audit log has each request that a node decided about, and its outcome. Each line has the hash of"
        " the line before it, so that a changed or missing line is found.",
        examples=["crpc audit show", "crpc audit show audit.jsonl", "crpc audit verify audit.jsonl"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="show|verify")
    _add_show(
        verbs.add_parser(
            "show",
            help="list the recorded requests, in the order in which they ended",
            examples=["crpc audit show audit.jsonl --caller 'alice*' --since 2h", "crpc audit show audit.jsonl -o csv"],
        )
    )
    _add_verify(
        verbs.add_parser(
            "verify",
            help="find removed, changed and inserted lines; exit 2 if there are any",
            examples=["crpc audit verify audit.jsonl", "crpc audit verify audit.jsonl.1 audit.jsonl"],
        )
    )
    return parser


def _add_show(show: Parser) -> None:
    show.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="the audit.jsonl of a node (default: that of this node)"
    )
    show.add_argument("--caller", default="*", metavar="NAME", help="only requests of this caller (name or glob)")
    show.add_argument("--agent", default="*", metavar="NAME", help="only requests to this agent (name or glob)")
    show.add_argument(
        "--since", type=_time, metavar="TIME", help="start time: 2026-11-21T10:00 (UTC), or an age: 90s, 15m, 2h, 3d"
    )
    show.add_argument("--until", type=_time, metavar="TIME", help="end time, in the same format")
    show.add_argument(
        "--outcome", choices=OUTCOMES, metavar="OUTCOME", help=f"only requests with this outcome: {', '.join(OUTCOMES)}"
    )
    run_help = "only requests of this run: an ID, or its first digits"
    show.add_argument("--run", type=_run, metavar="RUN", help=run_help)


def _add_verify(verify: Parser) -> None:
    verify.add_argument(
        "files", type=Path, nargs="*", metavar="FILE", help="audit logs, the oldest first (default: this node's)"
    )
    verify.add_argument(
        "--head", type=_digest, metavar="HASH", help="require the line with this hash (audit_head of daemon_stats)"
    )
    verify.add_argument(
        "--after", type=_digest, metavar="HASH", help="hash of the last line of the log before the first FILE"
    )


def run(arguments: Sequence[str]) -> int:
    """Run `crpc audit show` or `crpc audit verify`; return the exit code."""
    args = make_parser().parse_args(arguments)
    if args.verb == "show":
        args.file = args.file or node_files.audit_log(args.config)
    else:
        args.files = args.files or [node_files.audit_log(args.config)]
    return {"show": _show, "verify": _verify}[args.verb](args)


def _verify(args: argparse.Namespace) -> int:
    report = chain.verify(args.files, args.after, args.head)
    found = [("problem", line) for line in report.problems] + [("note", line) for line in report.notes]
    document = {
        "unbroken": not report.problems,
        "lines": report.lines,
        "head": report.head,
        "problems": report.problems,
        "notes": report.notes,
    }
    output.show(args, Output("audit-verify", document, ("kind", "text"), found, lambda: _verdict(report)))
    return FAILED if report.problems else 0


def _verdict(report: chain.ChainReport) -> str:
    lines = "".join(escape_controls(line) + "\n" for line in (*report.notes, *report.problems))
    state = "broken" if report.problems else "unbroken"
    return f"{lines}{plural(report.lines, 'line')}, {state}, head {report.head or 'none'}\n"


def _show(args: argparse.Namespace) -> int:
    streamed = output.is_plain_text(args, _COLUMNS) or (args.output == "jsonl" and not read_view(args).selects)
    matching = _matching(args, records.read(args.file))
    if streamed:  # print while reading: the log of a busy node does not fit into memory
        for record in matching:
            line = json.dumps(_request(record)) if args.output == "jsonl" else shown(record)
            write(line + "\n")
        return 0
    found = list(matching)
    document = {"requests": [_request(record) for record in found]}
    rows = [_row(record) for record in found]
    text = "".join(f"{shown(record)}\n" for record in found)
    output.show(args, Output("audit", document, _COLUMNS, rows, lambda: text))
    return 0


def _matching(args: argparse.Namespace, found: Iterator[Record]) -> Iterator[Record]:
    since = float("-inf") if args.since is None else args.since
    until = float("inf") if args.until is None else args.until
    for record in found:
        if (
            fnmatch.fnmatchcase(str(record.decision.get("caller")), args.caller)
            and fnmatch.fnmatchcase(str(record.decision.get("agent")), args.agent)
            and str(record.decision.get("run") or "").startswith(args.run or "")
            and since <= record.time <= until
            and (args.outcome is None or args.outcome in record.outcomes)
        ):
            yield record


def _request(record: Record) -> dict[str, Any]:
    return {"decision": record.decision, "outcome": record.outcome}


def _row(record: Record) -> list[Any]:
    decision = record.decision
    found = [decision.get(name) for name in _CALL]
    found += [decision.get("dry_run") is True, decision.get("job"), decision.get("data")]
    return [_when(record), *found, _outcome(record), decision.get("verdict"), decision.get("rule")]


def shown(record: Record) -> str:
    """Return a record as one printable line."""
    return escape_controls(_line(record))


def _line(record: Record) -> str:
    decision = record.decision
    call = [*(str(decision.get(name)) for name in ("caller", "agent", "action")), *_inputs(decision.get("data"))]
    call += ["as a dry run"] if decision.get("dry_run") is True else []
    job = decision.get("job")
    call += [_JOBS[job]] if isinstance(job, str) and job in _JOBS else []
    rule = f"rule '{decision['rule']}'" if decision.get("rule") else "no rule"
    return (
        f"{_when(record)} {decision.get('request')} {_outcome(record)}: {' '.join(call)} "
        f"({decision.get('verdict')}, {rule})"
    )


def _when(record: Record) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.time))


def _outcome(record: Record) -> str:
    if record.outcome is None:
        return "unanswered"
    code, reason = record.outcome.get("statuscode"), record.outcome.get("reason")
    return "ok" if code == 0 else f"status {code}" + (f" {reason}" if reason else "")


def _inputs(data: Any) -> list[str]:
    return [f"{name}={in_words(value)}" for name, value in data.items()] if isinstance(data, Mapping) else []


def _time(text: str) -> float:
    """Read an age or an ISO 8601 time (UTC if it has no offset); return Unix seconds."""
    with suppress(UsageError):
        return time.time() - durations.read(text)
    try:
        parsed = datetime.fromisoformat(text.removesuffix("Z") + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"invalid time '{text}': use ISO 8601 (2026-11-21T10:00) or an age (90s, 15m, 2h, 3d)"
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()


def _run(text: str) -> str:
    if not _RUN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"invalid run '{text}': use an ID or its first 4 or more digits")
    return text


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"invalid hash '{text}': use 64 hexadecimal digits")
    return text
