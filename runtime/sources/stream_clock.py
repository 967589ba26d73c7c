"""The time of a network camera's frames: one clock that never goes back, without the jitter of the network."""

from __future__ import annotations

import math
import time
from typing import Literal

from ..errors import SourceError

Clock = Literal["arrival", "sender"]

_LATE_S = 0.15  # a frame as late as this was waiting behind others: it is old, and newer ones follow at once
_GIVE_UP_S = 1.0  # late for as long as this: not a backlog, the way has become longer
_DRIFT = 3e-4  # how much slower than ours the camera's clock may run; quartzes differ by a third of that
_WAITED_S = 0.005  # a frame that was waited for as long was not in a buffer
_REPORT_S = 10.0  # RTCP sends a report about every 5 s, the first after about 2 s

_UNIX_S = time.time() - time.monotonic()  # read once: a step of this machine's clock must not be a step of the frames'


class StreamClock:
    """Gives each frame of one connection its time in seconds since 1970.

    ``arrival``: when the frame would have arrived if the network took always as long as at its fastest. That is the
    stream's own time plus the smallest delay so far, so that the distance between frames is the camera's. A time is never
    later than the arrival and never earlier than the time before, and a new connection begins at its arrival: the clock does
    not go back when a camera is lost and comes back.

    ``sender``: when the camera took it, by the camera's clock, which it reports over RTCP about 2 s after each connection.
    Frames before that are left out, since a change from one clock to the other would be a jump.

    Frames that waited behind others, as at the start of a connection and after a stall of the network, are left out.
    """

    def __init__(self, clock: Clock = "arrival") -> None:
        self.clock = clock
        self._delay_s: float | None = None  # the smallest, from stream time to arrival
        self._before_s: float | None = None  # arrival of the frame before
        self._began_s: float | None = None
        self._late_since_s: float | None = None
        self._newest_s = -math.inf
        self._catching_up = True  # from the buffers that filled while the connection was made

    def see(
        self, stream_s: float | None, *, arrived_s: float, sender_s: float | None = None, waited_s: float = math.inf
    ) -> float | None:
        """The time of the next frame; None if it is to be left out.

        Args:
            stream_s: time of presentation in the stream; None if it has none.
            arrived_s: ``time.monotonic()``.
            sender_s: the camera's wall clock; None if it is not known.
            waited_s: how long the frame was waited for: those at the beginning that were there already are old.

        Raises:
            SourceError: the camera reports no clock.
        """
        self._began_s = arrived_s if self._began_s is None else self._began_s
        time_s = arrived_s if stream_s is None else self._on_arrival_clock(stream_s, arrived_s)
        if waited_s >= _WAITED_S or arrived_s - self._began_s > _GIVE_UP_S:
            self._catching_up = False
        if self._catching_up:
            return None
        if time_s is None or self.clock == "arrival":
            if time_s is None or time_s <= self._newest_s:  # of frames with and without stream time
                return None
            self._newest_s = time_s
            return time_s + _UNIX_S
        if sender_s is None and arrived_s - self._began_s > _REPORT_S:
            raise SourceError(f"the camera reports no clock over RTCP within {_REPORT_S:g} s", expected="clock=arrival")
        return sender_s

    def _on_arrival_clock(self, stream_s: float, arrived_s: float) -> float | None:
        delay_s = arrived_s - stream_s
        if self._delay_s is None or self._before_s is None:
            self._delay_s = delay_s
        self._delay_s = min(delay_s, self._delay_s + _DRIFT * (arrived_s - (self._before_s or arrived_s)))
        self._before_s = arrived_s
        if delay_s - self._delay_s <= _LATE_S:
            self._late_since_s = None
        elif self._late_since_s is None or arrived_s - self._late_since_s < _GIVE_UP_S:
            self._late_since_s = arrived_s if self._late_since_s is None else self._late_since_s
            return None
        else:
            self._delay_s, self._late_since_s = delay_s, None
        return stream_s + self._delay_s
