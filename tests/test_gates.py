"""Gates between and during waves, and the actions before and after each node's work."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.scripted_fleet import CATALOG, Part, Scripted, answer
from support.waiting import wait_until

from collective import Pace
from collective.errors import UsageError
from collective.fleet.gatekeeper import GateKeeper
from collective.fleet.gates import Gates, GateView, RolloutGate, read_gate
from collective.fleet.gates.command import CommandGate
from collective.fleet.gates.reply import ReplyGate
from collective.fleet.rollout import Rollout
from collective.fleet.steps import Hooks
from collective.messages import Reply

RUN = ("shell", "run", {"command": "true"})
NODES = ["web1", "web2", "web3"]


def reply(sender: str, statuscode: int = 0, **data: Any) -> Reply:
    return Reply("0" * 32, "", sender, "shell", "run", statuscode, "OK", data, time=0.0, elapsed_ms=1.0)


def view(*replies: Reply, unanswered: tuple[str, ...] = ()) -> GateView:
    return GateView({"wave": 1, "ok": ["web1"]}, replies, unanswered)


class Script:
    """A gate that is closed as often as it says, and records the waves that it has seen."""

    unattended = True

    def __init__(self, *reasons: str, name: str = "script") -> None:
        self.name = name
        self.reasons = list(reasons)
        self.seen: list[Any] = []

    def check(self, view: GateView) -> str:
        """Return the next reason; an empty string when there is none."""
        self.seen.append((view.document["wave"], view.document["ok"], view.document["waiting"]))
        return self.reasons.pop(0) if self.reasons else ""


# -- the kinds of gates


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--gate '': must be cmd:COMMAND"),
        ("cmd:", "--gate 'cmd:': must be cmd:COMMAND"),
        ("mail:root", "--gate 'mail:root': must be cmd:COMMAND"),
        ("cmd:'open", "--gate 'cmd:'open': no closing quotation"),
        ("cmd: ", "--gate 'cmd: ': the command is missing"),
        ("http:ftp://my.net", "--gate 'http:ftp://my.net': must be a URL"),
        ("http:https://", "--gate 'http:https://': must be a URL"),
        ("http:http://[", "--gate 'http:http://[': must be a URL"),
        ("reply:data.version >= ", "--gate reply: 'data.version >= '"),
        ("reply:fstat('/etc/hosts').md5=x", "only members of a reply can be compared"),
        ("reply:webserver", "only members of a reply can be compared"),
    ],
)
def test_an_invalid_gate_is_refused(text: str, message: str) -> None:
    """The error names the option, the value and the kinds."""
    with pytest.raises(UsageError) as caught:
        read_gate("--gate", text)
    assert message in str(caught.value)


def test_a_command_gets_the_rollout_and_its_exit_code_decides(tmp_path: Path) -> None:
    """The rollout is JSON on standard input; the last line of output is in the reason."""
    script = "import json, sys; print('first'); print(json.load(sys.stdin)['ok']); sys.exit(int(sys.argv[1]))"
    (tmp_path / "check.py").write_text(script)
    line = f"cmd:{sys.executable} {tmp_path}/check.py"
    assert read_gate("--gate", f"{line} 0").check(view()) == ""
    assert read_gate("--gate", f"{line} 3").check(view()) == "exit code 3: ['web1']"


def test_a_command_that_cannot_run_or_does_not_end_closes_the_gate() -> None:
    """No shell interprets the line, and what the command has started is ended with it."""
    assert read_gate("--gate", "cmd:/absent").check(view()) == "cannot be run: No such file or directory"
    assert read_gate("--gate", "cmd:true; false").check(view()).startswith("cannot be run: ")
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'], stdin=None)"
    hangs = CommandGate([sys.executable, "-c", f"import time; {code}; time.sleep(60)"], timeout=0.5)
    assert hangs.check(view()) == "did not end within 0 s"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("statuscode=0", ""),
        ("statuscode=0 and data.version>=2", "does not hold on 1 node: web2"),
        ("data.version>1.5 or data.state=ready", ""),
        ("data.absent!=1", "does not hold on 2 nodes: web[1-2]"),
        ("not statusmsg=/^OK/", "does not hold on 2 nodes: web[1-2]"),
    ],
)
def test_an_expression_holds_for_every_reply(expression: str, reason: str) -> None:
    """The gate names the nodes for which it does not hold; an absent member matches nothing."""
    gate = read_gate("--gate", f"reply:{expression}")
    assert gate.check(view(reply("web1", version=2), reply("web2", version="1.10", state="ready"))) == reason
    assert gate.check(view(unanswered=("web3",))) == "1 node without a reply: web3"


@pytest.fixture
def page() -> Iterator[Callable[[int], str]]:
    """Return a function that makes a page with a status, and returns its URL."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer with the status in the path."""
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield lambda status: f"http://127.0.0.1:{server.server_port}/{status}"
        server.shutdown()
        thread.join()


def test_a_page_opens_the_gate_with_a_2xx_status(page: Callable[[int], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Other statuses and no answer close it; the URL may stand alone."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert read_gate("--gate", page(204)).check(view()) == ""
    assert read_gate("--gate", f"http:{page(503)}").check(view()) == "status 503"
    assert read_gate("--gate", "http://127.0.0.1:1/").check(view()).startswith("no answer: ")


@pytest.mark.parametrize("arguments", [{"action": "wait"}, {"every": 0.0}, {"every": float("inf")}])
def test_invalid_gates_are_refused(arguments: dict[str, Any]) -> None:
    """The error names the argument."""
    with pytest.raises(UsageError, match=f"gates: {next(iter(arguments))} '"):
        Gates((), **arguments)


# -- in a call


def call(folder: Path, world: Scripted, *gates: RolloutGate, every: float | None = None, action: str = "stop") -> Any:
    """Roll out in waves of one node with gates, and return the finished call."""
    with world.fleet(folder) as fleet:
        made = fleet.call(*RUN, pace=Pace(waves="1"), gates=Gates(gates, every, action))
        made.wait()
        return made


def test_gates_are_checked_between_waves(tmp_path: Path) -> None:
    """Each gate sees the rollout as it is after a wave; there is none before the first and after the last."""
    gate = Script()
    made = call(tmp_path, Scripted(dict.fromkeys(NODES, Part())), gate)
    assert made.outcomes.counts()["ok"] == 3
    assert gate.seen == [(1, ["web1"], ["web2", "web3"]), (2, ["web1", "web2"], ["web3"])]


def test_a_closed_gate_stops_the_rollout(tmp_path: Path) -> None:
    """The first closed gate decides, the nodes not reached are skipped, and the exit code is 4."""
    made = call(tmp_path, Scripted(dict.fromkeys(NODES, Part())), Script(name="open"), Script("", "too slow"))
    assert made.stopped == "gate 'script': too slow"
    assert (made.outcomes.exit_code(), sorted(made.outcomes.skipped)) == (4, ["web3"])


def test_a_gate_that_pauses_is_checked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next wave begins when the gate is open; the same reason is reported once."""
    world = Scripted(dict.fromkeys(NODES, Part()))
    gate = Script("cold", "cold", "cold", "")
    made = call(tmp_path, world, gate, action="pause")
    assert made.outcomes.counts()["ok"] == 3
    assert [sent.at for sent in world.sent] == [0.0, 31.0, 32.0]
    assert [record.error for record in caplog.records] == ["paused: gate 'script': cold"]  # type: ignore[attr-defined]


def test_a_gate_is_checked_during_a_wave() -> None:
    """The check runs in a thread; a closed gate holds the rollout, and an open one releases it."""
    rollout = Rollout("ab", Pace(concurrency=1), 60.0, gated=True)
    gate = Script("hot", "")
    keeper = GateKeeper(Gates((gate,), 5.0, "pause"), rollout, 0.0)
    rollout.sent(rollout.due(0), 0)
    assert (keeper.is_due(4), keeper.wake(4)) == (False, 5)
    seen = GateView({"wave": 1, "ok": [], "waiting": []}, [], [])
    keeper.look(seen, 5)
    wait_until(lambda: keeper.is_due(5), 30)
    keeper.look(seen, 5)
    rollout.answered("a", ok=True)
    assert (rollout.held, rollout.due(6), rollout.over, keeper.wake(6)) == (True, [], False, 10)
    keeper.look(seen, 10)
    wait_until(lambda: keeper.is_due(10), 30)
    keeper.look(seen, 10)
    assert (rollout.held, rollout.due(10)) == (False, ["b"])
    keeper.close()


# -- hooks


def with_hooks(folder: Path, world: Scripted, pace: Pace = Pace(), **hooks: Any) -> Any:  # noqa: B008 - a value
    """Call with hooks, given as (agent, action, inputs), and return the finished call."""
    with world.fleet(folder) as fleet:
        made = fleet.call(*RUN, pace=pace, hooks=Hooks(**{name: fleet.hook(*hook) for name, hook in hooks.items()}))
        made.wait()
        return made


PING = ("rpcutil", "ping")
FACT = ("rpcutil", "get_fact", {"fact": "role"})


def actions(world: Scripted, node: str) -> list[str]:
    """Return the actions that a node has received."""
    return [sent.request.action for sent in world.sent if sent.node == node]


def test_hooks_run_before_and_after_on_each_node(tmp_path: Path) -> None:
    """The reply is that of the action; a node keeps its place until the last step has ended."""
    world = Scripted(dict.fromkeys(NODES, Part()))
    made = with_hooks(tmp_path, world, Pace(concurrency=1), before=PING, after=FACT)
    assert [reply.action for reply in made.outcomes.replies.values()] == ["run"] * 3
    assert (made.outcomes.exit_code(), len(made.request_ids)) == (0, 9)
    assert [actions(world, node) for node in NODES] == [["ping", "run", "get_fact"]] * 3
    assert [sent.node for sent in world.sent] == sorted(3 * NODES)
    assert all(sent.request.targets == (sent.node,) for sent in world.sent)


class Failing(Scripted):
    """A fleet on whose first node one action fails."""

    def __init__(self, action: str, copies: int = 1) -> None:
        super().__init__(dict.fromkeys(NODES, Part(copies=copies)))
        self.action = action

    def arrive(self, reply: Reply, delay: float = 0.0, queue: str = "") -> None:
        """Make the replies of that action fail."""
        if (reply.sender, reply.action) == ("web1", self.action):
            sent = next(sent.request for sent in self.sent if sent.request.id == reply.request)
            reply = answer(sent, reply.sender, 1)
        super().arrive(reply, delay, queue)


@pytest.mark.parametrize(
    ("action", "steps", "status"),
    [
        ("ping", ["ping"], ("before 'rpcutil ping' failed: OK", "before")),
        ("run", ["ping", "run"], ("OK", None)),
        ("get_fact", ["ping", "run", "get_fact"], ("after 'rpcutil get_fact' failed: OK", "after")),
    ],
)
def test_a_failed_step_ends_a_nodes_work(
    tmp_path: Path, action: str, steps: list[str], status: tuple[str, str | None]
) -> None:
    """The node has failed, its later steps are not sent, and it counts for max_fail."""
    world = Failing(action)
    made = with_hooks(tmp_path, world, Pace(concurrency=1, max_fail=1), before=PING, after=FACT)
    failed = made.outcomes.replies["web1"]
    assert (failed.statuscode, failed.agent, failed.action) == (1, "shell", "run")
    assert (failed.statusmsg, failed.reason) == status
    assert actions(world, "web1") == steps
    assert (made.outcomes.exit_code(), sorted(made.outcomes.skipped)) == (4, ["web2", "web3"])


def test_a_duplicate_reply_does_not_repeat_a_step(tmp_path: Path) -> None:
    """Every step is sent once to each node, although every reply comes three times."""
    world = Scripted(dict.fromkeys(NODES, Part(copies=3, after=0.1)))
    made = with_hooks(tmp_path, world, before=PING, after=FACT)
    assert [actions(world, node) for node in NODES] == [["ping", "run", "get_fact"]] * 3
    assert made.outcomes.exit_code() == 0


def test_a_silent_step_makes_the_node_silent(tmp_path: Path) -> None:
    """A node that does not answer the first step gets no other."""
    world = Scripted({"web1": Part(after=None), "web2": Part()})
    made = with_hooks(tmp_path, world, before=PING)
    assert (made.outcomes.silent, made.outcomes.ok) == (["web1"], ["web2"])
    assert actions(world, "web1") == ["ping"]


def test_a_call_with_hooks_is_not_repeated(tmp_path: Path) -> None:
    """A retry would run the hooks again."""
    world = Scripted(dict.fromkeys(NODES, Part()))
    with world.fleet(tmp_path) as fleet, pytest.raises(UsageError, match="retry: not allowed with hooks"):
        fleet.call(*PING, pace=Pace(retry=1), hooks=Hooks(before=fleet.hook(*PING)))


def test_the_document_for_a_command_is_json(tmp_path: Path) -> None:
    """A command gate gets the same members as the events of the rollout."""
    script = tmp_path / "check.py"
    script.write_text(f"import sys, pathlib; pathlib.Path('{tmp_path}/seen').write_text(sys.stdin.read())")
    call(tmp_path, Scripted(dict.fromkeys(NODES[:2], Part())), read_gate("--gate", f"cmd:{sys.executable} {script}"))
    seen = json.loads((tmp_path / "seen").read_text())
    assert (seen["agent"], seen["wave"], seen["waves"], seen["ok"], seen["waiting"]) == (
        "shell",
        1,
        2,
        ["web1"],
        ["web2"],
    )
    assert [reply["sender"] for reply in seen["replies"]] == ["web1"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("nope=1", "unknown member 'nope' of a reply"),
        ("data.exitcod=0", "unknown member 'data.exitcod' of a reply (did you mean 'data.exitcode'?)"),
        ("statuscode=0 and not (data.exitcode=1 or data.nope>2)", "unknown member 'data.nope' of a reply"),
    ],
)
def test_a_gate_on_what_no_reply_has_is_refused(expression: str, message: str) -> None:
    """The gate would never open, so that nothing is sent."""
    gate = ReplyGate.read("--gate", expression)
    with pytest.raises(UsageError) as caught:
        gate.check_names(CATALOG.action("shell", "run"))
    assert message in str(caught.value)


def test_a_gate_on_outputs_is_accepted() -> None:
    """Members of a reply, its outputs, and what is within them can be compared."""
    gate = ReplyGate.read(
        "--gate", "statuscode=0 and data.exitcode=0 and data.stdout.x=1 and elapsed_ms<5 and reason=x"
    )
    gate.check_names(CATALOG.action("shell", "run"))
