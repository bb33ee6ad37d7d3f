"""Sources of facts: formats, folders, commands that time out, and the refreshing thread."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

from collective.errors import ConfigError
from collective.fact_files.formats import parse_output, read_file
from collective.machine_addresses import addresses
from collective.node.actions.runner import Runner
from collective.node.facts import Facts, sources
from collective.node.facts.built_in import built_in

CASES = sorted((Path(__file__).parent / "cases" / "facts").glob("*.json"))
WAIT = 10.0  # seconds; the longest wait for the thread that refreshes
EXECUTE = sources.executed_by(Runner(), seconds=10.0)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """The text of each case in tests/cases/facts is parsed as facts or rejected with its place."""
    case = json.loads(path.read_text())
    if "facts" in case:
        assert parse_output(case["text"], "the source") == case["facts"]
    else:
        with pytest.raises(ConfigError, match="^" + re.escape(case["error"])):
            parse_output(case["text"], "the source")


def test_a_value_of_json_that_cannot_be_a_fact_is_named() -> None:
    """A damaged text and a number of too many digits are omitted, each with a line that names it."""
    found = parse_output('{"a": "\\ud800", "\\udc00": 1, "b": ' + "9" * 4301 + ', "c": 1}', "x")
    assert found == {"c": 1}
    assert found.omitted == (
        "x: fact 'a' is omitted: half of a surrogate pair is not text",
        "x: fact 'a key' is omitted: half of a surrogate pair is not text",
        "x: fact 'b' is omitted: integer of 4301 digits",
    )


@pytest.mark.parametrize(
    ("suffix", "text"), [("txt", "role=web\n"), ("json", '{"role": "web"}'), ("yaml", "role: web")]
)
def test_a_byte_order_mark_is_no_part_of_a_fact(tmp_path: Path, suffix: str, text: str) -> None:
    """Editors on Windows write it at the beginning of a file; it would be a part of the first key."""
    path = tmp_path / f"facts.{suffix}"
    path.write_text(f"\ufeff{text}")
    assert read_file(path) == {"role": "web"}
    assert parse_output(f"\ufeff{text}", "the source") == {"role": "web"}


@pytest.mark.parametrize(
    ("suffix", "text", "fact"),
    [("txt", "a=1\na=2\n", "a"), ("json", '{"a": {"b": 1, "b": 2}}', "b"), ("yaml", 'a:\n  1: x\n  "1": y\n', "a.1")],
)
def test_a_fact_that_is_given_twice_is_reported(tmp_path: Path, suffix: str, text: str, fact: str) -> None:
    """The last value is used, and the first one is not lost silently."""
    path = tmp_path / f"facts.{suffix}"
    path.write_text(text)
    assert read_file(path).omitted == (f"{path}: fact '{fact}' is given more than once: the last value is used",)


def test_a_release_file_that_is_not_utf8_costs_no_other_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    """os-release(5) demands UTF-8; a file in Latin-1 is reported, and the other facts are there."""

    def broken() -> dict[str, str]:
        return {"NAME": b"Gr\xfcn".decode()}

    monkeypatch.setattr("platform.freedesktop_os_release", broken)
    found = built_in()
    assert found["os"] == {"family": "unknown", "name": "unknown", "version": ""}
    assert found.omitted == ("os-release: fact 'os' is unknown: the file is not UTF-8",)


def executable(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def folder_facts(path: Path, *files: Path) -> Facts:
    """Return the facts of a facts.d folder and of files, after a refresh."""
    facts = Facts(files, [], [partial(sources.folder, path, EXECUTE)])
    facts.refresh()
    return facts


def test_a_folder_has_data_files_and_executables(tmp_path: Path) -> None:
    """Data files are read and other files are executed, by name; later ones replace top-level keys."""
    (tmp_path / "10.yaml").write_text("role: a\nos: {name: x, more: 1}\nyaml: [1, 2.5]")
    (tmp_path / "20.json").write_text('{"role": "b",\t"json": true}')
    (tmp_path / "30.txt").write_text("role=c\ntext=4\n")
    executable(tmp_path / "40.sh", "echo role=d; echo ran=yes")
    executable(tmp_path / "50", """echo '{"role": "e", "os": {"name": "y"}}'""")
    executable(tmp_path / "60.sh~", "echo role=editor backup")
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


def test_fact_files_win_over_folders(tmp_path: Path) -> None:
    """Files named in node.yaml replace facts of a folder."""
    (tmp_path / "facts.d").mkdir()
    (tmp_path / "facts.d" / "a.yaml").write_text("role: folder")
    (tmp_path / "facts.yaml").write_text("role: file")
    assert folder_facts(tmp_path / "facts.d", tmp_path / "facts.yaml").current["role"] == "file"


def test_a_folder_is_listed_for_each_refresh(tmp_path: Path) -> None:
    """Files may be created and deleted; a missing folder has no facts."""
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
    ("name", "text", "mode", "message"),
    [
        ("plain", "role=web", 0o644, "neither executable nor .yaml, .yml, .json, .txt"),
        ("open", "#!/bin/sh\necho role=web", 0o757, "not executed, because all users can write to it"),
        ("fails", "#!/bin/sh\necho role=web; echo first >&2; echo no luck >&2; exit 3", 0o755, "exit code 3: no luck"),
        ("rubbish", "#!/bin/sh\necho hello", 0o755, "must be a mapping of facts, not str"),
        ("no-shebang", "\0", 0o755, "cannot run"),
    ],
)
def test_a_failing_executable_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, text: str, mode: int, message: str
) -> None:
    """The log has its path and the reason once; the other sources are used."""
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(mode)
    (tmp_path / "z.yaml").write_text("az: a")
    facts = folder_facts(tmp_path)
    facts.refresh()
    assert (facts.current["az"], facts.current.get("role")) == ("a", None)
    (record,) = caplog.records
    assert record.getMessage() == "facts.broken"
    assert vars(record)["error"].startswith(str(tmp_path / name))
    assert message in vars(record)["error"]


def test_a_changed_or_returning_error_is_logged_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An error is logged again if it differs from the last one or follows a success."""
    path = tmp_path / "a.yaml"
    path.write_text("role: web")
    facts = Facts([path], [])
    for text in ("role: [", "role: [", "[1]", "role: web", "[1]"):
        path.write_text(text)
        facts.refresh()
        assert facts.current["role"] == "web"
    assert [vars(record)["error"].partition(": ")[2][:12] for record in caplog.records][1:] == ["must be a ma"] * 2


def test_a_command_that_times_out_is_killed_with_its_children(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The source keeps its last valid facts, and no process is left."""
    script = executable(tmp_path / "facter", "echo role=web")
    command = sources.command([str(script)], sources.executed_by(Runner(), seconds=3.0))
    facts = Facts([], [], [lambda: [command]])
    assert "role" not in facts.current  # the constructor does not run commands
    assert facts.refresh()
    executable(script, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    assert not facts.refresh()
    assert facts.current["role"] == "web"
    assert [vars(record)["error"] for record in caplog.records] == [f"{script}: timed out after 3 s"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "child").read_text()), 0)


def test_a_missing_command_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the command as configured."""
    Facts([], [], [lambda: [sources.command(["no-such-facter", "--yaml"], EXECUTE)]]).refresh()
    (record,) = caplog.records
    assert "no-such-facter --yaml: cannot run 'no-such-facter'" in vars(record)["error"]


def test_a_file_that_is_not_regular_is_rejected(tmp_path: Path) -> None:
    """Reading a FIFO would block forever."""
    os.mkfifo(tmp_path / "facts.yaml")
    with pytest.raises(ConfigError, match=r"facts\.yaml: not a regular file"):
        read_file(tmp_path / "facts.yaml")


def test_an_unexpected_exception_of_a_source_does_not_affect_others(caplog: pytest.LogCaptureFixture) -> None:
    """Any exception of a source is logged as its error."""

    def fail() -> dict[str, Any]:
        raise KeyError("x")

    facts = Facts([], [], [lambda: [sources.Source("odd", fail), sources.Source("good", lambda: {"role": "web"})]])
    assert facts.current["role"] == "web"
    assert vars(caplog.records[0])["error"] == "odd: KeyError: 'x'"


# -- the thread


class Slow:
    """A source that returns its values after `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.values: dict[str, Any] = {"role": "slow"}
        self.reads = 0

    def find(self) -> list[sources.Source]:
        """Return this source."""
        return [sources.Source("slow", self._read, slow=True)]

    def was_read(self, times: int) -> bool:
        """Return whether it has been read that many times."""
        return self.reads >= times

    def _read(self) -> dict[str, Any]:
        self.go.wait(30)
        self.reads += 1
        return self.values


def test_a_slow_source_delays_the_start_for_a_limited_time(tmp_path: Path) -> None:
    """Fast sources are available after the start; slow ones are added, and published, when they are read."""
    (tmp_path / "a.yaml").write_text("az: a")
    slow, changed = Slow(), threading.Event()
    facts = Facts([tmp_path / "a.yaml"], [], [slow.find])
    began = time.monotonic()
    facts.start(3600, 0.2, changed.set)
    assert 0.2 <= time.monotonic() - began < 20
    assert (facts.current["az"], facts.current.get("role")) == ("a", None)
    slow.go.set()
    assert changed.wait(30)
    assert facts.current["role"] == "slow"
    facts.stop()


def test_wake_refreshes_and_only_changes_are_published(tmp_path: Path) -> None:
    """`changed` is called after a change of facts or classes, and not otherwise."""
    slow, published = Slow(), []
    slow.go.set()
    classes = tmp_path / "classes.txt"
    facts = Facts([], [classes], [slow.find])
    facts.start(3600, 10, lambda: published.append(dict(facts.current, classes=facts.classes)))
    assert [entry["role"] for entry in published] == ["slow"]
    for reads in (2, 3):
        facts.wake()
        wait_until(partial(slow.was_read, reads), WAIT)
    classes.write_text("web")
    facts.wake()
    wait_until(lambda: len(published) == 2, WAIT)
    slow.values = {"role": "new"}
    facts.wake()
    wait_until(lambda: len(published) == 3, WAIT)
    assert [(entry["role"], set(entry["classes"])) for entry in published[1:]] == [("slow", {"web"}), ("new", {"web"})]
    facts.stop()


def test_facts_are_refreshed_every_period(tmp_path: Path) -> None:
    """The thread refreshes without being woken, and ends after `stop`."""
    path = tmp_path / "a.yaml"
    facts = Facts([path], [])
    facts.start(0.05, 10, lambda: None)
    path.write_text("role: web")
    wait_until(lambda: facts.current.get("role") == "web", WAIT)
    facts.stop()
    wait_until(lambda: "facts" not in [thread.name for thread in threading.enumerate()], WAIT)


# -- the built-in ones


def test_built_in_facts_have_their_types() -> None:
    """Numeric facts are numbers, so that filters can compare them."""
    facts = built_in()
    assert facts["memory"] > 10**6
    assert isinstance(facts["processors"], int)
    assert facts["os"].keys() == {"family", "name", "version"}
    assert facts["addresses"] == sorted(facts["addresses"])
    assert sources.FULL_NAME.read().keys() == {"fqdn"}


def test_addresses_exclude_loopback_and_link_local_ones(tmp_path: Path) -> None:
    """Only addresses that other machines can reach are listed; without the files of the kernel there are none."""
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
