"""Targets for files that operators and authors write: allowed_signers, revoked_keys, DDLs and policies."""

from __future__ import annotations

import atexit
import json
import tempfile
from pathlib import Path
from typing import Any

from collective import ddl
from collective.errors import ConfigError, DDLError, RPCError, SignatureError
from collective.policy import KnownNode, Question, parsing
from collective.signing import allowed_signers, revoked_keys
from fuzz import Target, refusing
from fuzz.mutations import either, in_json, in_text
from fuzz.of_signatures import AUTHORITY, KEYS, LINES

_NODE = KnownNode({"role": "web", "cpus": 4}, frozenset({"apache"}), "web1.my.net", frozenset({"package"}))
_DATA: tuple[dict[str, Any], ...] = ({}, {"package": "zsh"}, {"package": ["", None, -1, 1e300], "force": True})

_FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")
atexit.register(_FOLDER.cleanup)


def allowed(data: bytes) -> None:
    """Parse allowed_signers, and look up a signer."""
    with refusing(ConfigError):
        signers = allowed_signers.parse(data.decode("utf-8", errors="replace"), Path("file"))
        with refusing(SignatureError):
            signers.signer(KEYS["alice"].blob, "alice", 1000.0)


def revoked(data: bytes) -> None:
    """Parse revoked_keys."""
    with refusing(ConfigError):
        revoked_keys.parse(data.decode("utf-8", errors="replace"), Path("file"))


def description(data: bytes) -> None:
    """Parse a DDL, and check inputs and outputs with it."""
    path = Path(_FOLDER.name) / "hammer.json"
    path.write_bytes(data)
    with refusing(DDLError):
        for action in ddl.read(path).actions.values():
            for given in _DATA:
                with refusing(RPCError):
                    action.masked(action.check_input(given))
                with refusing(RPCError):
                    action.check_output(given)


def policy(data: bytes) -> None:
    """Parse a policy, and decide requests with it."""
    try:
        read = parsing.parse(data.decode("utf-8", errors="replace"), "policy.yaml")
    except ConfigError as refusal:
        for line in refusal.problems:
            with refusing(ConfigError):
                raise ConfigError(line) from None
        return
    for given in _DATA:
        assert read.decide(Question("alice@ops.my.net", "package", "status", given, _NODE)).why


SIGNERS = f"""\
# people
alice,al namespaces="collective,git",valid-after="20200101",valid-before="20991231Z" {KEYS["alice"].public.line} her
*@ops.my.net,!eve@* cert-authority,namespaces="*" {AUTHORITY.public.line}
"a b" ssh-ed25519 {KEYS["alice"].public.line.split()[1]}
"""
_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519-cert-v01@openssh.com", "sk-ssh-ed25519@o")
_OPTIONS = ('namespaces="', 'valid-after="', 'valid-before="2', "cert-authority", "20240229", "235960", "Z", '\\"')
_CHARS = ('"', ",", "*", "?", "!", "[", "\\", "#", "=", "\t", "\r", "\x85", "\u2028", "AAAA", "SHA256:")

DDL: dict[str, Any] = {
    "metadata": {"name": "hammer", "description": "Hits", "version": "1.0", "timeout": 5},
    "actions": {
        "swing": {
            "description": "Swing it",
            "display": "failed",
            "idempotent": True,
            "input": {
                "type": "object",
                "required": ["package"],
                "additionalProperties": False,
                "properties": {
                    "package": {"title": "P", "type": "string", "pattern": "^[a-z]+$", "maxLength": 50},
                    "force": {"anyOf": [{"type": "boolean"}, {"$ref": "#/$defs/n"}], "default": 3, "writeOnly": True},
                },
                "$defs": {"n": {"type": "integer", "minimum": 1, "multipleOf": 0.5, "enum": [1, 3]}},
            },
            "output": {"type": "object", "properties": {"hits": {"title": "Hits", "type": "integer", "default": 0}}},
            "aggregate": [{"function": "summary", "output": "hits", "labels": {"0": "none"}}],
        }
    },
}
_SCHEMA = (
    *("$id", "$schema", "$ref", "$dynamicRef", "$anchor", "$dynamicAnchor", "$vocabulary", "$defs", "#/$defs/n", "#"),
    *("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "properties", "patternProperties", "propertyNames"),
    *("items", "prefixItems", "contains", "uniqueItems", "unevaluatedProperties", "dependentSchemas", "const", "enum"),
    *("type", "integer", "object", "array", "minimum", "multipleOf", "pattern", "format", "default", "required"),
    *("http://example.com/x", "https://json-schema.org/draft/2020-12/schema", "urn:x", "//[", "%"),
)

POLICY = """\
groups: &g
  operators: ["*@ops.my.net"]
rules:
  - {name: look, agents: [rpcutil, data]}
  - name: operators
    callers: [group:operators, "bob"]
    agents: [package, "serv*"]
    facts: [role=web, cpus>=2]
    classes: [/^ap/]
    select: role=web and not (db or os.name=~/^Deb/)
    inputs: {required: [package], properties: {package: {type: string, pattern: "^[a-z]+$"}}}
    allow: false
"""
_YAML = (
    *("&a", "*a", "<<:", "!!bool", "!!int", "!!float", "!!binary", "!!set", "!!omap", "!!python/none", "!x", "|", ">-"),
    *("---", "...", "%YAML 1.1", "%TAG ! x", "? ", ": ", "- ", "{", "}", "[", "]", ",", "'", '"', "#", "~", "@", "\t"),
    *("1:59:59", "0x1F", "0o7", ".inf", ".nan", "-.INF", "2024-01-01", "1e400", "yes", "\x00", "\ufeff", "\x85"),
)
_KEYS = ("groups", "rules", "name", "callers", "agents", "actions", "facts", "classes", "select", "inputs", "allow")

ALLOWED_SIGNERS = Target("allowed_signers", allowed, [SIGNERS.encode()], in_text(*_TYPES, *_OPTIONS, *_CHARS))
REVOKED_KEYS = Target("revoked_keys", revoked, [LINES.encode(), b"SHA256:" + b"A" * 43], in_text(*_TYPES, *_CHARS))
DESCRIPTION = Target("ddl", description, [json.dumps(DDL).encode()], in_json(*_SCHEMA))
RULES = Target(
    "policy",
    policy,
    [POLICY.encode(), json.dumps({"rules": [{"inputs": DDL["actions"]["swing"]["input"]}]}).encode()],
    either(in_json(*_KEYS, *_SCHEMA), in_text(*_YAML, *_KEYS, *_SCHEMA)),
)
