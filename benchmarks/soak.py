"""A long run: whether its memory grows, and whether its steps become slower.

Three people at 50 Hz go through a whole pipeline with a file of poses, as fast as it goes: 180,000 frames are an hour of their
motion. The process's resident memory is sampled, and a line is laid through the samples after the first fifth, in which caches
fill and the allocator settles. An hour is one of motion: what a robot's 50 Hz camera sees in an hour.

A slope within its standard error, or whose gain over the whole measurement is below a megabyte, is no leak that this length of
run can show: the allocator rounds, and a leak of 1 kB a frame would be 180 MB/h. Steps that are slow in one tenth alone are
another program's doing; a leak or a queue makes every tenth slower than the one before.

Run: python benchmarks/soak.py [--frames 180000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from posemoe_edge import Pipeline, load
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.events import Event, PoseFrame
from posemoe_edge.runtime.live_status import LiveStatus
from posemoe_edge.runtime.sinks import open_sinks

FPS = 50
SOURCE = "synthetic://walk?people=3&noise=2"
WARM_UP = 0.2  # share of the frames
SAMPLES = 400  # of the memory, over the whole run


def resident_mb() -> float:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def slope_of(x: F64, y: F64) -> tuple[float, float]:
    """The slope of the line through the points (by least squares), and its standard error."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - slope * centred
    return slope, float(np.sqrt(rest @ rest / max(len(x) - 2, 1) / (centred @ centred)))


def measure(frames: int, *, memory_mb: Callable[[], float] = resident_mb) -> dict[str, Any]:
    """Run so many frames."""
    every = max(frames // SAMPLES, 1)
    step_ms = np.empty(frames)
    hours, resident = np.empty(frames // every + 1), np.empty(frames // every + 1)  # made before, as step_ms is
    for array in (step_ms, hours, resident):
        array.fill(0)  # now, so that their pages are there before the first sample
    status, seen, samples = LiveStatus(fps=FPS), 0, 0

    def watch(event: Event) -> None:
        nonlocal seen, samples
        status.add(event)
        if isinstance(event, PoseFrame):
            step_ms[seen] = 1000 * event.step_s
            seen += 1
            if seen % every == 0:
                hours[samples], resident[samples] = seen / FPS / 3600, memory_mb()
                samples += 1
                status.now()

    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        poses = Path(folder) / "poses.jsonl"
        stats = Pipeline(SOURCE, load(), frames=frames).run(open_sinks([f"jsonl:{poses}"]), on_event=watch)
        file_mb = poses.stat().st_size / 1e6
    warm = slice(int(WARM_UP * samples), samples)
    slope, error = slope_of(hours[warm], resident[warm])
    tenths_ms = np.array_split(step_ms, 10)
    p99_ms = [float(np.percentile(tenth, 99)) for tenth in tenths_ms]
    return {
        "frames": stats.frames,
        "poses": stats.poses,
        "hours_of_motion": round(frames / FPS / 3600, 4),
        "seconds": round(time.perf_counter() - began_s, 1),
        "sink_mb": round(file_mb, 1),
        "resident_mb": {name: round(float(resident[at]), 1) for name, at in (("warm", warm.start), ("end", samples - 1))},
        "slope_mb_per_hour": round(slope, 2),
        "slope_standard_error": round(error, 2),
        "step_median_ms_by_tenth": [round(float(np.median(tenth)), 3) for tenth in tenths_ms],
        "step_p99_ms_by_tenth": [round(each, 3) for each in p99_ms],
        "p99_last_over_first": round(p99_ms[-1] / p99_ms[0], 3),
        "deadline_misses": status.now().deadline_misses,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=180_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options.frames)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
