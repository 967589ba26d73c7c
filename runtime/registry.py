"""Kinds of things that a user names: built-in ones and those that other packages bring by entry points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from .errors import MissingError, UsageError, missing_extra

T = TypeVar("T")


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that is most like a misspelt one, whatever its case; None if none is alike.

    Args:
        cutoff: least likeness, from 0 (any name will do) to 1 (the name itself).

    >>> nearest("Retantion", ["attention", "retention"])
    'retention'
    """
    names = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), names, n=1, cutoff=cutoff)
    return names[matches[0]] if matches else None


def suggest(word: str, known: Iterable[str], *, forms: Mapping[str, str] | None = None, cutoff: float = 0.6) -> str:
    """The clause "; did you mean NAME?" for an error message, or nothing if no known name is like the misspelt one.

    Args:
        forms: known name -> how a user writes it, where that is more than the name: "jsonl:FILE".

    >>> suggest("retantion", ["attention", "retention"])
    '; did you mean retention?'
    >>> suggest("xyz", ["attention", "retention"])
    ''
    """
    name = nearest(word, known, cutoff=cutoff)
    return "" if name is None else f"; did you mean {(forms or {}).get(name, name)}?"


class Registry(Generic[T]):
    """Factories by name. A built-in one is imported when it is first asked for, and so is one of another package.

    Args:
        noun: what is registered, in the singular: "sink".
        group: the group of entry points in which other packages register more: "posemoe_edge.sinks".
        builtin: name -> "module:attribute" of the built-in factories; the module is absolute.
        own_entry_points: names that posemoe-edge itself registers in the group, because a layer above brings the factory.
    """

    def __init__(self, noun: str, *, group: str, builtin: Mapping[str, str], own_entry_points: Iterable[str] = ()) -> None:
        self.noun, self.group = noun, group
        self._builtin, self._own = dict(builtin), tuple(own_entry_points)

    def __iter__(self) -> Iterator[str]:
        """All names: the built-in ones, those that posemoe-edge registers itself, those of other packages."""
        known = (*self._builtin, *self._own)
        yield from known
        yield from (name for name in self._entry_points() if name not in known)

    def __contains__(self, name: object) -> bool:
        return name in self._builtin or name in self._own or name in self._entry_points()

    def check(self, name: str) -> None:
        """Raise a ``UsageError`` if there is no factory of that name. Nothing is imported."""
        if name not in self:
            raise UsageError(f"no {self.noun} {name!r}{suggest(name, self)}", expected=f"one of {', '.join(self)}")

    def find(self, name: str, *, extra: str | None = None) -> T:
        """The factory of that name.

        Args:
            extra: the extra of posemoe-edge that brings what the factory imports; for the error message.

        Raises:
            UsageError: there is none of that name.
            MissingError: its package is not installed, or what it imports is not.
        """
        self.check(name)
        try:
            if name in self._builtin:
                module, _, attribute = self._builtin[name].partition(":")
                return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
            entry_point = self._entry_points().get(name)
            if entry_point is None:
                raise MissingError(
                    f"nothing that is installed brings the {self.noun} {name}",
                    expected=f"the entry point {name} in the group {self.group}",
                    run="pip install --force-reinstall --no-deps posemoe-edge",
                )
            return entry_point.load()  # type: ignore[no-any-return]
        except ImportError as error:
            purpose = f"the {self.noun} {name}"
            if extra is not None:
                raise missing_extra(error.name or name, extra, purpose) from None
            raise MissingError(f"{purpose} cannot be imported ({error})", expected="the packages that it needs") from error

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}
