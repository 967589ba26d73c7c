"""PoseMoE's decoder in streaming form: what it gains and what it costs, at equal budget.

After PoseMoE's Table VI, whose decoder multiplies attention maps over a window; here the maps are passes of a recurrence, so it
is a question of its own. The whole network and the one without its decoder (or without one half of it) are trained by the same
recipe, updates, batches and seed, or given as weights; both are judged on exact keypoints and on a detector's. One seed is one
sample: what differs less than two seeds do is no difference.

Run: python benchmarks/decoder.py --data cmu_h36m17.npz [--updates 4000] [--seed 0] [--without encoder-alone ...] [--out FOLDER]
     [--whole FILE] [--split test] [--clips N] [--json FILE] [--plot FILE]    (or by torchrun, with a part of --rows)
     python benchmarks/decoder.py --data cmu_h36m17.npz --weights whole=FILE none=FILE    (judge these, train nothing)
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from experiment import Bars, Row, clips_of, exact_and_noisy, finish, lifters, parsed, parser, told
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.models.cost import lifter_cost
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.posemoe import ABLATIONS, PoseMoEConfig
from posemoe_edge.edge.presets import DEFAULT_PRESET, Preset, find_preset
from posemoe_edge.edge.training.inflate import start_from
from posemoe_edge.edge.training.recipe import Recipe, TrainingProgress
from posemoe_edge.edge.training.train import train
from posemoe_edge.runtime.errors import UsageError

CUTS = {
    "encoder-alone": "VI encoder alone",
    "no-spatial-ceka": "VI w/o SpatialCEKA",
    "no-temporal-ceka": "VI w/o TemporalCEKA",
}
WHOLE = "whole"


def cut(preset: Preset, name: str) -> Preset:
    """The preset without what an ablation leaves out; ``WHOLE`` leaves out nothing."""
    config = posemoe(preset.config, preset.name)
    if name == WHOLE:
        return preset
    return replace(preset, name=f"{preset.name}-{name}", config=replace(config, without=ABLATIONS[CUTS[name]]))


def posemoe(config: object, name: str) -> PoseMoEConfig:
    """The configuration, of a PoseMoE."""
    if not isinstance(config, PoseMoEConfig):
        raise UsageError(f"{name} is no PoseMoE", expected="a lifter with its decoder")
    return config


def trained(
    preset: Preset,
    cuts: Sequence[str],
    clips: Sequence[Clip],
    recipe: Recipe,
    folder: Path,
    device: str,
    *,
    begin: Path | None,
    whole: Path | None,
) -> tuple[dict[str, Lifter], dict[str, Any]]:
    """The whole network and each cut one, and the records of their trainings. A training that was interrupted goes on.

    Args:
        begin: weights of single frames that all of them grow from.
        whole: weights of the whole network, if it was trained before; by any other recipe they would be no comparison.
    """
    models, records = {}, {}
    folder.mkdir(parents=True, exist_ok=True)
    if whole is not None:
        model, record = load_checkpoint(whole)
        training, processes = record.get("training") or {}, int(os.environ.get("WORLD_SIZE", 1))
        budget = {"recipe": asdict(recipe), "processes": processes, "updates": recipe.updates}
        if not preset.fits(model.config) or {key: training.get(key) for key in budget} != budget:
            raise UsageError(f"{whole} is not a {preset.name} of this budget", expected=f"one of {budget}")
        models[WHOLE], records[WHOLE] = model.to(device), kept(training)
    for name in [name for name in (WHOLE, *cuts) if name not in models]:
        path = folder / f"{name}.safetensors"

        def report(progress: TrainingProgress, name: str = name) -> None:
            if progress.updates % max(1, recipe.updates // 10) == 0:
                pace = f"{progress.frames_per_second:.0f} frames/s"
                print(f"{name}: update {progress.updates} of {recipe.updates}, loss {progress.loss:.4f}, {pace}", flush=True)

        made = cut(preset, name)
        start, origin = start_from(begin, made.config) if begin else (None, None)
        record = train(made, clips, out=path, recipe=recipe, on_progress=report, start=start, origin=origin)
        models[name], records[name] = load_checkpoint(path)[0].to(device), kept(record)
    return models, records


def kept(training: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says of a training."""
    return {key: training[key] for key in ("updates", "frames", "processes", "minutes", "start")}


def measure(models: Mapping[str, Lifter], clips: Sequence[Clip]) -> list[Row]:
    """Two rows for each; "over" is MPJPE as a multiple of the first one's on the same input."""
    rows: list[Row] = []
    for name, model in models.items():
        without = set(posemoe(model.config, name).without)
        known = (ablation for ablation, parts in ABLATIONS.items() if set(parts) == without)
        about = lifter_cost(model.config)
        size = {key: about[key] for key in ("params", "macs_per_frame")}
        left_out = next(known, ", ".join(sorted(without))) if without else "nothing"
        rows += [{"weights": name, "ablation": left_out, **size, **row} for row in exact_and_noisy(model, clips)]
    first = next(iter(models))
    errors = {row["input"]: row["mpjpe_mm"] for row in rows if row["weights"] == first}
    return [{**row, f"over {first}": round(row["mpjpe_mm"] / errors[row["input"]], 3)} for row in rows]


def picture(rows: Sequence[Row]) -> Bars:
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        label = f"{row['weights']}\n{row['params'] / 1e6:.2f} M, {row['macs_per_frame'] / 1e6:.0f} M products"
        values.setdefault(label, {})[row["input"]] = row["mpjpe_mm"]
    return Bars(values, title="PoseMoE that streams, with its decoder and without", x_label="MPJPE (mm)")


def arguments() -> argparse.ArgumentParser:
    made, usual = parser(__doc__), Recipe()
    made.add_argument("--preset", default=DEFAULT_PRESET, help="the whole network")
    made.add_argument("--without", nargs="+", choices=list(CUTS), default=["encoder-alone"], help="what to leave out")
    made.add_argument("--out", type=Path, default=Path("decoder"), help="the folder of the trained weights")
    made.add_argument("--updates", type=int, default=usual.updates)
    made.add_argument("--rows", type=int, default=usual.rows)
    made.add_argument("--frames", type=int, default=usual.frames)
    made.add_argument("--rate", type=float, default=usual.rate, help="peak learning rate")
    made.add_argument("--from", type=Path, dest="begin", help="weights of posemoe-frame-s to grow from (no spatial cuts then)")
    made.add_argument("--whole", type=Path, help="the whole network, trained before by this recipe")
    made.add_argument("--seed", type=int, default=usual.seed)
    made.add_argument("--compile", action="store_true", help="fuse the networks first")
    return made


def main() -> None:
    options = parsed(arguments())
    clips = clips_of(options)
    about: dict[str, Any] = {"clips": len(clips), "frames": sum(map(len, clips))}
    if options.weights:
        models = lifters(options)
    else:
        recipe = Recipe(
            updates=options.updates,
            rows=options.rows,
            frames=options.frames,
            rate=options.rate,
            seed=options.seed,
            compiled=options.compile,
        )
        preset = find_preset(options.preset)
        clips_seen = clips_of(options, "train")
        where = {"begin": options.begin, "whole": options.whole}
        models, records = trained(preset, options.without, clips_seen, recipe, options.out, options.device, **where)
        if os.environ.get("RANK", "0") != "0":  # one of several processes under torchrun: the first one judges
            return
        about |= {"preset": preset.name, "recipe": asdict(recipe), "trainings": records}
    rows = measure(models, clips)
    finish(options, {**about, "rows": rows}, picture(rows))


if __name__ == "__main__":
    told(main)
