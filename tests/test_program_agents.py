"""Agents and data functions in any language: executables that are called with files, in real processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.node_server import REPLIES, call_node, described, request
from support.program_agents import (
    CHORIA_SHELL,
    MOUNTED,
    PARROT,
    REMOVER,
    TEXT,
    USAGE,
    ddl,
    load,
    make_folder,
    write_program,
)

from collective.testing import Network, memory_fleet

needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of code, DDLs and settings."""
    return make_folder(tmp_path)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the files of calls are, which must be gone afterwards; its path is short for sockets."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


class Called:
    """One node with the programs of a folder; `go` calls an action and returns the reply."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def __call__(self, agent: str, action: str = "go", *, dry_run: bool = False, **data: Any) -> Any:
        """Return the reply to one request."""
        critical = ("dry_run",) if dry_run else ()
        return call_node(self.network, request(agent, action, data=data, dry_run=dry_run, critical=critical))


@pytest.fixture
def serve(tmp_path: Path, folder: Path) -> Iterator[Any]:
    """A function that starts a node with what the folder holds then."""
    started = []

    def start() -> Called:
        opened = memory_fleet(tmp_path, {"web1": {"role": "web"}}, code=[folder], ddls=[folder])
        network = opened.__enter__()
        started.append(opened)
        network.transport.open_replies(REPLIES)
        assert network.nodes["web1"].plugins.problems == ()
        return Called(network)

    yield start
    for one in started:
        one.__exit__(None, None, None)


def test_an_agent_of_py_mco_agent_runs_unchanged(folder: Path, serve: Any) -> None:
    """An agent written for Choria in Python serves, with its settings as Choria's plugin configuration."""
    write_program(folder / "parrot", PARROT.replace("#!python", f"#!{sys.executable}"))
    settings = {"type": "object", "properties": {"prefix": TEXT}}
    document = json.loads(ddl("parrot", "echo", inputs={"message": TEXT}))
    document["actions"]["echo"]["output"]["properties"] = {"message": TEXT, "role": TEXT}
    document["actions"]["broken"] = described({}, {})
    document["settings"] = settings
    (folder / "parrot.json").write_text(json.dumps(document))
    settings_folder = folder.parent / "settings"
    settings_folder.mkdir()
    (settings_folder / "parrot.yaml").write_text("prefix: 'Polly: '\n")
    call = serve()
    reply = call("parrot", "echo", message='hello "you"\nand you')
    assert (reply.statuscode, reply.statusmsg) == (0, "OK")
    assert reply.data == {"message": 'Polly: hello "you"\nand you', "role": "web"}
    reply = call("parrot", "broken")
    assert (reply.statuscode, reply.reason) == (1, None)
    assert "no such bird" in reply.statusmsg


@needs_jq
def test_a_shell_script_of_ten_lines_is_an_agent(folder: Path, serve: Any) -> None:
    """A shell script speaks Choria's protocol, activation included."""
    assert len(CHORIA_SHELL.splitlines()) <= 10
    write_program(folder / "greeter", CHORIA_SHELL)
    (folder / "greeter.json").write_text(ddl("greeter", inputs={"name": TEXT}))
    assert serve()("greeter", name="$(id) `id`; id").data == {"text": "Hello $(id) `id`; id"}


@needs_jq
def test_a_folder_has_one_program_for_each_action(folder: Path, serve: Any) -> None:
    """A program gets two files as in MCollective; its exit code is the status code."""
    (folder / "disk").mkdir()
    write_program(folder / "disk" / "usage.sh", USAGE)
    document = json.loads(ddl("disk", "usage", inputs={"path": TEXT}))
    document["actions"]["usage"]["output"]["properties"] = {"percent": {"type": "integer"}}
    (folder / "disk.json").write_text(json.dumps(document))
    call = serve()
    assert 0 <= call("disk", "usage", path="/").data["percent"] <= 100
    reply = call("disk", "usage", path="/no/such/folder")
    assert reply.statuscode == 1
    assert reply.statusmsg.startswith("the program ended with exit code 1: ")
    assert "/no/such/folder" in reply.statusmsg


@needs_jq
def test_a_dry_run_of_a_program_changes_nothing(folder: Path, serve: Any, tmp_path: Path) -> None:
    """The request says whether it is a dry run, and outputs of a real run may be absent."""
    write_program(folder / "files" / "remove", REMOVER)
    document = json.loads(ddl("files", "remove", inputs={"path": TEXT}, dry_run=True))
    outputs = {"changed": {"type": "boolean"}, "inode": {"type": "integer"}}
    document["actions"]["remove"]["output"] = {"type": "object", "properties": outputs, "required": ["changed"]}
    (folder / "files.json").write_text(json.dumps(document))
    path = tmp_path / "$(touch gone)"
    path.touch()
    call = serve()
    assert call("files", "remove", dry_run=True, path=str(path)).data == {"changed": True}
    assert path.exists()
    assert call("files", "remove", path=str(path)).data == {"changed": True}
    assert not path.exists()


def test_a_program_of_choria_gets_a_dry_run_only_where_the_ddl_has_one(folder: Path, serve: Any) -> None:
    """The member `dry_run` is in the requests of actions that have a dry run, and in no others."""
    answer = "case $3 in *activation*) echo '{\"activate\": true}' > $2; exit;; esac"
    show = "sed -n 's/.*\"dry_run\": \\([a-z]*\\).*/\\1/p' $1 | tr -d '\\n'"
    write_program(folder / "teller", f'#!/bin/sh\n{answer}\nprintf \'{{"data": {{"text": "%s"}}}}\' "$({show})" > $2\n')
    document = json.loads(ddl("teller", "plain", "careful"))
    document["actions"]["careful"] = {**document["actions"]["careful"], "dry_run": True}
    (folder / "teller.json").write_text(json.dumps(document))
    call = serve()
    assert [call("teller", "careful", dry_run=dry).data["text"] for dry in (False, True)] == ["false", "true"]
    assert call("teller", "plain").data["text"] == ""
    assert call("teller", "plain", dry_run=True).reason == "no_dry_run"


@pytest.mark.parametrize("name", ["single", "several/go"])
def test_a_program_that_ignores_dry_runs_is_refused(folder: Path, name: str) -> None:
    """A dry run would change the node, so a program that does not contain the word is not loaded."""
    write_program(folder / name, "#!/bin/sh\necho '{\"activate\": true}' > $2\n")
    agent = name.partition("/")[0]
    (folder / f"{agent}.json").write_text(ddl(agent, dry_run=True))
    (problem,) = load(folder).problems
    assert "action 'go': 'dry_run' is true in the DDL, and the program does not contain 'dry_run'" in problem


def test_the_programs_of_the_documentation_are_those_of_these_tests() -> None:
    """The page about other languages shows the programs that are run here."""
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "agents-in-any-language.md").read_text()
    for text in (CHORIA_SHELL, USAGE, REMOVER):
        assert f"```sh\n{text}```" in page


def test_a_program_may_lack_an_interpreter(folder: Path, serve: Any) -> None:
    """MCollective's programs run without a `#!` line, because Ruby lets /bin/sh run them; so do ours."""
    (folder / "disk").mkdir()
    write_program(folder / "disk" / "usage.sh", 'echo \'{"text": "plain"}\' > "$2"\n')
    (folder / "disk.json").write_text(ddl("disk", "usage"))
    assert serve()("disk", "usage").data == {"text": "plain"}


def test_a_data_function_may_be_a_program(folder: Path, serve: Any) -> None:
    """A data function in shell answers filters and get_data."""
    write_program(folder / "data" / "mounted", MOUNTED)
    (folder / "data" / "mounted.json").write_text(
        json.dumps(
            {
                "metadata": {"name": "mounted", "description": "Whether a folder is /proc", "version": "1"},
                "query": {"type": "string", "pattern": "^/"},
                "output": {"type": "object", "properties": {"mounted": {"type": "boolean"}}},
            }
        )
    )
    call = serve()
    assert call("rpcutil", "get_data", source="mounted", query="/proc").data == {"mounted": True}
    assert call("rpcutil", "get_data", source="mounted", query="/other").data == {"mounted": False}
    assert call("rpcutil", "get_data", source="mounted", query="no").statuscode == 4


OK = '{"statuscode": 0, "statusmsg": "OK", "data": {"text": "x"}}'
# What the program does with the request, the status code and reason, and a part of the status message.
REPLIES_OF = {
    "ok": (f"echo '{OK}' > $2", 0, None, "OK"),
    "without status": ('echo \'{"data": {"text": "x"}}\' > $2', 0, None, "OK"),
    "own status": ('echo \'{"statuscode": 3, "statusmsg": "no pieces", "data": {}}\' > $2', 3, None, "no pieces"),
    "exit code": ("echo first >&2; echo 'no such disk' >&2; exit 7", 1, None, "ended with exit code 7: no such disk"),
    "signal": ("kill -9 $$", 5, "crashed", "was ended by SIGKILL"),
    "no reply": ("true", 5, "crashed", "wrote no reply (write JSON to the file named by CHORIA_EXTERNAL_REPLY)"),
    "no JSON": ("echo hello > $2", 5, "crashed", "the program's reply: not JSON: Expecting value"),
    "not UTF-8": ("printf '\\377' > $2", 5, "crashed", "the program's reply is not UTF-8"),
    "a list": ("echo '[]' > $2", 5, "crashed", 'the reply must be {"statuscode": 0'),
    "data only": ('echo \'{"text": "x"}\' > $2', 5, "crashed", "unknown member 'text' of the reply (outputs belong"),
    "status": ("echo '{\"statuscode\": 17}' > $2", 5, "crashed", "statuscode must be an integer from 0 to 5"),
    "a pipe": ("rm $2; mkfifo $2", 5, "crashed", "the program's reply is not a regular file"),
    "a link": ("rm $2; ln -s /etc/passwd $2", 5, "crashed", "the program's reply cannot be read"),
    "too much": ("head -c 9000000 /dev/zero > $2", 5, "crashed", "larger than the limit of 8388608 bytes"),
    "another output": ('echo \'{"data": {"other": "x"}}\' > $2', 5, "invalid_output", "output 'text' is missing"),
    "another type": (
        'echo \'{"data": {"text": 1}}\' > $2',
        5,
        "invalid_output",
        "output 'text': 1 is not of type 'string'",
    ),
    "prints": (f"seq 100000; echo '{OK}' > $2", 0, None, "OK"),
    "no environment": (f"[ -z \"$SECRET_OF_NODE\" ] && echo '{OK}' > $2", 0, None, "OK"),
    "private files": (f"[ $(stat -c %a $(dirname $2)) = 700 ] && echo '{OK}' > $2", 0, None, "OK"),
    "no input": (f"[ -z \"$(cat)\" ] && echo '{OK}' > $2", 0, None, "OK"),
}


def test_every_ending_of_a_program_is_one_clear_reply(
    folder: Path, serve: Any, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    """Whatever a program does, the caller gets a reply that says what happened, and no files are left behind."""
    monkeypatch.setenv("SECRET_OF_NODE", "x")
    names = {f"case{number}": name for number, name in enumerate(REPLIES_OF)}
    for agent, name in names.items():
        active = "case $3 in *activation*) echo '{\"activate\": true}' > $2; exit;; esac"
        write_program(folder / agent, f"#!/bin/sh\n{active}\n{REPLIES_OF[name][0]}\n")
        (folder / f"{agent}.json").write_text(ddl(agent))
    call = serve()
    for agent, name in names.items():
        reply, (_, statuscode, reason, message) = call(agent), REPLIES_OF[name]
        assert (name, reply.statuscode, reply.reason) == (name, statuscode, reason), reply.statusmsg
        assert message in reply.statusmsg, name
    assert list(temporary.glob("collective-*")) == []


def test_what_a_killed_program_has_printed_is_logged(folder: Path) -> None:
    """The output before the deadline is in the log, also of a program in a relative folder."""
    write_program(folder / "loop" / "go", "#!/bin/sh\necho waiting for db1; echo no answer >&2; exec sleep 600\n")
    (folder / "loop.json").write_text(ddl("loop").replace('"timeout": 5', '"timeout": 3'))
    crpc = Path(sys.executable).parent / "crpc"
    done = subprocess.run([crpc, "run-local", "loop", "go"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, "Timed out after 3 s" in done.stdout) == (2, True), done.stdout
    assert {"waiting for db1", "no answer"} <= set(done.stderr.splitlines())


def test_a_program_that_does_not_end_is_killed(folder: Path, serve: Any, tmp_path: Path, temporary: Path) -> None:
    """At the deadline the program and its children are dead, and the files of the call are gone."""
    (folder / "loop").mkdir()
    write_program(folder / "loop" / "go", f"#!/bin/sh\nsetsid sleep 600 & echo $! > {tmp_path}/pid; wait\n")
    (folder / "loop.json").write_text(ddl("loop").replace('"timeout": 5', '"timeout": 3'))
    reply = serve()("loop")
    assert (reply.statuscode, reply.reason) == (5, "timeout")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    assert list(temporary.glob("collective-*")) == []


def test_secrets_are_masked_in_what_a_program_answers(
    folder: Path, serve: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """A secret input is in the request file only; failures and the log show asterisks."""
    (folder / "login").mkdir()
    write_program(folder / "login" / "go", '#!/bin/sh\ncat "$1" >&2; exit 1\n')
    (folder / "login.json").write_text(ddl("login", inputs={"password": {"type": "string", "writeOnly": True}}))
    reply = serve()("login", password="hunter22")
    assert reply.statuscode == 1
    assert '"action": "go"' in reply.statusmsg
    assert "hunter22" not in reply.statusmsg
    assert "hunter22" not in capfd.readouterr().err


def test_a_changed_program_is_not_run_before_a_reload(folder: Path, serve: Any) -> None:
    """A file that was written or made writable after it was checked is refused, and says what to do."""
    (folder / "twice").mkdir()
    program = folder / "twice" / "go"
    write_program(program, '#!/bin/sh\necho \'{"text": "x"}\' > $2\n')
    (folder / "twice.json").write_text(ddl("twice"))
    call = serve()
    assert call("twice").statuscode == 0
    program.chmod(0o777)
    reply = call("twice")
    assert (reply.statuscode, reply.reason) == (5, "crashed")
    assert reply.statusmsg == f"{program}: changed since the node loaded it (reload the node)"


# Facts of what MCollective 2.13.0 does (spec/unit/mcollective/rpc/actionrunner_spec.rb:77-116).
MCOLLECTIVE_REPLIES = {
    "first": ('{"foo":"bar","bar":"baz"}', {"foo": "bar", "bar": "baz"}),
    "empty": ("", {}),
    "nested": ('{"foo":"bar","bar":{"one":"two"}}', {"foo": "bar", "bar": {"one": "two"}}),
}


def test_the_reply_file_of_mcollective_is_read_as_there(folder: Path, serve: Any) -> None:
    """The reply file has the outputs; an empty file has none."""
    for name, (content, _) in MCOLLECTIVE_REPLIES.items():
        write_program(folder / "runner" / name, f"#!/bin/sh\nprintf '%s' '{content}' > \"$MCOLLECTIVE_REPLY_FILE\"\n")
    document = json.loads(ddl("runner", *MCOLLECTIVE_REPLIES))
    for action in document["actions"].values():
        action["output"] = {"type": "object", "required": [], "properties": {"foo": {}, "bar": {}}}
    (folder / "runner.json").write_text(json.dumps(document))
    call = serve()
    assert {name: call("runner", name).data for name in MCOLLECTIVE_REPLIES} == {
        name: data for name, (_, data) in MCOLLECTIVE_REPLIES.items()
    }
