"""Run playbooks on a scripted fleet, as `crpc playbook run` does."""

from __future__ import annotations

from pathlib import Path

from collective.clients.commands.playbook import make_parser
from collective.clients.playbooks import loading
from collective.clients.playbooks.running import PlaybookCommand
from collective.clients.repeated_call import RoundClock
from support.scripted_fleet import CATALOG, Part, Scripted


class PlaybookRunner:
    """Runs playbooks on a scripted fleet, as `crpc playbook run` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.network = Scripted({"a": Part(after=0.1), "b": Part(after=0.1)})
        self.waits: list[float] = []

    def run(self, text: str, *words: str) -> int:
        """Run a playbook with inputs and options; return the exit code."""
        path = self.folder / "p.yaml"
        path.write_text(text)
        args = make_parser().parse_args(["run", str(path), *words])
        with self.network.fleet(self.folder) as fleet:
            playbook = loading.load(path, args, None, CATALOG, fetch=False)
            command = PlaybookCommand(args, fleet.config, CATALOG, playbook)
            return command.run_on(fleet, args.words, RoundClock(self.network.clock, self.wait))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.waits.append(seconds)
        self.network.time += seconds

    @property
    def sent(self) -> list[str]:
        """The nodes that were sent to."""
        return [one.node for one in self.network.sent]

    def saved(self) -> str:
        """Return all that is saved of runs of playbooks."""
        return "".join(path.read_text() for path in (self.folder / "playbooks").iterdir())


PING = "call: {agent: rpcutil, action: ping, targets: {nodes: [a, b]}}"


def playbook(*steps: str, inputs: str = "{}") -> str:
    """Return a playbook with some steps."""
    lines = "".join(f"  - {step}\n" for step in steps)
    return f"title: T\ninputs: {inputs}\nsteps:\n{lines}"
