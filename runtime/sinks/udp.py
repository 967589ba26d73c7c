"""``udp://HOST:PORT``: each pose as a datagram, for programs that want neither ROS nor a file."""

from __future__ import annotations

import json
import logging
import math
import socket
import struct
from typing import Any

import numpy as np

from ..address import Address
from ..errors import MissingError, UsageError
from ..events import EVENT_VERSION, Event, PoseFrame
from ..pose.types import Pose
from .base import BaseSink

BINARY_VERSION = 1
"""Of the binary format: it grows when a field is moved or removed. That of JSON is ``EVENT_VERSION``."""

FORM = "udp://HOST:PORT or udp://HOST:PORT?format=binary"
FORMATS = ("json", "binary")

LAYOUT = struct.Struct("<4sBBHIid2I51f17f17f3f3f3f")
"""Of a binary datagram: 408 bytes, little-endian, every number at a multiple of its size. See docs/how-to/viewers.md."""

MAGIC = b"PMOE"
GAPS = ("none", "hold", "decay", "reset")
"""The byte ``gap`` is an index into them."""

DOUBTS = ("bones", "fit")
"""Bit k of ``doubts`` says that the pose has doubt k."""

_SEQUENCES = 2**32
_PEOPLE = 2**31  # ids of other programs may be larger: their low bits are sent
_ROOTLESS = (math.nan,) * 9

log = logging.getLogger(__name__)


class UdpSink(BaseSink):
    """Sends one datagram for each pose, and in JSON one for each event that is no frame.

    It never waits: what the network does not take at once is dropped and counted. Whether anybody listens is not known and
    does not matter. The host's name is resolved once, at the beginning.

    Args:
        location: ``//HOST:PORT``, behind a ``?`` ``format=json`` or ``format=binary``.

    Attributes:
        sent, dropped: datagrams that the network took, and that it did not.

    Raises:
        UsageError: no host, no port, or an unknown format.
        MissingError: the host's name is not known.
    """

    def __init__(self, location: str) -> None:
        address = Address.parse(location, form=FORM, options=("format",))
        if address.port == 0:
            raise UsageError("datagrams to port 0", expected=FORM)
        self._format = address.options.get("format", FORMATS[0])
        if self._format not in FORMATS:
            raise UsageError(f"format={self._format}", expected=" or ".join(f"format={name}" for name in FORMATS))
        self.sent = self.dropped = 0
        self._sequence = 0
        family, self._target = _resolved(address)
        # Not connected: a connected socket keeps the route that it began with, also when a robot changes its network, and
        # loses a datagram whenever an earlier one was refused.
        self._socket: socket.socket | None = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def write(self, event: Event) -> None:
        """Send an event's datagrams."""
        if self._socket is None:
            raise ValueError("the sink is closed")
        if isinstance(event, PoseFrame):
            for person in sorted(event.poses):
                pose = event.poses[person]
                if self._format == "binary":
                    self._send(self._socket, pack(pose, self._sequence))
                else:
                    self._send(self._socket, self._json({"event": "pose", "version": EVENT_VERSION, **pose.to_json()}))
        elif self._format == "json":
            self._send(self._socket, self._json(event.to_json()))

    def close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
            if self.dropped:
                log.warning("udp: %d datagrams sent, %d dropped", self.sent, self.dropped)

    def abort(self) -> None:
        """The same as ``close``: what was sent was sent."""
        self.close()

    def _json(self, record: dict[str, Any]) -> bytes:
        if not math.isfinite(record["t_s"]):
            record["t_s"] = None  # JSON has no other word for it
        record = {**record, "sequence": self._sequence}
        return json.dumps(record, allow_nan=False, separators=(",", ":")).encode()

    def _send(self, connection: socket.socket, datagram: bytes) -> None:
        self._sequence = (self._sequence + 1) % _SEQUENCES
        try:
            connection.sendto(datagram, self._target)
        except OSError:  # a full buffer, no route, a network that is down
            self.dropped += 1
        else:
            self.sent += 1


def pack(pose: Pose, sequence: int) -> bytes:
    """A pose as a binary datagram; what it does not have is NaN."""
    root = pose.root
    return LAYOUT.pack(
        MAGIC,
        BINARY_VERSION,
        GAPS.index(pose.gap),
        sum(1 << k for k, doubt in enumerate(DOUBTS) if doubt in pose.doubts),
        sequence,
        pose.person % _PEOPLE,
        pose.t_s,
        pose.latency_frames,
        sum(1 << int(joint) for joint in np.flatnonzero(pose.guessed)),
        *pose.xyz_m.ravel().tolist(),
        *pose.score.tolist(),
        *([math.nan] * 17 if pose.sigma_m is None else pose.sigma_m.tolist()),
        *(
            _ROOTLESS
            if root is None
            else (*root.xyz_m.tolist(), *root.sigma_m.tolist(), root.scale, root.held_s, root.residual_px)
        ),
    )


def _resolved(address: Address) -> tuple[socket.AddressFamily, Any]:
    """The family of an address, and what ``sendto`` takes."""
    try:
        family, _, _, _, target = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise MissingError(
            f"the host {address.host} is not known ({error.strerror})", expected="an address, or a name that resolves"
        ) from None
    return family, target
