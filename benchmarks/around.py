"""What everything around the engine costs for each frame: source, streams, checks, events, statistics and a sink's queue.

A whole ``Pipeline.run`` with a live status and a sink behind its queue, frame by frame beside the same graph by a bare binding
of the engine with as many rows. Both run in one process, so that a busy machine disturbs both equally. The share is the median
of what a frame takes more than the bare launch beside it, as a part of that launch's median. Targets: 10 % with one stream, 5 %
with 32. Frames of the source are made before. The same share of this thread's processor time leaves out what other programs
take.

Run: python benchmarks/around.py [--frames 2000] [--streams 1 32] [--fov 70] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from posemoe_edge import Pipeline, load
from posemoe_edge.runtime.bench import BareLaunch
from posemoe_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from posemoe_edge.runtime.events import Event
from posemoe_edge.runtime.live_status import LiveStatus
from posemoe_edge.runtime.model import Model
from posemoe_edge.runtime.pose.camera_model import FieldOfView
from posemoe_edge.runtime.sinks import BaseSink
from posemoe_edge.runtime.sources import BaseSource, People, SourceInfo, SyntheticSource

WARM_UP = 50  # frames
FPS = 50


class DiscardingSink(BaseSink):
    """Takes events behind its queue, and does nothing."""

    def write(self, event: Event) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class TimedSource(BaseSource):
    """Frames that were made before. Between two of them it runs ``beside``, and notes how long both took."""

    info = SourceInfo("walkers", fps=FPS)

    def __init__(self, frames: list[People], beside: Callable[[People], None]) -> None:
        self._frames, self._beside = frames, beside
        # (T, 4): seconds of the frame and of what is beside it, and the processor time of this thread for both.
        self.times_s = np.zeros((len(frames), 4))

    def __iter__(self) -> Iterator[People]:
        for index, frame in enumerate(self._frames):
            began = np.array([time.perf_counter(), time.thread_time()])
            self._beside(frame)
            given = np.array([time.perf_counter(), time.thread_time()])
            yield frame
            ended = np.array([time.perf_counter(), time.thread_time()])
            self.times_s[index] = np.stack([ended - given, given - began], axis=1).ravel()


def bare_launch(model: Model, frames: list[People]) -> Callable[[People], None]:
    """The model's graph by its engine alone, with a row for each person and nothing around it."""
    people = frames[0].keypoints.values()
    launch = BareLaunch(
        OnnxRuntimeEngine(model.path.parent / model.graph.file),
        model.graph,
        len(people),
        keypoints=np.stack([keypoints.normalised() for keypoints in people]),
        dt_s=1 / FPS,
    )
    return lambda frame: launch()


def measure(streams: int, frames: int, *, fov_deg: float | None = None) -> dict[str, Any]:
    """Run so many frames of so many people."""
    with SyntheticSource(people=streams, noise_px=2, fps=FPS, frames=frames + WARM_UP) as walkers:
        made = [replace(frame, truth_m=None, truth_root_m=None) for frame in walkers]  # as of a camera
    model, status = load(), LiveStatus(FPS)
    source = TimedSource(made, bare_launch(model, made))
    camera = None if fov_deg is None else FieldOfView(fov_deg)
    stats = Pipeline(source, model, camera=camera).run([DiscardingSink()], on_event=status.add)
    frame_ms, engine_ms, frame_cpu_ms, engine_cpu_ms = 1000 * source.times_s[WARM_UP:].T
    around_ms, around_cpu_ms = float(np.median(frame_ms - engine_ms)), float(np.median(frame_cpu_ms - engine_cpu_ms))
    return {
        "streams": streams,
        "camera_known": camera is not None,
        "frames": frames,
        "poses": stats.poses,
        "frame_ms": round(float(np.median(frame_ms)), 4),
        "engine_ms": round(float(np.median(engine_ms)), 4),
        "around_ms": round(around_ms, 4),
        "around_share": round(around_ms / float(np.median(engine_ms)), 4),
        "around_cpu_share": round(around_cpu_ms / float(np.median(engine_cpu_ms)), 4),
        "stages_ms": {stage: round(of["p50"], 4) for stage, of in stats.stages_ms.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=2000, help="with one stream; with more, fewer: at least 200")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--fov", type=float, help="degrees: the camera is known, and people get positions")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = [
        measure(streams, max(options.frames // streams, min(options.frames, 200)), fov_deg=options.fov)
        for streams in options.streams
    ]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread")
    for result in results:
        print(
            f"{result['streams']:>3} streams: engine {result['engine_ms']:.3f} ms, around it {result['around_ms']:.3f} ms, "
            f"{result['around_share']:.1%} (of processor time {result['around_cpu_share']:.1%}); stages {result['stages_ms']}"
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
