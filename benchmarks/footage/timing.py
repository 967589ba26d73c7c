"""The time of a frame, ours stage by stage and MediaPipe's, in one run with a frame of each in turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from posemoe_edge.runtime.events import PoseFrame

from .mediapipe_peer import MediaPipe

_WARM_UP = 3


def measure_times(ours: dict[str, Iterator[PoseFrame]], peers: dict[str, MediaPipe]) -> list[dict[str, Any]]:
    """Rows of median milliseconds of a frame, and of the stages in the frames in which they ran, means over all frames.

    Args:
        ours: front end -> frames of the same clip.
        peers: MediaPipe's variant -> its process, at the clip's first frame.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # the core on which the peers run
    try:
        return _measure(ours, peers)
    finally:
        os.sched_setaffinity(0, cores)


def _measure(ours: dict[str, Iterator[PoseFrame]], peers: dict[str, MediaPipe]) -> list[dict[str, Any]]:
    stages: dict[str, list[dict[str, float]]] = {name: [] for name in ours}
    others: dict[str, list[float]] = {name: [] for name in peers}
    index = 0
    while True:
        turn = [*ours, *peers]
        for name in turn if index % 2 else turn[::-1]:
            if name in ours:
                frame = next(ours[name], None)
                if frame is None:
                    return _rows(stages, others)
                stages[name].append(dict(frame.stages_s))
            else:
                answer = peers[name].next()
                if answer is None:
                    return _rows(stages, others)
                others[name].append(answer["seconds"])
        index += 1


def _rows(stages: dict[str, list[dict[str, float]]], others: dict[str, list[float]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, frames in stages.items():
        usual = frames[_WARM_UP:] or frames
        names = list(dict.fromkeys(stage for frame in usual for stage in frame))
        totals = [sum(frame.values()) for frame in usual]
        row: dict[str, Any] = {"system": name, "frame_ms": _ms(np.median(totals)), "mean_ms": _ms(np.mean(totals))}
        row |= {f"{stage}_ms": _ms(np.mean([frame.get(stage, 0.0) for frame in usual])) for stage in names}
        rows.append(row)
    for name, seconds in others.items():
        usual_s = seconds[_WARM_UP:] or seconds
        rows.append({"system": name, "frame_ms": _ms(np.median(usual_s)), "mean_ms": _ms(np.mean(usual_s))})
    return rows


def _ms(seconds: Any) -> float:
    return round(1000 * float(seconds), 2)
