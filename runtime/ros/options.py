"""Options behind the ``?`` of a location."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from ..errors import UsageError
from ..registry import suggest


def ros_options(location: str, known: Sequence[str], *, form: str) -> tuple[str, dict[str, str]]:
    """The location without its options, and these.

    Raises:
        UsageError: no location, an option that is not known, or one without a value.
    """
    name, _, query = location.partition("?")
    if not name:
        raise UsageError(f"{location!r} names nothing", expected=form)
    options = dict[str, str]()
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise UsageError(f"{name} has no option {key!r}{suggest(key, known)}", expected=form)
        if not value:
            raise UsageError(f"the option {key} has no value", expected=form)
        options[key] = value
    return name, options
