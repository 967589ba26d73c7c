"""Options: what a published code was told, and whether the weights agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...runtime.errors import UsageError
from ...runtime.registry import suggest


class Options:
    """A published configuration, read key by key. A key that is not what it should be is a UsageError.

    Values may come from a command line: numbers and truths as text are numbers and truths.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._read: set[str] = set()

    def number(self, key: str, otherwise: float) -> float:
        """A number."""
        value = self._get(key, otherwise)
        try:
            made = float(value)
            if isinstance(value, bool) or not math.isfinite(made):
                raise ValueError
            return made
        except (TypeError, ValueError):
            raise self._refused(key, "a number") from None

    def whole(self, key: str, otherwise: int) -> int:
        """A whole number from 0 on."""
        value = self.number(key, otherwise)
        if value != int(value) or value < 0:
            raise self._refused(key, "a whole number")
        return int(value)

    def wholes(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers; empty where the key is absent."""
        value = self._get(key, ())
        items = value.strip("[]() ").split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise self._refused(key, "a list of whole numbers, as in [121,81]")
        return tuple(Options({key: item}).whole(key, 0) for item in items)

    def flag(self, key: str, otherwise: bool) -> bool:
        """True or false."""
        value = self._get(key, otherwise)
        known = {"true": True, "1": True, "false": False, "0": False}
        if str(value).lower() not in known:
            raise self._refused(key, "true or false")
        return known[str(value).lower()]

    def word(self, key: str, known: Mapping[str, str]) -> str | None:
        """What one of the known words means; None where the key is absent."""
        value = self._get(key, None)
        if value is None:
            return None
        if not isinstance(value, str) or value not in known:
            raise self._refused(key, f"one of {', '.join(known)}")
        return known[value]

    def agree(self, found: float, *keys: str) -> None:
        """Refuses a key that says something else than the weights."""
        for key in keys:
            if self.number(key, found) != found:
                raise self._refused(key, f"{found:g}, as the weights have it")

    def unread(self) -> list[str]:
        """Keys that nobody asked for. One that is nearly the name of another is a mistake, and a UsageError."""
        names = [str(key) for key in self._config if key not in self._read]
        for name in names:
            suggestion = suggest(name, self._read, cutoff=0.7)
            if suggestion:
                raise UsageError(f"the configuration has an unknown key {name!r}{suggestion}")
        return names

    def _get(self, key: str, otherwise: Any) -> Any:
        self._read.add(key)
        value = self._config.get(key)
        return otherwise if value is None else value

    def _refused(self, key: str, expected: str) -> UsageError:
        return UsageError(f"the configuration says {key} {self._config[key]!r}", expected=expected)
