"""Accuracy against latency: what a lifter gains by waiting for later frames.

After NC-RetNet's Figure 1 and Table 4, on motion capture with a detector's noise:

    step       T_s = 1: each frame gives its pose at once, from past frames only
    chunk n    n frames are lifted together; each sees the past and the rest of its chunk
    windows    attention: whole windows one after the other; each frame sees its window, in both directions
    sliding    attention: the last window is lifted for each frame and gives the newest pose, as in the runtime

The first of n frames waits for n - 1 others and the last for none: (n - 1) / 2 on average. NC-RetNet trains one model on chunks
and runs it with any chunk size. Our models may have been trained as a step only, without any future frames: "as_trained" says
whether a row's weights were trained with as many. Times are PyTorch's on one processor thread, for one person, with all modes
of all weights in turn; "over_step" is the ratio to the first step's time. Latencies count the waiting for frames, not the
computation.

Run: python benchmarks/chunks.py --data cmu_h36m17.npz [--weights NAME=FILE ...] [--split test] [--every N] [--clips N]
     [--device cpu] [--rounds 20] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from experiment import (
    Row,
    exit_on_error,
    interleaved_seconds,
    lift_and_measure,
    load_lifters,
    option_parser,
    parse_options,
    rounded_metrics,
    selected_clips,
    write_result,
)
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.lifting import FRAMES_PER_CALL, SkeletonAdapter, lift_sequence
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.topology import build
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.plotting import Lines
from torch import Tensor

CHUNKS = (9, 27, 81)


@dataclass(frozen=True)
class Mode:
    """One way to run a lifter.

    Args:
        name: as the table prints it.
        as_trained: whether the weights saw as much of the future in training.
        poses_per_call: frames that are gathered and then lifted together.
        frames_per_call: frames that one call reads.
        lift: lifts a whole sequence.
        call: one call on (1, frames_per_call, J, C) keypoints, which gives ``poses_per_call`` poses.
    """

    name: str
    model: Lifter
    as_trained: bool
    poses_per_call: int
    frames_per_call: int
    lift: Callable[[Lifter, PoseSequence], F32]
    call: Callable[[Tensor], object]


def with_lookahead(model: Lifter, lookahead: bool) -> Lifter:
    """The same weights in a lifter whose chunks look ahead, or do not."""
    copy = build(replace(model.config, lookahead=lookahead))
    copy.load_state_dict(model.state_dict())
    return copy.to(next(model.parameters()).device).eval()


def lift_sliding(model: Lifter, sequence: PoseSequence) -> F32:
    """(T, J, 3): each frame's pose from the window that ends with it. The first frame is repeated until a window is full."""
    lift, window = SkeletonAdapter(model), model.config.window or 1
    x = torch.from_numpy(sequence.keypoints_for(view=model.config.view)).to(next(model.parameters()).device)
    indices = (torch.arange(len(x))[:, None] + torch.arange(1 - window, 1)).clamp(min=0)  # (T, window)
    with torch.no_grad():
        poses = [lift(x[part])[0][:, -1] for part in indices.split(max(1, FRAMES_PER_CALL // window))]
    return torch.cat(poses).cpu().numpy()


def modes(model: Lifter) -> list[Mode]:
    """The ways to run a lifter, lowest latency first."""
    window = model.config.window
    if window == 1:
        return [Mode("single frame", model, True, 1, 1, lift_sequence, model)]
    if window is not None:
        return [
            Mode(f"sliding {window}", model, True, 1, window, lift_sliding, model),
            Mode(f"windows {window}", model, True, window, window, lift_sequence, model),
        ]
    causal, trained_ahead, state = with_lookahead(model, False), model.config.lookahead, model.initial_state(1)
    ways = [Mode("step", causal, not trained_ahead, 1, 1, lift_sequence, lambda x: causal.step(x[:, 0], state))]
    if model.config.mixer_kind == "retention":
        ahead = with_lookahead(model, True)
        ways += [
            Mode(f"chunk {n}", ahead, trained_ahead, n, n, partial(lift_sequence, block=n), lambda x: ahead.chunk(x, state))
            for n in CHUNKS
        ]
    return ways


def measure(models: Mapping[str, Lifter], sequences: Sequence[PoseSequence], *, fps: float, rounds: int) -> list[Row]:
    entries = [(name, mode) for name, model in models.items() for mode in modes(model)]
    on_cpu = [mode for model in models.values() for mode in modes(deepcopy(model).cpu())]
    seconds = seconds_per_frame(on_cpu, sequences[0], rounds)
    step_s = next((frame_s for (_, mode), frame_s in zip(entries, seconds, strict=True) if mode.name == "step"), None)
    rows = []
    for (name, mode), frame_s in zip(entries, seconds, strict=True):
        worst = mode.poses_per_call - 1
        rows.append(
            {
                "weights": name,
                "mode": mode.name,
                "as_trained": mode.as_trained,
                "worst_latency_frames": worst,
                "mean_latency_frames": worst / 2,
                "worst_latency_ms": round(1000 * worst / fps, 1),
                "mean_latency_ms": round(1000 * worst / 2 / fps, 1),
                **rounded_metrics(lift_and_measure(mode.model, sequences, mode.lift)),
                "ms_per_frame": round(1000 * frame_s, 3),
                "over_step": None if step_s is None else round(frame_s / step_s, 3),
            }
        )
    return rows


def seconds_per_frame(ways: Sequence[Mode], sequence: PoseSequence, rounds: int) -> list[float]:
    """Seconds per frame of each mode, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    contestants = {str(i): partial(mode.call, keypoints(mode, sequence)) for i, mode in enumerate(ways)}
    with torch.inference_mode():
        seconds = interleaved_seconds(contestants, rounds=rounds)
    torch.set_num_threads(threads)
    return [seconds[str(i)] / mode.poses_per_call for i, mode in enumerate(ways)]


def keypoints(mode: Mode, sequence: PoseSequence) -> Tensor:
    """(1, T, J, C): the frames of one call; the last frame is repeated if the sequence is too short."""
    indices = np.arange(mode.frames_per_call).clip(max=len(sequence) - 1)
    return torch.from_numpy(sequence.keypoints[None, indices, :, : mode.model.config.channels])


def notes(rows: Sequence[Row]) -> list[str]:
    """Which rows have weights that were not trained for their mode."""
    untrained: dict[str, list[str]] = {}
    for row in rows:
        if not row["as_trained"]:
            untrained.setdefault(row["weights"], []).append(row["mode"])
    return [
        f"{name} was not trained for {', '.join(ways)}: it sees another part of the future than in training"
        for name, ways in untrained.items()
    ]


def plot(rows: Sequence[Row]) -> Lines:
    """Error over mean latency: a point for each measurement. Lines join those of one network in chunks of growing length."""
    latencies = sorted({row["mean_latency_ms"] for row in rows})
    y = {}
    for name in dict.fromkeys(row["weights"] for row in rows):
        errors_mm = {row["mean_latency_ms"]: row["mpjpe_mm"] for row in rows if row["weights"] == name}
        y[name] = [errors_mm.get(latency, np.nan) for latency in latencies]
    return Lines(
        x=latencies,
        y=y,
        title="Accuracy against waiting",
        x_label="mean wait for later frames, without the computing (ms)",
        y_label="MPJPE (mm)",
        measured=True,
    )


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="calls of each mode that are timed")
    options = parse_options(parser)
    clips, models = selected_clips(options), load_lifters(options)
    rows = measure(models, evaluation_sequences(clips, noisy=True), fps=clips[0].fps, rounds=options.rounds)
    about = {"clips": len(clips), "frames": sum(map(len, clips)), "noise": "a detector's", "torch": torch.__version__}
    write_result(options, {**about, "notes": notes(rows), "rows": rows}, [plot(rows)])


if __name__ == "__main__":
    exit_on_error(main)
