"""`crpc keys`: which key signs requests and in whose name; `crpc keys trust` has nodes believe one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients import options
from collective.clients.render.formatting import clean_line
from collective.config import KEY_NONE, ClientConfig, default_allowed_signers
from collective.errors import ConfigError, SignatureError, UsageError
from collective.names import check_caller

if TYPE_CHECKING:
    from collective.signing.keys import PublicKey


def run(arguments: Sequence[str]) -> int:
    """Parse and do one of show (when no verb is given) and trust."""
    parser = options.Parser("crpc keys", description="Show which key signs requests, and have nodes believe keys.")
    verbs = parser.add_subparsers(dest="verb", metavar="trust")
    trust = verbs.add_parser("trust", help="add a key to a file of allowed signers")
    trust.add_argument("key", metavar="PUBKEY", help="a .pub file, or what is in one, in quotes")
    trust.add_argument("--as", required=True, dest="name", metavar="NAME", help="the caller that it signs for")
    where = default_allowed_signers()
    trust.add_argument("--file", type=Path, metavar="FILE", default=where, help="default: %(default)s")
    given = parser.parse_args(arguments)
    if given.verb == "trust":
        return _trust(given.key, given.name, given.file)
    return _show(options.client_config(given))


def _show(config: ClientConfig) -> int:
    """Print the key, the caller, and the line by which nodes believe both."""
    if config.key == KEY_NONE:
        sys.stdout.write(f"Requests are not signed: 'key: none'. They are sent as {config.caller}\n")
        return 0
    from collective.signing.allowed_signers import signer_line
    from collective.signing.caller_key import choose

    chosen = choose(config.key)
    sys.stdout.write(
        f"Key:  {chosen.public.kind} {chosen.public.fingerprint}\n"
        f"      {clean_line(chosen.where)}\n"
        f"As:   {config.caller}\n\n"
        f"Nodes believe it when their allowed_signers say so:\n\n{signer_line(config.caller, chosen.public)}"
    )
    return 0


def _trust(key: str, name: str, path: Path) -> int:
    """Append the line that lets a key sign as `name`."""
    from collective import reread
    from collective.signing import allowed_signers
    from collective.signing.allowed_signers import signer_line

    try:
        check_caller(name)
    except UsageError as error:
        raise UsageError(f"--as: {error}") from None
    public = _read(key)
    known = reread.load(path, allowed_signers.parse)
    if any(name in entry.names and not entry.authority for entry in known.entries.get(public.blob, ())):
        raise UsageError(f"{path}: {public.fingerprint} may sign as {name} already")
    try:
        text = reread.read(path) or b""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write((b"\n" if text and not text.endswith(b"\n") else b"") + signer_line(name, public).encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    sys.stdout.write(f"{path}: {public.fingerprint} may now sign as {name}\n")
    return 0


def _read(given: str) -> PublicKey:
    """Return the public key in a file, or in the words themselves."""
    from collective.signing.keys import PublicKey

    text, where = given, "PUBKEY"
    if " " not in given:
        where = given
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{given}: {getattr(error, 'strerror', None) or 'not text'}") from None
    if "PRIVATE KEY" in text:
        raise UsageError(f"{where}: holds a private key: name the file with .pub")
    try:
        return PublicKey.from_line(text)
    except SignatureError as error:
        raise UsageError(f"{where}: {error}") from None
