"""Orders that stop work: requests that were revoked before they started, and a node that is frozen.

Both are on disk, so that they hold across restarts. They are checked when a request arrives and again when its action
is about to start. A frozen node runs only actions that read: those of `rpcutil`, of `control` (which can end the
freeze), and those whose DDL says `read_only`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from collective import ddl
from collective.messages import MAX_SKEW, MAX_TTL, Request
from collective.node.actions.job import CANCELLED, ActionResult, failed_result
from collective.node.plugins.agents import CONTROL, RPCUTIL
from collective.node.requests.context import AdmittedRequest, RequestContext
from collective.node.requests.reasons import Reason, Refused
from collective.node.storage.database import Database

REMEMBERED = MAX_TTL + 2 * MAX_SKEW  # seconds after which a request that was revoked can no longer arrive
_ALWAYS = frozenset({RPCUTIL, CONTROL})  # agents that answer on a frozen node, too
MOST_REVOKED = 10_000  # of one caller: another caller's orders stay in force


class Revocations:
    """The requests that must not start. `now` returns the server's time. Every method may raise Failed (`busy`)."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    def add(self, request_id: str, caller: str, *, everyone: bool) -> None:
        """Revoke the request `request_id` of `caller`, or with `everyone` of any caller."""
        now = self._now()
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM revoked WHERE until < ?", (now,))
            connection.execute(
                "DELETE FROM revoked WHERE caller = ? AND rowid NOT IN "
                "(SELECT rowid FROM revoked WHERE caller = ? ORDER BY until DESC LIMIT ?)",
                (caller, caller, MOST_REVOKED - 1),
            )
            connection.execute(
                "INSERT INTO revoked VALUES (?, ?, ?, ?) ON CONFLICT (id, caller) "
                "DO UPDATE SET everyone = max(everyone, excluded.everyone), until = excluded.until",
                (request_id, caller, everyone, now + REMEMBERED),
            )

    def by(self, request: Request) -> str | None:
        """Return the caller that has revoked a request, or the run that it belongs to; None if none that may has."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT caller, everyone FROM revoked WHERE id IN (?, ?)", (request.id, request.run or "")
            ).fetchall()
        return next((str(caller) for caller, everyone in rows if everyone or caller == request.caller), None)


@dataclass(frozen=True)
class Frozen:
    """Who has frozen the node, why, and since when in Unix seconds by the server's clock."""

    caller: str
    reason: str
    since: float


class Freeze:
    """Whether the node refuses everything but reads. Changes may raise Failed (`busy`)."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        with database.transaction() as connection:
            row = connection.execute("SELECT caller, reason, since FROM frozen").fetchone()
        self._state = Frozen(*row) if row else None

    @property
    def state(self) -> Frozen | None:
        """The freeze in force; None if there is none."""
        return self._state

    def freeze(self, caller: str, reason: str) -> Frozen:
        """Freeze the node, at once and until `thaw`; a freeze in force is replaced."""
        frozen = Frozen(caller, reason, self._now())
        self._state = frozen  # first: it holds even if it cannot be written
        self._store(frozen)
        return frozen

    def thaw(self) -> Frozen | None:
        """End the freeze, and return it; None if there was none."""
        before = self._state
        self._store(None)  # first: a freeze that would come back after a restart has not ended
        self._state = None
        return before

    def _store(self, frozen: Frozen | None) -> None:
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM frozen")
            if frozen:
                connection.execute("INSERT INTO frozen VALUES (?, ?, ?)", (frozen.caller, frozen.reason, frozen.since))


class Orders:
    """Checks whether a request may start."""

    def __init__(self, revocations: Revocations, freeze: Freeze) -> None:
        self._revocations = revocations
        self._freeze = freeze

    @property
    def frozen(self) -> Frozen | None:
        """The freeze in force; None if there is none."""
        return self._freeze.state

    def check_frozen(self, context: RequestContext) -> None:
        """Raise Refused (FROZEN) for an action that does more than read, on a frozen node."""
        request = context.request
        action = context.plugins.agents.action(request.agent, request.action)
        if message := self._frozen(request.agent, action):
            raise Refused(Reason.FROZEN, message)

    def refusal(self, admitted: AdmittedRequest) -> ActionResult | None:
        """Return the result of a request that must not start although it was admitted; None if it may."""
        request = admitted.request
        if message := self._frozen(request.agent, admitted.action):
            return ActionResult(Reason.FROZEN.statuscode or 1, message, Reason.FROZEN.reply_reason, {})
        return None if request.agent in _ALWAYS else self.revoked(request)

    def revoked(self, request: Request) -> ActionResult | None:
        """Return the result of a request that was revoked; None for any other."""
        by = self._revocations.by(request)
        return failed_result(f"cancelled by '{by}' before it began", reason=CANCELLED) if by else None

    def _frozen(self, agent: str, action: ddl.Action | None) -> str:
        frozen = self._freeze.state
        if frozen is None or agent in _ALWAYS or (action is not None and action.read_only):
            return ""
        return f"this node was frozen by '{frozen.caller}': {frozen.reason} (crpc thaw)"
