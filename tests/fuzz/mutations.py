"""Mutations that keep the structure of an input: JSON documents, SSH blobs, and strings of known words.

Each takes `data` and a random generator, and returns the changed input. Input without the structure is overwritten
at a random place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from collective.errors import SignatureError
from collective.signing.ssh_encoding import SSHReader, string

Mutate = Callable[[bytes, Random], bytes]

STRING = 0  # in a layout of SSH data: a string; another number is a field of that many bytes
_ODD: Sequence[Any] = (
    *(None, True, False, 0, -1, 0.5, 1e308, 2**63, 10**400),
    *("", "\n", "\x00", "\ud800", "ä", "*", "/a/", "#", "^(a+)+$", "[", "a" * 300),
    *([], {}, [[]], {"": {}}, ["a", "a"]),
)


def overwrite(data: bytes, rng: Random) -> bytes:
    """Overwrite, delete or insert some bytes."""
    start = rng.randrange(len(data) + 1)
    length = rng.randrange(min(40, len(data) + 1 - start))
    put = rng.choice([rng.randbytes(length), rng.randbytes(rng.randrange(8)), data[:40], b""])
    return data[:start] + put + data[start + length :]


def in_json(*words: str) -> Mutate:
    """Return a mutation of one value of a JSON document, its key or its place; `words` are known keys and values."""

    def mutate(data: bytes, rng: Random) -> bytes:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return overwrite(data, rng)
        holder = [document]
        container, key = rng.choice(list(_places(holder)))
        other, its_key = rng.choice(list(_places(holder)))
        value = rng.choice([rng.choice(_ODD), rng.choice(words or ("",)), json.loads(json.dumps(other[its_key]))])
        operation = rng.randrange(4)
        if operation == 0 and container is not holder:
            del container[key]
        elif operation == 1 and isinstance(container, dict):
            container[rng.choice(words or ("",))] = value
        elif operation == 2:
            container[key] = [container[key], value]
        else:
            container[key] = value
        return json.dumps(holder[0]).encode()

    return mutate


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container of a document with each of its keys."""
    for key, value in container.items() if isinstance(container, dict) else enumerate(container):
        yield container, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def in_blob(*layout: int) -> Mutate:
    """Return a mutation of one of the values of an SSH blob; lengths stay consistent."""

    def mutate(data: bytes, rng: Random) -> bytes:
        try:
            parts = split_blob(data, layout)
        except SignatureError:
            return overwrite(data, rng)
        place = rng.randrange(len(layout))
        if layout[place]:
            parts[place] = rng.choice([bytes(layout[place]), b"\xff" * layout[place], rng.randbytes(layout[place])])
        else:
            found = parts[place]
            parts[place] = rng.choice([overwrite(found, rng), rng.choice(parts), string(found), found * 2, b""])
        return join_blob(parts, layout)

    return mutate


def split_blob(data: bytes, layout: Sequence[int]) -> list[bytes]:
    """Return the values of a blob; raise SignatureError if it does not have this layout."""
    reader = SSHReader(data, "the blob")
    parts = [reader.take(size) if size else reader.string() for size in layout]
    reader.end()
    return parts


def join_blob(parts: Sequence[bytes], layout: Sequence[int]) -> bytes:
    """Return the blob of these values."""
    return b"".join(part if size else string(part) for part, size in zip(parts, layout, strict=True))


def in_text(*words: str) -> Mutate:
    """Return a mutation that inserts a word, replaces one, or repeats or deletes a line."""

    def mutate(data: bytes, rng: Random) -> bytes:
        lines = data.split(b"\n")
        at = rng.randrange(len(lines))
        line, word = lines[at], rng.choice(words).encode()
        start = rng.randrange(len(line) + 1)
        pieces = line.split(b" ")
        pieces[rng.randrange(len(pieces))] = word
        lines[at] = rng.choice([line[:start] + word + line[start:], b" ".join(pieces), line + b"\n" + line, b""])
        return b"\n".join(lines)

    return mutate


def either(*mutations: Mutate) -> Mutate:
    """Return a mutation that applies one of several."""
    return lambda data, rng: rng.choice(mutations)(data, rng)
