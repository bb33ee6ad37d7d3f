"""`crpc nrpe check` is a Nagios plugin whatever happens: one line on standard output, exit code 0, 1, 2 or 3."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support.crpc_call import Captured, called
from support.crpc_process import BIN, clean_environment
from support.waiting import wait_until

from collective.clients import nagios
from collective.clients.commands import rpc
from collective.errors import AccessDenied, ConfigError


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with a client.yaml, unsigned requests, and an AWS endpoint where nothing listens."""
    (tmp_path / "client.yaml").write_text("{collective: production, state: state, key: none, registry: none}")
    return {
        **clean_environment(),
        "COLLECTIVE_CONFIG": str(tmp_path),
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def assert_unknown(done: subprocess.CompletedProcess[str], message: str) -> None:
    """Check that Nagios sees UNKNOWN, and `message`."""
    assert done.returncode == 3, done
    assert done.stdout.count("\n") == 1
    assert "UNKNOWN: " in done.stdout
    assert message in done.stdout


WRONG: dict[str, tuple[str, dict[str, str], str]] = {
    "no transport": ("nrpe check load -t 3", {}, "load: UNKNOWN: "),
    "no credentials": (
        "nrpe check load",
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        "credentials",
    ),
    "no region": ("nrpe check load", {"AWS_DEFAULT_REGION": ""}, "region"),
    "no configuration": ("nrpe check load", {"COLLECTIVE_CONFIG": "/nowhere"}, "/nowhere"),
    "wrong configuration": ("nrpe check load --config /dev/null", {}, "/dev/null: must be a mapping"),
    "wrong variable": ("nrpe check load", {"COLLECTIVE_TIMEOUT": "soon"}, "COLLECTIVE_TIMEOUT: invalid duration"),
    "unknown option": ("nrpe check load --zap", {}, "load: UNKNOWN: unknown option '--zap'"),
    "unknown option before": ("--zap nrpe check load", {}, "load: UNKNOWN: unknown option '--zap'"),
    "unknown option between": ("nrpe --zap check load", {}, "load: UNKNOWN: unknown option '--zap'"),
    "unknown collective": ("-T staging nrpe check load", {}, "unknown collective 'staging'"),
    "no name": ("nrpe check", {}, "nrpe check: UNKNOWN: the following arguments are required: NAME"),
    "missing value": ("nrpe check load -t", {}, "expected one argument"),
    "two names": ("nrpe check load disk", {}, "unexpected argument 'disk'"),
    "a bar and a newline": ("nrpe check 'a|b\nc' --zap", {}, "a¦b\\nc: UNKNOWN: "),
    "wrong filter": ("nrpe check load -S '('", {}, "-S '('"),
    "no state folder": ("nrpe check load", {"COLLECTIVE_CONFIG": "{folder}/other.yaml"}, "/proc/nowhere"),
}


@pytest.mark.parametrize("name", WRONG)
def test_whatever_is_wrong_is_unknown(name: str, environment: dict[str, str], tmp_path: Path) -> None:
    """Mistakes before the request are UNKNOWN with the reason on standard output."""
    line, variables, message = WRONG[name]
    (tmp_path / "other.yaml").write_text("{collective: production, state: /proc/nowhere, key: none}")
    changed = {key: value.format(folder=tmp_path) for key, value in variables.items()}
    assert_unknown(run(shlex.split(line), {**environment, **changed}), message)


def run(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run crpc to its end."""
    environment = {name: value for name, value in environment.items() if value}
    return subprocess.run(
        [BIN / "crpc", *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def raising(error: BaseException) -> Callable[[], int]:
    """Return a check that ends with this error."""

    def check() -> int:
        raise error

    return check


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigError("x.yaml: wrong"), "load: UNKNOWN: x.yaml: wrong\n"),
        (AccessDenied("a\nb|c"), "load: UNKNOWN: a\\nb¦c\n"),
        (ZeroDivisionError("boom"), "load: UNKNOWN: internal error: ZeroDivisionError: boom (use --debug"),
        (RecursionError(), "load: UNKNOWN: internal error: RecursionError"),
        (MemoryError(), "load: UNKNOWN: internal error: MemoryError"),
        (ImportError("no module"), "load: UNKNOWN: internal error: ImportError: no module"),
        (KeyboardInterrupt(), "load: UNKNOWN: interrupted\n"),
        (SystemExit("bye"), "load: UNKNOWN: internal error: SystemExit: bye"),
        (OSError(28, "No space left on device"), "load: UNKNOWN: cannot write the output: No space left on device\n"),
        (PermissionError(13, "no", "/x"), "load: UNKNOWN: internal error: PermissionError"),
    ],
)
def test_every_exception_is_unknown(error: BaseException, line: str, capsys: Captured) -> None:
    """No exception reaches the interpreter, whose exit code 1 would be WARNING."""
    assert nagios.as_plugin(["nrpe", "check", "load"], raising(error)) == 3
    assert capsys.readouterr().out.startswith(line)


def test_an_exit_code_of_another_command_is_unknown(capsys: Captured) -> None:
    """Only 0 to 3 pass."""
    codes = [nagios.as_plugin(["nrpe", "check"], partial(int, code)) for code in (0, 1, 2, 3, 4, 70)]
    assert codes == [0, 1, 2, 3, 3, 3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_unknown(number: signal.Signals, environment: dict[str, str]) -> None:
    """A check that waits for a service that never answers is UNKNOWN when Nagios ends it, repeated signals or not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with subprocess.Popen(
            [BIN / "crpc", "nrpe", "check", "load"],
            env={**environment, "AWS_ENDPOINT_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            connection, _ = server.accept()
            process.send_signal(number)
            began = time.monotonic()
            wait_until(lambda: repeated(process, number), 30)
            out, err = process.communicate(timeout=30)
            connection.close()
        assert time.monotonic() - began < 30
    assert (process.returncode, out, err) == (3, f"load: UNKNOWN: interrupted ({number.name})\n", "")


def repeated(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Send the signal again; return whether the process has ended."""
    process.send_signal(number)
    return process.poll() is not None


@pytest.mark.parametrize("to", ["| true", "> /dev/full", ">&-"])
def test_output_that_cannot_be_written_is_unknown(to: str, environment: dict[str, str]) -> None:
    """The exit code is 3, and standard error has no traceback."""
    script = f"set -o pipefail; {shlex.quote(str(BIN / 'crpc'))} nrpe check load --zap {to}"
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nrpe check load", True),
        ("-v -T lab nrpe -q check load", True),
        ("nrpe -T lab check", True),
        ("help nrpe check", False),
        ("-v describe nrpe check", False),
        ("nrpe runcommand command=x -I check", False),
        ("nrpe", False),
        ("shell run check", False),
    ],
)
def test_only_the_check_is_a_plugin(line: str, expected: bool) -> None:
    """Other commands have their own exit codes. `lab` is the name of a command and of a collective."""
    assert nagios.is_check(rpc.make_parser().command_first(line.split())) is expected


def test_the_help_page_is_no_error(capsys: Captured) -> None:
    """`--help` ends with 0."""
    code, out, _ = called(["nrpe", "check", "--help"], capsys)
    assert (code, out.startswith("usage: crpc nrpe check")) == (0, True)


def test_an_interpreter_with_closed_streams_is_unknown(environment: dict[str, str]) -> None:
    """A parent that closed all standard streams gets the exit code."""
    script = f"{shlex.quote(str(BIN / 'crpc'))} nrpe check load --zap <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", script], env=environment, timeout=60, check=False).returncode == 3
