"""How a signal ends a run: the first one as Ctrl-C does, with everything kept; the second one at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SAME_S = 0.5
"""Signals this close are one wish: a shell repeats its terminal's SIGHUP, and ``timeout`` sends SIGTERM twice."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: how a service is stopped. Then a run did what it should, which is no failure."""


@dataclass
class Ending:
    """Which signal ended the run; None if it ended by itself."""

    by: signal.Signals | None = None

    @property
    def terminated(self) -> bool:
        """The service was stopped."""
        return self.by is signal.SIGTERM


@contextmanager
def ended_by_signals(on_end: Callable[[], None] = lambda: None) -> Iterator[Ending]:
    """Inside, SIGINT, SIGTERM and SIGHUP raise ``KeyboardInterrupt`` once, and the next one ends the process without clean-up.

    Handlers are installed rather than left to the system's defaults because the first process of a container has none: there
    SIGTERM does nothing. A signal that is ignored stays so, as under ``nohup``. Outside of the main thread, where Python
    allows no handlers, nothing is changed.

    Args:
        on_end: called when the first signal comes, before the run is unwound.
    """
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return

    def end(number: int, frame: FrameType | None) -> None:
        if ending.by is None:
            ending.by = signal.Signals(number)
            on_end()
            raise Terminated if ending.terminated else KeyboardInterrupt

    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    with _second_ends_at_once(handled):
        before = {number: signal.signal(number, end) for number in handled}
        try:
            yield ending
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _second_ends_at_once(handled: list[signal.Signals]) -> Iterator[None]:
    """Watch for it in a thread: a Python handler waits for calls into C, such as the read of a camera that hangs."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        first_s: float | None = None
        while numbers := reader.recv(64):
            ends = [number for number in numbers if number in handled]
            if not ends:
                continue
            if first_s is None:
                first_s = time.monotonic()
            elif time.monotonic() - first_s >= SAME_S:
                os._exit(128 + ends[0])

    thread = threading.Thread(target=watch, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        thread.join()
        reader.close()
