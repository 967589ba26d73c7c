"""systemd's side of a run: that it is ready, that it is alive, that it stops (the protocol of sd_notify)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType

from ...runtime.events import Event, PoseFrame
from ...runtime.live_status import LiveStatus

STATUS_EVERY_S = 10.0


class ServiceManager:
    """Tells the service manager of the environment how the run is; without one it does nothing.

    The run is ready when its first frame went through: a camera that cannot be read is a service that did not start. The
    watchdog is fed by the frames and by nothing else, at half of its time, so a loop that hangs is noticed.

    Args:
        environment: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, as systemd sets them.
        clock: seconds that do not jump.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, *, clock: Callable[[], float] = time.monotonic) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if address[:1] in ("/", "@"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        self._beats = _watchdog_s(environment)
        self._every_s = min(STATUS_EVERY_S, self._beats / 2) if self._beats else STATUS_EVERY_S
        self._clock = clock
        self._told_s: float | None = None
        self._stopping = False

    def watch(self, status: LiveStatus) -> Callable[[Event], None]:
        """A function that takes the events of the run, from the loop of its frames."""

        def see(event: Event) -> None:
            now_s = self._clock()
            if self._told_s is None:
                if isinstance(event, PoseFrame):
                    self._told_s = now_s
                    self._send("READY=1", f"STATUS={status.now()}")
            elif now_s - self._told_s >= self._every_s:
                self._told_s = now_s
                self._send(*(["WATCHDOG=1"] if self._beats else []), f"STATUS={status.now()}")

        return see

    def stopping(self) -> None:
        """The run ends; a second call does nothing."""
        if not self._stopping:
            self._stopping = True
            self._send("STOPPING=1")

    def __enter__(self) -> ServiceManager:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.stopping()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # a manager that does not listen is no reason to end a run
                self._socket.sendto("\n".join(lines).encode(), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Seconds of the watchdog, if this process has to feed one."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if for_us and microseconds.isdecimal() and int(microseconds) else None
