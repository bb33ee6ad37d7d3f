"""Call an executable in place of a Python function: an agent or data function in any language.

    request file ─► PROGRAM REQUEST REPLY PROTOCOL ─► reply file ─► ActionResult

Two conventions:

    CHORIA   one program for all actions, called with Choria's external agent protocol, version 1
    FILES    one program for each action, called with two files as MCollective's `implemented_by` does

The program has an environment of its own and a private folder for its files, which the monitor removes. What it
prints goes to the node's log at once. The fork server preloads this module, so it imports little.
"""

from __future__ import annotations

import io
import json
import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collective import bounded_json
from collective.agent import Completed, run
from collective.errors import Failed, MessageError
from collective.masking import hide, hide_in
from collective.node.actions.job import CRASHED, LARGEST_RESULT, ActionJob, ActionResult, FileState, ProgramCall
from collective.processes import signal_name

CHORIA, FILES = "choria", "files"
_PREFIX = "io.choria.mcorpc.external.v1."
_REQUEST, _ACTIVATION = f"{_PREFIX}rpc_request", f"{_PREFIX}activation_request"
_SCHEMAS = "https://choria.io/schemas/mcorpc/external/v1"
ACTIVATION_SECONDS = 2.0  # as in Choria
_ACTIVATION_OUTPUT = 64 * 1024  # bytes of each output stream
_QUOTED = 300  # characters of standard error in a message
_QUOTED_BYTES = 64 * 1024  # of the end of standard error, in which the last line is looked for
_STATUS_CODES = range(6)


class _LoggedStream(io.BytesIO):
    """Passes what a program prints on to standard error, which is the node's log, as soon as it is there.

    So the log has the output of a program that is killed at its deadline, too. `end` has the last bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.end = b""

    def write(self, chunk: Any) -> int:
        """Pass a part on; the monitor bounds what comes into the log."""
        self.end = (self.end + bytes(chunk))[-_QUOTED_BYTES:]
        with open(2, "wb", buffering=0, closefd=False) as log:
            log.write(chunk)
        return len(chunk)


def state(path: Path) -> FileState:
    """Return what changes when a file is written, replaced or given other permissions. Raises OSError."""
    found = path.stat()
    return (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)


def call_program(job: ActionJob, call: ProgramCall, folder: Path) -> ActionResult:
    """Run the program of a job and return how its action ended. `folder` is created for its files.

    Raises Failed if the program has changed since it was loaded, or does not keep to the protocol.
    """
    program = Path(job.path)
    if state(program) != call.file:
        raise Failed(f"{program}: changed since the node loaded it (reload the node)", reason=CRASHED)
    folder.mkdir(mode=0o700)
    done = _run(program, folder, call, job)
    result = _choria_result(program, done, folder) if call.convention == CHORIA else _files_result(done, folder)
    if result.statuscode == 0:
        return result
    return ActionResult(
        result.statuscode, hide(result.statusmsg, job.secrets), result.reason, hide_in(result.data, job.secrets)
    )


def activates(program: Path, agent: str, settings: Mapping[str, Any], folder: Path) -> bool:
    """Ask a program whether its agent is to be active on this node. Raises Failed with the reason it cannot tell."""
    document = {"$schema": f"{_SCHEMAS}/activation_request.json", "protocol": _ACTIVATION, "agent": agent}
    variables = _write_files(folder, document, settings, {}, agent)
    variables["CHORIA_EXTERNAL_PROTOCOL"] = _ACTIVATION
    command = [str(program), str(folder / "request"), str(folder / "reply"), _ACTIVATION]
    done = run(
        command, timeout=ACTIVATION_SECONDS, cwd=folder, env=variables, user=_own_user(), keep=_ACTIVATION_OUTPUT
    )
    if done.timed_out:
        raise Failed(f"no answer to the activation request within {ACTIVATION_SECONDS:.0f} s")
    if done.exitcode:
        raise Failed(f"the activation request ended with {_ending(done)}")
    reply = _reply(folder / "reply")
    activate = reply.get("activate") if isinstance(reply, dict) else None
    if not isinstance(activate, bool):
        raise Failed('the answer to the activation request must be {"activate": true} or {"activate": false}')
    return activate


def _run(program: Path, folder: Path, call: ProgramCall, job: ActionJob) -> Completed:
    document = {**call.request, "action": job.action, "data": job.data}
    if call.convention == CHORIA:
        document = {"$schema": f"{_SCHEMAS}/rpc_request.json", "protocol": _REQUEST, **document}
    else:  # the names that MCollective uses for the same
        document |= {"uniqid": call.request.get("requestid"), "sender": call.request.get("senderid")}
    variables = _write_files(folder, document, call.settings, call.facts, str(call.request["agent"]))
    command = [str(program), str(folder / "request"), str(folder / "reply")]
    if call.convention == CHORIA:
        command.append(_REQUEST)
        variables["CHORIA_EXTERNAL_PROTOCOL"] = _REQUEST
    streams = {"stdout": _LoggedStream(), "stderr": _LoggedStream()}
    done = run(command, cwd=folder, env=variables, user=_own_user(), keep=0, store=streams.__getitem__)
    return done._replace(stderr=streams["stderr"].end.decode(errors="replace"))


def _write_files(
    folder: Path, request: Mapping[str, Any], settings: Mapping[str, Any], facts: Mapping[str, Any], agent: str
) -> dict[str, str]:
    """Write the files of one call, and return the environment variables that name them."""
    (folder / "request").write_text(json.dumps(request), encoding="utf-8")
    (folder / "reply").touch()
    (folder / "facts").write_text(json.dumps(facts), encoding="utf-8")
    (folder / agent).with_suffix(".cfg").write_text(_config(settings), encoding="utf-8")
    names = {"REQUEST": folder / "request", "REPLY": folder / "reply", "FACTS": folder / "facts"}
    variables = {f"CHORIA_EXTERNAL_{name}": str(path) for name, path in names.items()}
    variables["CHORIA_EXTERNAL_CONFIG"] = str((folder / agent).with_suffix(".cfg"))
    variables["MCOLLECTIVE_REQUEST_FILE"] = str(folder / "request")
    variables["MCOLLECTIVE_REPLY_FILE"] = str(folder / "reply")
    return variables


def _config(settings: Mapping[str, Any]) -> str:
    """Return settings in the form of Choria's plugin configuration: `key = value`, one line each.

    What is not a string of one line is written as JSON.
    """
    lines = []
    for key, value in settings.items():
        plain = isinstance(value, str) and value == value.lstrip() and value.isprintable()
        lines.append(f"{key} = {value if plain else json.dumps(value)}\n")
    return "".join(lines)


def _own_user() -> str | None:
    """Return the name of this process's user: with a name, `run` passes on nothing of the node's environment."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return None


def _ending(done: Completed) -> str:
    """Return how a program ended, with the last line of its standard error."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    ending = signal_name(-done.exitcode) if done.exitcode < 0 else f"exit code {done.exitcode}"
    return f"{ending}: {lines[-1][:_QUOTED]}" if lines else ending


def _reply(path: Path) -> Any:
    """Return the JSON document in a reply file, None if it is empty. Raises Failed for what is not a reply."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Failed(f"the program's reply cannot be read: {error.strerror}", reason=CRASHED) from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Failed("the program's reply is not a regular file", reason=CRASHED)
        content = file.read(LARGEST_RESULT + 1)
    if len(content) > LARGEST_RESULT:
        raise Failed(f"the program's reply is larger than the limit of {LARGEST_RESULT} bytes", reason=CRASHED)
    try:
        text = content.decode()
        return bounded_json.parse(text, "the program's reply") if text.strip() else None
    except UnicodeDecodeError:
        raise Failed("the program's reply is not UTF-8", reason=CRASHED) from None
    except MessageError as error:
        raise Failed(str(error), reason=CRASHED) from None


def _choria_result(program: Path, done: Completed, folder: Path) -> ActionResult:
    if done.exitcode < 0:
        raise Failed(f"{program.name} was ended by {_ending(done)}", reason=CRASHED)
    if done.exitcode:
        return ActionResult(1, f"{program.name} ended with {_ending(done)}")
    reply = _reply(folder / "reply")
    if reply is None:
        raise Failed(
            f"{program.name} wrote no reply (write JSON to the file named by CHORIA_EXTERNAL_REPLY)", reason=CRASHED
        )
    if not isinstance(reply, dict) or not isinstance(reply.get("data", {}), dict | None):
        raise Failed('the reply must be {"statuscode": 0, "statusmsg": "OK", "data": {…}}', reason=CRASHED)
    code, message = reply.get("statuscode", 0), reply.get("statusmsg", "")
    if type(code) is not int or code not in _STATUS_CODES or not isinstance(message, str):
        raise Failed("the reply's statuscode must be an integer from 0 to 5, its statusmsg a string", reason=CRASHED)
    unknown = sorted(reply.keys() - {"statuscode", "statusmsg", "data", "disableresponse"})
    if unknown:
        raise Failed(f"unknown member '{unknown[0]}' of the reply (outputs belong into 'data')", reason=CRASHED)
    return ActionResult(code, message or ("OK" if code == 0 else f"status code {code}"), None, reply.get("data") or {})


def _files_result(done: Completed, folder: Path) -> ActionResult:
    """Return the result of a program that writes only its outputs; its exit code is the status code."""
    if done.exitcode < 0:
        raise Failed(f"the program was ended by {_ending(done)}", reason=CRASHED)
    data = _reply(folder / "reply")
    if not isinstance(data, dict | None):
        raise Failed("the program's reply must be a JSON object with the outputs", reason=CRASHED)
    if done.exitcode == 0:
        return ActionResult(data=data or {})
    code = done.exitcode if done.exitcode in _STATUS_CODES else 5
    return ActionResult(code, f"the program ended with {_ending(done)}", None, data or {})
