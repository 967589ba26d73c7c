"""A long run of many streams that nothing goes right for: whether each of them is what it would have been alone.

Streams join and leave a model of either precision, at 25, 50 and 100 Hz, with gaps of up to three seconds, outliers,
hidden joints, left and right swapped, nobody in the picture, frames that must be refused, and changes of the model in
the middle. Those that are due at the same time are lifted in one launch. When a stream leaves, it may be lifted
again, alone, by models of its own, and is compared pose by pose. Memory, latency and the size of states are watched
as in ``soak.py``.

Run: python benchmarks/soak_streams.py [--frames 1000000] [--minutes 90] [--streams 8] [--replayed 0.1] [--json FILE]
An interrupt (Ctrl-C) ends it early, as --minutes does: what is reported is what it reached.
"""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from posemoe_edge import load
from posemoe_edge.runtime.arrays import F32, F64
from posemoe_edge.runtime.artefact.precision import Precision
from posemoe_edge.runtime.errors import FrameError
from posemoe_edge.runtime.model import Model
from posemoe_edge.runtime.people_lifter import moved
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sources import SyntheticSource
from posemoe_edge.runtime.stream import Stream
from soak import SAMPLES, WARM_UP, resident_mb, slope_of

TICK_S = 0.01
PERIODS = (1, 2, 4)  # ticks: 100, 50 and 25 Hz
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
ODDS = {
    "gap": 0.005,
    "outlier": 0.02,
    "hidden": 0.05,
    "swapped": 0.005,
    "nobody": 0.003,
    "refused": 0.002,
    "model": 0.0005,
    "leaves": 0.001,
}
_MIRROR = np.arange(17)
_MIRROR[[*H36M17.left, *H36M17.right]] = [*H36M17.right, *H36M17.left]


@dataclass
class Life:
    """A stream from joining to leaving, and what became of its frames, if it will be lifted again."""

    stream: Stream
    model: int
    period: int
    next_tick: int
    walk: int  # its frame in the walkers' motion
    kept: bool
    frames: list[tuple[int, float, F32, F32 | None]] = field(default_factory=list)  # model, t, keypoints, pose or None


class Soak:
    """Lives on models, until so many frames have been fed."""

    def __init__(self, models: Sequence[Model], twins: Sequence[Model], *, streams: int, replayed: float, seed: int) -> None:
        self.models, self.twins, self._replayed = models, twins, replayed
        self._rng = np.random.default_rng(seed)
        self._motion = walkers()  # (T, 17, 3)
        self.counts = Counter[str]()
        self.differences_mm: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        self.state_norms: list[float] = []
        self._tick = 0
        self._lives = [self._join() for _ in range(streams)]

    def step(self) -> tuple[int, float]:
        """One tick of the clock: frames that were fed, and the seconds it took to lift them."""
        self._tick += 1
        t_s, taken_s, fed = self._tick * TICK_S, 0.0, 0
        due = [life for life in self._lives if life.next_tick <= self._tick]
        for number in range(len(self.models)):
            batch = {life.stream: (life, self._frame(life)) for life in due if life.model == number}
            if batch:
                began_s = time.perf_counter()
                poses = self._lift(number, {stream: keypoints for stream, (_, keypoints) in batch.items()}, t_s)
                taken_s += time.perf_counter() - began_s
                for stream, (life, keypoints) in batch.items():
                    if life.kept:
                        pose = poses.get(stream)
                        life.frames.append((number, t_s, keypoints, None if pose is None else pose.xyz_m.copy()))
                fed += len(batch)
        for life in due:
            self._go_on(life)
        return fed, taken_s

    def end(self) -> None:
        """Everybody leaves."""
        for life in self._lives:
            self._leave(life)

    def _join(self) -> Life:
        number = int(self._rng.integers(len(self.models)))
        self.counts["joined"] += 1
        return Life(
            self.models[number].stream(),
            number,
            int(self._rng.choice(PERIODS)),
            self._tick + 1,
            int(self._rng.integers(len(self._motion))),
            self._happens(self._replayed),
        )

    def _frame(self, life: Life) -> F32:
        """The next keypoints of a life, as a bad camera and a bad detector give them."""
        life.walk += life.period
        keypoints: F32 = self._motion[life.walk % len(self._motion)].copy()
        keypoints[:, :2] += self._rng.normal(0, 0.004, (17, 2))
        if self._odd("hidden"):
            keypoints[self._rng.choice(17, self._rng.integers(1, 9), replace=False)] = 0
        if self._odd("outlier"):
            keypoints[self._rng.integers(17), :2] = self._rng.uniform(-3, 3, 2)
        if self._odd("swapped"):
            keypoints = np.ascontiguousarray(keypoints[_MIRROR])
        if self._odd("nobody"):
            keypoints[:] = 0
        if self._odd("refused"):
            keypoints[self._rng.integers(17), self._rng.integers(3)] = self._rng.choice([np.nan, np.inf, 1e30])
        return keypoints

    def _lift(self, number: int, frames: dict[Stream, F32], t_s: float) -> dict[Stream, Pose]:
        """In one launch; one by one if a frame is refused, as a pipeline does."""
        try:
            return self.models[number].step_batch(frames, t=t_s)
        except FrameError:
            poses = {}
            for stream, keypoints in frames.items():
                try:
                    poses[stream] = stream.step(keypoints, t=t_s)
                except FrameError:
                    self.counts["refused frames"] += 1
            return poses

    def _go_on(self, life: Life) -> None:
        life.next_tick = self._tick + life.period
        if self._odd("gap"):
            life.next_tick += int(self._rng.integers(1, 300))
        if self._odd("model"):
            life.model = 1 - life.model
            life.stream = moved(life.stream, self.models[life.model])
        if self._odd("leaves"):
            self._leave(life)
            self._lives[self._lives.index(life)] = self._join()

    def _leave(self, life: Life) -> None:
        self.state_norms.append(float(np.linalg.norm(life.stream.snapshot().state)))
        life.stream.close()
        if life.kept:
            self._lift_again(life)

    def _lift_again(self, life: Life) -> None:
        """Alone, from the first frame on: refusals must be the same, and poses as near as launches of other sizes are."""
        self.counts["lifted again"] += 1
        number = life.frames[0][0] if life.frames else life.model
        stream = self.twins[number].stream()
        for model, t_s, keypoints, xyz_m in life.frames:
            if model != number:
                number, stream = model, moved(stream, self.twins[model])
            try:
                alone = stream.step(keypoints, t=t_s)
            except FrameError:
                self.counts["other refusals"] += xyz_m is not None
                continue
            if xyz_m is None:
                self.counts["other refusals"] += 1
                continue
            self.counts["poses compared"] += 1
            away_mm = 1000 * np.linalg.norm(alone.xyz_m - xyz_m, axis=-1).max()
            self.differences_mm[PRECISIONS[model]].append(float(away_mm))
        stream.close()

    def _odd(self, kind: str) -> bool:
        happened = self._happens(ODDS[kind])
        self.counts[kind] += happened
        return happened

    def _happens(self, odds: float) -> bool:
        return bool(self._rng.random() < odds)


def walkers() -> F32:
    """(T, 17, 3) normalised keypoints of one walker after the other."""
    with SyntheticSource(people=4, fps=100, frames=1000) as source:
        frames = [[keypoints.normalised(view="person") for keypoints in frame.keypoints.values()] for frame in source]
    return np.concatenate(np.array(frames, np.float32).swapaxes(0, 1))


def measure(
    frames: int,
    *,
    streams: int = 8,
    replayed: float = 0.1,
    seed: int = 0,
    enough: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Feed so many frames, or fewer if ``enough`` says so."""
    soak = Soak(
        [load(precision=precision) for precision in PRECISIONS],
        [load(precision=precision) for precision in PRECISIONS],
        streams=streams,
        replayed=replayed,
        seed=seed,
    )
    every, fed = max(frames // SAMPLES, 1), 0
    samples: list[tuple[int, float]] = []
    launches_ms, launches = np.full(frames, np.nan), 0  # made before, so that what is measured does not grow by measuring
    began_s = time.perf_counter()
    while fed < frames and not enough():
        count, taken_s = soak.step()
        if count:
            launches_ms[launches] = 1000 * taken_s
            launches += 1
        if (fed + count) // every > fed // every:
            samples.append((fed, resident_mb()))
        fed += count
    soak.end()
    at, resident = np.array(samples).T
    warm = slice(int(WARM_UP * len(at)), None)
    slope, error = slope_of(at[warm] / 1e6, resident[warm]) if len(at) > 4 else (float("nan"), float("nan"))
    p99_ms = [float(np.percentile(tenth, 99)) for tenth in np.array_split(launches_ms[:launches], 10)]
    return {
        "frames": fed,
        "frames_wanted": frames,
        "streams": streams,
        "seconds": round(time.perf_counter() - began_s, 1),
        "counts": dict(soak.counts),
        "differences_mm": {precision: _summary(np.array(of)) for precision, of in soak.differences_mm.items()},
        "state_norm": _summary(np.array(soak.state_norms)),
        "resident_mb": [round(float(resident[warm][0]), 1), round(float(resident[-1]), 1)],
        "slope_mb_per_million": round(slope, 2),
        "slope_standard_error": round(error, 2),
        "launch_p99_ms_by_tenth": [round(each, 3) for each in p99_ms],
        "p99_last_over_first": round(p99_ms[-1] / p99_ms[0], 3),
    }


def _summary(values: F64) -> dict[str, float] | None:
    if not len(values):
        return None
    return {
        "median": float(f"{np.median(values):.4g}"),
        "p99": float(f"{np.percentile(values, 99):.4g}"),
        "max": float(f"{values.max():.4g}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=1_000_000, help="of all streams together")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after this time, whatever was reached")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--replayed", type=float, default=0.1, help="the share of streams that is lifted again, alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ends_s, interrupts = time.monotonic() + 60 * options.minutes, list[int]()
    signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    result = measure(
        options.frames,
        streams=options.streams,
        replayed=options.replayed,
        seed=options.seed,
        enough=lambda: bool(interrupts) or time.monotonic() > ends_s,
    )
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
