"""Sinks of poses: JSON lines, pictures."""

from __future__ import annotations

from difflib import get_close_matches

from ..errors import UsageError
from .base import Sink

__all__ = ["FORMS", "Sink", "open_sink"]

FORMS: dict[str, str] = {"jsonl": "jsonl:FILE", "png": "png:FILE"}
"""Name of each sink -> how a user spells it."""


def open_sink(spec: str) -> Sink:
    """The sink that ``spec`` names, e.g. ``jsonl:poses.jsonl``, ``jsonl:-`` (stdout) or ``png:run.png``."""
    name, _, rest = spec.partition(":")
    if name not in FORMS:
        near = get_close_matches(name, FORMS, n=1)
        suffix = spec.rpartition(".")[2].lower()
        meant = f"{suffix}:{spec}" if suffix in FORMS and not rest else FORMS[near[0]] if near else None
        hint = f"; did you mean {meant}?" if meant else ""
        raise UsageError(f"no sink {spec!r}{hint}", expected=f"one of {', '.join(FORMS.values())}")
    if not rest:
        raise UsageError(f"the sink {name} needs a file", expected=FORMS[name])
    if name == "jsonl":
        from .jsonl import JsonLinesSink

        return JsonLinesSink(rest)
    from .png import PngSink

    return PngSink(rest)
