"""A writer: what is there before, how it writes, and what a reader then finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Seen: TypeAlias = object  # what a reader finds; None is nothing


def never(seen: Seen, after: Seen, torn: bool) -> bool:
    """Of files that are written as a whole: no part of them is ever there."""
    return False


def a_beginning(seen: Seen, after: Seen, torn: bool) -> bool:
    """Of files that are written as a run goes: the first of the pieces that are to be written."""
    return isinstance(seen, tuple) and isinstance(after, tuple) and seen == after[: len(seen)]


def some_lines(seen: Seen, after: Seen, torn: bool) -> bool:
    """As ``a_beginning``, of lines, the last of which a kill may have torn."""
    if not isinstance(seen, tuple) or not isinstance(after, tuple):
        return False
    if a_beginning(seen, after, torn):
        return True
    last = str(seen[-1])
    is_torn = a_beginning(seen[:-1], after, torn) and not last.endswith("\n")
    return torn and is_torn and len(seen) <= len(after) and str(after[len(seen) - 1]).startswith(last)


def all_of_it(seen: Seen, after: Seen) -> bool:
    """After the next writing there is what there should be."""
    return seen == after


@dataclass(frozen=True)
class Writer:
    """Something that writes.

    Args:
        name: for people.
        prepare: makes in a folder what is there before.
        write: writes in that folder.
        see: what a reader finds there, raising an error if that is broken.
        partly: whether what was found is an allowed part of what was to be written; ``torn`` after a kill, not on a full disk.
        again: whether what was found after the next writing is right.
    """

    name: str
    prepare: Callable[[Path], object]
    write: Callable[[Path], object]
    see: Callable[[Path], Seen]
    partly: Callable[[Seen, Seen, bool], bool] = never
    again: Callable[[Seen, Seen], bool] = all_of_it
