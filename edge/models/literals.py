"""Choices: the fields of a configuration that are one of a few words."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from ...runtime.errors import UsageError


def check_literals(config: Any) -> None:
    """A UsageError where a field of type ``Literal`` holds something else."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise UsageError(f"there is no {name} {value!r}", expected=f"one of {', '.join(map(str, get_args(hint)))}")
