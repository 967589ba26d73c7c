"""What a Triton costs beside our own loop, how many people it lifts live, and whether it ever mixes two of them.

    python benchmarks/serving.py --python triton/bin/python [--people 64] [--events 10000] [--seconds 10] [--json FILE]

The Triton is nvidia-pytriton's, with the Python backend, on one core (the last one); this client is on the others.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from posemoe_edge import Model, Pose, load
from posemoe_edge.runtime.address import Address
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.serving import ServingLimits, write_repository
from posemoe_edge.runtime.serving.remote import RemoteModel
from posemoe_edge.runtime.serving.server import find_triton, running_triton
from posemoe_edge.runtime.sources.synthetic import SyntheticSource

MODEL = "frame-retention-s"
FPS = 25
SAME_M = 5e-5
"""Poses of the same state: sums in another order, by another version of the engine."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="a Python with nvidia-pytriton")
    parser.add_argument("--people", type=int, default=64, help="most people at once of the last part")
    parser.add_argument("--events", type=int, default=10_000, help="connects, disconnects and resumes of the last part")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each number of live people")
    parser.add_argument("--delay-us", type=int, default=ServingLimits().delay_us)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    walks = [walk(seed) for seed in range(16)]
    with serving(chosen.python, chosen.delay_us) as url:
        results: dict[str, Any] = {"model": MODEL, "delay_us": chosen.delay_us, "cores": os.cpu_count()}
        results["overhead"] = [overhead(url, people, walks) for people in (1, 4, 16)]
        results["live"] = live(url, chosen.seconds, walks)
        results["mixing"] = mixing(url, chosen.people, chosen.events, walks)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n")


def walk(seed: int, frames: int = 600) -> F32:
    """(frames, 17, 3) normalised keypoints of a walker."""
    with SyntheticSource(seed=seed, noise_px=3, frames=frames) as source:
        return np.stack([frame.keypoints[0].normalised() for frame in source])


@contextmanager
def serving(python: str, delay_us: int) -> Iterator[str]:
    """The URL of a Triton on the last core. This process keeps the others."""
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder:
        models = write_repository(MODEL, Path(folder) / "models", limits=ServingLimits(people=1024, delay_us=delay_us))
        os.sched_setaffinity(0, {max(cores)})  # the server inherits it
        with running_triton(find_triton(python=python), Path(folder) / "models", models, Address("127.0.0.1", 0)) as server:
            os.sched_setaffinity(0, cores - {max(cores)} or cores)
            yield f"grpc://{server.address}"
        os.sched_setaffinity(0, cores)


def overhead(url: str, people: int, walks: list[F32], frames: int = 500) -> dict[str, Any]:
    """Milliseconds of a frame of all people, here and there in turn."""
    home, there = load(MODEL), RemoteModel.connect(url)
    models: dict[str, Model | RemoteModel] = {"here": home, "there": there}
    streams: dict[str, list[Any]] = {name: [model.stream() for _ in range(people)] for name, model in models.items()}
    took_ms: dict[str, list[float]] = {name: [] for name in models}
    for i in range(frames):
        for name, model in models.items():
            batch = {stream: walks[k % len(walks)][i] for k, stream in enumerate(streams[name])}
            began_s = time.perf_counter()
            model.step_batch(batch, t=i / FPS)
            took_ms[name].append(1000 * (time.perf_counter() - began_s))
    there.close()
    row: dict[str, Any] = {"people": people}
    for name, times in took_ms.items():
        row |= {f"{name}_p{q}_ms": round(float(np.percentile(times[20:], q)), 2) for q in (50, 99)}
    print(row, flush=True)
    return row


def live(url: str, seconds: float, walks: list[F32]) -> dict[str, Any]:
    """The largest number of people at 25 Hz whose frames are late by no more than a frame at the 99th percentile.

    A frame is due when the next one is taken.
    """
    tried: dict[int, float] = {}

    def keeps_up(people: int) -> bool:
        model = RemoteModel.connect(url)
        streams = [model.stream() for _ in range(people)]
        frames, latency_s = int(seconds * FPS), []
        model.step_batch({stream: walks[k % len(walks)][0] for k, stream in enumerate(streams)}, t=0.0)  # memory is bound
        began_s = time.perf_counter()
        for i in range(1, frames):
            taken_s = began_s + i / FPS
            time.sleep(max(taken_s - time.perf_counter(), 0.0))
            batch = {stream: walks[k % len(walks)][i % 600] for k, stream in enumerate(streams)}
            model.step_batch(batch, t=i / FPS)
            latency_s.append(time.perf_counter() - taken_s)
        model.close()
        tried[people] = 1000 * float(np.percentile(latency_s, 99))
        print(f"{people} people: p50 {1000 * np.median(latency_s):.1f} ms, p99 {tried[people]:.1f} ms", flush=True)
        return tried[people] <= 2 * 1000 / FPS

    result = {"people": largest(keeps_up), "fps": FPS, "p99_ms": {str(n): round(ms, 1) for n, ms in sorted(tried.items())}}
    print(result, flush=True)
    return result


def largest(keeps_up: Callable[[int], bool], step: int = 4) -> int:
    """The largest multiple of ``step`` with which it keeps up, by doubling and halving."""
    low, high = 0, step
    while keeps_up(high):
        low, high = high, 2 * high
    while high - low > step:
        middle = (low + high) // 2 // step * step
        low, high = (middle, high) if keeps_up(middle) else (low, middle)
    return low


def mixing(url: str, most: int, events: int, walks: list[F32], clients: int = 4) -> dict[str, Any]:
    """Random connects, goodbyes, people who vanish and connections that break; each pose is compared with a stream here.

    All of a person's past is sent again, so that the pose must be that of a stream that was never interrupted.
    """
    rng, home = np.random.default_rng(0), load(MODEL)
    quiet: Callable[[str], None] = lambda text: None  # noqa: E731
    models = [RemoteModel.connect(url, replay_s=100.0, timeout_s=30.0, on_notice=quiet) for _ in range(clients)]
    people: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    compared, worst_m, began_s = 0, 0.0, time.monotonic()

    def resumed() -> int:
        return sum(model.resumed for model in models)

    while sum(counts[kind] for kind in ("connect", "goodbye", "vanish")) + resumed() < events:
        kind = str(rng.choice(["connect", "goodbye", "vanish", "break"], p=[0.5, 0.3, 0.15, 0.05]))
        if kind == "break":
            broken = models[rng.integers(clients)]
            if broken._connection is not None:
                broken._connection.close()
                counts["break"] += 1
        elif kind == "connect" and len(people) < most:
            model = models[rng.integers(clients)]
            of_walk = {"walk": walks[rng.integers(len(walks))], "at": int(rng.integers(500)), "age": 0}
            people.append({"model": model, "there": model.stream(), "here": home.stream(), **of_walk})
            counts["connect"] += 1
        elif kind in ("goodbye", "vanish") and people:
            gone = people.pop(int(rng.integers(len(people))))
            gone["here"].close()
            if kind == "goodbye":
                gone["there"].close()
            counts[kind] += 1
        some = [person for person in people if rng.random() < 0.15]
        for model in models:
            mine = [person for person in some if person["model"] is model]
            frames = {person["there"]: person["walk"][(person["at"] + person["age"]) % 600] for person in mine}
            answers = model.step_each(frames, t={person["there"]: person["age"] / FPS for person in mine})
            for person in mine:
                x, t_s = frames[person["there"]], person["age"] / FPS
                expected, answer = person["here"].step(x, t=t_s), answers[person["there"]]
                person["age"] += 1
                if not isinstance(answer, Pose):
                    raise SystemExit(f"refused after {compared} poses: {answer}")
                worst_m = max(worst_m, float(np.abs(answer.xyz_m - expected.xyz_m).max()))
                compared += 1
    result = {
        **counts,
        "resumed": resumed(),
        "poses": compared,
        "worst_mm": round(1000 * worst_m, 4),
        "mixed": worst_m > SAME_M,
        "another_state_mm": round(1000 * another_state_m(walks), 2),
        "seconds": round(time.monotonic() - began_s, 1),
    }
    print(result, flush=True)
    return result


def another_state_m(walks: list[F32]) -> float:
    """How far a pose moves, at least of some, if it is lifted with another one's state: what mixing would look like."""
    home, apart_m = load(MODEL), []
    for k in range(8):
        own, other = home.stream(), home.stream()
        for i in range(20):
            pose, _ = own.step(walks[k][i], t=i / FPS), other.step(walks[k + 8][i + 40], t=i / FPS)
        frame = walks[k][20]
        pose, mixed = own.step(frame, t=20 / FPS), other.step(frame, t=20 / FPS)
        apart_m.append(float(np.abs(pose.xyz_m - mixed.xyz_m).max()))
    return min(apart_m)


if __name__ == "__main__":
    main()
