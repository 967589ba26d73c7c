"""A network camera on this machine: how old its frames are, and how soon it is back after a restart and a freeze.

The camera is a GStreamer RTSP server (640 x 360 at 30 frames a second, a key frame each second) that draws the wall clock into
its pictures, so that a frame's age is read from the picture itself; it contains the encoder's time. The system's Python runs
it, with the packages python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good, -bad and -ugly. After the freeze, the
oldest is that of the frames of the next two seconds.

Run: python benchmarks/rtsp.py [--backend pyav] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from experiment import exit_on_error
from posemoe_edge.runtime.errors import MissingError
from posemoe_edge.runtime.sources import CameraFrame, open_source

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "real"))

from rtsp_server import RtspServer, read_clock_s, why_not

STEADY_FRAMES, LATER_FRAMES = 150, 60
FREEZE_S = 4.0


def measure(backend: str) -> dict[str, float]:
    """One round: start, steady state, kill and restart, freeze. Times in ms, but for those named otherwise."""
    server = RtspServer()
    server.start()
    try:
        began_s = time.monotonic()
        with open_source(f"{server.url}?backend={backend}") as source:
            frames = (item for item in source if isinstance(item, CameraFrame))
            _age_s(next(frames))
            first_s = time.monotonic() - began_s
            steady_s = _ages_s(frames, STEADY_FRAMES)[STEADY_FRAMES // 5 :]  # without those of the start

            server.kill()
            server.start()
            began_s = time.monotonic()
            for frame in frames:
                if frame.arrived_s is not None and frame.arrived_s > began_s:
                    break
            restarted_s = time.monotonic() - began_s
            _ages_s(frames, LATER_FRAMES)

            server.freeze()
            thaw = threading.Timer(FREEZE_S, server.thaw)
            thaw.start()
            end_s = time.monotonic() + FREEZE_S
            before_s = end_s - FREEZE_S / 2  # whatever was on its way has arrived
            age_s = next(_age_s(frame) for frame in frames if frame.arrived_s is not None and frame.arrived_s > before_s)
            thawed_s = time.monotonic() - end_s
            old_s = max(age_s, *_ages_s(frames, LATER_FRAMES))
    finally:
        server.kill()
    return {
        "first_frame_s": first_s,
        "age_median_ms": 1000 * float(np.median(steady_s)),
        "age_p95_ms": 1000 * float(np.percentile(steady_s, 95)),
        "first_frame_after_restart_s": restarted_s,
        "first_frame_after_freeze_s": thawed_s,
        "oldest_after_freeze_ms": 1000 * old_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backend", choices=("pyav", "gstreamer"), default="pyav")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    missing = why_not()
    if missing is not None:
        raise MissingError(f"no RTSP server: {missing}", run="sudo apt-get install gir1.2-gst-rtsp-server-1.0")
    rounds = [measure(options.backend) for _ in range(options.rounds)]
    result: dict[str, Any] = {"backend": options.backend, "rounds": len(rounds)}
    for name in rounds[0]:
        values = [values[name] for values in rounds]
        result[name] = {"median": round(float(np.median(values)), 2), "most": round(max(values), 2)}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


def _age_s(frame: CameraFrame) -> float:
    return float(time.time() - read_clock_s(frame.image_bgr))


def _ages_s(frames: Iterator[CameraFrame], count: int) -> list[float]:
    return [_age_s(next(frames)) for _ in range(count)]


if __name__ == "__main__":
    exit_on_error(main)
