"""`crpc keys`: show the key that signs requests; `crpc keys trust` adds a key to an allowed_signers file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.config import KEY_NONE, ClientConfig, default_allowed_signers
from collective.errors import ConfigError, SignatureError, UsageError
from collective.names import check_caller
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.signing.caller_key import Chosen
    from collective.signing.keys import PublicKey

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
        examples=["crpc keys trust id_ed25519.pub --as alice --file allowed_signers"],
    )
    trust.add_argument("key", metavar="PUBKEY", help="a .pub file, or its content in quotes")
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
    public = _read_public_key(args.key)
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


def _read_public_key(argument: str) -> PublicKey:
    """Return the public key that an argument contains, or that is in the file it names."""
    from collective.signing.keys import PublicKey

    text, where = argument, "PUBKEY"
    if " " not in argument:
        where = argument
        try:
            text = Path(argument).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{argument}: cannot read file: {getattr(error, 'strerror', None) or 'not UTF-8 text'}"
            ) from None
    if "PRIVATE KEY" in text:
        raise UsageError(f"{where}: contains a private key (use the .pub file)")
    try:
        return PublicKey.from_line(text)
    except SignatureError as error:
        raise UsageError(f"{where}: {error}") from None
