"""The addresses of this machine, from the kernel's tables: no request is made."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path

_LOCAL_IPV4 = re.compile(r"\|-- ([0-9.]+)\n\s*/32 host LOCAL")  # the kernel's routing table, /proc/net/fib_trie


def addresses(proc: Path = Path("/proc/net")) -> Iterator[str]:
    """Yield this machine's addresses, except loopback and link-local ones."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        found += _LOCAL_IPV4.findall((proc / "fib_trie").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        lines = (proc / "if_inet6").read_text(encoding="ascii").splitlines()
        found += [str(IPv6Address(bytes.fromhex(line.split()[0]))) for line in lines]
    for text in found:
        address = ip_address(text)
        if not address.is_loopback and not address.is_link_local:
            yield text
