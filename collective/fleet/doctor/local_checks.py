"""Checks on the caller's machine: configuration, DDLs, state and signing key."""

from __future__ import annotations

import platform
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from collective.catalog import Catalog
from collective.config import KEY_NONE, ClientConfig, client_file, load_client
from collective.errors import CollectiveError, ConfigError, SignatureError
from collective.fleet import reply_slots
from collective.fleet.doctor.findings import Check, Finding, failed
from collective.fleet.known_nodes import KnownNodes
from collective.foreign_ddl import RUBY
from collective.signing import SignPayload, sshsig, unsigned
from collective.signing.caller_key import Chosen, ask_terminal, choose
from collective.signing.certificates import Certificate, is_certificate
from collective.signing.key_files import Ask
from collective.text import plural
from collective.version import __version__


def version() -> Check[None]:
    """Report the versions."""
    yield Finding("version", f"crpc {__version__}, Python {platform.python_version()}")


def configuration(path: Path | None, target: str | None) -> Check[ClientConfig]:
    """Read the configuration; `target` is another collective than the configured one."""
    file = path or client_file()
    config = load_client(file, target)
    yield Finding("configuration", f"{file}: collective {config.collective}, caller {config.caller}")
    return config


def ddls(config: ClientConfig) -> Check[Catalog]:
    """Read all DDLs."""
    for folder in config.ddls:
        if not folder.is_dir() and folder not in ClientConfig(config.collective).ddls:
            yield Finding("DDLs", f"ddls: {folder}: folder does not exist", warning=True)
    catalog = Catalog(config.ddls)
    for path in catalog.ruby_paths.values():
        yield Finding("DDLs", f"{path}: {RUBY}", warning=True)
    errors = list(_errors(catalog))
    yield from (failed("DDLs", error) for error in errors)
    if not errors:
        yield Finding(
            "DDLs", f"{plural(len(catalog.paths), 'agent')}, {plural(len(catalog.data_paths), 'data function')}"
        )
    return catalog


def _errors(catalog: Catalog) -> Iterator[CollectiveError]:
    for read, names in ((catalog.ddl, catalog.paths), (catalog.data_function, catalog.data_paths)):
        for name in names:
            try:
                read(name)
            except CollectiveError as error:
                yield error


def state(config: ClientConfig) -> Check[KnownNodes]:
    """Lock a reply slot as every call does, and read the known nodes, without changing them."""
    reply_slots.take(config.state, config.collective).release()
    known = KnownNodes(config.state, config.collective, keep=False)
    yield Finding("state", f"{config.state}: writable, {plural(len(known.keys), 'known node')}")
    return known


def key(config: ClientConfig, ask: Ask = ask_terminal) -> Check[SignPayload]:
    """Find the signing key; `ask` reads its passphrase."""
    if config.key == KEY_NONE:
        yield Finding("key", "'key: none': requests are not signed (nodes accept them only in tests)", warning=True)
        return unsigned
    asked: list[Path] = []
    chosen = choose(config.key, _noting(asked, ask))
    _check_certificate(chosen, config.caller)
    for path in asked[:1]:
        yield Finding("key", f"{path}: every call asks for its passphrase (avoid: 'ssh-add {path}')", warning=True)
    yield _exposed(chosen) or Finding(
        "key", f"{chosen.public.kind} {chosen.public.fingerprint} in {chosen.where}, signs as {config.caller}"
    )
    return sshsig.signing_with(chosen.signer)


def _noting(asked: list[Path], ask: Ask) -> Ask:
    """Return a function that reads a passphrase, and adds the file to `asked`."""

    def asking(path: Path) -> str | None:
        asked.append(path)
        return ask(path)

    return asking


def _check_certificate(chosen: Chosen, caller: str) -> None:
    """Raise SignatureError when the key is a certificate that nodes would reject for this caller."""
    if not is_certificate(chosen.signer.blob):
        return
    try:
        Certificate.read(chosen.signer.blob).check(caller, time.time())
    except SignatureError as error:
        raise SignatureError(f"{chosen.where}: {error} (get a new certificate, or set 'caller')") from None


def _exposed(chosen: Chosen) -> Finding | None:
    """Return an error when other users can read the private key, which ssh rejects too."""
    mode = stat.S_IMODE(chosen.file.stat().st_mode) if chosen.file else 0
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    return failed("key", ConfigError(f"{chosen.file}: other users can read this private key (chmod 600 {chosen.file})"))
