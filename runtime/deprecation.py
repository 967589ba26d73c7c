"""Deprecation: a public function that warns for some versions before it is removed."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def deprecated(since: str, remove_in: str, *, instead: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the function works as before and warns at each call.

    Args:
        since: the version in which it was deprecated: "0.2.0".
        remove_in: the version that no longer has it. A test fails when the project reaches that version.
        instead: what to call now.

    >>> @deprecated("0.2.0", "0.4.0", instead="new()")
    ... def old() -> int:
    ...     return 1
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     _ = old()
    >>> print(caught[0].message)
    old is deprecated since 0.2.0 and will be removed in 0.4.0: use new() instead
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        message = (
            f"{function.__qualname__} is deprecated since {since} and will be removed in {remove_in}: use {instead} instead"
        )

        @functools.wraps(function)
        def warned(*args: P.args, **kwargs: P.kwargs) -> R:
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        return warned

    return decorate
