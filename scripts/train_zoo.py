"""Train the zoo: every shipped lifter, for the time given, on whatever is there. A later call goes on where this one stopped.

Run: python scripts/train_zoo.py --data cmu_h36m17.npz --data motion_more_h36m17.npz --minutes 120

Each stage starts from the averaged weights of another, which stay as they are: an MLP over single frames, the same refined over
time, and that as the stem of a PoseMoE, so that most of the people are seen where a frame costs least. A stage gets its share
of the minutes. On a GPU, which one training does not fill, stages that start from the same ones train together. The averaged
weights of a stage are kept in half precision, small enough to be committed, and a call without the state of a training goes on
from them. Complete ones are moved to ``runtime/zoo``, where a later stage finds them too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.data.dataset import open_motion
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.presets import find_preset
from posemoe_edge.edge.training.inflate import start_from
from posemoe_edge.edge.training.recipe import Recipe, TrainingProgress
from posemoe_edge.edge.training.train import train
from posemoe_edge.edge.training.training_file import TrainingHistory, training_path
from posemoe_edge.export.reference import WEIGHTS, save_reference
from posemoe_edge.runtime.artefact.atomic import write_together
from posemoe_edge.runtime.artefact.certificate import REFERENCE
from posemoe_edge.runtime.artefact.files import record_bytes
from posemoe_edge.runtime.artefact.locate import ZOO
from rich.console import Console
from safetensors.torch import load, save

KEPT = Path(__file__).parent / "zoo"


@dataclass(frozen=True)
class Stage:
    """The training of one preset.

    Args:
        preset: what is trained.
        share: of the zoo's time, relative to the other stages.
        start: the preset that it starts from; None is random weights.
        recipe: fields of ``Recipe``.
        on_gpu: fields that a GPU needs otherwise.
    """

    preset: str
    share: float
    start: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    on_gpu: dict[str, Any] = field(default_factory=dict)


def stages(size: str) -> list[Stage]:
    """The stages of one size, in the order of training."""
    mlp = f"frame-{size}"
    over_time: dict[str, Any] = {"frames": 27, "windows": 0.0, "scene": 8, "muon": 0.0, "trunk_rate": 0.0, "velocity": 1.0}
    mixers = ("retention", "dssm", "attention") if size == "s" else ("retention", "dssm")
    rows = {"retention": 32, "dssm": 32, "attention": 12}
    return [
        Stage(mlp, 1.5, recipe={"rows": 1024, "muon": 0.0}, on_gpu={"rows": 16384}),
        *(
            Stage(
                f"frame-{mixer}-{size}",
                2.0,
                mlp,
                {"rows": rows[mixer], "rate": 1e-3, **over_time},
                {"rows": 8 * rows[mixer]},
            )
            for mixer in mixers
        ),
        Stage(f"posemoe-frame-{size}", 1.0, mlp, {"rows": 256, "muon": 0.0, "rate": 1e-3}, {"rows": 8192}),
        *(
            Stage(
                f"posemoe-{mixer}-{size}",
                2.0,
                f"frame-{mixer}-{size}",
                {"rows": rows[mixer] // 2, "rate": 5e-4, **over_time},
                {"rows": 4 * rows[mixer]},
            )
            for mixer in mixers
        ),
    ]


SHARES = {"s": 0.7, "m": 0.3}
TOGETHER = 8  # stages on a GPU
SHORT = 30.0  # minutes: a shorter stage is measured at its end alone, since measuring takes a minute
SAVE_EVERY, MEASURE_EVERY = 1.0, 5.0  # minutes


def plan(minutes: float, sizes: Sequence[str], *, together: int) -> list[list[tuple[Stage, float]]]:
    """The stages of these sizes in waves, each of which starts from the waves before it, and the minutes of each stage.

    All waves take ``minutes`` in sum. The longest stages of a wave come first, so that it ends soon.

    Args:
        together: how many stages of a wave train at the same time. One after the other, they get the share of their size too.
    """
    of_size = {size: stages(size) for size in sizes}
    by_name = {stage.preset: stage for known in of_size.values() for stage in known}

    def wave_of(stage: Stage) -> int:
        return 0 if stage.start is None else 1 + wave_of(by_name[stage.start])

    waves: list[list[tuple[Stage, float]]] = [[] for _ in range(1 + max(map(wave_of, by_name.values())))]
    for size, known in of_size.items():
        of_this = 1.0 if together > 1 else SHARES[size] / sum(stage.share for stage in known)
        for stage in known:
            waves[wave_of(stage)].append((stage, of_this * stage.share))
    for wave in waves:
        if together > 1:
            wave.sort(key=lambda planned: -planned[1])
    minute = minutes / sum(_length([share for _, share in wave], together) for wave in waves)  # of a share of 1
    return [[(stage, minute * share) for stage, share in wave] for wave in waves]


def _length(shares: Sequence[float], together: int) -> float:
    """How long these take, so many at a time, where the next one starts when one ends."""
    ends = [0.0] * together
    for share in shares:
        ends[ends.index(min(ends))] += share
    return max(ends)


def main() -> None:
    arguments = _arguments()
    on_gpu = torch.cuda.is_available()
    together = arguments.together or (TOGETHER if on_gpu else 1)
    until_s = time.monotonic() + 60 * (arguments.stop_after or arguments.minutes)

    def left() -> float:
        seconds: float = until_s - time.monotonic()
        return seconds / 60

    waves = plan(arguments.minutes, arguments.sizes, together=together)
    if arguments.only:
        waves = [[(stage, minutes) for stage, minutes in wave if stage.preset in arguments.only] for wave in waves]
    failed: list[str] = []
    dropped: list[str] = []
    for wave in waves:
        # From older weights of its start a stage would train to the end, and look like any other.
        dropped += [stage.preset for stage, _ in wave if stage.start in (*failed, *dropped)]
        wave = [(stage, minutes) for stage, minutes in wave if stage.preset not in dropped]
        if len(wave) > 1 and together > 1:
            at_once = min(together, len(wave))
            threads = max(1, arguments.threads // at_once)
            train_apart = partial(_train_apart, left=left, threads=threads)
            with ThreadPoolExecutor(at_once) as pool:  # of processes
                failed += [name for name in pool.map(train_apart, [stage.preset for stage, _ in wave]) if name]
        else:
            for stage, minutes in wave:
                if left() > 0:
                    _train(stage, minutes, left(), arguments)
    if failed:
        rest = f"; not trained, because they start from it: {', '.join(dropped)}" if dropped else ""
        raise SystemExit(f"training of {', '.join(failed)} failed{rest}")


def _train_apart(preset: str, left: Callable[[], float], threads: int) -> str | None:
    """Train one stage in a process of its own, by this script; its name if that fails."""
    minutes = left()
    if minutes <= 0:
        return None
    options = ["--only", preset, "--stop-after", str(minutes), "--threads", str(threads)]
    # numpy's threads are counted by the variable.
    done = subprocess.run([sys.executable, *sys.argv, *options], env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    return preset if done.returncode else None


def _train(stage: Stage, minutes: float, left: float, arguments: argparse.Namespace) -> None:
    """Train one stage for at most ``left`` minutes; nothing if it is complete already."""
    console, out, on_gpu = Console(), arguments.out, torch.cuda.is_available()
    torch.set_num_threads(arguments.threads)
    preset, weights = find_preset(stage.preset), out / f"{stage.preset}.safetensors"
    recipe = Recipe(minutes=minutes, loss="mpjpe", **stage.recipe | (stage.on_gpu if on_gpu else {}))
    kept = _unpack(stage.preset, out) if not training_path(weights).is_file() else None
    history = None
    if kept is not None:
        model, record = load_checkpoint(kept)
        training = record["training"]
        history = TrainingHistory(training["updates"], 60 * training["minutes"], training["runs"], training["curve"])
        if history.seconds >= 60 * minutes:
            return  # complete, and kept already
        start, origin = model, training["start"]
    elif stage.start is None:
        start, origin = None, None
    else:
        start, origin = start_from(_weights_of(stage.start, out), preset.config)

    dataset = open_motion(arguments.data, "train")
    validation = [clip for clip in open_motion(arguments.data, "val") if isinstance(clip, Clip)]
    minutes_of_motion = sum(map(len, dataset)) / dataset[0].fps / 60
    console.print(
        f"{stage.preset}: {len(dataset)} clips, {minutes_of_motion:.0f} minutes of motion, on a {'GPU' if on_gpu else 'CPU'}"
    )

    def on_progress(progress: TrainingProgress) -> None:
        if progress.val_mpjpe_mm is not None:
            console.print(
                f"{time.strftime('%H:%M')} {stage.preset} {progress.done:.1%}, update {progress.updates}, "
                f"{progress.frames_per_second:.0f} frames/s, loss {progress.loss:.4f}, val {progress.val_mpjpe_mm:.1f} mm"
            )
            _pack(stage.preset, out)

    train(
        preset,
        dataset,
        out=weights,
        recipe=recipe,
        minutes=left,
        save_every_minutes=SAVE_EVERY,
        measure_every_minutes=minutes if minutes < SHORT else MEASURE_EVERY,
        validation=validation,
        on_progress=on_progress,
        start=start,
        origin=origin,
        history=history,
    )
    _pack(stage.preset, out)


def _weights_of(preset: str, out: Path) -> Path:
    """The newest weights of a preset: those in ``out``, else those kept, else the shipped ones."""
    local, shipped = out / f"{preset}.safetensors", ZOO / preset / REFERENCE
    found = local if local.is_file() else _unpack(preset, out)
    if found is None and not shipped.is_file():
        raise SystemExit(f"there are no weights of {preset} to start from: train it first, with --only {preset}")
    return found or shipped


def _pack(preset: str, out: Path) -> None:
    """Keep the averaged weights of a training in half precision, with their record."""
    source = out / f"{preset}.safetensors"
    halves = {name: x.half() if x.is_floating_point() else x for name, x in load(source.read_bytes()).items()}
    KEPT.mkdir(exist_ok=True)
    data, record = save(halves), json.loads(source.with_suffix(".json").read_bytes())
    record["files"] = {WEIGHTS: record_bytes(data).model_dump()}
    kept = KEPT / source.name
    write_together({kept: data, kept.with_suffix(".json"): json.dumps(record, indent=1).encode()})


def _unpack(preset: str, out: Path) -> Path | None:
    """The kept weights of a preset as a checkpoint in float32; None if there are none."""
    kept = KEPT / f"{preset}.safetensors"
    if not kept.is_file():
        return None
    model, record = load_checkpoint(kept)
    path = out / f"{preset}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_reference(path, model.float(), preset=preset, training=record["training"])
    return path


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, action="append", required=True, help="motion capture (.npz); several add up")
    parser.add_argument("--minutes", type=float, required=True, help="for the whole zoo; the learning rates follow it")
    parser.add_argument("--stop-after", type=float, help="minutes after which this call stops; default: --minutes")
    parser.add_argument("--out", type=Path, default=Path("zoo"), help="weights, and the state of each training; default: zoo")
    parser.add_argument("--sizes", nargs="+", choices=list(SHARES), default=list(SHARES))
    parser.add_argument("--only", nargs="+", metavar="PRESET", help="train these presets alone")
    parser.add_argument(
        "--together",
        type=int,
        help=f"stages that train at the same time, for shorter if there are more; default: {TOGETHER} on a GPU, else 1",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        help="of the CPU, which stages that train together share; default: all",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
