"""Implementations that a user selects by name: built-in ones, and those that other packages add by entry points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from .errors import MissingError, UsageError, missing_extra

T = TypeVar("T")


def nearest(word: str, candidates: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that is most similar to a misspelt one, ignoring case; None if none is similar.

    Args:
        cutoff: least similarity, from 0 (any name) to 1 (the name itself).

    >>> nearest("Retantion", ["attention", "retention"])
    'retention'
    """
    names = {name.lower(): name for name in candidates}
    matches = get_close_matches(word.lower(), names, n=1, cutoff=cutoff)
    return names[matches[0]] if matches else None


def suggest(word: str, candidates: Iterable[str], *, forms: Mapping[str, str] | None = None, cutoff: float = 0.6) -> str:
    """The clause "; did you mean NAME?" for an error message, or "" if no known name is similar.

    Args:
        forms: known name -> how a user writes it, where that is more than the name: "jsonl:FILE".
        cutoff: least similarity, from 0 to 1.

    >>> suggest("retantion", ["attention", "retention"])
    '; did you mean retention?'
    >>> suggest("jsno", ["jsonl", "png"], forms={"jsonl": "jsonl:FILE"})
    '; did you mean jsonl:FILE?'
    >>> suggest("xyz", ["attention", "retention"])
    ''
    """
    name = nearest(word, candidates, cutoff=cutoff)
    return "" if name is None else f"; did you mean {(forms or {}).get(name, name)}?"


class Registry(Generic[T]):
    """Factories by name. A factory is imported when it is first looked up.

    Args:
        noun: what is registered, in the singular: "sink".
        group: the entry point group in which other packages register more: "posemoe_edge.sinks".
        builtin: name -> "module:attribute" of the built-in factories; the module's name is absolute. An entry point cannot
            replace them.
        own_entry_points: names that posemoe-edge itself registers in the group, because a layer above brings the factory.
        forms: name -> how a user writes it, for error messages: "jsonl:FILE". A name that is left out is written as it is.
            One that may have a location, and need not, is written as "NAME|NAME:LOCATION".
    """

    def __init__(
        self,
        noun: str,
        *,
        group: str,
        builtin: Mapping[str, str],
        own_entry_points: Iterable[str] = (),
        forms: Mapping[str, str] | None = None,
    ) -> None:
        self.noun, self.group = noun, group
        self._builtin, self._own, self._forms = dict(builtin), tuple(own_entry_points), dict(forms or {})

    def __iter__(self) -> Iterator[str]:
        """All names: the built-in ones, those that posemoe-edge registers itself, those of other packages."""
        registered = (*self._builtin, *self._own)
        yield from registered
        yield from (name for name in self._entry_points() if name not in registered)

    def __contains__(self, name: object) -> bool:
        return name in self._builtin or name in self._own or name in self._entry_points()

    @property
    def forms(self) -> dict[str, str]:
        """Name -> how a user writes it, of all names."""
        return {name: self._forms.get(name, name) for name in self}

    def check(self, name: str) -> None:
        """Raise a ``UsageError`` if there is no factory of that name. Nothing is imported."""
        if name not in self:
            raise self.unknown(name)

    def find(self, name: str, *, extra: str | None = None) -> T:
        """The factory of that name.

        Args:
            extra: the extra of posemoe-edge that installs what the factory imports; for the error message.

        Raises:
            UsageError: no factory has that name.
            MissingError: the factory's module, or a package that it imports, is not installed.
        """
        self.check(name)
        try:
            if name in self._builtin:
                module, _, attribute = self._builtin[name].partition(":")
                return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
            entry_point = self._entry_points().get(name)
            if entry_point is None:
                raise MissingError(
                    f"no installed package provides the {self.noun} {name}",
                    expected=f"the entry point {name} in the group {self.group}",
                    run="pip install --force-reinstall --no-deps posemoe-edge",
                )
            return entry_point.load()  # type: ignore[no-any-return]
        except ImportError as error:
            purpose = f"the {self.noun} {name}"
            if extra is not None:
                raise missing_extra(error.name or name, extra, purpose) from None
            raise MissingError(f"{purpose} cannot be imported ({error})", expected="the packages that it needs") from error

    def resolve(self, spec: str) -> tuple[T, str]:
        """The factory and the location of a user's ``NAME:LOCATION``; a bare NAME has the location "".

        Raises:
            UsageError: no factory has that name, or a built-in one needs a location and has none.
            MissingError: as ``find``.
        """
        name, _, location = spec.partition(":")
        if name not in self:
            raise self.unknown(spec)
        form = self._forms.get(name, name)
        if ":" in form.partition("|")[0] and not location:
            raise UsageError(f"the {self.noun} {name} needs a {form.partition(':')[2].lower()}", expected=form)
        return self.find(name), location

    def unknown(self, spec: str, *, suggestion: str | None = None) -> UsageError:
        """The error for a name, or a ``NAME:LOCATION``, that is not registered.

        Args:
            suggestion: the clause "; did you mean ...?"; None finds the most similar name.
        """
        if suggestion is None:
            suggestion = suggest(spec.partition(":")[0], self, forms=self.forms)
        return UsageError(f"no {self.noun} {spec!r}{suggestion}", expected=f"one of {', '.join(self.forms.values())}")

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}
