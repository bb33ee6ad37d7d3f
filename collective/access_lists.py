"""Read who can write to a file by its access control list (acl(5)), beside its owner and its group.

The mode shows only that there may be such users: with a list, its bits of the group are the mask of all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_ATTRIBUTE = "system.posix_acl_access"
# <linux/posix_acl_xattr.h>: a version of four bytes, then entries of eight: kind, permissions, number
_HEADER, _ENTRY = 4, 8
_USER, _GROUP, _MASK = 0x02, 0x08, 0x10
_WRITE = 2


def writers(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the users and groups that the list of a file lets write, each as `user` or `group` and a number."""
    try:
        content = os.getxattr(path, _ATTRIBUTE)
    except OSError:  # no list, or a file system without them
        return
    entries = [content[place : place + _ENTRY] for place in range(_HEADER, len(content), _ENTRY)]
    found = [tuple(int.from_bytes(entry[a:b], "little") for a, b in ((0, 2), (2, 4), (4, 8))) for entry in entries]
    mask = next((permissions for kind, permissions, _ in found if kind == _MASK), _WRITE)
    for kind, permissions, number in found:
        if kind in (_USER, _GROUP) and permissions & mask & _WRITE:
            yield ("user" if kind == _USER else "group"), number
