"""KEY=VALUE words are read as the types in the DDL.

Examples are in cases/inputs, one a file:

{"about": one sentence, "types": {input: its type or its schema}, "words": the words,
 "required" and "$defs": keywords of the whole,
 "expected": {"data": {…}} or {"error": the whole message}}
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from support.agent_cases import load

from collective import ddl
from collective.clients.input_files import Sources
from collective.clients.inputs import ask_secrets, read_inputs
from collective.clients.node_lists import read_nodes
from collective.errors import DDLError, InvalidInput, UsageError


def taking(types: dict[str, Any], **more: Any) -> ddl.Action:
    """Return the action `agent action` with inputs of these types; `more` are keywords of the whole."""
    properties = {name: kind if isinstance(kind, dict) else {"type": kind} for name, kind in types.items()}
    body = {
        "description": "For the test",
        "input": {"type": "object", "properties": properties, **more},
        "output": {"type": "object"},
    }
    metadata = {"name": "agent", "description": "For the test", "version": "1"}
    return ddl.parse({"metadata": metadata, "actions": {"action": body}}).action("action")


@pytest.mark.parametrize("case", load("inputs", keyed="types"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    """The words become the values that the case expects, with their types, or raise its error."""
    action = taking(case["types"], **{key: case[key] for key in ("required", "$defs") if key in case})
    if "error" in case["expected"]:
        with pytest.raises((UsageError, InvalidInput)) as caught:
            read_inputs(case["words"], action)
        assert str(caught.value) == case["expected"]["error"]
        return
    data = read_inputs(case["words"], action)
    assert data == case["expected"]["data"]
    assert [type(value) for value in data.values()] == [type(value) for value in case["expected"]["data"].values()]
    assert action.check_input(data) == data


def test_a_value_is_read_from_a_file(tmp_path: Path) -> None:
    """A string is the text of the file; for other types a newline at its end does not matter."""
    for name, text in (("text", "line\n"), ("flag", "yes\n"), ("number", "-5\n"), ("list", "[1]\n")):
        (tmp_path / name).write_text(text)
    action = taking({"text": "string", "flag": "boolean", "number": "integer", "list": "array"})
    words = [f"{name}=@{tmp_path / name}" for name in action.inputs]
    assert read_inputs(words, action) == {"text": "line\n", "flag": True, "number": -5, "list": [1]}


@pytest.mark.parametrize("content", [b"a\r\nb\rc\n", b"\xef\xbb\xbfa", b"\r\n", b"a\x0cb\xe2\x80\xa8", b"a\x00b"])
def test_the_bytes_of_a_file_are_kept(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line ends of other systems, a byte order mark and control characters arrive as they are in the file."""
    path = tmp_path / "file"
    path.write_bytes(content)
    assert read_inputs([f"a=@{path}"], taking({"a": "string"}))["a"].encode() == content
    with path.open(encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert read_inputs(["a=@-"], taking({"a": "string"}))["a"].encode() == content


def test_a_value_is_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """`@-` reads standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("echo hello\n"))
    assert read_inputs(["a=@-"], taking({"a": "string"})) == {"a": "echo hello\n"}


@pytest.mark.parametrize("path", ["missing", ".", ""])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """The message names the file and the reason, and explains how to write a value that begins with '@'."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=rf"^a=@{path}: cannot be read: .* \(for a value that begins with '@' type '@@'\)$"
    ):
        read_inputs([f"a=@{path}"], taking({"a": "string"}))


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused, and the error names the first invalid byte."""
    (tmp_path / "bytes").write_bytes("grün\r\n".encode() + b"gr\xfcn")
    with pytest.raises(UsageError, match="bytes: not UTF-8 text: invalid start byte at byte 9"):
        read_inputs([f"a=@{tmp_path / 'bytes'}"], taking({"a": "string"}))


def test_an_endless_file_is_refused() -> None:
    """At most the length of a request is read from a device."""
    with pytest.raises(UsageError, match=r"^a=@/dev/zero: too long \(the limit is 1048576 bytes\)$"):
        read_inputs(["a=@/dev/zero"], taking({"a": "string"}))


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second use of standard input is refused, and the message names both."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n"))
    sources = Sources()
    with pytest.raises(
        UsageError, match=r"^b=@-: standard input is already used by a=@- \(put one of them in a file\)"
    ):
        read_inputs(["a=@-", "b=@-"], taking({"a": "string", "b": "string"}), sources)
    with pytest.raises(UsageError, match=r"^--nodes standard input: standard input is already used by a=@-"):
        read_nodes("-", sources=sources)


@pytest.mark.parametrize("kind", ["array", "object"])
def test_deep_nesting_is_refused(kind: str) -> None:
    """JSON that is nested too deeply to be parsed is an invalid value."""
    with pytest.raises(InvalidInput, match="not a JSON"):
        read_inputs(["a=" + "[" * 100_000], taking({"a": kind}))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (
            {"enum": [1, "1"]},
            '$.actions.action.input.properties.a: the values 1 and "1" are the same as text (remove one)',
        ),
        ({"enum": ["true", True, "x"]}, 'the values "true" and true are the same as text'),
        ({"oneOf": [{"const": None}, {"enum": ["null"]}]}, 'the values null and "null" are the same as text'),
    ],
)
def test_values_with_the_same_text_are_refused(schema: dict[str, Any], message: str) -> None:
    """A DDL whose values could not be given on a command line is refused when it is read."""
    with pytest.raises(DDLError) as caught:
        taking({"a": schema})
    assert message in str(caught.value)


def with_secrets() -> ddl.Action:
    """Return an action that requires two secrets and a user, and has an optional secret."""
    secret = {"type": "string", "writeOnly": True}
    body = {
        "description": "For the test",
        "input": {
            "type": "object",
            "required": ["user", "password", "pin"],
            "properties": {
                "user": {"type": "string"},
                "password": {**secret, "title": "Password"},
                "pin": {"type": "integer", "writeOnly": True},
                "token": secret,
            },
        },
        "output": {"type": "object"},
    }
    metadata = {"name": "agent", "description": "For the test", "version": "1"}
    return ddl.parse({"metadata": metadata, "actions": {"action": body}}).action("action")


def test_missing_secrets_are_prompted_for() -> None:
    """The prompt is the title of the input; only required secrets are prompted for, and answers are converted."""
    answers = {"Password: ": "hunter2", "pin: ": "4711"}
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return answers[prompt]

    asked = ask_secrets({"user": "bob"}, with_secrets(), ask)
    assert asked == {"user": "bob", "password": "hunter2", "pin": 4711}
    assert prompts == ["Password: ", "pin: "]
    assert ask_secrets(asked, with_secrets(), ask) == asked
    assert len(prompts) == 2


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("pin=hunter2", r"^pin=\*{8}: not an integer$"),
        ("password=@hunter2", r"^password=\*{8}: cannot be read: No such file or directory \(for a value"),
        ("token=@/bin/true", r"^token=\*{8}: not UTF-8 text: invalid .* at byte \d+$"),
    ],
)
def test_no_error_quotes_a_secret(word: str, message: str) -> None:
    """The value of a secret is masked in errors."""
    with pytest.raises((InvalidInput, UsageError), match=message):
        read_inputs([word], with_secrets())


def test_no_error_quotes_a_secret_that_was_prompted_for() -> None:
    """An invalid answer to a prompt is masked in the error."""
    with pytest.raises(InvalidInput, match=r"^pin=\*{8}: not an integer$"):
        ask_secrets({"user": "bob", "password": "x"}, with_secrets(), lambda _: "hunter2")
