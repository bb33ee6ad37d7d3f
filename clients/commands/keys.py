"""`crpc keys`: show the key that signs requests; `crpc keys trust` adds a key to an allowed_signers file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import options
from collective.clients.render.formatting import clean_line, write_json
from collective.config import KEY_NONE, ClientConfig, default_allowed_signers
from collective.errors import ConfigError, SignatureError, UsageError
from collective.names import check_caller

if TYPE_CHECKING:
    from collective.signing.caller_key import Chosen
    from collective.signing.keys import PublicKey


def run(arguments: Sequence[str]) -> int:
    """Show the signing key, or run `crpc keys trust`; return the exit code."""
    args = _parser().parse_args(arguments)
    if args.verb == "trust":
        return _trust(args.key, args.name, args.file, as_json=args.json)
    return _show(options.client_config(args), as_json=args.json)


def _parser() -> options.Parser:
    parser = options.Parser("crpc keys", description="Show the key that signs requests, and make nodes trust keys.")
    options.add_json(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="trust")
    trust = verbs.add_parser("trust", help="add a public key to an allowed_signers file")
    trust.add_argument("key", metavar="PUBKEY", help="a .pub file, or its content in quotes")
    trust.add_argument("--as", required=True, dest="name", metavar="NAME", help="the caller that the key signs for")
    default = default_allowed_signers()
    trust.add_argument("--file", type=Path, metavar="FILE", default=default, help="default: %(default)s")
    options.add_json(trust)
    return parser


def _show(config: ClientConfig, *, as_json: bool) -> int:
    """Print the key, the caller, and the allowed_signers line that makes nodes trust them."""
    if config.key == KEY_NONE:
        if as_json:
            write_json({"caller": config.caller, "key": None})
        else:
            sys.stdout.write(f"Requests are not signed ('key: none'); caller: {config.caller}\n")
        return 0
    from collective.signing.caller_key import choose

    chosen = choose(config.key)
    if as_json:
        write_json(_document(config.caller, chosen))
    else:
        sys.stdout.write(_page(config.caller, chosen))
    return 0


def _page(caller: str, chosen: Chosen) -> str:
    from collective.signing.allowed_signers import signer_line

    return (
        f"Key:     {chosen.public.kind} {chosen.public.fingerprint}\n"
        f"         {clean_line(chosen.where)}\n"
        f"Caller:  {caller}\n\n"
        f"Nodes trust this key when their allowed_signers file has this line:\n\n{signer_line(caller, chosen.public)}"
    )


def _document(caller: str, chosen: Chosen) -> dict[str, Any]:
    from collective.signing.allowed_signers import signer_line

    return {
        "caller": caller,
        "key": {
            "type": chosen.public.kind,
            "fingerprint": chosen.public.fingerprint,
            "public_key": chosen.public.line,
            "source": chosen.where,
            "allowed_signers_line": signer_line(caller, chosen.public).rstrip("\n"),
        },
    }


def _trust(key: str, name: str, path: Path, *, as_json: bool) -> int:
    """Append the line that lets a key sign as caller `name`."""
    from collective import reread
    from collective.signing import allowed_signers

    try:
        check_caller(name)
    except UsageError as error:
        raise UsageError(f"--as {error}") from None
    public = _read_public_key(key)
    signers = reread.load(path, allowed_signers.parse)
    if any(name in entry.names and not entry.authority for entry in signers.entries.get(public.blob, ())):
        raise UsageError(f"{path}: {public.fingerprint} can already sign as {name}")
    _append(path, allowed_signers.signer_line(name, public))
    if as_json:
        write_json({"file": str(path), "caller": name, "fingerprint": public.fingerprint})
    else:
        sys.stdout.write(f"{path}: {public.fingerprint} can now sign as {name}\n")
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
