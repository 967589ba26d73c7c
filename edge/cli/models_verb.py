"""posemoe-edge models"""

from __future__ import annotations

import click

from ...runtime.errors import missing_extra
from ...runtime.model import ZOO
from .output import Output, Result, megabytes, verb


@click.command("models")
@verb
def command(out: Output) -> Result:
    """The presets: mixer, mode, parameters, multiply-accumulates and latency of a frame, state."""
    try:
        from ..models.count import describe
        from ..presets import PRESETS
    except ImportError as error:
        raise missing_extra(error.name or "torch", "export", "counting a preset's parameters") from None
    rows = []
    for preset in PRESETS.values():
        rows.append(
            {"name": preset.name, **describe(preset.build()), "weights": (ZOO / preset.name).is_dir(), "note": preset.note}
        )
    out.say(f"{'name':<22}{'mixer':<11}{'mode':<8}{'params':>8}{'MACs/frame':>12}{'latency':>9}{'state':>10}  weights")
    for row in rows:
        cost = f"{row['params'] / 1e6:7.2f}M{row['macs_per_frame'] / 1e6:11.1f}M{row['latency_frames']:>9}"
        state, weights = megabytes(int(row["state_bytes"])), "shipped" if row["weights"] else "-"
        out.say(f"{row['name']:<22}{row['mixer']:<11}{row['mode']:<8}{cost}{state:>10}  {weights}")
    return Result({"models": rows}, next_command="posemoe-edge export posemoe-retention-s --precision fp16")
