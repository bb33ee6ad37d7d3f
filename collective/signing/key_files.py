"""Private key files in OpenSSH format or PEM, with or without a passphrase."""

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

# Return the passphrase of a key file; None to cancel.
Ask = Callable[[Path], "str | None"]

_ATTEMPTS = 3  # as in ssh-add
_KINDS = (Ed25519PrivateKey, ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)


def load(path: Path, ask: Ask = lambda _: None) -> PrivateKey:
    """Return the private key in a file. `ask` is called for the passphrase of an encrypted key.

    Raise ConfigError naming the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    key = _decrypted(path, data, ask)
    if not isinstance(key, _KINDS):
        raise ConfigError(f"{path}: unsupported key type (supported: {', '.join(KINDS)})")
    private = PrivateKey(key)
    try:
        private.public  # noqa: B018 - rejects a weak key here, where the file name is known
    except SignatureError as error:
        raise ConfigError(f"{path}: {error}") from None
    return private


def _decrypted(path: Path, data: bytes, ask: Ask) -> object:
    error = "the key has a passphrase, and there is no terminal to prompt for it (use the ssh agent)"
    try:
        return _parse(data, None)
    except TypeError:  # cryptography: it is encrypted
        pass
    except (ValueError, UnsupportedAlgorithm) as exc:
        if "password-protected" not in str(exc):  # cryptography before version 45 reports encrypted OpenSSH keys so
            raise ConfigError(f"{path}: not a valid private key: {_one_line(exc)}") from None
    for _ in range(_ATTEMPTS):
        passphrase = ask(path)
        if passphrase is None:
            break
        try:
            return _parse(data, passphrase.encode())
        except (ValueError, TypeError):
            error = "the passphrase is wrong"
        except UnsupportedAlgorithm as exc:
            error = _one_line(exc)
            break
    raise ConfigError(f"{path}: {error}")


def _parse(data: bytes, passphrase: bytes | None) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about DSA keys, which `load` rejects
        if b"-BEGIN OPENSSH PRIVATE KEY-" in data:
            return serialization.load_ssh_private_key(data, passphrase)
        return serialization.load_pem_private_key(data, passphrase)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def write_new(path: Path, text: bytes) -> None:
    """Create a file that only its owner can read. An existing file stays, also if two processes create it at once."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        temporary.unlink()
