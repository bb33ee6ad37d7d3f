"""Change an input and leave its structure whole: JSON documents, blobs of SSH, texts of known words.

Each is given `data` and a dice, and returns what became of it; what has not the structure is overwritten somewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from collective.errors import SignatureError
from collective.signing.ssh_encoding import SSHReader, string

Mutate = Callable[[bytes, Random], bytes]

STRING = 0  # in a layout of SSH's data: a string; any other number is so many bytes
_ODD: Sequence[Any] = (
    *(None, True, False, 0, -1, 0.5, 1e308, 2**63, 10**400),
    *("", "\n", "\x00", "\ud800", "ä", "*", "/a/", "#", "^(a+)+$", "[", "a" * 300),
    *([], {}, [[]], {"": {}}, ["a", "a"]),
)


def overwritten(data: bytes, dice: Random) -> bytes:
    """Overwrite some bytes, leave some out, or put some in again."""
    start = dice.randrange(len(data) + 1)
    length = dice.randrange(min(40, len(data) + 1 - start))
    put = dice.choice([dice.randbytes(length), dice.randbytes(dice.randrange(8)), data[:40], b""])
    return data[:start] + put + data[start + length :]


def in_json(*words: str) -> Mutate:
    """Change one value of a JSON document, its name or its place; `words` are names and texts that mean something."""

    def mutate(data: bytes, dice: Random) -> bytes:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return overwritten(data, dice)
        holder = [document]
        container, key = dice.choice(list(_places(holder)))
        other, its_key = dice.choice(list(_places(holder)))
        value = dice.choice([dice.choice(_ODD), dice.choice(words or ("",)), json.loads(json.dumps(other[its_key]))])
        deed = dice.randrange(4)
        if deed == 0 and container is not holder:
            del container[key]
        elif deed == 1 and isinstance(container, dict):
            container[dice.choice(words or ("",))] = value
        elif deed == 2:
            container[key] = [container[key], value]
        else:
            container[key] = value
        return json.dumps(holder[0]).encode()

    return mutate


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container of a document, with each of its keys."""
    for key, value in container.items() if isinstance(container, dict) else enumerate(container):
        yield container, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def in_blob(*layout: int) -> Mutate:
    """Change one of the values of a blob that are laid out like this; the lengths fit."""

    def mutate(data: bytes, dice: Random) -> bytes:
        try:
            parts = taken_apart(data, layout)
        except SignatureError:
            return overwritten(data, dice)
        place = dice.randrange(len(layout))
        if layout[place]:
            parts[place] = dice.choice([bytes(layout[place]), b"\xff" * layout[place], dice.randbytes(layout[place])])
        else:
            found = parts[place]
            parts[place] = dice.choice([overwritten(found, dice), dice.choice(parts), string(found), found * 2, b""])
        return put_together(parts, layout)

    return mutate


def taken_apart(data: bytes, layout: Sequence[int]) -> list[bytes]:
    """Return the values of a blob; raise SignatureError when it is not laid out like this."""
    reader = SSHReader(data, "the blob")
    parts = [reader.take(size) if size else reader.string() for size in layout]
    reader.end()
    return parts


def put_together(parts: Sequence[bytes], layout: Sequence[int]) -> bytes:
    """Return the blob of these values."""
    return b"".join(part if size else string(part) for part, size in zip(parts, layout, strict=True))


def in_text(*words: str) -> Mutate:
    """Put a word in somewhere, or in the place of a word; say a line twice, or leave one out."""

    def mutate(data: bytes, dice: Random) -> bytes:
        lines = data.split(b"\n")
        at = dice.randrange(len(lines))
        line, word = lines[at], dice.choice(words).encode()
        start = dice.randrange(len(line) + 1)
        pieces = line.split(b" ")
        pieces[dice.randrange(len(pieces))] = word
        lines[at] = dice.choice([line[:start] + word + line[start:], b" ".join(pieces), line + b"\n" + line, b""])
        return b"\n".join(lines)

    return mutate


def either(*mutations: Mutate) -> Mutate:
    """Do one of several."""
    return lambda data, dice: dice.choice(mutations)(data, dice)
