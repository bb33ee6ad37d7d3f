"""Saved runs: written while a call runs, listed, shown again, retried and compared."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.crpc_call import Captured, called, json_document
from support.crpc_process import BIN
from support.scripted_fleet import Part, Scripted

from collective import nodesets
from collective.catalog import Catalog
from collective.errors import UsageError
from collective.fleet.call import Call
from collective.fleet.pace import Pace
from collective.fleet.runs import saved_run
from collective.fleet.runs.folder import RunFile, RunFolder
from collective.fleet.runs.recorder import RunRecorder
from collective.fleet.runs.saved_call import SavedCall
from collective.fleet.targets import Targets

SILENT = Part(after=None)
FAILED = Part(statuscode=1)
Save = Callable[..., Call]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The folder of saved runs of a client.yaml that crpc finds."""
    (tmp_path / "client.yaml").write_text("{collective: scripted, state: state}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return RunFolder(tmp_path / "state" / "runs")


@pytest.fixture
def save(runs: RunFolder, tmp_path: Path) -> Save:
    """Call an action on scripted nodes and save it; return the call, which the test iterates."""
    seconds = iter(range(1_800_000_000, 1_900_000_000))

    def saved(
        parts: dict[str, Part], folder: RunFolder = runs, pace: Pace | None = None, command: str = "true"
    ) -> Call:
        fleet = Scripted(parts).fleet(tmp_path / "client")
        now = float(next(seconds))
        return fleet.call(
            "shell",
            "run",
            {"command": command},
            targets=Targets(nodes=parts),
            pace=pace or Pace(),
            timeout=10.0,
            record=RunRecorder(folder, clock=lambda: now),
        )

    return saved


def lines(runs: RunFolder, wanted: str = "last") -> list[dict[str, Any]]:
    return [json.loads(line) for line in runs.find(wanted).path.read_text().splitlines()]


def test_a_run_has_every_outcome(save: Save, runs: RunFolder) -> None:
    """A saved run has the outcomes, replies and durations of the call, and a summary in its first and last line."""
    call = save({"a": Part(), "b": FAILED, "c": SILENT})
    call.wait()
    again = SavedCall(saved_run.read(runs.find("last")))
    assert again.outcomes.counts() == call.outcomes.counts()
    assert again.outcomes.exit_code() == call.outcomes.exit_code()
    assert (again.request_id, again.request_ids, again.stopped) == (call.request_id, call.request_ids, "")
    assert again.action.outputs == call.action.outputs
    summary = runs.newest()[0].summary()
    assert (summary.state, summary.begin["inputs"], summary.end["exit"]) == ("complete", "command=true", 2)


def test_runs_are_private(save: Save, runs: RunFolder) -> None:
    """Only the user can read the folder and its files, even if the folder had been open to others."""
    runs.path.mkdir(parents=True)
    runs.path.chmod(0o755)
    save({"a": Part()}).wait()
    assert stat.S_IMODE(runs.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(runs.newest()[0].path.stat().st_mode) == 0o600


def test_a_rollout_has_one_id(save: Save, runs: RunFolder) -> None:
    """All requests of a rollout name the run, which is the id of the first request and of the saved run."""
    call = save({"a": Part(), "b": Part(), "c": Part()}, pace=Pace(batch=1))
    call.wait()
    assert len(set(call.request_ids)) == 3
    assert call.request.id == call.request_ids[0] == runs.newest()[0].run
    assert [line["request"] for line in lines(runs) if line["event"] == "sent"] == call.request_ids


def test_replies_are_saved_as_they_arrive(save: Save, runs: RunFolder) -> None:
    """A run that has not ended has the replies so far; nodes that were not sent to are skipped, the others silent."""
    call = save({"a": Part(), "b": Part(after=5.0), "c": Part(), "d": Part()}, pace=Pace(batch=2))
    replies = iter(call)
    next(replies)
    found = saved_run.read(runs.find("last"))
    assert (list(found.replies), found.silent, found.skipped) == (["a"], ["b"], ["c", "d"])
    assert runs.newest()[0].summary().state == "running"
    call.close()
    assert runs.newest()[0].summary().state == "complete"


def test_a_killed_process_leaves_an_unfinished_run(save: Save, runs: RunFolder, capsys: Captured) -> None:
    """A run without its last line, which no process holds, is unfinished; it is listed and shown."""
    call = save({"a": Part(), "b": SILENT})
    call.wait()
    file = runs.newest()[0]
    kept = [line for line in file.path.read_text().splitlines(True) if '"event":"end"' not in line][:-1]
    file.path.write_text("".join(kept) + '{"event":"reply","sen')
    assert file.summary().state == "unfinished"
    code, out, err = called(["show", "last", "-o", "table"], capsys)
    assert (code, "a  " in out, "silent" in out) == (0, True, True)
    assert "1 lines cannot be read and are ignored" in err
    assert "unfinished: its process ended before the call did" in err
    assert "unfinished, 1 of 2 answered" in called(["runs"], capsys)[1]
    assert json_document(["runs"], capsys)["runs"][0]["answered"] == 1


@pytest.fixture
def ends_when_looked_at(save: Save, runs: RunFolder, monkeypatch: pytest.MonkeyPatch) -> RunFile:
    """A run that gets its last reply and its end while another process asks whether it is running."""
    save({"a": Part(), "b": Part()}).wait()
    file = runs.newest()[0]
    content = file.path.read_text()
    last = content.rindex('{"event":"reply"')
    file.path.write_text(content[:last])

    def is_running(_file: RunFile) -> bool:
        file.path.write_text(content)
        return False

    monkeypatch.setattr(RunFile, "is_running", is_running)
    return file


def test_a_run_that_ends_while_it_is_listed_is_complete(ends_when_looked_at: RunFile) -> None:
    """The last line is read again: the process of the run has not been killed."""
    summary = ends_when_looked_at.summary()
    assert (summary.state, summary.end["exit"]) == ("complete", 0)


def test_a_run_that_ends_before_its_retry_is_read_again(ends_when_looked_at: RunFile, capsys: Captured) -> None:
    """A node whose reply has just arrived does not get the request again."""
    code, _, err = called(["retry"], capsys)
    assert (code, "nothing to retry, every node answered OK" in err) == (0, True), err


def test_a_look_at_a_new_run_leaves_its_lock(runs: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may ask whether it is running before it is locked; it is locked after that."""
    lock, looks = fcntl.flock, list[threading.Timer]()

    def look_first(file: int, how: int) -> None:
        if not looks:
            other = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
            lock(other, fcntl.LOCK_SH)
            looks.append(threading.Timer(0.1, os.close, (other,)))
            looks[0].start()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", look_first)
    path, descriptor = runs.create("0" * 32)
    assert RunFile(path, "0" * 32, 0.0).is_running()
    os.close(descriptor)
    looks[0].join()


def save_secret(runs: RunFolder, folder: Path) -> None:
    """Save a call that failed, of an action with a secret input, whose DDL crpc finds."""
    secret = {"type": "object", "properties": {"password": {"type": "string", "writeOnly": True}}}
    ddl = {
        "metadata": {"name": "vault", "description": "Keeps", "version": "1"},
        "actions": {"keep": {"description": "Keep it", "input": secret, "output": {"type": "object"}}},
    }
    (folder / "ddl").mkdir()
    (folder / "ddl" / "vault.json").write_text(json.dumps(ddl))
    (folder / "client.yaml").write_text("{collective: scripted, state: state, ddls: [ddl]}")
    fleet = Scripted({"a": FAILED}).fleet(folder / "client")
    fleet.catalog = Catalog([folder / "ddl"])
    inputs = {"password": "hunter2"}
    fleet.call("vault", "keep", inputs, targets=Targets(nodes=["a"]), record=RunRecorder(runs)).wait()


def test_secrets_are_masked(runs: RunFolder, tmp_path: Path) -> None:
    """An input that the DDL marks writeOnly is not in the file of the run."""
    save_secret(runs, tmp_path)
    assert "hunter2" not in runs.newest()[0].path.read_text()
    assert lines(runs)[1]["data"] == {"password": "********"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("retry", "the secret 'password' is not saved (give it again: password=…, or password=@FILE)"),
        ("retry last other=x", "there is no input 'other'"),
        ("retry last -2", "unexpected argument '-2'"),
    ],
)
def test_a_retry_needs_its_secrets(runs: RunFolder, tmp_path: Path, capsys: Captured, words: str, problem: str) -> None:
    """A secret that is not given again ends the retry before anything is sent."""
    save_secret(runs, tmp_path)
    code, _, err = called(words.split(), capsys)
    assert (code, problem in err) == (64, True), err


def test_old_and_large_runs_are_deleted(save: Save, runs: RunFolder) -> None:
    """A new run deletes those that are older than the limit, and the oldest ones beyond the size of all."""
    for _ in range(3):
        save({"a": Part()}).wait()
    size = runs.newest()[0].path.stat().st_size
    limited = RunFolder(runs.path, megabytes=2.5 * size / 1024 / 1024)
    save({"a": Part()}, folder=limited).wait()
    assert len(runs.newest()) == 3  # two that were kept, and the new one
    RunFolder(runs.path, days=1).prune(lambda: runs.newest()[0].time + 86401)
    assert runs.newest() == []


def test_a_run_larger_than_all_has_no_further_data(save: Save, runs: RunFolder) -> None:
    """A file that has reached the size of all runs gets replies without their data, so that no node is lost."""
    save({"a": Part(), "b": Part()}, folder=RunFolder(runs.path, megabytes=0.0001)).wait()
    assert [line["cut"] for line in lines(runs) if line["event"] == "reply"] == [True, True]


def test_a_folder_that_cannot_be_written_is_reported_once(
    save: Save, runs: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """A call that cannot be saved goes on, and one line has the reason."""
    runs.path.parent.mkdir()
    runs.path.write_text("not a folder")
    assert save({"a": Part(), "b": Part()}).wait().ok == ["a", "b"]
    [line] = [record for record in caplog.records if record.message == "run.not_saved"]
    assert "the run cannot be saved: File exists (--no-save omits this warning)" in vars(line)["error"]


def test_a_disk_that_fills_up_is_reported_once(save: Save, runs: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    """An error while a reply is written ends the saving, not the call."""
    call = save({"a": Part(), "b": Part()})
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, call._record._file)  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way to the file
    os.close(full)
    assert call.wait().ok == ["a", "b"]
    assert [record.message for record in caplog.records].count("run.not_saved") == 1
    assert "No space left on device" in vars(caplog.records[-1])["error"]


def test_a_run_is_found_by_id_beginning_and_place(save: Save, runs: RunFolder) -> None:
    """A run is an id, its first digits, last, or the place before the last; anything else is refused."""
    for _ in range(2):
        save({"a": Part()}).wait()
    new, old = runs.newest()
    assert runs.find("last") == runs.find("-1") == runs.find(new.run) == runs.find(new.run[:9]) == new
    assert runs.find("-2") == old
    for wanted, text in {"-3": "only 2 saved runs", "zz": "invalid run", "0" * 32: "no saved run"}.items():
        with pytest.raises(UsageError, match=text):
            runs.find(wanted)


def test_a_beginning_of_two_ids_is_refused(runs: RunFolder) -> None:
    """A beginning that two runs share is refused with both."""
    runs.path.mkdir(parents=True)
    for digit in "12":
        (runs.path / f"180000000000{digit}-abcd{digit * 28}.jsonl").touch()
    with pytest.raises(UsageError, match="2 runs begin with it: abcd2222, abcd1111"):
        runs.find("abcd")


def test_runs_are_listed_newest_first(save: Save, capsys: Captured) -> None:
    """The list has a line for each run, and can be reduced to an agent and to runs that did not end well."""
    save({"a": Part()}).wait()
    save({"a": Part(), "b": FAILED}, command="false").wait()
    listed = json_document(["runs"], capsys)["runs"]
    assert [entry["inputs"] for entry in listed] == ["command=false", "command=true"]
    assert len(json_document(["runs", "--not-ok"], capsys)["runs"]) == 1
    assert json_document(["runs", "package"], capsys)["runs"] == []
    _, out, _ = called(["runs"], capsys)
    assert out.splitlines()[0].endswith("shell run command=false  1 ok, 1 failed")


def test_broken_files_break_no_list(save: Save, runs: RunFolder, capsys: Captured) -> None:
    """A file without a first line is listed as broken, and refused by its name when it is to be shown."""
    save({"a": Part()}).wait()
    (runs.path / f"1900000000000-{'0' * 32}.jsonl").write_bytes(b"\xff\x00garbage")
    assert [entry["state"] for entry in json_document(["runs"], capsys)["runs"]] == ["broken", "complete"]
    code, _, err = called(["show", "last"], capsys)
    assert (code, "broken: the lines of the request are missing" in err) == (64, True)


def test_a_run_is_shown_like_the_call(save: Save, capsys: Captured) -> None:
    """The document of a saved run is that of the call, and one node can be selected."""
    call = save({"a": Part(), "b": FAILED, "c": SILENT})
    call.wait()
    shown = json_document(["show"], capsys)
    assert shown["request_id"] == call.request_id
    assert (shown["outcomes"]["ok"], shown["outcomes"]["failed"], shown["silent"]) == (1, 1, ["c"])
    assert [reply["sender"] for reply in json_document(["show", "b"], capsys)["replies"]] == ["b"]
    events = called(["show", "--jsonl"], capsys)[1].splitlines()
    assert [json.loads(line)["event"] for line in events] == ["reply", "reply", "end"]
    code, _, err = called(["show", "last", "bb"], capsys)
    assert (code, "node 'bb' is not in run" in err) == (64, True)
    assert "did you mean 'last'?" in called(["show", "lst"], capsys)[2]


def test_three_kinds_of_answers_of_five_hundred_nodes(save: Save) -> None:
    """A process of its own shows each kind once with folded names, the largest first, and counts the nodes."""
    names = [f"web{number:03}.my.net" for number in range(1, 501)]
    codes = {name: 1 if place % 25 == 0 else 2 if place % 100 == 1 else 0 for place, name in enumerate(names)}
    save({name: Part(statuscode=code) for name, code in codes.items()}).wait()

    def shown(*options: str) -> str:
        line: list[str | Path] = [BIN / "crpc", "show", *options]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout

    fine, aborted, unknown = (nodesets.fold([name for name in names if codes[name] == code]) for code in (0, 1, 2))
    kinds = [[fine, "(475)"], [aborted, "(20)", "Request", "Aborted"], [unknown, "(5)", "Unknown", "Action"]]
    assert [line.split() for line in shown().splitlines() if line.startswith("web")] == kinds
    failures = shown("--display", "failed")
    assert [line.split() for line in failures.splitlines() if line.startswith("web")] == kinds[1:]
    assert "Finished processing 500 / 500 hosts in" in failures
    assert shown("--count", "--where", "outcome=ok") == "475\n"


def test_nothing_is_retried_after_success(save: Save, capsys: Captured) -> None:
    """A retry of a run that ended well does nothing; one that selects an outcome without nodes is an error."""
    save({"a": Part()}).wait()
    code, _, err = called(["retry"], capsys)
    assert (code, "nothing to retry, every node answered OK" in err) == (0, True)
    assert json_document(["retry"], capsys)["replies"] == []
    assert called(["retry", "--count"], capsys)[1] == "0\n"
    assert called(["retry", "--fields", "nosuch"], capsys)[0] == 64
    code, _, err = called(["retry", "last", "--failed"], capsys)
    assert (code, "no node failed" in err) == (1, True)


def test_two_runs_are_compared(save: Save, capsys: Captured) -> None:
    """The differences are nodes that answer differently, new ones, and ones that went silent; the exit code is 2."""
    save({"a": Part(), "b": Part(), "c": Part()}).wait()
    save({"a": Part(), "b": FAILED, "c": SILENT, "d": Part()}).wait()
    found = json_document(["diff"], capsys, code=2)
    assert found["changed"] == [{"node": "b", "changes": [{"field": "statuscode", "before": 0, "after": 1}]}]
    assert (found["appeared"], found["went_silent"], found["unchanged"]) == (["d"], ["c"], 1)
    _, out, _ = called(["diff"], capsys)
    assert "Went silent: 1 node: c" in out
    assert out.startswith("b\n   statuscode:\n      - 0\n      + 1\n")
    assert json_document(["diff", "last", "last"], capsys)["unchanged"] == 3


def test_a_run_without_another_one_cannot_be_compared(save: Save, capsys: Captured) -> None:
    """A run of a call that was made once is compared with no run of another call."""
    save({"a": Part()}, command="false").wait()
    save({"a": Part()}).wait()
    code, _, err = called(["diff"], capsys)
    assert (code, "no other saved run of the same call" in err) == (64, True)


def test_a_thousand_runs_are_listed_in_a_fifth_of_a_second(save: Save, runs: RunFolder) -> None:
    """The list reads the first and the last line of each file; the time is that of the processor, of three attempts."""
    save({f"web{number}": Part() for number in range(20)}).wait()
    content = runs.newest()[0].path.read_text()
    for number in range(1000):
        (runs.path / f"{1_700_000_000_000 + number}-{number:032x}.jsonl").write_text(content)
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([BIN / "crpc", "runs", "--all"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert len(done.stdout.splitlines()) == 1001
    assert min(seconds) < 0.2


def test_a_run_whose_request_cannot_be_saved_leaves_no_file(
    save: Save, runs: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full from the beginning gets no file that cannot be shown."""
    full = os.open("/dev/full", os.O_WRONLY)
    write = os.write
    monkeypatch.setattr("os.write", lambda _file, data: write(full, data))
    assert save({"a": Part()}).wait().ok == ["a"]
    assert runs.newest() == []
    os.close(full)


def test_options_choose_among_all_runs(save: Save, capsys: Captured) -> None:
    """`--where` and `--count` are about every saved run, also those that the list omits."""
    for number in range(25):
        save({"node1.lab": Part()}, command=f"true {number}").wait()
    assert called(["runs", "--count"], capsys)[1] == "25\n"
    assert called(["runs", "--where", "inputs=~'true [0-4]$'", "--count"], capsys)[1] == "5\n"
    assert called(["runs", "nosuch"], capsys)[1] == "no saved run matches\n"
    assert len(called(["runs"], capsys)[1].splitlines()) == 20


def test_several_nodes_of_a_run_are_shown(save: Save, capsys: Captured) -> None:
    """A folded name stands for all of its nodes; one that was not asked is an error."""
    save({f"node{number}.lab": SILENT if number == 3 else Part() for number in range(1, 5)}).wait()
    _, out, _ = called(["show", "last", "node[2-3].lab", "-o", "csv"], capsys)
    assert [line.split(",")[:2] for line in out.splitlines()[1:]] == [["node2.lab", "ok"], ["node3.lab", "silent"]]
    code, _, err = called(["show", "last", "node[4-5].lab"], capsys)
    assert (code, "node 'node5.lab' is not in run" in err) == (64, True)


def test_runs_of_different_actions_are_not_compared(save: Save, runs: RunFolder, capsys: Captured) -> None:
    """Replies of two actions have nothing in common; the error names both."""
    save({"node1.lab": Part()}).wait()
    save({"node1.lab": Part()}).wait()
    file = runs.newest()[0].path
    file.write_text(file.read_text().replace('"action":"run"', '"action":"start"'))
    code, _, err = called(["diff", "-2", "last"], capsys)
    assert (code, "is of shell run and run" in err, "of shell start (compare" in err) == (64, True, True), err
