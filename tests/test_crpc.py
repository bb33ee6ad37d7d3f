"""crpc from its arguments to its exit code, as far as no node is needed: whatever is wrong is one line on stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.crpc_call import Captured, called

from collective import __version__
from collective.clients import crpc
from collective.clients.commands import COMMANDS
from collective.clients.crpc import main
from collective.errors import CollectiveError

USAGE, CONFIGURATION = 64, 78


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client.yaml that crpc finds, in a folder of its own."""
    (tmp_path / "client.yaml").write_text("{collective: production, collectives: [staging], state: state, ddls: [ddl]}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return tmp_path


@pytest.fixture
def unconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No client.yaml anywhere."""
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path / "nowhere"))


# What is typed, the exit code, and a part of the one line on standard error.
MISTAKES: dict[str, tuple[int, str]] = {
    "--json package status": (USAGE, "'--json': options come after the command or after AGENT ACTION"),
    "packge status": (USAGE, "unknown agent 'packge' (did you mean 'package'?)"),
    "xyzzy": (USAGE, "unknown agent 'xyzzy' (run 'crpc help' for a list)"),
    "inventry": (USAGE, "there is neither an agent nor a command 'inventry': did you mean 'inventory'?"),
    "packge --help": (USAGE, "unknown agent 'packge' (did you mean 'package'?)"),
    "package instal -h": (USAGE, "package: unknown action 'instal' (did you mean 'install'?)"),
    "help inventry": (USAGE, "there is neither an agent nor a command 'inventry': did you mean 'inventory'?"),
    "help packge": (USAGE, "unknown agent 'packge' (did you mean 'package'?)"),
    "help package instal": (USAGE, "package: unknown action 'instal' (did you mean 'install'?)"),
    "package": (USAGE, "package: which action? It has install"),
    "package instal": (USAGE, "package: unknown action 'instal' (did you mean 'install'?)"),
    "nrpe chek": (USAGE, "nrpe has no action 'chek': did you mean 'check'?"),
    "nrpe": (USAGE, "nrpe: which action? It has runcommand, runallcommands, check"),
    "shell run ls --tail --json": (USAGE, "--tail shows lines as they come: leave out --json"),
    "shell run comand=ls": (USAGE, "there is no input 'comand': did you mean 'command'?"),
    "package zap": (USAGE, "package: unknown action 'zap' (actions: install, update"),
    "package status": (USAGE, "package status: required input 'package' is missing (inputs: package)"),
    "package status zsh": (USAGE, "'zsh': inputs are given as KEY=VALUE: package status takes package=…"),
    "package status pakage=zsh": (USAGE, "there is no input 'pakage': did you mean 'package'?"),
    "package status package=zsh color=red": (USAGE, "there is no input 'color': package status takes package=…"),
    "package status package=-zsh": (USAGE, "package status: input 'package': '-zsh' does not match"),
    "package status package=": (USAGE, "package status: input 'package': "),
    "shell run command=ls timeout=soon": (USAGE, "timeout=soon: is no "),
    "package status package=@/no/such/file": (USAGE, "package=@/no/such/file: cannot be read: No such file"),
    "package status package=zsh --colour": (USAGE, "unrecognized arguments: --colour: did you mean '--color'?"),
    "package status package=zsh --zap": (USAGE, "unrecognized arguments: --zap: see 'crpc AGENT ACTION --help'"),
    "package status package=zsh --jso": (USAGE, "unrecognized arguments: --jso"),
    "package status package=zsh --json --csv": (USAGE, "argument --csv: not allowed with argument -j/--json"),
    "package status package=zsh -t soon": (USAGE, "-t/--timeout: 'soon' is no number of seconds between 0 and 86400"),
    "package status package=zsh -t nan": (USAGE, "'nan' is no number of seconds"),
    "package status package=zsh --ttl 0": (USAGE, "'0' is no number of seconds"),
    "package status package=zsh --dm dns": (USAGE, "argument --dm: invalid choice: 'dns'"),
    "package status package=zsh -F": (USAGE, "argument -F/--with-fact: expected one argument"),
    "package status package=zsh -F role": (USAGE, "role"),
    "package status package=zsh -I a/b": (USAGE, "a/b"),
    "package status package=zsh -S (": (USAGE, "("),
    "package status package=zsh -T stagin": (
        USAGE,
        "unknown collective 'stagin' (configured: production",
    ),
    "package status package=zsh --nodes": (USAGE, "argument --nodes: expected one argument"),
    "package status package=zsh --nodes /no/such": (
        USAGE,
        "--nodes /no/such: cannot be read: No such file or directory",
    ),
    "package status package=zsh --config /no/such": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "find --with-fakt role=web": (USAGE, "unrecognized arguments: --with-fakt"),
    "find -F role=/(/": (
        USAGE,
        "-F 'role=/(/': column 1: invalid regular expression '(': missing ), unterminated subpattern at character 1",
    ),
    "find web1": (USAGE, "unrecognized arguments: web1"),
    "find -T stagin": (USAGE, "unknown collective 'stagin'"),
    "ping -T stagin": (USAGE, "unknown collective 'stagin'"),
    "ping -t -5": (USAGE, "-t/--timeout"),
    "describe": (USAGE, "the following arguments are required: agent"),
    "describe packge": (USAGE, "unknown agent 'packge'"),
    "describe package instal": (USAGE, "package: unknown action 'instal'"),
    "describe package --config /no/such": (CONFIGURATION, "/no/such: cannot be read"),
    "keys trust": (USAGE, "the following arguments are required: PUBKEY, --as"),
    "keys trust /no/such.pub --as alice": (USAGE, "/no/such.pub: No such file or directory"),
    "keys trust /no/such.pub --as a*": (USAGE, "--as: invalid caller 'a*'"),
    "keys --config /no/such": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "nodes": (USAGE, "the following arguments are required: list|trust"),
    "nodes forget": (USAGE, "invalid choice: 'forget'"),
    "nodes trust": (USAGE, "the following arguments are required: NAME"),
    "nodes trust a/b": (USAGE, "invalid identity 'a/b'"),
    "nodes list -T stagin": (USAGE, "unknown collective 'stagin'"),
    "nodes --config /no/such list": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "nodes --config /no/such trust web1": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "nodes --config /no/such prune": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "policy --cnfig test p.yaml --caller bob": (USAGE, "unrecognized arguments: --cnfig: did you mean '--config'?"),
    "lab": (USAGE, "the following arguments are required: run|start|stop|status|env|node"),
    "lab begin": (USAGE, "invalid choice: 'begin'"),
    "lab run --nodes many": (USAGE, "argument --nodes: invalid int value: 'many'"),
    "lab start -- true": (USAGE, "only 'crpc lab run' takes a command"),
    "lab run -- no-such-program": (USAGE, "'no-such-program' is no program that can be found"),
    "broken status": (CONFIGURATION, "broken.json: cannot be read as JSON"),
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_and_a_code(configured: Path, capsys: Captured, line: str) -> None:
    """Nothing is shown but what is wrong, in one line, and the exit code says whose mistake it is."""
    (configured / "ddl").mkdir()
    (configured / "ddl" / "broken.json").write_text("{")
    code, out, err = called(line.split(), capsys)
    assert code == MISTAKES[line][0]
    assert out == ""
    assert err.startswith("crpc: ")
    assert MISTAKES[line][1] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("line", ["package status package=zsh", "find", "ping", "nonsense status"])
def test_without_a_configuration_nothing_is_asked(unconfigured: None, capsys: Captured, line: str) -> None:
    """78, and the line says which file was looked for."""
    code, out, err = called(line.split(), capsys)
    assert (code, out, err.count("\n")) == (CONFIGURATION, "", 1)
    assert "nowhere: cannot be read" in err


def test_a_wrong_configuration_is_named_by_file_and_key(configured: Path, capsys: Captured) -> None:
    """78, with the file and the key."""
    (configured / "client.yaml").write_text("{collective: production, tll: 5}")
    code, _, err = called(["package", "status", "package=zsh"], capsys)
    assert (code, err) == (CONFIGURATION, f"crpc: {configured}/client.yaml: unknown key 'tll' (did you mean 'ttl'?)\n")


@pytest.mark.parametrize("word", ["two\nlines", "bell\a", "\x1b[31mred", "half\udcff"])
def test_a_message_is_one_line_whatever_it_quotes(configured: Path, capsys: Captured, word: str) -> None:
    """What was typed is shown, not obeyed: no second line, no control characters."""
    code, _, err = called(["package", "status", word], capsys)
    assert code == USAGE
    assert err[:-1].isprintable()
    assert err.endswith("\n")


def test_a_defect_is_one_line_too(configured: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """70, and how to see more; `--debug` shows the traceback."""

    def fail(_arguments: list[str]) -> int:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(crpc, "_dispatch", fail)
    code, _, err = called(["package"], capsys)
    assert (code, err) == (70, "crpc: a defect of ours: ZeroDivisionError: by nought: '--debug' shows where\n")
    code, _, err = called(["package", "--debug"], capsys)
    assert code == 70
    assert err.startswith("Traceback")
    assert err.count("crpc: ") == 1


def test_an_interrupt_is_a_stop(configured: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is 4, without a traceback."""

    def interrupt(_arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(crpc, "_dispatch", interrupt)
    assert called(["package"], capsys) == (4, "", "crpc: interrupted\n")


def test_an_error_that_no_table_knows_is_a_defect(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """70 for an error of ours without an exit code."""

    def fail(_arguments: list[str]) -> int:
        raise CollectiveError("odd")

    monkeypatch.setattr(crpc, "_dispatch", fail)
    assert called(["package"], capsys) == (70, "", "crpc: odd\n")


def test_output_that_cannot_be_written_is_one_line(configured: Path) -> None:
    """74, as sysexits.h calls an error of input or output: a full disk is no defect of ours."""
    command = [sys.executable, "-m", "collective.clients.crpc", "help"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (74, "crpc: the output cannot be written: No space left on device\n")


def test_an_actions_help_has_its_inputs_and_the_options(unconfigured: None, capsys: Captured) -> None:
    """What is true of this action comes first; what is true of every request follows."""
    assert main(["package", "install", "zsh", "--help"]) == 0
    inputs, _, everything = capsys.readouterr().out.partition("usage: crpc AGENT ACTION")
    assert inputs.startswith("package install\n")
    assert "--timeout" in everything


def test_help_tells_about_one_thing(unconfigured: None, capsys: Captured) -> None:
    """A command's own help, a verb's too, and the documentation of an agent or an action."""
    for words, said in (
        (["ping"], "usage: crpc ping "),
        (["nodes", "list"], "usage: crpc nodes list "),
        (["package"], "package 1.0.0\n"),
        (["package", "install"], "package install\n"),
    ):
        code, out, err = called(["help", *words], capsys)
        assert (code, err, out[: len(said)]) == (0, "", said)


HELP = [[], ["help"], ["-h"], ["--help"], ["--version"], ["package", "status", "--help"], ["package", "-h"]]
HELP += [[command, "--help"] for command in COMMANDS]
HELP += [["lab", verb, "--help"] for verb in ("run", "start", "stop", "status", "env", "node")]
HELP += [["nrpe", "check", "--help"], ["help", "nrpe", "check"], ["shell", "run", "--help"]]
HELP += [["keys", "trust", "--help"], ["nodes", "list", "--help"], ["nodes", "trust", "--help"]]


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_is_no_error(unconfigured: None, capsys: Captured, arguments: list[str]) -> None:
    """Exit 0, on standard output, before anything is configured."""
    code, out, err = called(arguments, capsys)
    assert (code, err) == (0, "")
    assert out


def test_help_lists_commands_and_agents(configured: Path, capsys: Captured) -> None:
    """A line each, those of the caller's own folders and those that cannot be read included."""
    (configured / "ddl").mkdir()
    (configured / "ddl" / "broken.json").write_text("{")
    _, out, _ = called(["help"], capsys)
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert {*COMMANDS, "package", "service", "nrpe", "shell", "rpcutil", "broken"} <= lines.keys()
    assert "\n  nrpe check   one check on many nodes" in out
    assert "cannot be read: 'crpc describe broken' says why" in lines["broken"]


def test_the_version_is_said(capsys: Captured) -> None:
    """`crpc --version` names the program and its version."""
    assert called(["--version"], capsys) == (0, f"crpc {__version__}\n", "")


def test_a_standard_agent_is_described_before_anything_is_configured(unconfigured: None, capsys: Captured) -> None:
    """Documentation needs no configuration."""
    code, out, err = called(["describe", "package", "install"], capsys)
    assert (code, err) == (0, "")
    assert "version" in out
    assert "\ncrpc nrpe check: one check on many nodes" in called(["describe", "nrpe"], capsys)[1]


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "package --help",
        "find --help",
        "lab --help",
        "keys trust --help",
        "nodes list --help",
        "describe package",
        "packge status",
        "package status color=red",
        "package status package=zsh -F role",
        "package status package=zsh -T elsewhere",
        "find --colour",
    ],
)
def test_large_libraries_are_not_loaded_to_be_refused(configured: Path, line: str) -> None:
    """Help and mistakes come at once: what takes long to import is imported when something is sent."""
    script = (
        "import sys\n"
        "from collective.clients.crpc import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "sys.exit(', '.join({'boto3', 'botocore', 'cryptography', 'moto'} & sys.modules.keys()) or 0)"
    )
    command = [sys.executable, "-c", script, *line.split()]
    ended = subprocess.run(command, cwd=configured, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
