"""PoseMoE's decoder in streaming form: its gain and its cost, at equal budget.

After PoseMoE's Table VI, whose decoder multiplies attention maps over a window; here the maps are passes of a recurrence, so it
is a separate question. The whole network and the one without its decoder (or without one half of it) are trained by the same
recipe, updates, batches and seed, or named as weights. Both are measured on exact keypoints and on a detector's. One seed is
one sample: a difference smaller than that between two seeds has no meaning.

Run: python benchmarks/decoder.py --data cmu_h36m17.npz [--updates 4000] [--seed 0] [--without encoder-alone ...] [--out FOLDER]
     [--whole FILE] [--split test] [--clips N] [--json FILE] [--plot FILE]    (or by torchrun, with a part of --rows)
     python benchmarks/decoder.py --data cmu_h36m17.npz --weights whole=FILE none=FILE    (measures these, trains nothing)
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from experiment import (
    Row,
    exact_and_noisy,
    exit_on_error,
    load_lifters,
    option_parser,
    parse_options,
    selected_clips,
    write_result,
)
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.data.mocap import Clip
from posemoe_edge.edge.models.cost import lifter_cost
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.posemoe import ABLATIONS, PoseMoEConfig
from posemoe_edge.edge.presets import Preset, find_preset
from posemoe_edge.edge.training.inflate import start_from
from posemoe_edge.edge.training.recipe import Recipe, TrainingProgress
from posemoe_edge.edge.training.train import train
from posemoe_edge.runtime.errors import UsageError
from posemoe_edge.runtime.plotting import Bars

ABLATION_NAMES = {
    "encoder-alone": "VI encoder alone",
    "no-spatial-ceka": "VI w/o SpatialCEKA",
    "no-temporal-ceka": "VI w/o TemporalCEKA",
}
WHOLE = "whole"


def ablate(preset: Preset, name: str) -> Preset:
    """The preset without the parts that an ablation removes; ``WHOLE`` removes nothing."""
    config = as_posemoe_config(preset.config, preset.name)
    if name == WHOLE:
        return preset
    return replace(preset, name=f"{preset.name}-{name}", config=replace(config, without=ABLATIONS[ABLATION_NAMES[name]]))


def as_posemoe_config(config: object, name: str) -> PoseMoEConfig:
    """The configuration, which must be a PoseMoE's."""
    if not isinstance(config, PoseMoEConfig):
        raise UsageError(f"{name} is no PoseMoE", expected="a lifter with its decoder")
    return config


def train_all(
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
    """The whole network and each cut one, and the records of their trainings. An interrupted training is resumed.

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
        models[WHOLE], records[WHOLE] = model.to(device), training_summary(training)
    for name in [name for name in (WHOLE, *cuts) if name not in models]:
        path = folder / f"{name}.safetensors"

        def report(progress: TrainingProgress, name: str = name) -> None:
            if progress.updates % max(1, recipe.updates // 10) == 0:
                pace = f"{progress.frames_per_second:.0f} frames/s"
                print(f"{name}: update {progress.updates} of {recipe.updates}, loss {progress.loss:.4f}, {pace}", flush=True)

        ablated = ablate(preset, name)
        start, origin = start_from(begin, ablated.config) if begin else (None, None)
        record = train(ablated, clips, out=path, recipe=recipe, on_progress=report, start=start, origin=origin)
        models[name], records[name] = load_checkpoint(path)[0].to(device), training_summary(record)
    return models, records


def training_summary(training: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a training's record that go into the result."""
    return {key: training[key] for key in ("updates", "frames", "processes", "minutes", "start")}


def measure(models: Mapping[str, Lifter], clips: Sequence[Clip]) -> list[Row]:
    """Two rows for each; "over" is MPJPE as a multiple of the first one's on the same input."""
    rows: list[Row] = []
    for name, model in models.items():
        without = set(as_posemoe_config(model.config, name).without)
        matching = (ablation for ablation, parts in ABLATIONS.items() if set(parts) == without)
        about = lifter_cost(model.config)
        size = {key: about[key] for key in ("params", "macs_per_frame")}
        left_out = next(matching, ", ".join(sorted(without))) if without else "nothing"
        rows += [{"weights": name, "ablation": left_out, **size, **row} for row in exact_and_noisy(model, clips)]
    first = next(iter(models))
    errors = {row["input"]: row["mpjpe_mm"] for row in rows if row["weights"] == first}
    return [{**row, f"over {first}": round(row["mpjpe_mm"] / errors[row["input"]], 3)} for row in rows]


def plot(rows: Sequence[Row]) -> Bars:
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        name = f"without {row['weights'].removeprefix('no-')}" if row["weights"].startswith("no-") else row["weights"]
        label = f"{name}\n{row['params'] / 1e6:.2f} M weights,\n{row['macs_per_frame'] / 1e6:.1f} M MACs a frame"
        values.setdefault(label, {})[f"{row['input']} keypoints"] = row["mpjpe_mm"]
    return Bars(values, title="A streaming PoseMoE with parts of its decoder and without", x_label="MPJPE (mm)", numbers=".1f")


def decoder_parser() -> argparse.ArgumentParser:
    parser, defaults = option_parser(__doc__), Recipe()
    parser.add_argument("--preset", default="posemoe-retention-s", help="the whole network")
    parser.add_argument("--without", nargs="+", choices=list(ABLATION_NAMES), default=["encoder-alone"], help="parts to remove")
    parser.add_argument("--out", type=Path, default=Path("decoder"), help="the folder of the trained weights")
    parser.add_argument("--updates", type=int, default=defaults.updates)
    parser.add_argument("--rows", type=int, default=defaults.rows)
    parser.add_argument("--frames", type=int, default=defaults.frames)
    parser.add_argument("--rate", type=float, default=defaults.rate, help="peak learning rate")
    parser.add_argument(
        "--from", type=Path, dest="begin", help="weights of posemoe-frame-s to start from (no spatial ablations)"
    )
    parser.add_argument("--whole", type=Path, help="the whole network, trained before by this recipe")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--compile", action="store_true", help="fuse the networks first")
    return parser


def main() -> None:
    options = parse_options(decoder_parser())
    clips = selected_clips(options)
    about: dict[str, Any] = {"clips": len(clips), "frames": sum(map(len, clips))}
    if options.weights:
        models = load_lifters(options)
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
        clips_seen = selected_clips(options, "train")
        where = {"begin": options.begin, "whole": options.whole}
        models, records = train_all(preset, options.without, clips_seen, recipe, options.out, options.device, **where)
        if os.environ.get("RANK", "0") != "0":  # one of several processes under torchrun: the first one measures
            return
        about |= {"preset": preset.name, "recipe": asdict(recipe), "trainings": records}
    rows = measure(models, clips)
    write_result(options, {**about, "rows": rows}, plot(rows))


if __name__ == "__main__":
    exit_on_error(main)
