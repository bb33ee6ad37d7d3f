"""`crpc keys`: show the key that signs requests; `crpc keys trust` adds a key to an allowed_signers file."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.input_files import STDIN, Sources
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice
from collective.config import KEY_NONE, ClientConfig, default_allowed_signers
from collective.errors import ConfigError, SignatureError, UsageError
from collective.names import check_caller
from collective.signing import NAMESPACE
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.signing.allowed_signers import AllowedSigner
    from collective.signing.caller_key import Chosen
    from collective.signing.keys import PublicKey

# Names and options before the type of a key.
_SIGNER_LINE = re.compile(r"(?!ssh-|ecdsa-|sk-)\S.*\s(ssh-|ecdsa-|sk-)")
_AUTHORITY = "cert-authority"
_LIMIT = 64 * 1024  # characters of a file with one key

_KEY = ("type", "fingerprint", "public_key", "source", "allowed_signers_line")


def make_parser() -> Parser:
    """Return the parser of `crpc keys`."""
    parser = Parser(
        "crpc keys",
        description=f"{COMMANDS['keys']}.\n\n"
        "Without a verb, show the key of this caller and the line that makes nodes trust it.",
        examples=["crpc keys", "crpc keys trust id_ed25519.pub --as alice --file allowed_signers"],
    )
    verbs = parser.add_subparsers(dest="verb", metavar="trust")
    trust = verbs.add_parser(
        "trust",
        help="add a public key to an allowed_signers file",
        examples=[
            "crpc keys trust id_ed25519.pub --as alice --file allowed_signers",
            'crpc keys trust "$(crpc keys | tail -1)" --as alice --file allowed_signers',
        ],
    )
    trust.add_argument(
        "key", metavar="PUBKEY", help="a .pub file, its content, or the line of 'crpc keys'; -: standard input"
    )
    trust.add_argument("--as", required=True, dest="name", metavar="NAME", help="the caller that the key signs for")
    default = default_allowed_signers()
    trust.add_argument("--file", type=Path, metavar="FILE", default=default, help="default: %(default)s")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Show the signing key, or run `crpc keys trust`; return the exit code."""
    args = make_parser().parse_args(arguments)
    return _trust(args) if args.verb == "trust" else _show(args, options.client_config(args))


def _show(args: argparse.Namespace, config: ClientConfig) -> int:
    """Print the key, the caller, and the allowed_signers line that makes nodes trust them."""
    if config.key == KEY_NONE:
        document: dict[str, Any] = {"caller": config.caller, "key": None}
        text = f"Requests are not signed ('key: none'); caller: {config.caller}\n"
    else:
        from collective.signing.caller_key import choose

        chosen = choose(config.key)
        document = {"caller": config.caller, "key": _key(config.caller, chosen)}
        text = _page(config.caller, chosen)
    key = document["key"] or {}
    row = [config.caller, *(key.get(name) for name in _KEY)]
    output.show(args, Output("keys", document, ("caller", *_KEY), [row], lambda: text))
    return 0


def _page(caller: str, chosen: Chosen) -> str:
    from collective.signing.allowed_signers import signer_line

    return (
        f"Key:     {chosen.public.kind} {chosen.public.fingerprint}\n"
        f"         {escape_controls(chosen.where)}\n"
        f"Caller:  {caller}\n\n"
        f"Nodes trust this key when their allowed_signers file has this line:\n\n{signer_line(caller, chosen.public)}"
    )


def _key(caller: str, chosen: Chosen) -> dict[str, str]:
    from collective.signing.allowed_signers import signer_line

    public = chosen.public
    line = signer_line(caller, public).rstrip("\n")
    return dict(zip(_KEY, (public.kind, public.fingerprint, public.line, chosen.where, line), strict=True))


def _trust(args: argparse.Namespace) -> int:
    """Append the line that lets a key sign as a caller."""
    from collective import reread
    from collective.signing import allowed_signers

    name, path = args.name, args.file
    try:
        check_caller(name)
    except UsageError as error:
        raise UsageError(f"--as: {error}") from None
    public = _read_public_key(args.key, name)
    signers = reread.load(path, allowed_signers.parse)
    if any(name in entry.names and not entry.authority for entry in signers.entries.get(public.blob, ())):
        raise UsageError(f"{path}: {public.fingerprint} can already sign as {name}")
    _append(path, allowed_signers.signer_line(name, public))
    document = {"file": str(path), "caller": name, "fingerprint": public.fingerprint}
    text = f"{path}: {public.fingerprint} can now sign as {name}\n"
    output.show(args, Output("keys-trust", document, list(document), [list(document.values())], lambda: text))
    return 0


def _append(path: Path, line: str) -> None:
    """Append a line to a file; create the file and its folder if they do not exist."""
    from collective import reread

    try:
        content = reread.read(path) or b""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write((b"\n" if content and not content.endswith(b"\n") else b"") + line.encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot write file: {error.strerror}") from None


def _read_public_key(argument: str, name: str) -> PublicKey:
    """Return the public key in an argument, in the file that it names, or in standard input; `name` will sign with it.

    The key is a line of a .pub file, or the line that `crpc keys` prints.
    """
    from collective.signing import allowed_signers
    from collective.signing.keys import PublicKey

    where, line = _one_line(argument)
    try:
        if not _SIGNER_LINE.match(line):
            return PublicKey.from_line(line)
        signer = allowed_signers.parse_line(line)
        _check_signer(signer)
    except SignatureError as error:
        raise UsageError(f"{where}: {error}") from None
    if name not in signer.names:
        notice(f"the line is for {', '.join(signer.names)}: requests must be sent as {name} (client.yaml: caller)")
    return signer.key


def _one_line(argument: str) -> tuple[str, str]:
    """Return the only line of an argument, file or standard input, and where it is from."""
    # os.path: Path.exists raises OSError for a text that is too long for a name
    is_text = any(char.isspace() for char in argument) and not os.path.exists(argument)  # noqa: PTH110
    where = "PUBKEY" if is_text else "standard input" if argument == STDIN else argument
    text = argument if is_text else Sources().read(argument, where, _LIMIT)
    if "PRIVATE KEY" in text:
        raise UsageError(f"{where}: contains a private key (use the .pub file)")
    lines = [line.strip() for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) != 1:
        raise UsageError(f"{where}: has {plural(len(lines), 'line')}, not one (use the last line of 'crpc keys')")
    return where, lines[0]


def _check_signer(signer: AllowedSigner) -> None:
    """Raise SignatureError for a line with restrictions, which the new line would not have."""
    from collective.signing.allowed_signers import matches_patterns

    if signer.authority or _AUTHORITY in signer.names:  # the form of authorized_keys has no names
        raise SignatureError("is the line of a cert-authority (add it to allowed_signers with an editor)")
    allowed = matches_patterns(NAMESPACE, signer.namespaces)  # a line without namespaces allows all
    if signer.valid_after or signer.valid_before is not None or not allowed:
        raise SignatureError("has restrictions (add the line to allowed_signers with an editor)")
