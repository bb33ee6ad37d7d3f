"""`crpc policy`: check a policy file, test a request against it, and replay an audit log against it."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import node_files, options, output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser, Verbs
from collective.clients.streams import notice, write
from collective.errors import CollectiveError, ConfigError, PolicyError, UsageError
from collective.exit_codes import CONFIGURATION, FAILED, SILENT
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.ddl import Action
    from collective.policy import Actions, Decision, KnownNode
    from collective.policy.replay import Replayed

_CHANGE = ("request", "caller", "agent", "action", "state", "recorded", "now")
_STATES = ("same", "different", "undecidable")


def make_parser() -> Parser:
    """Return the parser of `crpc policy`."""
    parser = Parser(
        "crpc policy",
        description=f"{COMMANDS['policy']}.\n\n"
        "A policy is a list of rules: the first rule that matches a request decides, and a request without a "
        "matching rule is denied.",
        examples=["crpc policy check policy.yaml", "crpc policy test policy.yaml --caller bob rpcutil ping"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="check|test|replay")
    check = verbs.add_parser(
        "check",
        help="report the errors in a policy file; exit 78 if there are any",
        examples=["crpc policy check", "crpc policy check policy.yaml"],
    )
    check.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="the policy file (default: that of this node)"
    )
    for verb in (_add_test(verbs), _add_replay(verbs)):
        verb.add_argument("--facts", type=Path, metavar="FILE", help="the node's facts: .json, .txt or YAML")
        verb.add_argument("--classes", type=Path, metavar="FILE", help="the node's classes, separated by whitespace")
    return parser


def _add_test(verbs: Verbs) -> Parser:
    test = verbs.add_parser(
        "test",
        usage="crpc policy test FILE --caller NAME AGENT ACTION [KEY=VALUE ...] [options]",
        help="report whether a request is allowed, and by which rule; exit 0 if allowed, 2 if denied",
        examples=["crpc policy test policy.yaml --caller bob package status package=zsh"],
    )
    test.add_argument("file", type=Path, metavar="FILE", help="the policy file")
    completed_by("request", test.add_argument("words", nargs="*", help="agent, action and inputs"))
    test.add_argument("--caller", required=True, metavar="NAME", help="the caller of the request")
    test.add_argument("-n", "--dry-run", action="store_true", help="test a dry run of the action")
    test.add_argument("--reason", default="", metavar="TEXT", help="the reason of the call")
    test.add_argument("--targets", type=_number, metavar="N", help="the number of nodes of the call (default: 1)")
    approvals = test.add_mutually_exclusive_group()
    approvals.add_argument("--approvals", type=_number, metavar="N", help="the number of approvals (default: 0)")
    approvals.add_argument(
        "--approver",
        action="append",
        default=[],
        metavar="NAME",
        help="a caller that approved it; repeated: others",
    )
    test.add_argument("--time", type=_time, metavar="TIME", help="when: 2026-11-28T02:30 (default: now)")
    return test


def _add_replay(verbs: Verbs) -> Parser:
    replay = verbs.add_parser(
        "replay",
        help="report the recorded requests that this policy decides differently; exit 2 if there are any, "
        "3 if some cannot be decided",
        examples=["crpc policy replay policy.yaml --audit audit.jsonl --facts facts.yaml"],
    )
    replay.add_argument("file", type=Path, metavar="FILE", help="the policy file")
    replay.add_argument("--audit", required=True, type=Path, metavar="FILE", help="the audit.jsonl of a node")
    return replay


def run(arguments: Sequence[str]) -> int:
    """Run `crpc policy check`, `test` or `replay`; return the exit code."""
    args = make_parser().parse_args(arguments)
    args.of_node = args.file is None
    args.file = args.file or node_files.policy(args.config)
    try:
        return {"check": _check, "test": _test, "replay": _replay}[args.verb](args)
    except PolicyError as error:
        if args.verb == "check" and args.output != "text":
            _show_check(args, None, error.problems)
        for line in error.problems:
            notice(line)
        return CONFIGURATION


def _check(args: argparse.Namespace) -> int:
    from collective import policy

    read = policy.read(args.file)
    if problems := read.input_problems(_known(_catalog(args))):
        raise PolicyError([f"{args.file}: {line}" for line in problems])
    _show_check(args, len(read.rules), ())
    return 0


def _show_check(args: argparse.Namespace, rules: int | None, problems: Sequence[str]) -> None:
    """Print the number of rules of a valid policy, or the problems of one that is not (`rules` None)."""
    document = {"file": str(args.file), "valid": not problems, "rules": rules, "problems": list(problems)}
    text = f"{args.file}: valid, {plural(rules or 0, 'rule')}\n"
    rows = [[problem] for problem in problems]
    output.show(args, Output("policy-check", document, ("problem",), rows, lambda: text))


def _test(args: argparse.Namespace) -> int:
    from collective import policy

    rules = policy.read(args.file)
    if len(args.words) < 2:
        raise UsageError("policy test: agent and action are missing (crpc policy test FILE --caller NAME AGENT ACTION)")
    agent, action, *words = args.words
    catalog = _catalog(args)
    data, known = _inputs(catalog, agent, action, words), _known(catalog)
    for line in rules.input_problems(known):
        notice(f"{args.file}: {line}")
    node = _node(args)
    when, nodes = args.time or time.time(), args.targets or 1
    call = policy.CallFacts(args.reason, nodes, nodes, when, tuple(args.approver), args.approvals or 0)
    on = node or policy.KnownNode({}, frozenset())
    question = policy.Question(args.caller, agent, action, data, on, dry_run=args.dry_run, known=known, call=call)
    depends = node is None and len({one.allow for one in rules.possible(replace(question, node=None))}) > 1
    if depends:
        notice("the decision depends on the node (use --facts and --classes); assuming it has none")
    decision = rules.decide(question)
    document = {**_decision(decision), "depends_on_node": depends}
    text = f"{'allowed' if decision.allow else 'denied'}: {escape_controls(decision.why)}\n"
    output.show(args, Output("policy-test", document, list(document), [list(document.values())], lambda: text))
    return 0 if decision.allow else FAILED


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 7):
        raise argparse.ArgumentTypeError(f"invalid number '{text}'")
    return int(text)


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid time '{text}': use 2026-11-28T02:30") from None


def _inputs(catalog: Catalog, agent: str, action: str, words: Sequence[str]) -> Mapping[str, Any]:
    """Read KEY=VALUE inputs with the types of the DDL; as strings if there is no DDL."""
    from collective.clients.inputs import read_inputs

    described = _find(catalog, agent, action)
    if described is not None:
        return described.with_defaults(read_inputs(words, described))
    for word in words:
        if not word.partition("=")[1]:
            raise UsageError(f"'{word}': inputs are given as KEY=VALUE")
    if words:
        notice(f"no DDL for '{agent} {action}': reading its inputs as strings")
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _replay(args: argparse.Namespace) -> int:
    counts: Counter[str] = Counter()
    changes, lines = [], []
    streamed = output.is_plain_text(args, _CHANGE)
    for request in _replayed(args):
        counts[request.state] += 1
        if request.state == "same":
            continue
        changes.append(_change(request))
        line = escape_controls(_change_line(request)) + "\n"
        if streamed:
            write(line)
        else:
            lines.append(line)
    text = "".join(lines) + (
        f"{plural(counts.total(), 'request')}: {counts['same']} unchanged, {counts['different']} decided differently, "
        f"{counts['undecidable']} undecidable\n"
    )
    document = {"requests": counts.total(), **{state: counts[state] for state in _STATES}, "changes": changes}
    rows = [list(change.values()) for change in changes]
    output.show(args, Output("policy-replay", document, _CHANGE, rows, lambda: text))
    if counts["different"]:
        return FAILED
    return SILENT if counts["undecidable"] else 0


def _replayed(args: argparse.Namespace) -> Iterator[Replayed]:
    from collective import policy
    from collective.audit import records
    from collective.policy.replay import DescribedActions, replay

    rules, catalog = policy.read(args.file), _catalog(args)

    def with_defaults(agent: str, action: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        described = _find(catalog, agent, action)
        return described.with_defaults(data) if described else data

    return replay(rules, records.read(args.audit), _node(args), DescribedActions(with_defaults, _known(catalog)))


def _change(request: Replayed) -> dict[str, Any]:
    recorded = request.record.decision
    return {
        **{name: recorded.get(name) for name in ("request", "caller", "agent", "action")},
        "state": request.state,
        "recorded": {"allowed": request.was, "rule": recorded.get("rule")},
        "now": [_decision(one) for one in dict.fromkeys(request.now)],
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {"allowed": decision.allow, "rule": decision.rule, "reason": decision.why}


def _change_line(request: Replayed) -> str:
    recorded = request.record.decision
    reasons = " or ".join(dict.fromkeys(decision.why for decision in request.now))
    was = "allowed" if request.was else "denied"
    rule = f" by '{recorded.get('rule')}'" if recorded.get("rule") else ""
    call = f"{recorded.get('request')} {recorded.get('caller')} {recorded.get('agent')} {recorded.get('action')}"
    now = "undecidable" if request.state == "undecidable" else f"now {'denied' if request.was else 'allowed'}"
    return f"{call}: was {was}{rule}, {now}: {reasons}"


def _catalog(args: argparse.Namespace) -> Catalog:
    """Return the DDLs of the configuration, or only the standard ones if there is no client.yaml.

    For the policy of this node they are those of the node.
    """
    from collective.catalog import Catalog

    if args.of_node:
        return Catalog(node_files.ddls(args.config))
    try:
        return Catalog(options.client_config(args).ddls)
    except ConfigError:
        if args.config is not None:
            raise
        return Catalog([])


def _known(catalog: Catalog) -> Actions:
    """Return the types of the inputs of all actions and data functions that have a valid DDL."""
    from collective import data_ddl
    from collective.policy.input_names import InputTypes
    from collective.policy.input_types import input_types

    known: dict[tuple[str, str], InputTypes] = {}
    for agent in catalog.paths:
        with suppress(CollectiveError):
            known |= {(agent, name): input_types(one.input) for name, one in catalog.ddl(agent).actions.items()}
    for name in catalog.data_paths:
        with suppress(CollectiveError):
            known[data_ddl.AGENT, name] = input_types(catalog.data_function(name).input)
    return known


def _find(catalog: Catalog, agent: str, action: str) -> Action | None:
    try:
        return catalog.action(agent, action)
    except CollectiveError:
        return None


def _node(args: argparse.Namespace) -> KnownNode | None:
    """Return the node that --facts and --classes describe, None without both."""
    from collective.policy import KnownNode
    from collective.yaml_file import read_text

    if args.facts is None and args.classes is None:
        return None
    classes = read_text(args.classes).split() if args.classes else ()
    return KnownNode(_facts(args.facts) if args.facts else {}, frozenset(classes))


def _facts(path: Path) -> Mapping[str, Any]:
    """Read a file of facts as a node does, and report the values that a node omits."""
    from collective.fact_files.formats import read_file

    if not path.exists():  # on a node such a file has no facts yet
        raise ConfigError(f"{path}: cannot be read: No such file or directory")
    facts = read_file(path)
    for line in facts.omitted:
        notice(line)
    return facts
