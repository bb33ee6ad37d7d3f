"""`crpc check nodes` and its kind: thresholds, the forms, and UNKNOWN for every error."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.completing import configure
from support.crpc_call import Captured, called
from support.daemons import aws_environment

from collective.clients.checks import forms
from collective.clients.checks.measures import Measured
from collective.clients.checks.thresholds import read_threshold
from collective.errors import UsageError

MEASURED = Measured({"absent": 3, "alive": 4}, "4 nodes alive|x")


@pytest.mark.parametrize(
    ("text", "alerts", "fine"),
    [
        ("10", [-1, 10.5], [0, 10]),
        ("10:", [9.9], [10, 1e9]),
        ("~:10", [10.1], [-1e9, 10]),
        ("10:20", [9, 21], [10, 20]),
        ("@10:20", [10, 20], [9, 21]),
        ("@0", [0], [1, -1]),
        ("-5:-1", [0, -6], [-5, -1]),
        (":0.5", [0.6, -1], [0.5]),
    ],
)
def test_ranges_of_nagios(text: str, alerts: list[float], fine: list[float]) -> None:
    """A value outside the range is an alert, with `@` a value inside."""
    assert [value for value in [*alerts, *fine] if read_threshold(text).alerts(value)] == alerts


@pytest.mark.parametrize("text", ["", ":", "@", "~:", "x", "1:2:3", "20:10", "1e9", "nan", "1 2", "٣"])
def test_another_text_is_refused(text: str) -> None:
    """The error shows the text; an open range that alerts never is probably a mistake."""
    with pytest.raises(UsageError, match="invalid range"):
        read_threshold(text)


@pytest.mark.parametrize(("warning", "critical", "state"), [("3", "5", 0), ("2", "5", 1), ("1", "2", 2), ("9", "2", 2)])
def test_the_worst_threshold_wins(warning: str, critical: str, state: int) -> None:
    """The first value is compared."""
    assert forms.state_of(MEASURED, read_threshold(warning), read_threshold(critical)) == state


def test_a_reason_is_critical_whatever_the_thresholds() -> None:
    """A collective without a node that is alive is never OK."""
    measured = Measured({"absent": 0}, "0 nodes alive", critical="no node is alive")
    limits = {"warning": read_threshold("9"), "critical": read_threshold("9")}
    assert forms.state_of(measured, *limits.values()) == 2
    line = forms.as_nagios("nodes", measured, 2, limits)
    assert line == "nodes: CRITICAL: no node is alive, 0 nodes alive|absent=0;9;9;0\n"


def test_the_line_has_performance_data_once() -> None:
    """A `|` in the text would begin them too early."""
    limits = {"warning": read_threshold("@1:2"), "critical": read_threshold("~:5")}
    line = forms.as_nagios("nodes", MEASURED, 0, limits)
    assert line == "nodes: OK: 4 nodes alive¦x|absent=3;@1:2;~:5;0 alive=4;;;0\n"


def test_the_text_for_prometheus() -> None:
    """Each value is a gauge; the real `promtool check metrics` reads it where it is installed."""
    text = forms.as_prometheus("registry", "lab", Measured({"time": 0.25, "records": 5}, "", "s"), 1, 1e9)
    assert 'collective_check_registry_state{collective="lab"} 1\n' in text
    assert 'collective_check_registry_timestamp_seconds{collective="lab"} 1000000000\n' in text
    assert 'collective_check_registry_time_seconds{collective="lab"} 0.25\n' in text
    assert 'collective_check_registry_records{collective="lab"} 5\n' in text
    if program := shutil.which("promtool"):
        subprocess.run([program, "check", "metrics"], input=text, text=True, check=True)


def test_the_line_for_cacti() -> None:
    """Names have at most 19 letters, digits and `_`, which is what Cacti accepts for a data source."""
    assert forms.as_cacti(MEASURED, 2) == "state:2 absent:3 alive:4\n"


@pytest.mark.parametrize(("form", "out"), [("cacti", "state:3\n"), ("prometheus", '_state{{collective="{}"}} 3\n')])
def test_without_aws_only_the_state_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, form: str, out: str
) -> None:
    """The state is 3, and the reason is on standard error: a line of text would break the file for Prometheus."""
    (tmp_path / "client.yaml").write_text("{collective: production, state: state}")
    for name, value in {**aws_environment("http://127.0.0.1:9"), "COLLECTIVE_CONFIG": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    code, printed, err = called(["check", "nodes", "--format", form], capsys)
    assert code == 3
    assert out.format("production") in printed
    assert "check nodes: " in err
    assert all(line.startswith(("#", "collective_check_nodes_", "state:")) for line in printed.splitlines())


@pytest.mark.parametrize("words", ["--format cacti -w x", "--zap --format=prometheus"])
def test_a_mistake_prints_no_values(capsys: Captured, words: str) -> None:
    """Standard output is empty, so that no file gets a text that is not a value."""
    code, out, err = called(["check", "queues", *words.split()], capsys)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert err.startswith("crpc: check queues: ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nodes -w x", "invalid range 'x'"),
        ("queues --zap", "unknown option '--zap'"),
        ("-w 5 replies -o json", "output options are not supported (use --format)"),
        ("registry", "this collective has no registry"),
        ("nodes more", "unexpected argument 'more'"),
    ],
)
def test_every_error_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, line: str, message: str
) -> None:
    """Nagios gets one line and exit code 3."""
    (tmp_path / "client.yaml").write_text("{collective: production, state: state, registry: none}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    code, out, _ = called(["check", *line.split()], capsys)
    assert (code, out.count("\n")) == (3, 1)
    assert ": UNKNOWN: " in out
    assert message in out


def test_a_folder_named_like_a_check_is_ambiguous(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """`./nodes` is the folder; the bare word is refused."""
    configure(tmp_path)
    (tmp_path / "nodes").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, _ = called(["check", "nodes"], capsys)
    assert code == 3
    assert "'nodes' is a check and a folder (use './nodes'" in out
    assert called(["check", "./nodes"], capsys)[:2] == (0, "0 DDLs: no errors\n")
