"""What the training form of a mixer costs on one processor thread: a forward pass and its gradients, by the frames of a call.

    retention, all pairs    one weight for each pair of frames: T^2
    retention               as it chooses itself: above some length piece by piece, with a state between
    dssm                    at the nominal rate, by a Fourier transform above 64 frames
    attention, causal       PyTorch's own kernel, which stores no weights

"uneven" is the same with another spacing of the frames in each row. Every length has about as many frames in total, in rows of
a batch. Times are medians of interleaved rounds in microseconds for a frame; "over attention" is the ratio to causal attention.
Memory is what one call adds at its highest, weights and inputs included, for a whole batch. What takes more than --gigabytes is
left out.

Run: python benchmarks/training_form.py [--lengths 81,243,1024,4096] [--frames 4096] [--dim 64] [--rounds 5] [--gigabytes 6]
     [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from experiment import Row, check_outputs, exit_on_error, format_table, interleaved_seconds
from peak_memory import peak_mb
from posemoe_edge.edge.models import retention
from posemoe_edge.edge.models.attention import join_heads, split_heads
from posemoe_edge.edge.models.dssm import DSSM
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.runtime.plotting import Lines, draw_lines
from torch import Tensor, nn
from torch.nn import functional as F

HEADS, JOINTS = 8, 17
ATTENTION, ALL_PAIRS = "attention, causal", "retention, all pairs"
WARM_UP_FRAMES = 2


class CausalAttention(nn.Module):
    """Attention over the past by PyTorch's fused kernel."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        rows, joints = q.shape[0], q.shape[2]
        # (B J, H, T, d): with more axes PyTorch would take its plain kernel, which stores the weights of all pairs
        q, k, v = (split_heads(x.transpose(1, 2), HEADS).flatten(0, 1) for x in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return join_heads(y).unflatten(0, (rows, joints)).transpose(1, 2)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Form:
    """A mixer, its spacing, and whether a long call is computed whole."""

    build: Callable[[int], nn.Module]
    uneven: bool = False
    whole: bool = False

    def training(self, rows: int, frames: int, dim: int) -> Callable[[], None]:
        """Make inputs and weights; what it returns is one forward pass and its gradients."""
        torch.manual_seed(0)
        mixer = self.build(dim)
        q, k, v = (x.clone().requires_grad_() for x in torch.randn(3, rows, frames, JOINTS, dim))
        seen = torch.randn(rows, frames, JOINTS, dim)
        elapsed = 0.5 + torch.rand(rows, frames) if self.uneven else torch.ones(1, frames)
        inputs = [q, k, v, *(weight for weight in mixer.parameters() if weight.requires_grad)]

        def run() -> None:
            own, retention.LONGEST_WHOLE = retention.LONGEST_WHOLE, frames if self.whole else retention.LONGEST_WHOLE
            try:
                y = mixer(q, k, v, Timing(elapsed, uniform=not self.uneven))
            finally:
                retention.LONGEST_WHOLE = own
            torch.autograd.grad(y, inputs, seen)

        return run


def build_retention(dim: int) -> nn.Module:
    return retention.Retention(dim, HEADS)


FORMS = {
    ALL_PAIRS: Form(build_retention, whole=True),
    "retention": Form(build_retention),
    "retention, uneven": Form(build_retention, uneven=True),
    "dssm": Form(DSSM),
    "dssm, uneven": Form(DSSM, uneven=True),
    ATTENTION: Form(lambda dim: CausalAttention()),
}


def measure(lengths: list[int], *, frames: int, dim: int, rounds: int, gigabytes: float) -> tuple[list[Row], list[str]]:
    """Rows of the table, and notes on what was left out."""
    notes, memory = [], {}
    sizes = {length: max(1, frames // length) for length in lengths}
    for length, rows in sizes.items():  # memory first: a copy of a process that has computed gradients cannot compute any
        for name, form in FORMS.items():
            small = form.training(1, WARM_UP_FRAMES, dim)
            peak = peak_mb(partial(form.training, rows, length, dim), limit_gb=gigabytes, warm_up=small)
            if peak is None:
                notes.append(f"{name} at T = {length} takes more than {gigabytes:g} GB, and was left out")
            else:
                memory[name, length] = peak
    table: list[Row] = []
    for length, rows in sizes.items():
        contestants = {name: FORMS[name].training(rows, length, dim) for name in FORMS if (name, length) in memory}
        seconds = interleaved_seconds(contestants, rounds=rounds, warm_up=1)
        table += [
            {
                "T": length,
                "rows": rows,
                "mixer": name,
                "us_a_frame": round(1e6 * seconds[name] / (rows * length), 1),
                "over attention": round(seconds[name] / seconds[ATTENTION], 2) if ATTENTION in seconds else None,
                "mb": round(memory[name, length], 1),
            }
            for name in contestants
        ]
    return table, notes


def plots(rows: list[Row]) -> list[Lines]:
    lengths = sorted({row["T"] for row in rows})
    names = list(dict.fromkeys(row["mixer"] for row in rows))

    def lines(key: str, title: str, label: str) -> Lines:
        found = {(row["mixer"], row["T"]): row[key] for row in rows}
        y = {name: [found.get((name, length), np.nan) for length in lengths] for name in names}
        ticks = {float(length): f"{length:,}" for length in lengths}
        return Lines(lengths, y, title, "length of a call (frames)", label, log=True, measured=True, x_ticks=ticks)

    return [lines("us_a_frame", "Time", "time of a frame (µs)"), lines("mb", "Memory", "memory of a batch (MB)")]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lengths", type=lambda text: [int(n) for n in text.split(",")], default=[81, 243, 1024, 4096])
    parser.add_argument("--frames", type=int, default=4096, help="frames of a batch in all, at least one row")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=6.0, help="the most memory that a contestant may take")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    check_outputs(parser, options)
    torch.set_num_threads(1)
    rows, notes = measure(
        options.lengths, frames=options.frames, dim=options.dim, rounds=options.rounds, gigabytes=options.gigabytes
    )
    print(format_table(rows))
    for note in notes:
        print(f"Note: {note}")
    if options.json:
        facts = {
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
            "torch": torch.__version__,
            "dim": options.dim,
            "heads": HEADS,
            "joints": JOINTS,
            "rounds": options.rounds,
        }
        options.json.write_text(json.dumps({**facts, "rows": rows, "notes": notes}, indent=1))
    if options.plot:
        draw_lines(options.plot, plots(rows))


if __name__ == "__main__":
    exit_on_error(main)
