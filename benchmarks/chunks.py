"""Accuracy against latency: what a lifter gains by waiting for frames that come later.

After NC-RetNet's Figure 1 and Table 4, on motion capture with a detector's noise:

    step       T_s = 1: a frame is answered at once and sees the past alone
    chunk n    n frames are gathered and lifted together: each sees the past and the rest of its chunk
    windows    attention: whole windows one after the other; each frame sees its window, in both directions
    sliding    attention: the window of the last frames, lifted anew for each one, answers for the newest, as in the runtime

Of n gathered frames the first waits for n - 1 others and the last for none: half of that on average. NC-RetNet's one model is
trained on chunks and run with any. Ours may have been trained as a step alone, and then has never seen a frame's future:
"as_trained" says of each row whether its weights saw as much. Times are PyTorch's on one processor thread, one person, all
modes of all weights in turn; "over_step" is as a multiple of the first step's. The latencies are of waiting, without the
computing.

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
from experiment import Floats, Row, clips_of, finish, interleaved, lifters, measured, measures, parsed, parser, told
from posemoe_edge.edge.data.sequences import PoseSequence, evaluation_sequences
from posemoe_edge.edge.lifting import FRAMES_PER_CALL, SkeletonAdapter, lift_sequence
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.topology import build
from posemoe_edge.runtime.plotting import Lines
from torch import Tensor

CHUNKS = (9, 27, 81)


@dataclass(frozen=True)
class Mode:
    """A way to run a lifter.

    Args:
        name: for people.
        model: what lifts.
        as_trained: whether its weights saw as much of the future in training.
        waits: frames that are gathered before they are answered together.
        lift: a whole sequence.
        call: one call on (1, T, J, 3) keypoints, of ``sees`` frames, that answers ``waits`` of them.
    """

    name: str
    model: Lifter
    as_trained: bool
    waits: int
    sees: int
    lift: Callable[[Lifter, PoseSequence], Floats]
    call: Callable[[Tensor], object]


def looking(model: Lifter, ahead: bool) -> Lifter:
    """The same weights in a lifter whose chunks look ahead, or do not."""
    twin = build(replace(model.config, lookahead=ahead))
    twin.load_state_dict(model.state_dict())
    return twin.to(next(model.parameters()).device).eval()


def slide(model: Lifter, sequence: PoseSequence) -> Floats:
    """(T, J, 3): each frame from the window that it is the newest of; the oldest frame is repeated until a window is full."""
    lift, window = SkeletonAdapter(model), model.config.window or 1
    x = torch.from_numpy(sequence.keypoints).to(next(model.parameters()).device)
    seen = (torch.arange(len(x))[:, None] + torch.arange(1 - window, 1)).clamp(min=0)  # (T, window)
    with torch.no_grad():
        poses = [lift(x[some])[0][:, -1] for some in seen.split(max(1, FRAMES_PER_CALL // window))]
    return torch.cat(poses).cpu().numpy()


def modes(model: Lifter) -> list[Mode]:
    """The ways to run it, quickest answer first."""
    window = model.config.window
    if window == 1:
        return [Mode("single frame", model, True, 1, 1, lift_sequence, model)]
    if window is not None:
        return [
            Mode(f"sliding {window}", model, True, 1, window, slide, model),
            Mode(f"windows {window}", model, True, window, window, lift_sequence, model),
        ]
    causal, trained_ahead, memory = looking(model, False), model.config.lookahead, model.initial_state(1)
    made = [Mode("step", causal, not trained_ahead, 1, 1, lift_sequence, lambda x: causal.step(x[:, 0], memory))]
    if model.config.mixer_kind == "retention":
        ahead = looking(model, True)
        made += [
            Mode(f"chunk {n}", ahead, trained_ahead, n, n, partial(lift_sequence, block=n), lambda x: ahead.chunk(x, memory))
            for n in CHUNKS
        ]
    return made


def measure(models: Mapping[str, Lifter], sequences: Sequence[PoseSequence], *, fps: float, rounds: int) -> list[Row]:
    every = [(name, mode) for name, model in models.items() for mode in modes(model)]
    seconds = timed([mode for model in models.values() for mode in modes(deepcopy(model).cpu())], sequences[0], rounds)
    step = next((taken for (_, mode), taken in zip(every, seconds, strict=True) if mode.name == "step"), None)
    rows = []
    for (name, mode), taken in zip(every, seconds, strict=True):
        worst = mode.waits - 1
        rows.append(
            {
                "weights": name,
                "mode": mode.name,
                "as_trained": mode.as_trained,
                "worst_latency_frames": worst,
                "mean_latency_frames": worst / 2,
                "worst_latency_ms": round(1000 * worst / fps, 1),
                "mean_latency_ms": round(1000 * worst / 2 / fps, 1),
                **measures(measured(mode.model, sequences, mode.lift)),
                "ms_per_frame": round(1000 * taken, 3),
                "over_step": None if step is None else round(taken / step, 3),
            }
        )
    return rows


def timed(every: Sequence[Mode], sequence: PoseSequence, rounds: int) -> list[float]:
    """Seconds a frame of each mode, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    contestants = {str(i): partial(mode.call, keypoints(mode, sequence)) for i, mode in enumerate(every)}
    with torch.inference_mode():
        seconds = interleaved(contestants, rounds=rounds)
    torch.set_num_threads(threads)
    return [seconds[str(i)] / mode.waits for i, mode in enumerate(every)]


def keypoints(mode: Mode, sequence: PoseSequence) -> Tensor:
    """(1, T, J, channels): as many frames as a call sees, the last one standing still."""
    seen = np.arange(mode.sees).clip(max=len(sequence) - 1)
    return torch.from_numpy(sequence.keypoints[None, seen, :, : mode.model.config.channels])


def notes(rows: Sequence[Row]) -> list[str]:
    """Whose rows do not show what training could reach."""
    odd: dict[str, list[str]] = {}
    for row in rows:
        if not row["as_trained"]:
            odd.setdefault(row["weights"], []).append(row["mode"])
    return [f"{name} was not trained for {', '.join(ways)}: the future that it sees is another" for name, ways in odd.items()]


def picture(rows: Sequence[Row]) -> Lines:
    """Error over mean latency. Whoever waits no longer stays as good as he was: his line goes on level."""
    latencies = sorted({row["mean_latency_ms"] for row in rows})
    y = {}
    for name in dict.fromkeys(row["weights"] for row in rows):
        own = [row for row in rows if row["weights"] == name]
        y[name] = np.interp(latencies, [row["mean_latency_ms"] for row in own], [row["mpjpe_mm"] for row in own])
    x_label = "mean latency (ms), without the computing"
    return Lines(x=latencies, y=y, title="accuracy against latency", x_label=x_label, y_label="MPJPE (mm)")


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=20, help="calls of each mode that are timed")
    options = parsed(made)
    clips, models = clips_of(options), lifters(options)
    rows = measure(models, evaluation_sequences(clips, noisy=True), fps=clips[0].fps, rounds=options.rounds)
    about = {"clips": len(clips), "frames": sum(map(len, clips)), "noise": "a detector's", "torch": torch.__version__}
    finish(options, {**about, "notes": notes(rows), "rows": rows}, [picture(rows)])


if __name__ == "__main__":
    told(main)
