"""Groups of options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Verb = TypeVar("Verb", bound=Callable[..., Any])


def add_options(verb: Verb, *options: Callable[[Verb], Verb]) -> Verb:
    """A verb's function with the options of click, which its help shows in this order."""
    for option in reversed(options):  # as decorators, of which the last one is applied first
        verb = option(verb)
    return verb
