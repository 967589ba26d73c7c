"""Validation of configuration fields: literals, whole numbers, positive numbers."""

from __future__ import annotations

from dataclasses import fields
from math import inf
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ...runtime.errors import UsageError

_MOST = 100_000
"""Of any size: a record may claim a network of a billion layers."""


def check_literals(config: Any) -> None:
    """Raises a UsageError where a field of type ``Literal`` holds another value."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise UsageError(f"there is no {name} {value!r}", expected=f"one of {', '.join(map(str, get_args(hint)))}")


def check_positive(config: Any, noun: str) -> None:
    """Raises a UsageError where a field holds a number that is not finite and above 0."""
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 < value < inf:
            raise UsageError(f"a {noun} of {field.name} {value}", expected="more than 0")


def check_whole_numbers(config: Any, noun: str, *names: str) -> None:
    """Raises a UsageError where one of the named fields is neither a whole number nor None."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int | None):
            raise UsageError(f"a {noun} of {name} {value!r}", expected="a whole number")
        if value is not None and value > _MOST:
            raise UsageError(f"a {noun} of {name} {value}", expected=f"at most {_MOST}")
