"""What the service manager is told, over a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.edge.cli.systemd import STATUS_EVERY_S, ServiceManager
from posemoe_edge.runtime.events import PoseFrame, TrackStarted
from posemoe_edge.runtime.live_status import LiveStatus

FRAME = PoseFrame(0.0, {}, image_bgr=np.zeros((2, 2, 3), np.uint8))


class Clock:
    """Seconds that pass when a test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Manager:
    """The other end of the socket."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def told(self) -> list[str]:
        """The first line of each message since the last call."""
        lines = []
        while True:
            try:
                lines.append(self.socket.recv(4096).decode().splitlines()[0])
            except BlockingIOError:
                return lines


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Manager, str]]:
    """The manager and its address as NOTIFY_SOCKET has it."""
    address = str(tmp_path / "n") if request.param == "path" else f"\0posemoe-edge-test-{os.getpid()}"
    listening = Manager(address)
    yield listening, address.replace("\0", "@")
    listening.socket.close()


def test_the_watchdog_is_fed_by_frames_at_half_of_its_time(manager: tuple[Manager, str]) -> None:
    listening, address = manager
    clock = Clock()
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
    with ServiceManager(environment, clock=clock) as systemd:
        see = systemd.watch(LiveStatus())
        see(TrackStarted(0, 0.0))
        assert listening.told() == []  # not ready before a frame went through
        see(FRAME)
        assert listening.told() == ["READY=1"]
        for clock.now_s in (0.5, 1.9, 2.0, 2.1, 3.9, 4.0):
            see(FRAME)
        assert listening.told() == ["WATCHDOG=1", "WATCHDOG=1"]
        clock.now_s = 100.0  # nothing is told while no frame comes
        assert listening.told() == []
        systemd.stopping()
    assert listening.told() == ["STOPPING=1"]


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}])
def test_without_a_watchdog_for_this_process_only_the_status_is_told(
    watchdog: dict[str, str], manager: tuple[Manager, str]
) -> None:
    listening, address = manager
    clock = Clock()
    with ServiceManager({"NOTIFY_SOCKET": address, **watchdog}, clock=clock) as systemd:
        see = systemd.watch(LiveStatus())
        see(FRAME)
        clock.now_s = STATUS_EVERY_S
        see(FRAME)
        ready, status = listening.told()
        assert ready == "READY=1" and status.startswith("STATUS=")


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_nothing_happens(environment: dict[str, str]) -> None:
    with ServiceManager(environment) as systemd:
        systemd.watch(LiveStatus())(FRAME)
        systemd.stopping()
