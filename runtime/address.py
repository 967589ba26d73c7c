"""Where a socket sends to or waits at: host, port and options of ``//HOST:PORT?name=value``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .errors import UsageError
from .location import split_location

LOOPBACK = "127.0.0.1"
"""What a server of this package listens at unless it is told otherwise: nobody else on the network sees the people."""


@dataclass(frozen=True)
class Address:
    """Where a socket is.

    Args:
        host: a name, or an IPv4 or IPv6 address without brackets.
        port: 0 for any free one.
        options: what stands behind the ``?``.
    """

    host: str
    port: int
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(
        cls, location: str, *, form: str, host: str | None = None, port: int | None = None, options: Sequence[str] = ()
    ) -> Address:
        """The address of a location.

        Args:
            location: ``//HOST:PORT?name=value``, of which every part may be left out that has a default.
            form: what a user may write, for error messages.
            host, port: defaults; None for a part that must be given.
            options: names of the options that are known.

        Raises:
            UsageError: a part is missing, is not known, or is not what it should be.
        """
        place, named_options = split_location(location, options, form=form)
        try:
            parts = urlsplit(place)
            named_host, named_port = parts.hostname, parts.port
        except ValueError:  # a port that is no number or too large, or half a bracket
            raise UsageError("the host or the port cannot be read", expected=form) from None
        if parts.username is not None or parts.password is not None:  # not repeated: it may be a secret
            raise UsageError("the address has a user or a password, which it does not use", expected=form)
        if parts.scheme or parts.path.strip("/") or parts.fragment:
            raise UsageError(f"the address {place!r}", expected=form)
        host, port = named_host or host, port if named_port is None else named_port
        if host is None or port is None:
            raise UsageError(f"the address {place!r} has no {'host' if host is None else 'port'}", expected=form)
        return cls(host, port, named_options)

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine is there."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        """``HOST:PORT`` as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
