"""What lies on the caller's own machine: configuration, DDLs, state and the key that signs."""

from __future__ import annotations

import platform
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from collective import __version__
from collective.catalog import Catalog
from collective.config import KEY_NONE, ClientConfig, client_file, load_client
from collective.errors import CollectiveError, ConfigError, SignatureError
from collective.fleet import reply_slots
from collective.fleet.doctor.findings import Check, Finding, faulty
from collective.fleet.known_nodes import KnownNodes
from collective.signing import SignPayload, sshsig, unsigned
from collective.signing.caller_key import Chosen, ask_terminal, choose
from collective.signing.certificates import Certificate, is_certificate
from collective.signing.key_files import Ask


def version() -> Check[None]:
    """Say what runs here."""
    yield Finding("version", f"crpc {__version__}, Python {platform.python_version()}")


def configuration(path: Path | None, target: str | None) -> Check[ClientConfig]:
    """Read the configuration, for the collective `target` when there is one."""
    file = path or client_file()
    config = load_client(file)
    config = replace(config, collective=config.known_collective(target))
    yield Finding("configuration", f"{file}: collective {config.collective}, caller {config.caller}")
    return config


def ddls(config: ClientConfig) -> Check[Catalog]:
    """Read every DDL that a call could be about."""
    for folder in config.ddls:
        if not folder.is_dir() and folder not in ClientConfig(config.collective).ddls:
            yield Finding("DDLs", f"ddls: {folder}: there is no such folder", warning=True)
    catalog = Catalog(config.ddls)
    wrong = list(_unreadable(catalog))
    yield from (faulty("DDLs", error) for error in wrong)
    if not wrong:
        yield Finding("DDLs", f"{len(catalog.paths)} agents, {len(catalog.data_paths)} data functions")
    return catalog


def _unreadable(catalog: Catalog) -> Iterator[CollectiveError]:
    for read, names in ((catalog.ddl, catalog.paths), (catalog.data_function, catalog.data_paths)):
        for name in names:
            try:
                read(name)
            except CollectiveError as error:
                yield error


def state(config: ClientConfig) -> Check[KnownNodes]:
    """Take a reply slot as every call does, and read which nodes are known. What is learnt here is not kept."""
    reply_slots.take(config.state, config.collective).release()
    known = KnownNodes(config.state, config.collective, keep=False)
    yield Finding("state", f"{config.state}: can be written, {len(known.keys)} nodes are known by their keys")
    return known


def key(config: ClientConfig, ask: Ask = ask_terminal) -> Check[SignPayload]:
    """Find the key that signs; `ask` asks for its passphrase."""
    if config.key == KEY_NONE:
        yield Finding("key", "'key: none': requests are not signed: only nodes of tests take them", warning=True)
        return unsigned
    asked: list[Path] = []
    chosen = choose(config.key, _noting(asked, ask))
    _check_certificate(chosen, config.caller)
    for path in asked[:1]:
        yield Finding("key", f"{path}: every call asks for its passphrase: 'ssh-add {path}' keeps it", warning=True)
    yield _exposed(chosen) or Finding(
        "key", f"{chosen.public.kind} {chosen.public.fingerprint} in {chosen.where}, signs as {config.caller}"
    )
    return sshsig.signing_with(chosen.signer)


def _noting(asked: list[Path], ask: Ask) -> Ask:
    """Return what asks for a passphrase, and notes for which file."""

    def asking(path: Path) -> str | None:
        asked.append(path)
        return ask(path)

    return asking


def _check_certificate(chosen: Chosen, caller: str) -> None:
    """Raise SignatureError when the key is a certificate by which nodes would not believe the caller."""
    if not is_certificate(chosen.signer.blob):
        return
    try:
        Certificate.read(chosen.signer.blob).check(caller, time.time())
    except SignatureError as error:
        raise SignatureError(f"{chosen.where}: {error}: have a new one issued, or set 'caller'") from None


def _exposed(chosen: Chosen) -> Finding | None:
    """Return the fault that others may read the private key, as ssh finds it too."""
    mode = stat.S_IMODE(chosen.file.stat().st_mode) if chosen.file else 0
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    return faulty("key", ConfigError(f"{chosen.file}: others may read this private key: chmod 600 {chosen.file}"))
