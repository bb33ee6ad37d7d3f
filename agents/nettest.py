"""Test the network from a node: ping, TCP connections, names and TLS certificates.

A test that fails is a failed reply with the reason in its status message, and with the data that is known.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from datetime import datetime, timezone
from typing import Any

from collective.agent import Aborted, Reply, action, time_left
from collective.agent import run as run_command

_SENT = re.compile(r"(\d+) packets transmitted, (\d+)(?: packets)? received")
_TIMES = re.compile(r"(?:rtt|round-trip) [^=]*= ([\d.]+)/([\d.]+)/([\d.]+)")
_ADDRESS = re.compile(r"^PING \S+ \(([0-9a-fA-F.:]+)\)", re.MULTILINE)


@action
def ping(host: str, count: int = 3, *, deadline: float) -> Reply:
    """Send echo requests to a host, with the command ping."""
    seconds = time_left(deadline)
    line = ["ping", "-n", "-c", str(count), "-w", str(max(1, int(seconds))), "--", host]
    done = run_command(line, timeout=seconds)
    found, times = _SENT.search(done.stdout), _TIMES.search(done.stdout)
    address = _ADDRESS.search(done.stdout)
    data: dict[str, Any] = {"host": host, "address": address[1] if address else "", "sent": 0, "received": 0}
    if found:
        data |= {"sent": int(found[1]), "received": int(found[2])}
    if times:
        data |= {"rtt_ms": float(times[2]), "rtt_min_ms": float(times[1]), "rtt_max_ms": float(times[3])}
    if done.timed_out or not data["received"]:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no echo reply")
        raise Aborted(f"{host}: {last.removeprefix('ping: ').strip()}", data=data)
    return data


@action
def connect(host: str, port: int, timeout: float = 10.0, *, deadline: float) -> Reply:
    """Open a TCP connection, and close it again."""
    began = time.monotonic()
    with _connected(host, port, min(timeout, time_left(deadline))) as connection:
        seconds = time.monotonic() - began
        return {"connected": True, "address": str(connection.getpeername()[0]), "seconds": round(seconds, 6)}


@action
def resolve(name: str) -> Reply:
    """Look up the addresses of a name, as programs on the node do."""
    began = time.monotonic()
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Aborted(f"{name}: {_reason(error)}", data={"addresses": []}) from None
    addresses = sorted({str(entry[4][0]) for entry in found})
    return {"addresses": addresses, "seconds": round(time.monotonic() - began, 6)}


@action
def tls(
    host: str,
    port: int = 443,
    server_name: str | None = None,
    min_days: int = 0,
    timeout: float = 10.0,
    *,
    deadline: float,
) -> Reply:
    """Check the certificate of a TLS server, and how long it is still valid."""
    allowed, name = min(timeout, time_left(deadline)), server_name or host
    data, problem = _certificate(_handshake(host, port, name, _unverified(), allowed)), ""
    try:
        _handshake(host, port, name, ssl.create_default_context(), allowed)
    except Aborted as error:
        problem = str(error)
    if problem:
        raise Aborted(problem, data=data | {"verified": False})
    if data["days_left"] < min_days:
        raise Aborted(f"{host}:{port}: expires in {data['days_left']} days", data=data | {"verified": True})
    return data | {"verified": True}


def _connected(host: str, port: int, timeout: float) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout)
    except (OSError, UnicodeError) as error:
        raise Aborted(f"{host}:{port}: {_reason(error)}", data={"connected": False}) from None


def _handshake(host: str, port: int, name: str, context: ssl.SSLContext, timeout: float) -> bytes:
    """Return the server's certificate, DER; raise Aborted if the connection or the verification fails."""
    with _connected(host, port, timeout) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name) as secured:
                return secured.getpeercert(binary_form=True) or b""
        except ssl.SSLCertVerificationError as error:
            raise Aborted(f"{host}:{port}: certificate not valid: {error.verify_message}") from None
        except (OSError, ValueError) as error:
            raise Aborted(f"{host}:{port}: TLS handshake failed: {_reason(error)}") from None


def _unverified() -> ssl.SSLContext:
    """Return a context that accepts every certificate: an expired one must be readable, too."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate(der: bytes) -> dict[str, Any]:
    from cryptography import x509

    try:
        found = x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise Aborted(f"the certificate cannot be read: {error}") from None
    # not_valid_after is deprecated, and older versions have no other.
    end = getattr(found, "not_valid_after_utc", None) or found.not_valid_after.replace(tzinfo=timezone.utc)
    left = end - datetime.now(timezone.utc)
    return {
        "subject": found.subject.rfc4514_string(),
        "issuer": found.issuer.rfc4514_string(),
        "not_after": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "days_left": left.days,
    }


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(getattr(error, "strerror", None) or error)
