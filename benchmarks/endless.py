"""A stream that never degrades: the time of a step and the pose, long after the published form has overflowed.

The published streaming retention counts positions from the stream's start: its steps become slower, and after some 36,000
frames its float32 state overflows. This benchmark runs one stream for longer than that and compares blocks of it.

Run: python benchmarks/endless.py [--frames 40000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from posemoe_edge import load
from posemoe_edge.runtime.sources import SyntheticSource

WALK_FRAMES = 2000  # of the walk that is repeated
WARM_UP = 3000  # frames after which a new stream's state equals an old one's


def measure(frames: int) -> dict[str, Any]:
    with SyntheticSource(noise_px=2, frames=WALK_FRAMES) as source:
        keypoints = [frame.keypoints[0].normalised() for frame in source]
    model = load()
    old, fresh = model.stream(), model.stream()
    block = frames // 8
    seconds = np.empty(frames)
    difference_m = 0.0
    for i in range(frames):
        began = time.perf_counter()
        pose = old.step(keypoints[i % WALK_FRAMES])
        seconds[i] = time.perf_counter() - began
        if i >= frames - WARM_UP - block // 2:
            twin = fresh.step(keypoints[i % WALK_FRAMES])
            if i >= frames - block // 2:
                difference_m = max(difference_m, float(np.abs(pose.xyz_m - twin.xyz_m).max()))
    medians = [1000 * float(np.median(seconds[k * block : (k + 1) * block])) for k in range(8)]
    return {
        "frames": frames,
        "median_ms_by_eighth": [round(m, 3) for m in medians],
        "last_over_first": round(medians[-1] / medians[0], 3),
        "finite": bool(np.isfinite(pose.xyz_m).all()),
        "max_difference_to_a_fresh_stream_mm": round(1000 * difference_m, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=40000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.frames < 2 * WARM_UP:
        parser.error(f"--frames {options.frames}: at least {2 * WARM_UP} are expected, or the fresh stream is as old")
    result = measure(options.frames)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
