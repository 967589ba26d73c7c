"""posemoe-edge eval"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.precision import PRECISIONS
from ...runtime.model import load
from ..evaluation import evaluate
from .output import Output, Result, verb


@click.command("eval")
@click.argument("artefact", required=False)
@click.option(
    "--data",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Clips or recorded sequences (.npz), see import.",
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option("--precision", type=click.Choice(list(PRECISIONS)), help="Default: what the artefact prefers, else fp32.")
@click.option("--clips", type=click.IntRange(min=1), help="Evaluate only the first N clips.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the clips' cameras and noise.")
@click.option("--flip", is_flag=True, help="Lift the mirrored person too, and average both poses.")
@click.option("--allow-failed", is_flag=True, help="Evaluate an artefact whose drift certificate failed.")
@verb
def command(
    out: Output,
    artefact: str | None,
    data: Path,
    split: str,
    precision: Any,
    clips: int | None,
    seed: int,
    flip: bool,
    allow_failed: bool,
) -> Result:
    """Measure the accuracy of ARTEFACT as it runs.

    Each clip is streamed whole through the runtime, once with exact and once with noisy keypoints; recorded sequences are
    streamed once, as recorded.
    """
    from ..data.dataset import evaluation_sets, open_data

    model = load(find_artefact(artefact), precision=precision, allow_failed=allow_failed)
    dataset = open_data(data, split)[:clips]
    sets = evaluation_sets(dataset, seed=seed)
    frames = sum(map(len, dataset))
    out.print(f"{model} on {model.engine}: {len(dataset)} clips of {split}, {frames} frames, streamed whole, root aligned")
    results = {}
    with out.progress("lifting", total=len(sets) * frames) as on_progress:
        for name, sequences in sets.items():
            results[name] = evaluate(model, sequences, flip=flip, on_progress=on_progress)
    out.print(f"{'':<12}{'MPJPE':>10}{'P-MPJPE':>10}{'MPJVE':>14}{'PCK@150':>10}{'AUC':>8}")
    for name, metrics in results.items():
        label = "as recorded" if name == "recorded" else name
        velocity = metrics["mpjve_mm"] or float("nan")
        errors = f"{metrics['mpjpe_mm']:>7.1f} mm{metrics['p_mpjpe_mm']:>7.1f} mm{velocity:>5.1f} mm/frame"
        out.print(f"{label:<12}{errors}{metrics['pck150']:>8.1f} %{metrics['auc']:>6.1f} %")
    record = {
        "artefact": str(find_artefact(artefact)),
        "preset": model.manifest.preset,
        "precision": model.graph.precision,
        "engine": model.engine,
        "split": split,
        "clips": len(dataset),
        "frames": frames,
        "seed": seed,
        "flip": flip,
        "root": "aligned",
        **results,
    }
    return Result(record, next_command=f"posemoe-edge run synthetic://walk --model {record['artefact']}")
