"""Protobuf messages, walked without their package: the fields of one message, and where each value lies."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5  # wire types

Span = tuple[int, int]


def fields(data: bytes | mmap.mmap, start: int, end: int) -> Iterator[tuple[int, Span]]:
    """Each field of the message in ``data[start:end]``: its number, and the first and last byte of its value.

    Raises:
        ValueError, IndexError: it is not a message.
    """
    while start < end:
        tag, start = varint(data, start)
        wire_type = tag & 7
        if wire_type == VARINT:
            size = varint(data, start)[1] - start
        elif wire_type == LENGTH_DELIMITED:
            size, start = varint(data, start)
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type}")
        if start + size > end:
            raise ValueError("a field is longer than the file")
        yield tag >> 3, (start, start + size)
        start += size


def varint(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    """A base-128 integer, and the position after it."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
