"""Taking a rollout over: what another caller has planned is not sent without a yes, and whose runs are accepted."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from collective.clients import run_records
from collective.clients.taking import confirm_plan
from collective.config import ClientConfig
from collective.errors import RunRefused, SignatureError
from collective.filters import Filter
from collective.fleet.steering.file_store import FileRunStore
from collective.signing import key_files, keys
from collective.signing.allowed_signers import signer_line

CALL: dict[str, Any] = {
    "agent": "shell",
    "action": "run",
    "data": {"command": "id"},
    "reason": None,
    "background": None,
    "targets": {"filter": Filter().to_data()},
    "hooks": {},
    "gates": {"gates": ["cmd:./evil.sh"], "every": None, "action": "stop"},
}
PLAN = {"caller": "bob", "signature": "x", "nodes": ["web1"], "call": CALL}
ALICE = ClientConfig("testing", caller="alice")


def confirm(*, yes: bool = False, shared: bool = True, confirmed: str | None = None, caller: str = "bob") -> None:
    confirm_plan(Namespace(yes=yes, quiet=True), ALICE, {**PLAN, "caller": caller}, confirmed, shared=shared)


@pytest.mark.parametrize("confirmed", [None, "", "y"])
def test_a_run_that_another_caller_has_planned_is_not_taken_unseen(
    confirmed: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The taker signs the requests, and the gates run here; they are shown although the caller is quiet."""
    with pytest.raises(RunRefused, match=r"'bob' has planned it: not confirmed \(--yes does not ask\)"):
        confirm(confirmed=confirmed)
    shown = capsys.readouterr().err
    assert ("shell run command=id on 1 node (web1), begun by bob" in shown, "gate: cmd:./evil.sh" in shown) == (
        True,
        True,
    )


def test_a_run_of_this_caller_is_taken_without_a_question() -> None:
    """A run that was confirmed asks nothing either, nor a run on this machine, which only its user can write."""
    confirm(caller="alice")
    confirm(yes=True)
    confirm(confirmed="x")
    confirm(shared=False)


@pytest.mark.parametrize("separator", ["\u2028", "\x0b", "\x1c", "\x85"])
def test_no_signer_hides_in_a_comment(tmp_path: Path, separator: str) -> None:
    """Only a line feed ends a line of allowed signers, for the runs that a caller takes as for nodes."""
    key, mallory, file = keys.new(), keys.new(), tmp_path / "allowed_signers"
    key_files.write_new(tmp_path / "key", key.text())
    file.write_text(f"# a note{separator}{signer_line('mallory', mallory.public)}{signer_line('bob', key.public)}")
    config = ClientConfig("testing", caller="alice", key=tmp_path / "key", allowed_signers=file)
    store = FileRunStore(run_records.folder(ClientConfig("testing", state=tmp_path)))
    trusted = run_records.steerer(config, store, shared=True).trusted
    assert trusted is not None
    assert trusted.signer(key.public.blob, "bob", 0.0).key == key.public
    with pytest.raises(SignatureError):
        trusted.signer(mallory.public.blob, "mallory", 0.0)
