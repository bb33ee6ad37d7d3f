"""crpc without a node: every mistake is one line on standard error and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.crpc_call import Captured, called

from collective import __version__
from collective.clients import crpc
from collective.clients.commands import COMMANDS
from collective.errors import CollectiveError

USAGE, CONFIGURATION = 64, 78


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A client.yaml that crpc finds, in its own folder."""
    (tmp_path / "client.yaml").write_text("{collective: production, collectives: [staging], state: state, ddls: [ddl]}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    return tmp_path


@pytest.fixture
def unconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No client.yaml anywhere."""
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path / "nowhere"))


ACME = """{"metadata": {"name": "acme", "description": "Set a <thing>", "version": "1"}, "actions": {"set": {
    "description": "Set it", "display": "failed", "timeout": 5, "idempotent": true,
    "input": {"type": "object", "additionalProperties": false, "required": ["ensure"], "properties": {
        "ensure": {"type": "string", "enum": ["up", "down"]},
        "token": {"type": "string", "writeOnly": true, "default": "a|b"}}},
    "output": {"type": "object", "properties": {}}}}}"""

# A command line, its exit code, and a part of the line on standard error.
MISTAKES: dict[str, tuple[int, str]] = {
    "--json package status": (USAGE, "package status: required input 'package' is missing (inputs: package)"),
    "--jsn package status": (USAGE, "unknown option '--jsn' (did you mean '--json'?)"),
    "--counts package status": (USAGE, "unknown option '--counts'"),
    "-T stagin ping": (USAGE, "'stagin'"),
    "--config /no/such -v ping": (CONFIGURATION, "/no/such: cannot be read"),
    "-vT": (USAGE, "unknown option '-T'"),
    "--verbose=T": (USAGE, "-v/--verbose: takes no value, not 'T'"),
    "ping -o=--": (USAGE, "-o/--output: invalid choice: '--'"),
    "ping -t=--": (USAGE, "-t/--timeout: invalid duration '--'"),
    "ping -vZ": (USAGE, "unknown option '-Z'"),
    "nodes list -vZ": (USAGE, "unknown option '-Z'"),
    "check node": (USAGE, "'node' is neither a folder nor a check of a collective (did you mean 'nodes'?)"),
    "inventory -F role=web": (USAGE, "unknown option '-F' (an option of 'crpc inventory export')"),
    "-- packge": (USAGE, "unknown agent 'packge'"),
    "keys --json trust": (USAGE, "the following arguments are required: --as"),
    "nrpe -v chek": (USAGE, "nrpe has no action 'chek' (did you mean 'check'?)"),
    "ping -o xml": (USAGE, "-o/--output: invalid choice: 'xml'"),
    "ping -t 1 -t 2": (USAGE, "-t given more than once"),
    "packge status": (USAGE, "unknown agent 'packge' (did you mean 'package'?)"),
    "xyzzy": (USAGE, "unknown agent 'xyzzy' (run 'crpc help' for a list)"),
    "inventry": (USAGE, "there is neither an agent nor a command 'inventry' (did you mean 'inventory'?)"),
    "packge --help": (USAGE, "unknown agent 'packge' (did you mean 'package'?)"),
    "package instal -h": (USAGE, "package: unknown action 'instal' (did you mean 'install'?)"),
    "help inventry": (USAGE, "there is neither an agent nor a command 'inventry' (did you mean 'inventory'?)"),
    "help packge": (USAGE, "unknown agent 'packge' (did you mean 'package'?)"),
    "help package instal": (USAGE, "package: unknown action 'instal' (did you mean 'install'?)"),
    "package": (USAGE, "package: action missing (it has install"),
    "package instal": (USAGE, "package: unknown action 'instal' (did you mean 'install'?)"),
    "nrpe chek": (USAGE, "nrpe has no action 'chek' (did you mean 'check'?)"),
    "nrpe": (USAGE, "nrpe: action missing (it has runcommand, runallcommands, check)"),
    "shell run ls --tail --json": (USAGE, "--tail: not allowed with --json, because it prints lines as they arrive"),
    "shell run ls --usr www-data": (USAGE, "unknown option '--usr' (did you mean '--user'?)"),
    "shell output abc": (USAGE, "invalid handle 'abc': use the 32 characters that 'crpc shell list' prints"),
    "shell run comand=ls": (USAGE, "there is no input 'comand' (did you mean 'command'?)"),
    "package zap": (USAGE, "package: unknown action 'zap' (actions: install, update"),
    "package status": (USAGE, "package status: required input 'package' is missing (inputs: package)"),
    "package status zsh bash": (
        USAGE,
        "'bash': only one input can be given without its name (package status takes package=…)",
    ),
    "package status pakage=zsh": (USAGE, "there is no input 'pakage' (did you mean 'package'?)"),
    "package status package=zsh color=red": (USAGE, "there is no input 'color' (package status takes package=…)"),
    "package status package=-zsh": (USAGE, "package status: input 'package': '-zsh' does not match"),
    "package status package=": (USAGE, "package status: input 'package': "),
    "shell run command=ls timeout=soon": (USAGE, "timeout=soon: not a"),
    "package status package=@/no/such/file": (USAGE, "package=@/no/such/file: cannot be read: No such file"),
    "package status package=zsh --colour": (USAGE, "unknown option '--colour' (did you mean '--color'?)"),
    "package status package=zsh --xyzzy": (USAGE, "unknown option '--xyzzy' (see 'crpc AGENT ACTION --help')"),
    "package status package=zsh --jso": (USAGE, "unknown option '--jso' (did you mean '--json'?)"),
    "package status package=zsh --json --csv": (USAGE, "--csv: not allowed with argument -j/--json"),
    "package status package=zsh -t soon": (
        USAGE,
        "-t/--timeout: invalid duration 'soon': use seconds (90s), minutes (15m), hours (36h) or days (7d)",
    ),
    "package status package=zsh -t nan": (USAGE, "invalid duration 'nan'"),
    "package status package=zsh --ttl 0": (USAGE, "invalid duration '0'"),
    "package status package=zsh --dm dns": (USAGE, "--dm: invalid choice: 'dns'"),
    "package status package=zsh -F": (USAGE, "-F/--with-fact: expected one argument"),
    "package status package=zsh -F role": (USAGE, "role"),
    "package status package=zsh -I a/b": (USAGE, "a/b"),
    "package status package=zsh -S (": (USAGE, "("),
    "package status package=zsh -T stagin": (
        USAGE,
        "unknown collective 'stagin' (did you mean 'staging'?)",
    ),
    "package status package=zsh --nodes": (USAGE, "--nodes: expected one argument"),
    "package status package=zsh --nodes /no/such": (
        USAGE,
        "--nodes /no/such: cannot be read: No such file or directory",
    ),
    "package status package=zsh --config /no/such": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "find --with-fakt role=web": (USAGE, "unknown option '--with-fakt' (did you mean '--with-fact'?)"),
    "find -F role=/(/": (
        USAGE,
        "-F 'role=/(/': column 6: invalid regular expression '(': missing ), unterminated subpattern at character 1",
    ),
    "find -F a=\udcff": (USAGE, "-F 'a=\\udcff': not valid UTF-8"),
    "find -S a=\udcff": (USAGE, "-S 'a=\\udcff': not valid UTF-8"),
    "find -C /\udcff/": (USAGE, "-C '/\\udcff/': not valid UTF-8"),
    "shell": (USAGE, "shell: action missing (it has run, script, start, status, statuses, list, kill, clean, output)"),
    "find web1": (USAGE, "unexpected argument 'web1' (see 'crpc find --help')"),
    "find -T stagin": (USAGE, "unknown collective 'stagin'"),
    "ping -T stagin": (USAGE, "unknown collective 'stagin'"),
    "ping -t -5": (USAGE, "-t/--timeout"),
    "describe": (USAGE, "the following arguments are required: agent"),
    "describe packge": (USAGE, "unknown agent 'packge'"),
    "describe package --markdown -o table": (USAGE, "--markdown: not allowed with -o table"),
    "acme set ensure=upp": (USAGE, "acme set: input 'ensure': 'upp' is not one of ['up', 'down'] (did you mean 'up'?)"),
    "describe package instal": (USAGE, "package: unknown action 'instal'"),
    "describe package --config /no/such": (CONFIGURATION, "/no/such: cannot be read"),
    "keys trust": (USAGE, "the following arguments are required: --as"),
    "keys trust /no/such.pub --as alice": (USAGE, "/no/such.pub: cannot be read: No such file or directory"),
    "keys trust /no/such.pub --as a*": (USAGE, "--as: invalid caller 'a*'"),
    "keys --config /no/such": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "nodes": (USAGE, "the following arguments are required: list|trust"),
    "nodes forget": (USAGE, "invalid choice: 'forget' (choose from list, trust, revoke, prune)"),
    "nodes lst": (USAGE, "invalid choice: 'lst' (did you mean 'list'?)"),
    "ping -o jsno": (USAGE, "-o/--output: invalid choice: 'jsno' (did you mean 'json'?)"),
    "nodes trust": (USAGE, "the following arguments are required: NAME"),
    "nodes trust a/b": (USAGE, "invalid identity 'a/b'"),
    "nodes list -T stagin": (USAGE, "unknown collective 'stagin'"),
    "nodes --config /no/such list": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "nodes --config /no/such trust web1": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "nodes --config /no/such prune": (CONFIGURATION, "/no/such: cannot be read: No such file"),
    "policy --cnfig test p.yaml --caller bob": (USAGE, "unknown option '--cnfig' (did you mean '--config'?)"),
    "lab": (USAGE, "the following arguments are required: run|start|stop|status|env|node"),
    "lab begin": (USAGE, "invalid choice: 'begin'"),
    "lab run --nodes many": (USAGE, "--nodes: invalid int value: 'many'"),
    "lab start -- true": (USAGE, "only 'crpc lab run' takes a command"),
    "lab run -- no-such-program": (USAGE, "command 'no-such-program' not found"),
    "broken status": (CONFIGURATION, "broken.json: cannot be read as JSON"),
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_one_line_and_a_code(configured: Path, capsys: Captured, line: str) -> None:
    """Only the error is printed, in one line; the exit code tells a wrong command line from a wrong configuration."""
    (configured / "ddl").mkdir()
    (configured / "ddl" / "broken.json").write_text("{")
    (configured / "ddl" / "acme.json").write_text(ACME)
    code, out, err = called(line.split(), capsys)
    assert code == MISTAKES[line][0]
    assert out == ""
    assert err.startswith("crpc: ")
    assert MISTAKES[line][1] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("packge status", "unknown agent 'packge'"),
        ("package", "package: action missing (it has install"),
        ("package instal", "package: unknown action 'instal'"),
    ],
)
def test_a_mistake_is_found_without_a_configuration(
    unconfigured: None, capsys: Captured, line: str, message: str
) -> None:
    """A mistyped standard agent or action is reported before the missing client.yaml."""
    code, _, err = called(line.split(), capsys)
    assert code == USAGE
    assert message in err


@pytest.mark.parametrize("line", ["package status package=zsh", "find", "ping", "xyzzy status"])
def test_a_missing_configuration_is_an_error(unconfigured: None, capsys: Captured, line: str) -> None:
    """A missing configuration is exit code 78, and the line names the file."""
    code, out, err = called(line.split(), capsys)
    assert (code, out, err.count("\n")) == (CONFIGURATION, "", 1)
    assert "nowhere: cannot be read" in err


def test_an_invalid_configuration_is_named_by_file_and_key(configured: Path, capsys: Captured) -> None:
    """An invalid configuration is exit code 78, and the line names the file and the key."""
    (configured / "client.yaml").write_text("{collective: production, tll: 5}")
    code, _, err = called(["package", "status", "package=zsh"], capsys)
    assert (code, err) == (CONFIGURATION, f"crpc: {configured}/client.yaml: unknown key 'tll' (did you mean 'ttl'?)\n")


@pytest.mark.parametrize("word", ["two\nlines", "bell\a", "\x1b[31mred", "half\udcff"])
def test_a_message_is_one_line_whatever_it_quotes(configured: Path, capsys: Captured, word: str) -> None:
    """Control characters in a quoted word are escaped."""
    code, _, err = called(["package", "status", word], capsys)
    assert code == USAGE
    assert err[:-1].isprintable()
    assert err.endswith("\n")


def test_an_internal_error_is_one_line(configured: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """An internal error is exit code 70, and the line mentions `--debug`, which prints the traceback."""

    def fail(_arguments: list[str]) -> int:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(crpc, "_dispatch", fail)
    code, _, err = called(["package"], capsys)
    assert (code, err) == (
        70,
        "crpc: internal error: ZeroDivisionError: by zero (use --debug to print a traceback)\n",
    )
    code, _, err = called(["package", "--debug"], capsys)
    assert code == 70
    assert err.startswith("Traceback")
    assert err.count("crpc: ") == 1


def test_an_interrupt_is_exit_4(configured: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C prints one line and no traceback."""

    def interrupt(_arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(crpc, "_dispatch", interrupt)
    assert called(["package"], capsys) == (4, "", "crpc: interrupted\n")


def test_an_error_without_an_exit_code_is_internal(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CollectiveError that is not in the table of exit codes is exit code 70."""

    def fail(_arguments: list[str]) -> int:
        raise CollectiveError("odd")

    monkeypatch.setattr(crpc, "_dispatch", fail)
    assert called(["package"], capsys) == (70, "", "crpc: odd\n")


def test_output_that_cannot_be_written_is_one_line(configured: Path) -> None:
    """Output to a full disk is one line and exit code 74 (EX_IOERR in sysexits.h)."""
    command = [sys.executable, "-m", "collective.clients.crpc", "help"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (74, "crpc: cannot write the output: No space left on device\n")


@pytest.mark.parametrize(
    ("line", "code", "problem"),
    [
        ("ping --output-file {}", 64, "cannot be written"),
        ("apply {}", 64, "File name too long"),
        ("approve {}", 64, "File name too long"),
        ("check {}", 64, "not a folder"),
        ("run-local shell run command=ls --folder {}", 64, "not a folder"),
        ("keys trust {}\nx --as a@b", 64, "has 2 lines"),
        ("--config {} ping", 78, "cannot be read: File name too long"),
    ],
)
def test_a_name_that_is_too_long_for_a_file_is_one_line(
    configured: Path, capsys: Captured, line: str, code: int, problem: str
) -> None:
    """A name of more than 255 bytes, the system's limit, is an error of the command line or configuration."""
    words = [word.format("x" * 300) for word in line.split(" ")]
    ended, out, err = called(words, capsys)
    assert (ended, out, err.count("\n")) == (code, "", 1)
    assert problem in err


def test_a_configuration_with_a_name_that_is_too_long_is_wrong(
    unconfigured: None, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named by the file that it leads to."""
    monkeypatch.setenv("COLLECTIVE_CONFIG", "x" * 300)
    assert called(["ping"], capsys) == (78, "", f"crpc: {'x' * 300}: cannot be read: File name too long\n")


def test_an_error_that_cannot_be_printed_keeps_its_exit_code(configured: Path) -> None:
    """Python's own exit code for that is 1, which would mean that no node matched."""
    command = [sys.executable, "-m", "collective.clients.crpc", "nosuch"]
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(command, stderr=full, cwd=configured, check=False).returncode == 64


def test_the_help_of_an_action_has_its_usage_line_and_the_options(unconfigured: None, capsys: Captured) -> None:
    """The usage line names the inputs with their types; the documentation and the options of a request follow."""
    for words in (["package", "install", "--help"], ["-h", "package", "-v", "install", "package=zsh"]):
        code, out, err = called(words, capsys)
        assert (code, err) == (0, "")
        assert out.startswith(
            "usage: crpc package install package=STRING [version=STRING] [options]\n\npackage install\n======"
        )
        assert "--timeout" in out
        assert "positional" not in out


def test_the_help_of_an_action_without_inputs_has_an_example(unconfigured: None, capsys: Captured) -> None:
    """An example is printed when the DDL has a value for each required input."""
    assert called(["rpcutil", "ping", "--help"], capsys)[1].endswith("examples:\n  crpc rpcutil ping --limit 1\n")


def test_help_prints_the_page_of_one_command_or_agent(unconfigured: None, capsys: Captured) -> None:
    """`crpc help` prints the help page of a command or verb, and the documentation of an agent or action."""
    for words, start in (
        (["ping"], "usage: crpc ping "),
        (["nodes", "list"], "usage: crpc nodes list "),
        (["package"], "package 1.0.0\n"),
        (["package", "install"], "package install\n"),
    ):
        code, out, err = called(["help", *words], capsys)
        assert (code, err, out[: len(start)]) == (0, "", start)


HELP = [[], ["help"], ["-h"], ["--help"], ["--version"], ["package", "status", "--help"], ["package", "-h"]]
HELP += [[command, "--help"] for command in COMMANDS]
HELP += [["lab", verb, "--help"] for verb in ("run", "start", "stop", "status", "env", "node")]
HELP += [["nrpe", "check", "--help"], ["help", "nrpe", "check"], ["shell", "run", "--help"]]
HELP += [["keys", "trust", "--help"], ["nodes", "list", "--help"], ["nodes", "trust", "--help"]]


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_is_exit_0(unconfigured: None, capsys: Captured, arguments: list[str]) -> None:
    """Help is printed on standard output, and needs no configuration."""
    code, out, err = called(arguments, capsys)
    assert (code, err) == (0, "")
    assert out


def test_help_lists_commands_and_agents(configured: Path, capsys: Captured) -> None:
    """Each has a line, agents in the caller's folders and unreadable DDLs included."""
    (configured / "ddl").mkdir()
    (configured / "ddl" / "broken.json").write_text("{")
    _, out, _ = called(["help"], capsys)
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert {*COMMANDS, "package", "service", "nrpe", "shell", "rpcutil", "broken"} <= lines.keys()
    assert "\n  nrpe check       Run one check on many nodes" in out
    assert "cannot be read (see 'crpc describe broken')" in lines["broken"]


def test_the_version_is_printed(capsys: Captured) -> None:
    """`crpc --version` prints the program and its version."""
    assert called(["--version"], capsys) == (0, f"crpc {__version__}\n", "")


def test_an_agent_is_described_in_markdown(configured: Path, capsys: Captured) -> None:
    """Headings and tables are Markdown; text from a DDL is neither Markdown nor HTML, and no secret is shown."""
    (configured / "ddl").mkdir()
    (configured / "ddl" / "acme.json").write_text(ACME)
    code, out, err = called(["describe", "acme", "--markdown"], capsys)
    assert (code, err) == (0, "")
    assert out.startswith("# acme\n\nSet a &lt;thing>.\n\n## acme set\n\nSet it.\n\nTimeout 5 s, idempotent, shows")
    assert "| `ensure` (required) | one of `up`, `down` |  |\n| `token` | string | secret |\n" in out
    assert out.endswith("**Outputs**: none.\n")
    assert called(["describe", "acme", "set", "--markdown"], capsys)[1].startswith("# acme set\n")


def test_a_standard_agent_is_described_without_a_configuration(unconfigured: None, capsys: Captured) -> None:
    """The documentation of standard agents needs no client.yaml."""
    code, out, err = called(["describe", "package", "install"], capsys)
    assert (code, err) == (0, "")
    assert "version" in out
    assert "\ncrpc nrpe check: Run one check on many nodes" in called(["describe", "nrpe"], capsys)[1]


# The file client.yaml is read for the agents' DDLs, not for these.
WITHOUT_CONFIGURATION = (
    "ping --help",
    "find --help",
    "find --colour",
    "lab --help",
    "keys trust --help",
    "audit --help",
)
WITHOUT_DDL = ("--help", "-v help", "ping --help", "find --help", "find --colour")


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "-v help",
        "ping --help",
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
    """Help and mistakes are fast: a slow module is imported when a request is sent or a DDL is read."""
    slow = ["boto3", "botocore", "cryptography", "moto", *(["jsonschema"] if line in WITHOUT_DDL else [])]
    slow += ["yaml"] if line in WITHOUT_CONFIGURATION else []
    script = (
        "import sys\n"
        "from collective.clients.crpc import main\n"
        "slow, *words = sys.argv[1:]\n"
        "main(words)\n"
        "sys.exit(', '.join(set(slow.split(',')) & sys.modules.keys()) or 0)"
    )
    command = [sys.executable, "-c", script, ",".join(slow), *line.split()]
    ended = subprocess.run(command, cwd=configured, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_list_of_commands_needs_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a client.yaml, `crpc --help` does not load PyYAML."""
    monkeypatch.delenv("COLLECTIVE_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    script = "import sys; from collective.clients.crpc import main; main(['--help']); sys.exit('yaml' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Ask nodes:" in ended.stdout
