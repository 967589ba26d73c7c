"""What stands behind a name such as ``mcap:``: a place, and options behind a ``?``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from .errors import UsageError
from .registry import suggest


def split_location(location: str, known: Sequence[str], *, form: str) -> tuple[str, dict[str, str]]:
    """The place, and its options by name.

    Args:
        location: ``PLACE?name=value&name=value``.
        known: names of the options that there are.
        form: what a user may write, for error messages, which do not repeat the place: it may hold a password.

    Raises:
        UsageError: an option that is not known, or one without a value.

    >>> split_location("run.mcap?frame_id=head", ["frame_id"], form="mcap:FILE.mcap?frame_id=NAME")
    ('run.mcap', {'frame_id': 'head'})
    """
    place, _, query = location.partition("?")
    options = dict[str, str]()
    for option in filter(None, query.split("&")):
        name, _, encoded = option.partition("=")
        value = unquote(encoded)  # not parse_qsl, to which a + in the name of a file is a space
        if name not in known:
            raise UsageError(f"no option {name!r}{suggest(name, known)}", expected=form)
        if not value:
            raise UsageError(f"the option {name} has no value", expected=form)
        options[name] = value
    return place, options


def switched_on(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Whether an option is ``on``, not ``off``.

    Raises:
        UsageError: another value.
    """
    value = options.get(name, "on" if default else "off")
    if value not in ("on", "off"):
        raise UsageError(f"{name}={value}", expected=f"{name}=on or {name}=off")
    return value == "on"
