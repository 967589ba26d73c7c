"""One retention of PoseRetNet's size, chunk by chunk: the published form with absolute positions, and ours with local ones.

Both process the same stream from its start. At several ages of the stream, the time of a chunk is measured for both in turn,
and both results are compared with float64. The published form is written out here from its formulas: positions count from the
stream's start, and each call computes tables of cosine, sine and scale for all positions so far, once for the queries and once
for the keys of each head. Between the measured ages its tables hold only the chunk's own positions, which gives the same
numbers in less time.

Run: python benchmarks/forever.py [--frames 50000] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from posemoe_edge.edge.models.retention import Retention
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.runtime.plotting import Lines, draw_lines
from torch import Tensor

DIM, HEADS, CHUNK = 512, 8, 27
WIDTH = DIM // HEADS
AGES = 16  # ages of the stream at which both forms are measured
REPEATS = 5  # timed calls per measurement


class Published:
    """The published chunk form of one stream, one layer; q, k, v (1, T, J, C) and state (H, J, d, d)."""

    def __init__(self, mixer: Retention) -> None:
        self.gamma = mixer.decay.T.double()  # (H, J)
        pair = torch.arange(WIDTH // 2, dtype=torch.float64)
        self.zeta, self.theta = (2 * pair + 0.4 * WIDTH) / (1.4 * WIDTH), 10000 ** (-2 * pair / WIDTH)

    def xpos(self, x: Tensor, first: int, *, shrink: bool, whole: bool) -> Tensor:
        """(J, T, d) at absolute positions, from tables that begin at the stream's start (``whole``) or at the chunk's."""
        position = torch.arange(0 if whole else first, first + x.shape[1], dtype=x.dtype)[:, None]
        angle = position * self.theta.to(x.dtype)
        scale = self.zeta.to(x.dtype) ** (position / 512)
        scale = scale if shrink else 1 / scale
        cos, sin = ((part * scale)[-x.shape[1] :] for part in (angle.cos(), angle.sin()))
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    def chunk(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, first: int, *, whole: bool) -> tuple[Tensor, Tensor]:
        """Frames first, first + 1 ... of the stream."""
        frames = q.shape[1]
        n = torch.arange(frames, dtype=q.dtype)
        answers, states = [], []
        for head in range(HEADS):
            span = slice(head * WIDTH, (head + 1) * WIDTH)
            q_h, k_h, v_h = (x[0, :, :, span].transpose(0, 1) for x in (q, k, v))  # (J, T, d)
            q_h, k_h = (self.xpos(x, first, shrink=x is q_h, whole=whole) for x in (q_h, k_h))
            gamma = self.gamma[head].to(q.dtype)[:, None, None]  # (J, 1, 1)
            inner = (q_h @ k_h.transpose(1, 2) * gamma ** (n[:, None] - n).abs()) @ v_h
            answers.append(inner + q_h @ state[head] * gamma ** (n[:, None] + 1))
            states.append(gamma**frames * state[head] + (k_h * gamma ** (frames - 1 - n[:, None])).transpose(1, 2) @ v_h)
        return torch.cat(answers, dim=-1).transpose(0, 1)[None], torch.stack(states)


def local(mixer: Retention, q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Our form. Timing is created per call: computing what depends only on time is part of a call's cost."""
    return mixer.chunk(q, k, v, state, Timing(q.new_ones(1, CHUNK), chunk_size=CHUNK))


def measure(frames: int) -> dict[str, Any]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    ours = Retention(DIM, HEADS, zoh_gain=False)
    wide = Retention(DIM, HEADS, zoh_gain=False).double()
    published = Published(ours)
    motion = torch.randn(3, 64 * CHUNK, 17, DIM) / WIDTH**0.5  # repeated
    state = torch.zeros(1, *ours.state_shape)
    state64 = state.double()
    rows = []
    chunks = frames // CHUNK
    measured_chunks = {round(chunks * mark / AGES) for mark in range(1, AGES + 1)} | {36_000 // CHUNK, 37_000 // CHUNK}
    old = torch.zeros(HEADS, 17, WIDTH, WIDTH)
    with torch.no_grad():
        for index in range(chunks):
            first = index * CHUNK
            q, k, v = (part[None, first % motion.shape[1] : first % motion.shape[1] + CHUNK] for part in motion)
            measured = index + 1 in measured_chunks

            run_local = partial(local, ours, q, k, v, state)
            run_published = partial(published.chunk, q, k, v, old, first, whole=measured)
            seconds: dict[str, list[float]] = {"ours": [], "published": []}
            for _ in range(REPEATS if measured else 0):
                for who, run in (("ours", run_local), ("published", run_published)):
                    run()  # warms the caches, which the other form has just filled with its own tables
                    began = time.perf_counter()
                    run()
                    seconds[who].append(time.perf_counter() - began)
            (y, after), (y_old, old_after) = run_local(), run_published()
            y64, state64 = local(wide, q.double(), k.double(), v.double(), state64)
            state, old = after, old_after
            if measured:
                size = float(y64.abs().max())
                rows.append(
                    {
                        "frame": first + CHUNK,
                        **{f"{who}_ms": round(1000 * float(np.median(took)), 3) for who, took in seconds.items()},
                        "ours_error": float((y.double() - y64).abs().max()) / size,
                        "published_error": float((y_old.double() - y64).abs().max()) / size,
                    }
                )
                row = rows[-1]
                print(f"{row['frame']:>8}: ours {row['ours_ms']:7.2f} ms, error {row['ours_error']:.1e}; "
                      f"published {row['published_ms']:7.2f} ms, error {row['published_error']:.1e}")  # fmt: skip
    rows.sort(key=lambda row: row["frame"])
    return {"dim": DIM, "heads": HEADS, "chunk": CHUNK, "torch": torch.__version__, "threads": 1, "ages": rows}


def plot(result: dict[str, Any]) -> Lines:
    """The time of a chunk over the age of the stream; the ages at which the published form gives no numbers are shaded."""
    ages = result["ages"]
    broken = [row["frame"] for row in ages if not np.isfinite(float(row["published_error"]))]
    return Lines(
        x=[row["frame"] for row in ages],
        y={
            "positions within the chunk (ours)": [row["ours_ms"] for row in ages],
            "positions in the stream (published)": [row["published_ms"] for row in ages],
        },
        spans={"published: not a number": (broken[0], broken[-1])} if broken else {},
        title="One retention layer on a chunk of 27 frames",
        x_label="age of the stream (frames)",
        y_label="time of the chunk (ms)",
        from_zero=True,
        measured=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    result = measure(options.frames)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1).replace("NaN", '"nan"'))
    if options.plot:
        draw_lines(options.plot, plot(result))


if __name__ == "__main__":
    main()
