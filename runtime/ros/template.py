"""A message's bytes, made once, in which the numbers of each frame are exchanged: hundreds of times faster than objects.

CDR aligns a number to its own size, counted from behind its 4 bytes of header, so the bytes of a message are an array of
doubles and of words at once. A message of sentinels, numbers that nothing else in it equals, says which place holds which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arrays import F64

Words = NDArray[np.uint32]

_HEADER_BYTES = 4
# Bits of the first sentinel of each kind. Nanoseconds are less than a second.
_DOUBLE, _WORD, _SECONDS, _NANOSECONDS = 0x5A5A5A5A_10000000, 0x31000000, 0x51000000, 0x29000000


NumbersT = TypeVar("NumbersT", bound="Numbers")


class Numbers(Protocol):
    """What is said of one person: numbers that a message holds as they are."""

    DOUBLES: ClassVar[int]
    WORDS: ClassVar[int]

    @classmethod
    def from_numbers(cls: type[NumbersT], person: int, t_ns: int, doubles: F64, words: Words) -> NumbersT: ...

    @property
    def person(self) -> int: ...

    @property
    def t_ns(self) -> int: ...

    @property
    def doubles(self) -> F64:
        """(DOUBLES,) each of them somewhere in the message."""
        ...

    @property
    def words(self) -> Words:
        """(WORDS,) bits of float32, of which a message may leave out any."""
        ...


class Template(Generic[NumbersT]):
    """The bytes of a message about certain people.

    Args:
        build: serialises a message of figures and of the message's own time in nanoseconds.
        people: ids of those people, in the order of the figures.
        kind: of the figures.

    Raises:
        RuntimeError: the message holds no place for a double.
    """

    def __init__(
        self, build: Callable[[Sequence[NumbersT], int], bytes], people: Sequence[int], *, kind: type[NumbersT]
    ) -> None:
        count = len(people)
        doubles = np.arange(_DOUBLE, _DOUBLE + count * kind.DOUBLES, dtype="<u8")
        words = np.arange(_WORD, _WORD + count * kind.WORDS, dtype="<u4")
        stamps = np.arange(count + 1, dtype="<u4")[:, None] + np.array([_SECONDS, _NANOSECONDS], "<u4")  # the message's first
        t_ns = [seconds * 10**9 + nanoseconds for seconds, nanoseconds in stamps.tolist()]
        of_each = doubles.view("<f8").reshape(count, kind.DOUBLES), words.reshape(count, kind.WORDS)
        cdr = build([kind.from_numbers(*numbers) for numbers in zip(people, t_ns[1:], *of_each, strict=True)], t_ns[0])
        self._length = len(cdr)
        # The header ends at byte 8 of the buffer, so that doubles lie on multiples of 8 in it, too.
        self._buffer = bytearray(8 - _HEADER_BYTES) + cdr + bytearray(-(len(cdr) - _HEADER_BYTES) % 8)
        self._doubles, self._words = np.frombuffer(self._buffer, "<f8", offset=8), np.frombuffer(self._buffer, "<u4", offset=8)
        self._double_at, self._double_of = _places(self._doubles.view("<u8"), doubles)
        self._word_at, self._word_of = _places(self._words, np.concatenate([stamps.ravel(), words]))
        if len(np.unique(self._double_of)) != doubles.size:
            raise RuntimeError("the template of a message does not hold every number")

    def fill(self, figures: Sequence[NumbersT], *, t_ns: int) -> bytes:
        """The message of these figures, of the same people in the same order."""
        stamps = [divmod(t, 10**9) for t in (t_ns, *(figure.t_ns for figure in figures))]
        words = [np.array(stamps, "<u4").ravel(), *(figure.words for figure in figures)]
        if figures:
            self._doubles[self._double_at] = np.concatenate([figure.doubles for figure in figures])[self._double_of]
        self._words[self._word_at] = np.concatenate(words)[self._word_of]
        start = 8 - _HEADER_BYTES
        return bytes(memoryview(self._buffer)[start : start + self._length])


def _places(view: NDArray[Any], sentinels: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where in the view a sentinel is, and which."""
    at = np.flatnonzero(np.isin(view, sentinels))
    order = np.argsort(sentinels, kind="stable")
    return at, order[np.searchsorted(sentinels, view[at], sorter=order)]
