"""Options of a published code, and whether they agree with the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...runtime.errors import UsageError
from ...runtime.registry import suggest

BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Options:
    """A published configuration, read key by key. A value of the wrong type raises a UsageError.

    Values may come from a command line: numbers and booleans may be text.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._read: set[str] = set()

    def number(self, key: str, default: float) -> float:
        """A finite number."""
        value = self._get(key, default)
        try:
            number = float(value)
            if isinstance(value, bool) or not math.isfinite(number):
                raise ValueError
            return number
        except (TypeError, ValueError):
            raise self._refused(key, "a number") from None

    def whole_number(self, key: str, default: int) -> int:
        """A whole number, at least 0."""
        value = self.number(key, default)
        if value != int(value) or value < 0:
            raise self._refused(key, "a whole number")
        return int(value)

    def whole_numbers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers; empty where the key is absent."""
        value = self._get(key, ())
        items = value.strip("[]() ").split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise self._refused(key, "a list of whole numbers, as in [121,81]")
        return tuple(Options({key: item}).whole_number(key, 0) for item in items)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = str(self._get(key, default)).lower()
        if value not in BOOLEANS:
            raise self._refused(key, "true or false")
        return BOOLEANS[value]

    def choice(self, key: str, meanings: Mapping[str, str]) -> str | None:
        """The meaning of the value, one of the keys of ``meanings``; None where the key is absent."""
        value = self._get(key, None)
        if value is None:
            return None
        if not isinstance(value, str) or value not in meanings:
            raise self._refused(key, f"one of {', '.join(meanings)}")
        return meanings[value]

    def require(self, expected: float, *keys: str) -> None:
        """Raises a UsageError where one of the keys is given and differs from the number that the weights show."""
        for key in keys:
            if self.number(key, expected) != expected:
                raise self._refused(key, f"{expected:g}, as the weights have it")

    def unread_keys(self) -> list[str]:
        """The keys that were not read.

        Raises:
            UsageError: one of them is nearly the name of a key that is read: a misspelling.
        """
        names = [str(key) for key in self._config if key not in self._read]
        for name in names:
            suggestion = suggest(name, self._read, cutoff=0.7)
            if suggestion:
                raise UsageError(
                    f"the configuration has an unknown key {name!r}{suggestion}",
                    expected=f"one of {', '.join(sorted(self._read))}",
                )
        return names

    def _get(self, key: str, default: Any) -> Any:
        self._read.add(key)
        value = self._config.get(key)
        return default if value is None else value

    def _refused(self, key: str, expected: str) -> UsageError:
        return UsageError(f"the configuration says {key} {self._config[key]!r}", expected=expected)
