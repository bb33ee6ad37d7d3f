"""Where facts come from: what commands and files may say, folders, hanging commands, and the refreshing thread."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from collective.errors import ConfigError
from collective.node.actions.runner import Runner
from collective.node.facts import Facts, sources
from collective.node.facts.built_in import addresses, built_in
from collective.node.facts.formats import parse_output, read_file

CASES = sorted((Path(__file__).parent / "cases" / "facts").glob("*.json"))
EXECUTE = sources.executed_by(Runner(), seconds=10.0)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """What tests/cases/facts describes is read as facts, or refused with the place."""
    case = json.loads(path.read_text())
    if "facts" in case:
        assert parse_output(case["says"], "the source") == case["facts"]
    else:
        with pytest.raises(ConfigError, match="^" + re.escape(case["error"])):
            parse_output(case["says"], "the source")


def executable(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def folder_facts(path: Path, *files: Path) -> Facts:
    """Facts of a facts.d folder under those of files, all of them read."""
    facts = Facts(files, [], [partial(sources.folder, path, EXECUTE)])
    facts.refresh()
    return facts


def test_a_folder_holds_data_and_executables(tmp_path: Path) -> None:
    """Data by suffix, everything else is run, in the order of names; later ones win by top-level keys."""
    (tmp_path / "10.yaml").write_text("role: a\nos: {name: x, more: 1}\nyaml: [1, 2.5]")
    (tmp_path / "20.json").write_text('{"role": "b",\t"json": true}')
    (tmp_path / "30.txt").write_text("role=c\ntext=4\n")
    executable(tmp_path / "40.sh", "echo role=d; echo ran=yes")
    executable(tmp_path / "50", """echo '{"role": "e", "os": {"name": "y"}}'""")
    executable(tmp_path / "60.sh~", "echo role=an editor left it")
    executable(tmp_path / ".70", "echo hidden=yes")
    (tmp_path / "folder").mkdir()
    facts = folder_facts(tmp_path).current
    assert {key: facts[key] for key in ("role", "json", "text", "ran", "yaml")} == {
        "role": "e",
        "json": True,
        "text": "4",
        "ran": "yes",
        "yaml": [1, 2.5],
    }
    assert facts["os"] == {"name": "y"}
    assert "hidden" not in facts


def test_files_win_over_folders(tmp_path: Path) -> None:
    """What node.yaml names itself is the last word."""
    (tmp_path / "facts.d").mkdir()
    (tmp_path / "facts.d" / "a.yaml").write_text("role: folder")
    (tmp_path / "facts.yaml").write_text("role: file")
    assert folder_facts(tmp_path / "facts.d", tmp_path / "facts.yaml").current["role"] == "file"


def test_a_folder_is_looked_at_anew_each_time(tmp_path: Path) -> None:
    """Files may come and go; a folder that is not there is empty."""
    path = tmp_path / "facts.d"
    facts = folder_facts(path)
    assert facts.current == built_in()
    path.mkdir()
    (path / "a.yaml").write_text("role: web")
    assert facts.refresh()
    assert facts.current["role"] == "web"
    (path / "a.yaml").unlink()
    assert facts.refresh()
    assert "role" not in facts.current
    assert not facts.refresh()


@pytest.mark.parametrize(
    ("name", "text", "mode", "said"),
    [
        ("plain", "role=web", 0o644, "neither executable nor .yaml, .yml, .json, .txt"),
        ("open", "#!/bin/sh\necho role=web", 0o757, "not run, because everybody may write it"),
        ("fails", "#!/bin/sh\necho role=web; echo first >&2; echo no luck >&2; exit 3", 0o755, "exit code 3: no luck"),
        ("rubbish", "#!/bin/sh\necho hello", 0o755, "must hold facts and values, not str"),
        ("no-shebang", "\0", 0o755, "cannot run"),
    ],
)
def test_a_broken_executable_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, text: str, mode: int, said: str
) -> None:
    """With its path and the reason, and not again until the reason changes; the others count."""
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(mode)
    (tmp_path / "z.yaml").write_text("az: a")
    facts = folder_facts(tmp_path)
    facts.refresh()
    assert (facts.current["az"], facts.current.get("role")) == ("a", None)
    (record,) = caplog.records
    assert record.getMessage() == "facts.broken"
    assert vars(record)["error"].startswith(str(tmp_path / name))
    assert said in vars(record)["error"]


def test_a_source_that_breaks_otherwise_or_again_is_said_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another fault is news, and so is one after all was well."""
    path = tmp_path / "a.yaml"
    path.write_text("role: web")
    facts = Facts([path], [])
    for text in ("role: [", "role: [", "[1]", "role: web", "[1]"):
        path.write_text(text)
        facts.refresh()
        assert facts.current["role"] == "web"
    assert [vars(record)["error"].partition(": ")[2][:9] for record in caplog.records][1:] == ["must hold"] * 2


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It keeps its last good facts, and leaves no process behind."""
    script = executable(tmp_path / "facter", "echo role=web")
    command = sources.command([str(script)], sources.executed_by(Runner(), seconds=1.0))
    facts = Facts([], [], [lambda: [command]])
    assert "role" not in facts.current  # a constructor waits for no process
    assert facts.refresh()
    executable(script, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    assert not facts.refresh()
    assert facts.current["role"] == "web"
    assert [vars(record)["error"] for record in caplog.records] == [f"{script}: ended after 1 s without an answer"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "child").read_text()), 0)


def test_a_command_that_is_not_there_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """As its configuration has it."""
    Facts([], [], [lambda: [sources.command(["no-such-facter", "--yaml"], EXECUTE)]]).refresh()
    (record,) = caplog.records
    assert "no-such-facter --yaml: cannot run 'no-such-facter'" in vars(record)["error"]


def test_what_is_no_plain_file_holds_nobody(tmp_path: Path) -> None:
    """A FIFO would be waited for, for ever."""
    os.mkfifo(tmp_path / "facts.yaml")
    with pytest.raises(ConfigError, match=r"facts\.yaml: is no file"):
        read_file(tmp_path / "facts.yaml")


def test_a_defect_of_a_source_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it raises."""

    def fail() -> dict[str, Any]:
        raise KeyError("x")

    facts = Facts([], [], [lambda: [sources.Source("odd", fail), sources.Source("good", lambda: {"role": "web"})]])
    assert facts.current["role"] == "web"
    assert vars(caplog.records[0])["error"] == "odd: KeyError: 'x'"


# -- the thread


class Slow:
    """A source that answers when it is let."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.values: dict[str, Any] = {"role": "slow"}
        self.reads = 0

    def find(self) -> list[sources.Source]:
        """List this source."""
        return [sources.Source("slow", self._read, slow=True)]

    def was_read(self, times: int) -> bool:
        """Tell whether it has been read so often."""
        return self.reads >= times

    def _read(self) -> dict[str, Any]:
        self.go.wait(30)
        self.reads += 1
        return self.values


def until(holds: Callable[[], bool]) -> bool:
    """Wait until something holds; tell whether it does."""
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        threading.Event().wait(0.01)
    return holds()


def test_a_slow_source_delays_the_start_by_no_more_than_a_bound(tmp_path: Path) -> None:
    """What is quick is there at once, the rest when it comes, and then it is published."""
    (tmp_path / "a.yaml").write_text("az: a")
    slow, changed = Slow(), threading.Event()
    facts = Facts([tmp_path / "a.yaml"], [], [slow.find])
    began = time.monotonic()
    facts.start(3600, 0.2, changed.set)
    assert 0.2 <= time.monotonic() - began < 5
    assert (facts.current["az"], facts.current.get("role")) == ("a", None)
    slow.go.set()
    assert changed.wait(10)
    assert facts.current["role"] == "slow"
    facts.stop()


def test_waking_refreshes_and_only_changes_are_told(tmp_path: Path) -> None:
    """Nobody is told that nothing has changed; classes count as facts do."""
    slow, told = Slow(), []
    slow.go.set()
    classes = tmp_path / "classes.txt"
    facts = Facts([], [classes], [slow.find])
    facts.start(3600, 10, lambda: told.append(dict(facts.current, classes=facts.classes)))
    assert [entry["role"] for entry in told] == ["slow"]
    for reads in (2, 3):
        facts.wake()
        assert until(partial(slow.was_read, reads))
    classes.write_text("web")
    facts.wake()
    assert until(lambda: len(told) == 2)
    slow.values = {"role": "new"}
    facts.wake()
    assert until(lambda: len(told) == 3)
    assert [(entry["role"], set(entry["classes"])) for entry in told[1:]] == [("slow", {"web"}), ("new", {"web"})]
    facts.stop()


def test_the_period_refreshes_by_itself(tmp_path: Path) -> None:
    """Without anybody asking."""
    path = tmp_path / "a.yaml"
    facts = Facts([path], [])
    facts.start(0.05, 10, lambda: None)
    path.write_text("role: web")
    assert until(lambda: facts.current.get("role") == "web")
    facts.stop()
    assert until(lambda: "facts" not in [thread.name for thread in threading.enumerate()])


# -- the built-in ones


def test_built_in_facts_have_their_types() -> None:
    """Numbers are numbers, so that filters compare them."""
    facts = built_in()
    assert facts["memory"] > 10**6
    assert isinstance(facts["processors"], int)
    assert facts["os"].keys() == {"family", "name", "version"}
    assert facts["addresses"] == sorted(facts["addresses"])
    assert sources.FULL_NAME.read().keys() == {"fqdn"}


def test_addresses_leave_out_what_nobody_else_can_reach(tmp_path: Path) -> None:
    """No loopback, no link-local ones; a kernel without these files has none."""
    (tmp_path / "fib_trie").write_text(
        "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n"
        "     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n"
        "     |-- 10.0.0.255\n        /32 link BROADCAST\n"
    )
    (tmp_path / "if_inet6").write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fe800000000000000000000000000001 02 40 20 80     eth0\n"
        "20010db8000000000000000000000007 02 40 00 80     eth0\n"
    )
    assert list(addresses(tmp_path)) == ["10.0.0.7", "2001:db8::7"]
    assert list(addresses(tmp_path / "none")) == []
