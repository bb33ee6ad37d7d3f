"""Where rollouts are recorded for `crpc run`: on this machine, or in DynamoDB; and this caller as one that steers them.

recorder(args, fleet, plan)     what saves a call: a rollout so that others can steer it
store(config, shared)           the records
steerer(config, store)          this caller, with its key if the records are shared
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from collective import lines
from collective.clients import options
from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.fleet.fleet import Fleet
    from collective.fleet.plan import CallPlan
    from collective.fleet.recording import CallRecord
    from collective.fleet.runs.folder import RunFolder
    from collective.fleet.steering.run_log import RunStore
    from collective.fleet.steering.steered_record import RecordLimits, SteeredRecord
    from collective.fleet.steering.takeover import Steerer

POLL = 2.0  # seconds between two looks for orders
_MOST_SIGNERS = 256 * 1024  # characters of the allowed signers in a record


def is_shared(config: ClientConfig, *, detached: bool = False) -> bool:
    """Return whether a rollout is recorded in DynamoDB."""
    return config.runs == "shared" or (config.runs == "auto" and detached and config.registry == "dynamodb")


def recorder(args: argparse.Namespace, fleet: Fleet, plan: CallPlan, retry_of: str | None = None) -> CallRecord:
    """Return what saves a call: one that is sent in waves is a rollout that others can pause, stop and take."""
    config = fleet.config
    plain = options.recorder(args, config, retry_of)
    shared = is_shared(config)
    saved = config.save_runs and not getattr(args, "no_save", True)
    if not plan.pace.needs_replies or not (saved or shared):
        return plain
    record = steered(config, plan, shared=shared, retry_of=retry_of)
    if not shared:
        return record
    from collective.fleet.steering.mirrored_record import MirroredRecord

    return MirroredRecord(record, plain)


def steered(config: ClientConfig, plan: CallPlan, *, shared: bool, retry_of: str | None = None) -> SteeredRecord:
    """Return the record of a new rollout."""
    from collective.fleet.steering.steered_record import SteeredRecord
    from collective.fleet.steering.takeover import begin

    kept = store(config, shared=shared)
    opening = begin(kept, steerer(config, kept, shared=shared), plan, retry_of)
    return SteeredRecord(opening, poll=POLL, now=kept.now, limits=limits(config, shared=shared))


def limits(config: ClientConfig, *, shared: bool) -> RecordLimits:
    """Return how much a record holds: a file on this machine as much as all saved runs."""
    from collective.fleet.steering.steered_record import SHARED, RecordLimits

    most = options.run_folder(config).most_bytes
    return SHARED if shared else RecordLimits(reply=most, size=most, delay=0.0)


def store(config: ClientConfig, *, shared: bool) -> RunStore:
    """Return the records of the collective. Raises ConfigError."""
    if not shared:
        from collective.fleet.steering.file_store import FileRunStore

        return FileRunStore(folder(config))
    from collective.fleet.steering.table_store import TableRunStore

    return TableRunStore.connect(config)


def folder(config: ClientConfig) -> RunFolder:
    """Return the folder of saved runs."""
    return options.run_folder(config)


def steerer(config: ClientConfig, kept: RunStore, *, shared: bool) -> Steerer:
    """Return this caller. Its key is loaded for shared records only, because only its user can write the others."""
    from collective.config import KEY_NONE
    from collective.fleet.steering.takeover import Steerer

    if not shared or config.key == KEY_NONE:
        return Steerer(config.caller, now=kept.now)
    from collective.signing import RUN_NAMESPACE, allowed_signers, caller_key, sshsig

    chosen = caller_key.choose(config.key)
    signers = _signers(config) + allowed_signers.signer_line(config.caller, chosen.public)
    return Steerer(
        config.caller,
        lambda payload: sshsig.sign(chosen.signer, payload, RUN_NAMESPACE),
        allowed_signers.parse(signers, config.allowed_signers),
        signers,
        str(config.allowed_signers),
        now=kept.now,
    )


def _signers(config: ClientConfig) -> str:
    """Return the lines of the file of allowed signers; none if there is no file."""
    try:
        text = config.allowed_signers.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise UsageError(f"{config.allowed_signers}: cannot be read: {why}") from None
    kept = [line for _, line in lines.numbered(text) if line.strip() and not line.lstrip().startswith("#")]
    text = "".join(f"{line}\n" for line in kept)
    if len(text) > _MOST_SIGNERS:
        raise UsageError(f"{config.allowed_signers}: more than {_MOST_SIGNERS} characters do not fit into a record")
    return text
