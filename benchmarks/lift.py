"""An archive on several processes beside one: the clips a second of `lift`, and by how many times more there are.

Both contestants start processes of their own and lift the same clips, in turns, so that a busy machine disturbs both; the
result is the median of the ratios of neighbours. The target, 1.7 with 2 processes, is for a machine with two free cores: the
load says whether it was one.

Run: python benchmarks/lift.py [--workers 2] [--clips 24] [--frames 500] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from posemoe_edge.runtime.archive.clip_lifter import Job, LiftOptions, Outcome
from posemoe_edge.runtime.archive.workers import lift_in_processes
from posemoe_edge.runtime.platform.cores import available_cores
from posemoe_edge.runtime.sources import SyntheticSource
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

TARGET = 1.7


def write_clips(folder: Path, *, clips: int, frames: int) -> list[Path]:
    """Clips of one walking person."""
    paths = []
    for n in range(clips):
        people = [frame.keypoints[0].normalised() for frame in SyntheticSource(frames=frames, seed=n, noise_px=2)]
        paths.append(folder / f"walk{n}.npz")
        save_keypoints(paths[-1], keypoints=np.stack(people), fps=50)
    return paths


def seconds_for(clips: list[Path], out: Path, *, workers: int) -> tuple[float, list[Outcome]]:
    """How long the archive takes from the start of the processes to their end, and what came of it."""
    jobs = [Job(f"kpts:{clip}", clip, out / f"{clip.name}.poses.npz", False) for clip in clips]
    outcomes: list[Outcome] = []
    began_s = time.perf_counter()
    lift_in_processes(jobs, LiftOptions(), workers=workers, on_outcome=outcomes.append)
    return time.perf_counter() - began_s, outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.workers < 2:
        parser.error(f"--workers {options.workers}: at least 2 are expected, since they are compared with one")

    record: dict[str, Any] = {
        "workers": options.workers,
        "cores": available_cores(),
        "clips": options.clips,
        "frames": options.frames,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = write_clips(folder, clips=options.clips, frames=options.frames)
        record["load_before"] = round(os.getloadavg()[0], 2)
        seconds: dict[int, list[float]] = {1: [], options.workers: []}
        for turn in range(options.rounds):
            for workers in list(seconds)[:: -1 if turn % 2 else 1]:
                taken_s, outcomes = seconds_for(clips, folder / f"out{workers}", workers=workers)
                if failures := [outcome.failure for outcome in outcomes if outcome.failure]:
                    sys.exit(f"a clip was not lifted: {failures[0]}")
                seconds[workers].append(taken_s)
                print(f"round {turn + 1}, {workers} processes: {taken_s:.1f} s, {options.clips / taken_s:.2f} clips a second")
        same = all(
            (folder / "out1" / f"{clip.name}.poses.npz").read_bytes()
            == (folder / f"out{options.workers}" / f"{clip.name}.poses.npz").read_bytes()
            for clip in clips
        )
    ratios = [one / many for one, many in zip(seconds[1], seconds[options.workers], strict=True)]
    record |= {
        "seconds": {str(workers): [round(taken_s, 2) for taken_s in values] for workers, values in seconds.items()},
        "ratio": round(statistics.median(ratios), 2),
        "load_after": round(os.getloadavg()[0], 2),
        "same_bytes": same,
    }
    speed = f"{options.workers} processes are {record['ratio']} times as fast as one (target {TARGET} with 2)"
    print(f"{speed}; the same bytes: {same}")
    print(f"load {record['load_before']} before, {record['load_after']} after, on {record['cores']} cores")
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
