"""`crpc policy`: check a policy file, ask it, and ask it again what an audit has recorded."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import options
from collective.clients.render.formatting import clean_line
from collective.errors import CollectiveError, ConfigError, PolicyError, UsageError
from collective.exit_codes import CONFIGURATION, FAILED, SILENT

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.ddl import Action
    from collective.policy import KnownNode
    from collective.policy.replay import Replayed


def run(arguments: Sequence[str]) -> int:
    """Parse and do one of check, test, replay."""
    given = _parse(arguments)
    try:
        return {"check": _check, "test": _test, "replay": _replay}[given.verb](given)
    except PolicyError as error:
        for line in error.problems:
            sys.stderr.write(f"crpc: {clean_line(line)}\n")
        return CONFIGURATION


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = options.Parser("crpc policy", description="Check policy files, and ask them who may do what.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="check|test|replay")
    check = verbs.add_parser("check", help="say what is wrong with a policy file, with lines; exit 78 when anything is")
    test = verbs.add_parser(
        "test",
        usage="crpc policy test FILE --caller NAME AGENT ACTION [KEY=VALUE ...] [options]",
        help="say whether a request would be allowed, and by which rule; exit 0 when it is, 2 when not",
    )
    replay = verbs.add_parser(
        "replay",
        help="say which recorded requests would be decided differently; exit 2 when any, 3 when none is known to",
    )
    for verb in (check, test, replay):
        verb.add_argument("file", type=Path, metavar="FILE", help="the policy")
    test.add_argument("words", nargs="*", help="agent, action and inputs")
    test.add_argument("--caller", required=True, metavar="NAME", help="who asks")
    replay.add_argument("--audit", required=True, type=Path, metavar="AUDIT", help="a node's audit.jsonl")
    for verb in (test, replay):
        verb.add_argument("--facts", type=Path, metavar="FILE", help="the node's facts, as YAML or JSON")
        verb.add_argument("--classes", type=Path, metavar="FILE", help="the node's classes, a word a line")
    before, unknown = _before(arguments)
    if before.rest[:1] == ["test"] and not unknown:  # by itself: its words and options may stand in any order
        test.set_defaults(verb="test")
        return test.parse_args(before.rest[1:], before)
    return parser.parse_args(arguments)


def _before(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read the options before the verb, and return unknown ones too; `rest` is the verb and all after it."""
    parser = options.Parser("crpc policy", add_help=False)
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    return parser.parse_known_args(arguments)


def _check(given: argparse.Namespace) -> int:
    from collective import policy

    rules = len(policy.read(given.file).rules)
    sys.stdout.write(f"{given.file}: nothing is wrong with its {rules} rule{'' if rules == 1 else 's'}\n")
    return 0


def _test(given: argparse.Namespace) -> int:
    from collective import policy

    rules = policy.read(given.file)
    if len(given.words) < 2:
        raise UsageError("crpc policy test FILE --caller NAME AGENT ACTION: agent and action are missing")
    agent, action, *words = given.words
    data = _inputs(_catalog(given), agent, action, words)
    node = _node(given)
    asked = policy.Question(given.caller, agent, action, data, node or policy.KnownNode({}, frozenset()))
    if node is None and len({found.allow for found in rules.possible(replace(asked, node=None))}) > 1:
        sys.stderr.write("crpc: this depends on the node: its --facts and --classes are taken to be none\n")
    decision = rules.decide(asked)
    sys.stdout.write(f"{'allowed' if decision.allow else 'denied'}: {clean_line(decision.why)}\n")
    return 0 if decision.allow else FAILED


def _inputs(catalog: Catalog, agent: str, action: str, words: Sequence[str]) -> Mapping[str, Any]:
    """Read inputs as the DDL means them; for what has no DDL here, as text."""
    from collective.clients.inputs import read_inputs

    described = _find(catalog, agent, action)
    if described is not None:
        return described.with_defaults(read_inputs(words, described))
    for word in words:
        if not word.partition("=")[1]:
            raise UsageError(f"'{word}': inputs are given as KEY=VALUE")
    if words:
        sys.stderr.write(f"crpc: there is no DDL of '{agent} {action}' here: its inputs are taken as text\n")
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _replay(given: argparse.Namespace) -> int:
    from collective import policy
    from collective.audit import records
    from collective.policy.replay import replay

    rules, catalog = policy.read(given.file), _catalog(given)

    def complete(agent: str, action: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        described = _find(catalog, agent, action)
        return described.with_defaults(data) if described else data

    counts: Counter[str] = Counter()
    for one in replay(rules, records.read(given.audit), _node(given), complete):
        counts[one.state] += 1
        if one.state != "same":
            sys.stdout.write(clean_line(_changed(one)) + "\n")
    sys.stdout.write(
        f"{counts.total()} requests: {counts['same']} as before, {counts['different']} decided differently, "
        f"{counts['undecidable']} undecidable\n"
    )
    if counts["different"]:
        return FAILED
    return SILENT if counts["undecidable"] else 0


def _changed(one: Replayed) -> str:
    recorded = one.record.decision
    said = " or ".join(dict.fromkeys(decision.why for decision in one.now))
    was = "allowed" if one.was else "denied"
    rule = f" by '{recorded.get('rule')}'" if recorded.get("rule") else ""
    what = f"{recorded.get('request')} {recorded.get('caller')} {recorded.get('agent')} {recorded.get('action')}"
    now = "undecidable" if one.state == "undecidable" else f"now {'denied' if one.was else 'allowed'}"
    return f"{what}: was {was}{rule}, {now}: {said}"


def _catalog(given: argparse.Namespace) -> Catalog:
    """Return the DDLs of the configuration; the standard ones when there is none: a policy is checked anywhere."""
    from collective.catalog import Catalog

    try:
        return Catalog(options.client_config(given).ddls)
    except ConfigError:
        if given.config is not None:
            raise
        return Catalog([])


def _find(catalog: Catalog, agent: str, action: str) -> Action | None:
    try:
        return catalog.action(agent, action)
    except CollectiveError:
        return None


def _node(given: argparse.Namespace) -> KnownNode | None:
    """Return the node that --facts and --classes describe; None when neither is given."""
    from collective.policy import KnownNode
    from collective.yaml_file import read_text, read_yaml

    if given.facts is None and given.classes is None:
        return None
    facts = read_yaml(given.facts) if given.facts else {}
    if not isinstance(facts, dict):
        raise UsageError(f"--facts {given.facts}: must hold keys and values")
    classes = read_text(given.classes).split() if given.classes else ()
    return KnownNode(facts, frozenset(classes))
