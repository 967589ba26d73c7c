"""posemoe-edge eval"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.precision import Precision
from ...runtime.command_line import command_line
from ...runtime.model import load
from ..evaluation import evaluate
from ..intervals import Interval, paired_interval
from .options import FILE, PRECISION
from .output import Output, Result, counted, verb

LABELS = {"recorded": "as recorded"}


@click.command("eval")
@click.argument("artefact", required=False)
@click.option(
    "--data",
    type=FILE,
    required=True,
    help="Clips or recorded sequences (.npz), which import makes.",
)
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True, help="Part of the data."
)
@click.option("--precision", type=PRECISION, help="The graph to evaluate.  [default: what the artefact prefers, else fp32]")
@click.option("--clips", type=click.IntRange(min=1), help="Evaluate only the first N clips.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the clips' cameras and noise.")
@click.option("--cameras", type=click.IntRange(min=1), default=1, show_default=True, help="Cameras that film each clip.")
@click.option("--against", help="Another artefact to measure on the same frames and compare with.")
@click.option("--flip", is_flag=True, help="Lift the mirrored person too, and average both poses.")
@click.option("--allow-failed", is_flag=True, help="Evaluate an artefact whose drift certificate failed.")
@verb
def command(
    out: Output,
    artefact: str | None,
    data: Path,
    split: str,
    precision: Precision | None,
    clips: int | None,
    seed: int,
    cameras: int,
    against: str | None,
    flip: bool,
    allow_failed: bool,
) -> Result:
    """Measure the accuracy of ARTEFACT as it runs.

    Each clip is streamed whole through the runtime, once with exact and once with noisy keypoints; recorded sequences are
    streamed once, as recorded.
    """
    from ..data.dataset import evaluation_sets, open_data

    folder = find_artefact(artefact)
    model = load(folder, precision=precision, allow_failed=allow_failed)
    other = load(find_artefact(against), allow_failed=allow_failed) if against else None
    dataset = open_data(data, split)[:clips]
    sets = evaluation_sets(dataset, seed=seed, cameras=cameras)
    frames = sum(len(sequence) for sequences in sets.values() for sequence in sequences)
    out.print(
        f"{model} on {model.engine}: {counted(len(dataset), 'clip')} of {split}, {counted(frames, 'frame')}, "
        f"streamed whole, root aligned, "
        f"{cameras} camera{'s' if cameras > 1 else ''} a clip"
    )
    results: dict[str, Any] = {}
    with out.progress("lifting", total=frames * (2 if other else 1)) as on_progress:
        for name, sequences in sets.items():
            results[name] = evaluate(model, sequences, flip=flip, on_progress=on_progress)
            if other is not None:
                theirs = evaluate(other, sequences, flip=flip, on_progress=on_progress)
                results[name]["against"] = {
                    "mpjpe_mm": theirs["mpjpe_mm"],
                    "lead_mm": _lead(results[name], theirs).to_json(),
                }
    out.print(f"{'':<12}{'MPJPE':>10}{'P-MPJPE':>10}{'MPJVE':>14}{'PCK@150':>10}{'AUC':>8}")
    for name, metrics in results.items():
        label = LABELS.get(name, name)
        velocity = metrics["mpjve_mm"] or float("nan")
        errors = f" {metrics['mpjpe_mm']:>6.1f} mm {metrics['p_mpjpe_mm']:>6.1f} mm {velocity:>4.1f} mm/frame"
        out.print(f"{label:<12}{errors}{metrics['pck150']:>8.1f} %{metrics['auc']:>6.1f} %")
    for name, metrics in results.items():
        spread = metrics["mpjpe_mm_interval"]
        out.print(f"{LABELS.get(name, name)}: MPJPE between {spread['low']:.1f} and {spread['high']:.1f} mm, 95 % over clips")
        if sigma := metrics["sigma"]:
            out.print(f"  {sigma['within_1']:.0f} % of the joints within sigma, {sigma['within_2']:.0f} % within twice sigma")
        if compared := metrics.get("against"):
            lead = compared["lead_mm"]
            out.print(
                f"  {against}: {compared['mpjpe_mm']:.1f} mm, which is {lead['mean']:+.1f} mm against {model.manifest.preset} "
                f"(95 %: {lead['low']:+.1f} to {lead['high']:+.1f} mm)"
            )
    record = {
        "artefact": str(folder),
        "preset": model.manifest.preset,
        "precision": model.graph.precision,
        "engine": model.engine,
        "split": split,
        "clips": len(dataset),
        "frames": sum(map(len, dataset)),
        "seed": seed,
        "cameras": cameras,
        "flip": flip,
        "root": "aligned",
        **results,
    }
    return Result(record, next_command=command_line("run", "synthetic://walk", "--model", folder))


def _lead(ours: dict[str, Any], theirs: dict[str, Any]) -> Interval:
    """By how many millimetres ours is better, paired over clips."""
    return paired_interval(theirs["mpjpe_mm_by_clip"], ours["mpjpe_mm_by_clip"], ours["frames_by_clip"])
