"""Inputs of an action can be given as options: `crpc eip claim --pool collective:pool=nat`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.crpc_call import Captured, called

from collective.clients.input_options import as_words
from collective.clients.request_parser import make_parser
from collective.errors import UsageError

INPUTS = ("pool", "max_size", "timeout")


@pytest.mark.parametrize(
    ("line", "expected"),
    {
        "a b --pool x": ["a", "b", "pool=x"],
        "a b --pool=x=y": ["a", "b", "pool=x=y"],
        "a b --pool=": ["a", "b", "pool="],
        "a b --pool=--x": ["a", "b", "pool=--x"],
        "a b --pool -x": ["a", "b", "pool=-x"],
        "a b -F role=web --pool x -j": ["a", "b", "-F", "role=web", "pool=x", "-j"],
        "a b --max-size 3": ["a", "b", "max_size=3"],
        "a b --max_size 4": ["a", "b", "max_size=4"],
        "a b --timeout 5": ["a", "b", "--timeout", "5"],
        "a b --other 5": ["a", "b", "--other", "5"],
        "a b -- --pool x": ["a", "b", "--", "--pool", "x"],
    }.items(),
)
def test_options_with_the_name_of_an_input_are_inputs(line: str, expected: list[str]) -> None:
    """An option of `crpc` with the same name remains that option; unknown options remain as they are."""
    assert as_words(line.split(), make_parser(), lambda: INPUTS) == expected


@pytest.mark.parametrize("line", ["a b --pool", "a b --pool --json", "a b --pool -- x", "a b --pool -I x"])
def test_an_input_needs_a_value(line: str) -> None:
    """The next option is never taken as the value."""
    with pytest.raises(UsageError, match=r"--pool: expected a value \(use --pool=VALUE"):
        as_words(line.split(), make_parser(), lambda: INPUTS)


def test_without_such_options_no_ddl_is_read() -> None:
    """An ordinary request costs nothing more."""

    def inputs() -> list[str]:
        raise AssertionError

    words = ["a", "b", "pool=x", "-F", "role=web", "--limit", "2"]
    assert as_words(words, make_parser(), inputs) == words


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("eip claim --pool nonsense", "eip claim: input 'pool': 'nonsense' does not match"),
        ("eip claim --pool a=b --reclaim now", "input 'reclaim': 'now' is not one of"),
        ("eip claim --pol a=b", "unknown option '--pol' (did you mean '--pool'?)"),
        ("eip claim --json --max-fial 1", "unknown option '--max-fial' (did you mean '--max-fail'?)"),
        ("eip claim pool=a=b --pool a=b", "--pool given more than once"),
        ("eip claim --pool a=b --pool a=b", "--pool given more than once"),
        ("-T elsewhere eip claim --pool a=b", "unknown collective 'elsewhere'"),
        ("eip clam --pool a=b", "eip: unknown action 'clam'"),
    ],
)
def test_a_request_checks_them_as_inputs(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Nothing is sent for an invalid value, a mistyped option or another collective."""
    (tmp_path / "client.yaml").write_text("{collective: production, state: state}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    code, out, err = called(line.split(), capsys)
    assert (code, out) == (64, "")
    assert message in err


def test_an_action_runs_locally_with_them(tmp_path: Path, capsys: Captured) -> None:
    """`crpc run-local` takes them too, wherever its own options are."""
    line = ["run-local", "--folder", str(tmp_path), "rpcutil", "get_fact", "--fact", "role", "-j"]
    code, out, _ = called(line, capsys)
    assert code == 0
    assert json.loads(out)["replies"][0]["data"]["fact"] == "role"
