"""The table of ``benchmarks/gpu`` about updates of a training: operation by operation, and replayed as a CUDA graph."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import torch
from experiment import Row
from posemoe_edge.edge.lifting import SkeletonAdapter
from posemoe_edge.edge.presets import find_preset
from posemoe_edge.edge.scenes.scenes import SceneBatch
from posemoe_edge.edge.training.optimizers import make_optimizers
from posemoe_edge.edge.training.recipe import Recipe
from posemoe_edge.edge.training.update import WARM_UP, GraphedUpdate, Update, can_be_graphed

from gpu.table import Run, Table, median_ms, median_ratio, synchronize

JOINTS, STREAM = 17, 27  # frames of a stream between two updates
ROWS = {  # as scripts/train_zoo.py trains them on a GPU
    "frame-s": 16384,
    "frame-m": 16384,
    "frame-retention-s": 256,
    "frame-dssm-s": 256,
    "frame-attention-s": 96,
    "posemoe-frame-s": 8192,
    "posemoe-retention-s": 128,
    "posemoe-dssm-s": 128,
    "posemoe-attention-s": 48,
}
QUICK_SHARE = 128  # of the rows with --quick: one
RECIPE = Recipe(muon=0.0)


def updates(table: Table, options: Namespace) -> None:
    device = torch.device(options.device)
    table.add_note("random people on the device; drawing them is not part of an update")
    for preset, rows in ROWS.items():
        if table.out_of_time:
            table.add_note(f"the time was up before {preset}")
            continue
        rows = max(1, rows // QUICK_SHARE) if options.quick else rows
        with table.errors_as_notes(preset):
            contestants = {"eager": update_of(preset, rows, device, replayed=False)}
            if can_be_graphed(find_preset(preset).build().to(device), RECIPE):
                contestants["replayed"] = update_of(preset, rows, device, replayed=True)
            each_s = options.seconds / len(ROWS) / 2
            times = table.run_in_turns(contestants, rounds=options.rounds, warm_up=WARM_UP + 2, each_s=each_s)
            row: Row = {"preset": preset, "rows": rows, "frames": find_preset(preset).config.window or STREAM}
            row |= {f"{name}_ms": median_ms(times.get(name, {})) for name in ("eager", "replayed")}
            table.add_row(row | {"replayed over eager": median_ratio(times.get("replayed", {}), times["eager"])})


def update_of(preset: str, rows: int, device: torch.device, *, replayed: bool) -> Run:
    """One update after the other on one batch."""
    model = find_preset(preset).build().to(device).train()
    recipe = replace(RECIPE, rows=rows)
    eager = Update(SkeletonAdapter(model), model, make_optimizers(model, recipe, capturable=replayed), recipe)
    update = GraphedUpdate(eager) if replayed else eager
    frames = model.config.window or STREAM
    keypoints, pose_m = (torch.rand(rows, frames, JOINTS, 3, device=device) for _ in range(2))
    dt_s = torch.full((rows, frames), 1 / model.config.fps, device=device)
    batch = SceneBatch(keypoints, pose_m, dt_s, torch.zeros(rows, frames, dtype=torch.bool, device=device))
    state = None if model.config.windowed else model.initial_state(rows)

    def run(i: int) -> None:
        nonlocal state
        _, state = update(state, batch, None)
        synchronize(device)

    return run
