"""What `crpc doctor` looks at: all that a call needs, in the order in which a call needs it.

    here     version ─ configuration ─ DDLs ─ state ─ key
    there    AWS ─ queues ─ clock ─ topic ─ registry ─ nodes' keys ─ an answer

A check yields findings and returns what later ones need. Nothing is left behind but the reply queue that every call
makes, and nobody is waited for longer than the bounds in `there` say.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

from collective import names
from collective.config import ClientConfig
from collective.errors import CollectiveError
from collective.fleet.doctor import aws_checks, local_checks
from collective.fleet.doctor.findings import Check, Finding, faulty
from collective.fleet.fleet import Fleet
from collective.registry.dynamodb import DynamoDBRegistry

__all__ = ["Finding", "examine"]

Result = TypeVar("Result")


def examine(path: Path | None = None, target: str | None = None) -> Iterator[Finding]:
    """Look at all that a caller with the configuration in `path`, or where it is looked for, depends on.

    `target` is another collective than the configured one.
    """
    yield from attempt("version", local_checks.version())
    config = yield from attempt("configuration", local_checks.configuration(path, target))
    if config is not None:
        yield from _examine(config)


def _examine(config: ClientConfig) -> Iterator[Finding]:
    catalog = yield from attempt("DDLs", local_checks.ddls(config))
    known = yield from attempt("state", local_checks.state(config))
    sign = yield from attempt("key", local_checks.key(config))
    aws = yield from attempt("AWS", aws_checks.account())
    if aws is None or known is None:
        return  # without either no call can be made
    transport = yield from attempt("queues", aws_checks.queues(aws, config))
    if aws.skew is None:
        return  # no server has answered: the next one would be waited for just as long
    yield from attempt("clock", aws_checks.clock(aws.skew))
    if transport is not None:
        yield from attempt("topic", aws_checks.topic(transport, config))
    alive = None
    if config.registry == "dynamodb":
        table = DynamoDBRegistry(aws, names.table(config.collective))
        alive = yield from attempt("registry", aws_checks.registry(table, config))
    if alive:
        yield from attempt("nodes' keys", aws_checks.keys(alive, known))
    if transport and catalog and sign:
        fleet = Fleet(config, transport, catalog=catalog, sign=sign, verify_reply=known.verify)
        yield from attempt("answer", aws_checks.answer(fleet, alive))


def attempt(name: str, check: Check[Result]) -> Generator[Finding, None, Result | None]:
    """Pass on what a check finds, and return its result; an error is a finding too, and there is no result then."""
    try:
        return (yield from check)
    except CollectiveError as error:
        yield faulty(name, error)
    except Exception as defect:  # ours: what comes after it is worth looking at all the same
        yield faulty(name, CollectiveError(f"a defect of ours: {type(defect).__name__}: {defect}"))
    return None
