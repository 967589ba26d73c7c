"""Sinks of poses: JSON lines, pictures."""

from __future__ import annotations

from ..errors import UsageError
from ..registry import suggest
from .base import Sink

__all__ = ["FORMS", "Sink", "open_sink"]

FORMS: dict[str, str] = {"jsonl": "jsonl:FILE", "png": "png:FILE"}
"""Name of each sink -> how a user spells it."""


def open_sink(spec: str) -> Sink:
    """The sink that ``spec`` names, e.g. ``jsonl:poses.jsonl``, ``jsonl:-`` (stdout) or ``png:run.png``."""
    name, _, rest = spec.partition(":")
    if name not in FORMS:
        suffix = spec.rpartition(".")[2].lower()
        lacks_name = suffix in FORMS and not rest
        suggestion = f"; did you mean {suffix}:{spec}?" if lacks_name else suggest(name, FORMS, forms=FORMS)
        raise UsageError(f"no sink {spec!r}{suggestion}", expected=f"one of {', '.join(FORMS.values())}")
    if not rest:
        raise UsageError(f"the sink {name} needs a file", expected=FORMS[name])
    if name == "jsonl":
        from .jsonl import JsonLinesSink

        return JsonLinesSink(rest)
    from .png import PngSink

    return PngSink(rest)
