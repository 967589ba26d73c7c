"""How many cores, how much memory and what network a number of cameras needs, from what one core was measured to do.

It reads what ``posemoe-edge bench --json`` printed. A step of n people takes a + b n milliseconds, fitted to the 99th
percentiles that were measured; a core lifts as many people as it can within a frame. The rest is arithmetic, which the table
shows, and assumptions, which are options.

Run: posemoe-edge bench --streams 1,8,32 --json > bench.json
     python benchmarks/capacity.py bench.json --detector-ms 17 [--fps 25] [--people 2] [--mbit 4] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.serving.messages import frame_request

CAMERAS = (1, 10, 100, 1_000, 10_000, 100_000)
SLABS = 2  # a state is read from one buffer and written to the other
POSE_BYTES = 4 * (len(H36M17) * 3 + 2 * len(H36M17)) + 3 * 8  # joints, scores and sigma; id and times
DAY_S = 86_400


@dataclass(frozen=True)
class Core:
    """What one core does.

    Args:
        fixed_ms, person_ms: a step of n people takes ``fixed_ms + n person_ms``.
        people: that it lifts within a frame.
    """

    fixed_ms: float
    person_ms: float
    people: int


@dataclass(frozen=True)
class Need:
    """What a number of cameras needs.

    Args:
        lifting_cores, detecting_cores: of the measured kind, busy without a pause.
        state_gb: of everybody who is seen, in the lifters' memory.
        keypoints_mbit_s: to lifters on a server, if people are found beside the cameras.
        pictures_mbit_s: to detectors on a server, if they are not.
        poses_tb_a_day: kept as plain numbers.
    """

    cameras: int
    people: int
    lifting_cores: int
    detecting_cores: int
    state_gb: float
    keypoints_mbit_s: float
    pictures_mbit_s: float
    poses_tb_a_day: float


def core_of(steps: Sequence[dict[str, Any]], fps: float) -> Core:
    """The core that made these steps, one engine's and precision's with several numbers of people.

    Raises:
        ValueError: fewer than two numbers of people.
    """
    people, p99_ms = ([step[name] for step in steps] for name in ("streams", "p99_ms"))
    if len(set(people)) < 2:
        raise ValueError("steps of one number of people do not tell what a person costs: bench --streams 1,8,32")
    person_ms, fixed_ms = np.polyfit(people, p99_ms, 1)
    return Core(float(fixed_ms), float(person_ms), max(math.floor((1000 / fps - fixed_ms) / person_ms), 0))


def need_of(cameras: int, core: Core, *, state_bytes: int, fps: float, people: float, detector_ms: float, mbit: float) -> Need:
    """What so many cameras need, with so many people before each on average."""
    seen = math.ceil(cameras * people)
    keypoints = np.ones((len(H36M17), 3), np.float32)
    request_bytes = len(frame_request("frame-retention-s", 2**60, (keypoints, 1e9)).SerializeToString())
    return Need(
        cameras=cameras,
        people=seen,
        lifting_cores=math.ceil(seen / core.people),
        detecting_cores=math.ceil(seen * detector_ms * fps / 1000),
        state_gb=SLABS * seen * state_bytes / 1e9,
        keypoints_mbit_s=8 * seen * fps * request_bytes / 1e6,
        pictures_mbit_s=cameras * mbit,
        poses_tb_a_day=seen * fps * POSE_BYTES * DAY_S / 1e12,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench", type=Path)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--people", type=float, default=2.0, help="before each camera, on average")
    parser.add_argument(
        "--detector-ms", type=float, required=True, help="of a core, to find one person's keypoints in a picture"
    )
    parser.add_argument("--mbit", type=float, default=4.0, help="a second of a camera's compressed video")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    bench = json.loads(options.bench.read_text(encoding="utf-8"))
    first = bench["steps"][0]
    steps = [step for step in bench["steps"] if (step["engine"], step["precision"]) == (first["engine"], first["precision"])]
    core = core_of(steps, options.fps)
    if not core.people:
        raise SystemExit(f"one core does not lift one person at {options.fps:g} Hz: {core.fixed_ms + core.person_ms:.1f} ms")
    assumed = dict(fps=options.fps, people=options.people, detector_ms=options.detector_ms, mbit=options.mbit)
    needs = [need_of(cameras, core, state_bytes=bench["state_bytes"], **assumed) for cameras in CAMERAS]

    print(f"{bench['preset']} {first['precision']} on {first['engine']}, {bench['machine']['processor']}")
    print(f"a step of n people: {core.fixed_ms:.2f} + {core.person_ms:.3f} n ms (p99)")
    print(f"within {1000 / options.fps:g} ms a core lifts {core.people} people")
    print(
        f"{'cameras':>8}{'people':>9}{'lifting':>9}{'detecting':>11}{'state':>11}{'keypoints':>18}{'pictures':>18}{'poses':>16}"
    )
    for need in needs:
        print(
            f"{need.cameras:>8,}{need.people:>9,}{need.lifting_cores:>9,}{need.detecting_cores:>11,}{need.state_gb:>8.2f} GB"
            f"{need.keypoints_mbit_s:>11,.1f} Mbit/s{need.pictures_mbit_s:>11,.0f} Mbit/s{need.poses_tb_a_day:>9.3f} TB/day"
        )
    if options.json:
        report = {"core": asdict(core), "assumed": assumed, "needs": [asdict(need) for need in needs]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
