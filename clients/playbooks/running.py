"""Run a playbook, or resume one: inputs, state, engine and the last lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collective.clients.inputs import ask_secrets, read_inputs
from collective.clients.notify_options import notifier
from collective.clients.options import run_folder
from collective.clients.output import Output, show
from collective.clients.playbooks import progress as outcomes
from collective.clients.playbooks.engine import PlaybookEngine
from collective.clients.playbooks.finished_steps import FinishedSteps
from collective.clients.playbooks.node_work import NodeWork
from collective.clients.playbooks.notices import PlaybookNotices
from collective.clients.playbooks.preview import PlaybookPreview
from collective.clients.playbooks.progress import COLUMNS, PlaybookProgress
from collective.clients.playbooks.saved_state import PlaybookRun, PlaybookState, read_earlier
from collective.clients.playbooks.scope import LazyFacts, StepScope
from collective.clients.playbooks.step_work import LocalWork
from collective.clients.prepared_call import connected
from collective.clients.repeated_call import RoundClock
from collective.clients.results import interruptible
from collective.clients.saved_runs import short
from collective.clients.streams import notice
from collective.errors import ConfigError, UsageError
from collective.fleet.runs.folder import RunFile, RunFolder
from collective.messages import new_id
from collective.text import plural

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.clients.notifier import Notifier
    from collective.clients.playbooks.definition import PlaybookDefinition
    from collective.clients.playbooks.results import StepFailure
    from collective.config import ClientConfig
    from collective.fleet.fleet import Fleet

_LAST = "last"


@dataclass(frozen=True)
class PlaybookCommand:
    """What `crpc playbook run` needs: its options, the configuration, the DDLs, and the playbook, which is checked."""

    args: argparse.Namespace
    config: ClientConfig
    catalog: Catalog
    playbook: PlaybookDefinition

    def run(self, words: Sequence[str]) -> int:
        """Run the playbook with the inputs in `words`; return the exit code. Raises UsageError and ConfigError."""
        with connected(self.config, self.catalog) as fleet:
            return self.run_on(fleet, words, RoundClock())

    def run_on(self, fleet: Fleet, words: Sequence[str], clock: RoundClock) -> int:
        """Run the playbook on a fleet; return the exit code, and raise like `run`."""
        places = notifier(self.args, self.config)  # a wrong URL is an error before anything is sent
        folder = self._folder()
        earlier = self._earlier(folder) if self.args.resume else None
        inputs = self._inputs(words, earlier)
        PlaybookPreview(self.args, self.config, self.catalog).look(self.scope(inputs, fleet))
        state = PlaybookState(self.playbook, new_id(), folder, earlier)
        return self._run(fleet, self.scope(inputs, fleet), state, clock, places)

    def scope(self, inputs: Mapping[str, Any], fleet: Fleet | None) -> StepScope:
        """Return what the expressions of the playbook see at its beginning."""
        about = {
            "title": self.playbook.title,
            "file": str(self.playbook.file.path),
            "collective": self.config.collective,
            "caller": self.config.caller,
        }
        facts = {} if fleet is None else LazyFacts(lambda: {one.identity: one.facts for one in fleet.records()})
        return StepScope(self.playbook, inputs, about, facts)

    def _run(self, fleet: Fleet, scope: StepScope, state: PlaybookState, clock: RoundClock, places: Notifier) -> int:
        action = self.playbook.inputs
        shown = PlaybookProgress(self.args, secrets=set(action.secret_texts(scope.inputs)))
        public = {name: value for name, value in scope.inputs.items() if name not in action.secrets}
        state.begin({**scope.about, "file": str(self.playbook.file.path.resolve())}, public)
        nodes = NodeWork(self.args, fleet, state, shown, clock)
        about = {**scope.about, "run": state.run, "agent": "playbook", "action": self.playbook.name}
        notices = PlaybookNotices(places, about, nodes.outcomes)
        local = LocalWork(self.args, shown, self.config.notify, notices)
        finished = FinishedSteps(state, shown.secrets)
        engine = PlaybookEngine(self.playbook, work(nodes, local), finished, shown, clock, nodes.stop)
        try:
            with interruptible():
                failure = engine.run(scope)
            self._end(state, shown, failure)
        finally:
            state.close()
        code = engine.exit_code(failure)
        notices.ended(code, shown.masked(failure.message) if failure else "")
        self._print(shown, scope, state, failure, code)
        return code

    def _end(self, state: PlaybookState, shown: PlaybookProgress, failure: StepFailure | None) -> None:
        name, counts = self.playbook.name, _counts(shown.rows)
        if failure is None:
            state.end("ended", "", "")
            if not self.args.quiet:
                shown.say(f"playbook {name}: ended ({counts})")
            return
        state.end("stopped", failure.key, shown.masked(failure.message))
        resume = f"crpc playbook run {self.args.name} --resume {short(state.run)}"
        hint = f" (resume with '{resume}')" if state.saves else ""
        where = f"step {failure.key} '{failure.title}' ({failure.step.place})"
        shown.say(f"playbook {name}: stopped at {where}: {failure.message}{hint}")

    def _print(
        self,
        shown: PlaybookProgress,
        scope: StepScope,
        state: PlaybookState,
        failure: StepFailure | None,
        code: int,
    ) -> None:
        """Print the document of the run, unless its steps were printed as text while it ran."""
        if shown.is_text and self.args.output_file is None:
            return
        document = {
            **scope.about,
            "run": state.run,
            "inputs": self.playbook.inputs.masked(scope.inputs),
            "outcome": "stopped" if failure else "ended",
            "stopped_at": failure.key if failure else None,
            "message": shown.masked(failure.message) if failure else "",
            "exit": code,
            "steps": shown.rows,
        }
        rows = [[row[name] for name in COLUMNS] for row in shown.rows]
        show(self.args, Output("playbook-run", document, COLUMNS, rows, str))

    # -- inputs, and the run that is resumed

    def _folder(self) -> RunFolder | None:
        if self.args.no_save or not self.config.save_runs:
            return None
        runs = run_folder(self.config)
        return RunFolder(self.config.state / "playbooks", runs.days, runs.megabytes)

    def _inputs(self, words: Sequence[str], earlier: PlaybookRun | None) -> dict[str, Any]:
        """Return the checked inputs; raise UsageError or an RPCError for wrong ones.

        A resumed run has those of the earlier one; only secrets are given again.
        """
        action = self.playbook.inputs
        data = read_inputs(words, action)
        if earlier is not None:
            for key in data:
                if key not in action.secrets:
                    raise UsageError(f"'{key}': only secrets can be given again, the other inputs are those of the run")
            data = {**earlier.begin["inputs"], **data}
        if sys.stdin.isatty():
            data = ask_secrets(data, action)
        return action.check_input(data)

    def _earlier(self, folder: RunFolder | None) -> PlaybookRun:
        """Return the run to resume. Raises UsageError, and ConfigError if the files have changed since."""
        if folder is None:
            raise UsageError("--resume: runs are not saved (--no-save, or save_runs in client.yaml)")
        earlier = read_earlier(self._file(folder))
        run = short(earlier.begin["run"])
        if earlier.begin.get("file") != str(self.playbook.file.path.resolve()):
            raise UsageError(f"--resume: run {run} is one of {earlier.begin.get('file')}")
        if earlier.begin.get("collective") != self.config.collective:
            raise UsageError(f"--resume: run {run} is in the collective '{earlier.begin.get('collective')}' (use -T)")
        if earlier.end.get("outcome") == "ended":
            raise UsageError(f"--resume: run {run} has ended, there is nothing to resume")
        changed = _changed(earlier.begin["digests"], self.playbook.digests)
        if changed and not self.args.allow_drift:
            raise ConfigError(
                f"{changed[0]}: changed since run {run} (start again without --resume, or use --allow-drift)"
            )
        for path in changed:
            notice(f"{path}: changed since run {run}, steps with another name or kind run again")
        return earlier

    def _file(self, folder: RunFolder) -> RunFile:
        if self.args.resume != _LAST:
            return folder.find(self.args.resume)
        file = str(self.playbook.file.path.resolve())
        for one in folder.newest():
            if read_earlier(one).begin.get("file") == file:
                return one
        raise UsageError(f"--resume: there is no saved run of {self.playbook.file.path}")


def work(nodes: NodeWork, local: LocalWork) -> dict[str, Any]:
    """Return what does the work of each kind of step."""
    on_nodes = {"call": nodes.call, "wait": nodes.wait}
    return {**on_nodes, "assert": local.check, "set": local.set, "ask": local.ask} | {
        "notify": local.notify,
        "local": local.local,
    }


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the files that differ, were added or are gone."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    order = (outcomes.OK, outcomes.BEFORE, outcomes.OMITTED, outcomes.RESCUED, outcomes.CONTINUED, outcomes.FAILED)
    found = [(sum(row["outcome"] == one for row in rows), one) for one in order]
    words = {outcomes.BEFORE: "finished before"}
    return f"{plural(len(rows), 'step')}: " + ", ".join(
        f"{count} {words.get(one, one)}" for count, one in found if count
    )
