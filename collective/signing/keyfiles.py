"""Private keys in files: OpenSSH's format, and PEM; with a passphrase or without."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collective.errors import ConfigError, SignatureError
from collective.signing.keys import KINDS, PrivateKey

# Return the passphrase of a key file, or None to give up.
Ask = Callable[[Path], "str | None"]

_TRIES = 3  # as ssh-add
_KINDS = (Ed25519PrivateKey, ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)


def load(path: Path, ask: Ask = lambda _: None) -> PrivateKey:
    """Read a private key: OpenSSH's format, or PEM. `ask` is asked for a passphrase when there is one.

    Raise ConfigError naming the file.
    """
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    key = _decrypted(path, data, ask)
    if not isinstance(key, _KINDS):
        raise ConfigError(f"{path}: holds a key that cannot be used: there are {', '.join(KINDS)}")
    private = PrivateKey(key)
    try:
        private.public  # noqa: B018 - a weak key is refused here, with the file's name
    except SignatureError as fault:
        raise ConfigError(f"{path}: {fault}") from None
    return private


def _decrypted(path: Path, data: bytes, ask: Ask) -> object:
    fault = "it has a passphrase, and nobody can be asked for it: use the ssh agent"
    try:
        return _parse(data, None)
    except TypeError:  # cryptography: it is encrypted
        pass
    except (ValueError, UnsupportedAlgorithm) as wrong:
        if "password-protected" not in str(wrong):  # how cryptography before version 45 reports encrypted OpenSSH keys
            raise ConfigError(f"{path}: no private key that can be read: {_one_line(wrong)}") from None
    for _ in range(_TRIES):
        passphrase = ask(path)
        if passphrase is None:
            break
        try:
            return _parse(data, passphrase.encode())
        except (ValueError, TypeError):
            fault = "the passphrase is wrong"
        except UnsupportedAlgorithm as wrong:
            fault = _one_line(wrong)
            break
    raise ConfigError(f"{path}: {fault}")


def _parse(data: bytes, passphrase: bytes | None) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of DSA keys, which `load` refuses in its own words
        if b"-BEGIN OPENSSH PRIVATE KEY-" in data:
            return serialization.load_ssh_private_key(data, passphrase)
        return serialization.load_pem_private_key(data, passphrase)


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]


def write_new(path: Path, text: bytes) -> None:
    """Write a file that nobody else may read, unless it exists; two that write it at once agree on one."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink()
