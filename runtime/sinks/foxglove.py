"""``foxglove`` or ``foxglove://HOST:PORT``: a run live in Foxglove, through a WebSocket."""

from __future__ import annotations

import logging
from typing import Any

from ..address import LOOPBACK, Address
from ..errors import UsageError, missing_extra
from ..events import Event
from .base import BaseSink, RunInfo
from .foxglove_scene import FoxgloveScene

PORT = 8765
FORM = "foxglove://127.0.0.1:8765"

_BACKLOG = 128  # messages for a client that is slow: with pictures of full HD some 5 MB

log = logging.getLogger(__name__)


class FoxgloveSink(BaseSink):
    """A server that Foxglove connects to, from the sink's beginning to its end.

    Args:
        location: "" or ``//HOST:PORT``, where the server listens; port 0 takes a free one. Without a host nobody but this
            machine can connect.

    Raises:
        UsageError: an unknown form, or nothing can listen there.
        MissingError: foxglove-sdk is not installed.
    """

    def __init__(self, location: str = "") -> None:
        try:
            import foxglove
        except ImportError:
            raise missing_extra("foxglove-sdk", "foxglove", "the viewer Foxglove") from None
        address = Address.parse(location, form=FORM, host=LOOPBACK, port=PORT)
        self.context = foxglove.Context()
        self._scene = FoxgloveScene(self.context)
        try:
            self._server: Any = foxglove.start_server(
                name="posemoe-edge",
                host=address.host,
                port=address.port,
                context=self.context,
                message_backlog_size=_BACKLOG,
            )
        except (OSError, RuntimeError) as error:
            raise UsageError(
                f"nothing can listen at {address} ({error})",
                expected=f"an address of this machine and a free port: foxglove://{LOOPBACK}:0 takes any",
            ) from None
        self.url = f"ws://{Address(address.host, self._server.port)}"
        """What to open as a connection in Foxglove."""
        log.info("Foxglove connects to %s", self.url)

    def open(self, run: RunInfo) -> None:
        self._scene.begin(run.camera)

    def write(self, event: Event) -> None:
        """Send an event to whoever is connected."""
        if self._server is None:
            raise ValueError("the sink is closed")
        self._scene.log(event)

    def close(self) -> None:
        """End the server. Foxglove goes on showing what it was sent."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def abort(self) -> None:
        """The same as ``close``: what was sent was sent."""
        self.close()
