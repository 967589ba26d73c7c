"""The tables of ``benchmarks/gpu`` about long sequences: the mixers' training form, and HumMUSS's comparison with a window."""

from __future__ import annotations

import gc
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from experiment import Row
from posemoe_edge.edge.models.attention import Attention, join_heads, split_heads
from posemoe_edge.edge.models.dssm import DSSM
from posemoe_edge.edge.models.retention import Retention
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.edge.models.topology import build
from posemoe_edge.edge.presets import find_preset
from torch import Tensor, nn
from torch.nn import functional as F

from gpu.streaming import step_function
from gpu.table import Run, Table, Times, median_ms, median_ratio, ratio, synchronize, with_peak_memory

DIM, HEADS, JOINTS = 256, 8, 17  # of the bare mixers: MotionBERT's and HumMUSS's width
WARM_UP = 2
MIXERS = ("retention", "dssm", "attention", "attention, fused")
PRESET = "posemoe-{}-s"  # of the whole networks
WINDOW, STEP = "motionbert-lite-243", "hummuss-causal"  # what HumMUSS's paper compares: 16 M parameters each

Contestants = dict[str, Callable[[], Run]]


class Fused(nn.Module):
    """Attention by PyTorch's fused kernel: the same numbers without storing the attention matrix."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        rows_and_joints = q.shape[0], q.shape[2]
        # (B J, H, T, d): with more axes PyTorch takes its plain kernel, which stores the attention matrix
        q, k, v = (split_heads(x.transpose(1, 2), HEADS).flatten(0, 1) for x in (q, k, v))
        y = join_heads(F.scaled_dot_product_attention(q, k, v))
        return y.unflatten(0, rows_and_joints).transpose(1, 2)  # type: ignore[no-any-return]


# Training forms.


def mixers(table: Table, options: Namespace) -> None:
    """Bare mixers, then whole networks, short sequences first: if the time is up, the longest networks are left out."""
    device = torch.device(options.device)
    for what, contestants in (("mixer", bare_mixers), ("network", networks)):
        for frames in sorted(options.lengths):
            if table.out_of_time:
                table.add_note(f"the time was up before {what} at T = {frames}")
                continue
            rows = max(1, max(options.lengths) // frames)  # every length has about as many frames in total
            entries = contestants(rows, frames, device)
            measured = {
                how: measure(
                    table, {f"{name}, {what}, T = {frames}, {how}": forms[how] for name, forms in entries.items()}, options
                )
                for how in ("forward", "training")
            }
            for name in entries:
                row: Row = {"what": what, "T": frames, "rows": rows, "name": name}
                for how, (times, peaks) in measured.items():
                    key, other = (f"{n}, {what}, T = {frames}, {how}" for n in (name, "attention"))
                    ms = median_ms(times.get(key, {}))
                    row[f"{how}_us_a_frame"] = None if ms is None else round(1000 * ms / (rows * frames), 2)
                    row[f"{how}_mb"] = peaks.get(key)
                    row[f"{how} over attention"] = median_ratio(times.get(key, {}), times.get(other, {}))
                    row[f"{how}_mb over attention"] = ratio(peaks.get(key), peaks.get(other))
                table.add_row(row)


def measure(table: Table, contestants: Contestants, options: Namespace) -> tuple[dict[str, Times], dict[str, float | None]]:
    """Seconds of each round, and peak megabytes. A contestant that does not fit into memory becomes a note.

    On a CPU they run in turn. On a GPU, which has no other work, they run one after the other, so that the memory that PyTorch
    caches for one is not missing for another.
    """
    device = torch.device(options.device)
    times: dict[str, Times] = {}
    peaks: dict[str, float | None] = {}
    ready: dict[str, Run] = {}
    for name, make in contestants.items():
        with table.errors_as_notes(name):
            ready[name], peaks[name] = with_peak_memory(make, device)
            if device.type == "cuda":
                times |= table.run_in_turns(
                    {name: ready.pop(name)}, rounds=options.rounds, warm_up=WARM_UP, each_s=options.each_s / 4
                )
        release(device)
    if ready:
        times |= table.run_in_turns(ready, rounds=options.rounds, warm_up=1, each_s=options.each_s / 4)
    return times, peaks


def release(device: torch.device) -> None:
    """Release the GPU memory that PyTorch has cached."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def bare_mixers(rows: int, frames: int, device: torch.device) -> dict[str, Contestants]:
    """Each mixer alone, with the same width and number of heads. Each call computes what depends on time again."""

    def build_mixer(name: str) -> nn.Module:
        if name == "retention":
            return Retention(DIM, HEADS)
        return DSSM(DIM) if name == "dssm" else Attention(HEADS) if name == "attention" else Fused()

    def make(name: str, training: bool) -> Callable[[], Run]:
        def contestant() -> Run:
            mixer = build_mixer(name).to(device)
            q, k, v = torch.randn(3, rows, frames, JOINTS, DIM, device=device).unbind()
            if training:
                q, k, v = (x.detach().requires_grad_() for x in (q, k, v))

            def call() -> Tensor:
                return mixer(q, k, v, Timing(q.new_ones(1, frames), uniform=True))  # type: ignore[no-any-return]

            return forward_or_training(call, [q, k, v, *mixer.parameters()], training, device)

        return contestant

    return {name: {"forward": make(name, False), "training": make(name, True)} for name in MIXERS}


def networks(rows: int, frames: int, device: torch.device) -> dict[str, Contestants]:
    """Whole lifters of one size."""

    def make(name: str, training: bool) -> Callable[[], Run]:
        def contestant() -> Run:
            config = find_preset(PRESET.format(name)).config
            model = build(replace(config, window=frames) if config.windowed else config).to(device)
            x = torch.randn(rows, frames, config.joints, config.channels, device=device)
            return forward_or_training(lambda: model(x), list(model.parameters()), training, device)

        return contestant

    return {name: {"forward": make(name, False), "training": make(name, True)} for name in MIXERS[:3]}


def forward_or_training(call: Callable[[], Tensor], inputs: list[Tensor], training: bool, device: torch.device) -> Run:
    """A round of the forward pass alone, or of the forward pass and its gradients."""
    differentiated = [x for x in inputs if x.requires_grad]

    def forward(i: int) -> None:
        with torch.no_grad():
            call()
        synchronize(device)

    def both(i: int) -> None:
        y = call()
        torch.autograd.grad(y, differentiated, torch.ones_like(y), allow_unused=True)
        synchronize(device)

    return both if training else forward


# Frame by frame: HumMUSS's figure 8.


def hummuss(table: Table, options: Namespace) -> None:
    device = torch.device(options.device)
    table.add_note(
        f"{options.people} people in one call, random weights; the paper, on an A100 at T = 243: 11.1 (time) and 3.8 (memory)"
    )
    for frames in sorted(options.lengths):
        if table.out_of_time:
            table.add_note(f"the time was up before T = {frames}")
            continue
        window, step = (f"{name}, T = {frames}" for name in (WINDOW, STEP))
        contestants: Contestants = {
            window: partial(motionbert_window, frames, options.people, device),
            step: partial(hummuss_step, options.people, device),
        }
        times, peaks = measure(table, contestants, options)
        row: Row = {"T": frames, "people": options.people}
        for column, name in (("window", window), ("step", step)):
            row[f"{column}_ms"], row[f"{column}_mb"] = median_ms(times.get(name, {})), peaks.get(name)
        row["window over step"] = median_ratio(times.get(window, {}), times.get(step, {}))
        table.add_row(row | {"window_mb over step": ratio(peaks.get(window), peaks.get(step))})


def motionbert_window(frames: int, people: int, device: torch.device) -> Run:
    """The whole window lifted for each frame."""
    model = build(replace(find_preset(WINDOW).config, window=frames)).eval().to(device)
    x = torch.randn(people, frames, JOINTS, model.config.channels, device=device)
    return forward_or_training(lambda: model(x), [], False, device)


def hummuss_step(people: int, device: torch.device) -> Run:
    """One step: a frame and the state before it."""
    model = find_preset(STEP).build().eval().to(device)
    next_pose, x = step_function(model, people, device), torch.randn(people, JOINTS, model.config.channels, device=device)

    def run(i: int) -> None:
        next_pose(x)
        synchronize(device)

    return run
