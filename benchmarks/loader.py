"""The loader: are training scenes made faster than a network learns from them?

This experiment follows no paper's figure. It measures the cost of making each batch of scenes when it is needed, on the device
that trains. A training runs, and between two of its updates every loader makes one batch, so that all of them run under the
same load. The training's own loader is one row of the table, and its time is subtracted from the update's. "over_training" is
how many times faster than the training a loader is: at 1 a training that alternates loading and learning takes twice as long as
learning alone.

Run: python benchmarks/loader.py --data cmu_h36m17.npz [--preset posemoe-retention-s] [--updates 20] [--played 1200]
     [--split train] [--clips N] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiment import Row, exit_on_error, option_parser, parse_options, selected_clips, write_result
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.presets import Preset, find_preset
from posemoe_edge.edge.scenes.motion_bank import MotionBank
from posemoe_edge.edge.scenes.scenes import SceneBatch, Scenes
from posemoe_edge.edge.training.recipe import Recipe, TrainingProgress
from posemoe_edge.edge.training.train import train
from posemoe_edge.runtime.plotting import Bars

SIZES = ((486, 1), (54, 9), (18, 27), (6, 81))
"""(rows, frames) of a batch, 486 frames each"""
TRAINED = (18, 27)
WARM_UP = 2  # updates that are not counted
PLAYED = 1200  # frames that each row of a loader plays


def measure(preset: Preset, clips: Sequence[Clip], *, updates: int, played: int) -> dict[str, Any]:
    loaders: dict[tuple[str, int, int], Iterator[SceneBatch]] = {}
    bank = MotionBank(clips, device="cuda" if torch.cuda.is_available() else "cpu")
    view = preset.config.view
    for rows, frames in SIZES:
        loaders["windows", rows, frames] = Scenes(bank, rows=rows, frames=frames, windows=True, view=view, seed=1)
        loaders["streams", rows, frames] = Scenes(bank, rows=rows, frames=frames, windows=False, view=view, seed=1)
    seconds: dict[tuple[str, int, int], list[float]] = {key: [] for key in loaders}  # of each batch
    update_s: list[float] = []
    resumed = time.perf_counter()

    def between(progress: TrainingProgress) -> None:
        nonlocal resumed
        update_s.append(time.perf_counter() - resumed)
        for key, loader in loaders.items():
            for _ in range(math.ceil(played / key[2] / (updates + WARM_UP))):
                began = time.perf_counter()
                next(loader)
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                seconds[key].append(time.perf_counter() - began)
        resumed = time.perf_counter()

    rows, frames = TRAINED
    # The last update also saves. A scene of one update: each update makes its own.
    recipe = Recipe(updates=updates + WARM_UP + 1, rows=rows, frames=frames, windows=0.0, scene=1)
    with tempfile.TemporaryDirectory() as folder:
        train(preset, clips, out=Path(folder) / "trained.safetensors", recipe=recipe, on_progress=between)
    own = seconds["windows" if preset.config.windowed else "streams", rows, frames]
    training_rate = rows * frames / float(np.median(update_s[WARM_UP:-1]) - np.median(own))
    table: list[Row] = []
    for (kind, many, long), batch_seconds in seconds.items():
        loader_rate = many * long / float(np.mean(batch_seconds))
        row = {"loader": kind, "rows": many, "frames": long}
        table.append({**row, "frames_per_second": round(loader_rate), "over_training": round(loader_rate / training_rate, 1)})
    return {
        "preset": preset.name,
        "device": "cuda" if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads",
        "training_frames_per_second": round(training_rate, 1),
        "rows": table,
    }


def plot(result: dict[str, Any]) -> Bars:
    values: dict[str, dict[str, float]] = {}
    for row in result["rows"]:
        label = f"{row['rows']} × {row['frames']} frame{'s' if row['frames'] > 1 else ''}"
        values.setdefault(label, {})[row["loader"]] = row["over_training"]
    title = f"Frames made, beside a training that uses {result['training_frames_per_second']:.0f} of them a second"
    return Bars(values, title=title, x_label="speed of the loader (times that of the training)", numbers=".0f")


def main() -> None:
    parser = option_parser(__doc__, split="train", weights=False)
    parser.add_argument("--preset", default="posemoe-retention-s", help="what is trained meanwhile")
    parser.add_argument("--updates", type=int, default=20, help="of the training, that are counted")
    parser.add_argument("--played", type=int, default=PLAYED, help="frames that each row of a loader plays")
    options = parse_options(parser)
    clips = selected_clips(options)
    result = measure(find_preset(options.preset), clips, updates=options.updates, played=options.played)
    pace = f"{result['preset']} learns from {result['training_frames_per_second']} frames/s here ({result['device']})"
    write_result(options, {"clips": len(clips), "notes": [pace], **result}, plot(result))


if __name__ == "__main__":
    exit_on_error(main)
