"""Training as the model will run: endless streams with a carried state, or whole windows; can be interrupted and resumed."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ...runtime.artefact.room import check_room
from ..data.mocap import Clip
from ..data.sequences import DatasetItem, evaluation_sequences
from ..lifting import SkeletonAdapter, mean_error_mm
from ..models.lifter import Lifter
from ..presets import Preset
from ..scenes.scenes import SceneBatch
from .distributed import first_process_decides, load_together, own_share, process_count, process_group
from .experts import expert_gradients, expert_shares
from .optimizers import load_optimizer_states, make_optimizers, optimizer_states, set_rate
from .recipe import Recipe, TrainingProgress, schedule
from .sigma import calibrate_sigma
from .training_batches import frames_per_row, motion_bank, single_frames, training_batches
from .training_file import TrainingHistory, load_training, save_training
from .update import GraphedUpdate, Update, can_be_graphed

TRAINING_FACTOR = 5  # a save has the weights, their mean twice (once to resume from), and two moments of each
LOSS_SMOOTHING = 0.02  # weight of the newest loss in the reported one


def train(
    preset: Preset,
    dataset: Sequence[DatasetItem],
    *,
    out: Path,
    recipe: Recipe,
    minutes: float | None = None,
    save_every_minutes: float = 5.0,
    measure_every_minutes: float = 0.0,
    validation: Sequence[Clip] = (),
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
    fresh: bool = False,
    start: Lifter | None = None,
    origin: Mapping[str, Any] | None = None,
    history: TrainingHistory | None = None,
) -> dict[str, Any]:
    """Train a preset and write ``out`` (safetensors, with a .json): the averaged weights.

    Calling it again resumes an interrupted training, which loses at most the last ``save_every_minutes``: weights, their mean
    and the optimizers' states are as they were; the random cameras differ. Under torchrun every process trains on clips and
    streams of its own, and the first one reports and saves; if one dies, torchrun starts all of them again, and they resume.

    Args:
        preset: the network.
        dataset: clips or recorded sequences to train on.
        out: path of the weights.
        recipe: how to train.
        minutes: stop after this time; None trains to the end.
        save_every_minutes: time between two saves.
        measure_every_minutes: least time between two saves that measure: a short training would spend itself on measuring.
        validation: clips on which the averaged weights are measured at saves. They influence nothing but the scale of the
            standard deviations, which is set by them at the end.
        on_progress: called after each update of the first process.
        fresh: start over, even if there is a training to resume.
        start: the network to start from, instead of random weights.
        origin: how that network was made, for the record.
        history: of the training that ``start`` is the result of so far, if it goes on from there without its state.

    Returns:
        The record of the training, as written to the .json.

    Raises:
        UsageError: the training at ``out`` is of another network or recipe.
        ArtefactError: the training at ``out`` cannot be read.
    """
    with process_group() as (rank, device):
        torch.manual_seed(recipe.seed)
        model = (start or preset.build()).to(device).train()
        ema_weight = 1.0  # of the newest weights in the running mean
        averaging = AveragedModel(model, multi_avg_fn=lambda means, newest, _: _average(means, newest, ema_weight))
        averaged = averaging.module
        assert isinstance(averaged, Lifter)
        graphed = can_be_graphed(model, recipe)
        optimizers = make_optimizers(model, recipe, capturable=graphed)
        history = history or TrainingHistory()
        saved_training = None if fresh else load_together(lambda: load_training(out, model, dataclasses.asdict(recipe)))
        if saved_training is not None:
            tensors, history = saved_training
            model.load_state_dict(_without_prefix("model", tensors))
            averaged.load_state_dict(_without_prefix("average", tensors))
            averaging.n_averaged.fill_(history.updates)
            load_optimizer_states(optimizers, _without_prefix("optimizer", tensors))
        history.runs += 1
        if rank == 0:
            weights_bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
            check_room(out.parent, TRAINING_FACTOR * weights_bytes)
        validation_sequences = evaluation_sequences(validation, noisy=True) if rank == 0 else []
        share = own_share(dataset)
        bank = motion_bank(share, device)
        draw = {"rank": rank, "updates": history.updates}
        batches = training_batches(share, bank, model, recipe, progress=lambda: _progress(recipe, history), **draw)
        singles = single_frames(bank, model, recipe, **draw)
        lift: nn.Module = SkeletonAdapter(model)
        if dist.is_initialized():
            lift = DistributedDataParallel(lift)
        lift = torch.compile(lift, dynamic=False) if recipe.compiled else lift  # type: ignore[assignment]
        eager = Update(lift, model, optimizers, recipe)
        update = GraphedUpdate(eager) if graphed else eager

        record: dict[str, Any] = {}
        sigma_factors: dict[str, float] | None = None
        smoothed_loss, saved_s = float("nan"), 0.0

        def save(batch: SceneBatch, val_mpjpe_mm: float | None = None) -> None:
            nonlocal record, saved_s
            tensors = {
                **_with_prefix("model", model.state_dict()),
                **_with_prefix("average", averaged.state_dict()),
                **_with_prefix("optimizer", optimizer_states(optimizers)),
            }
            record = _record(recipe, dataset, model, history, val_mpjpe_mm, origin)
            record["sigma_factors"] = sigma_factors
            record["experts"] = {
                "shares": expert_shares(averaged, batch.keypoints[..., : model.config.channels]),
                "gradients": expert_gradients(model),
            }
            save_training(out, averaged, tensors, history, preset=preset.name, record=record)
            saved_s = time.monotonic()

        def measure_and_save(batch: SceneBatch) -> float | None:
            """The validation error, saved with the weights; complete ones get their scale of sigma."""
            nonlocal sigma_factors
            val_mpjpe_mm = None
            if validation_sequences:
                val_mpjpe_mm = mean_error_mm(averaged, validation_sequences, block=recipe.frames)
                if _progress(recipe, history) >= 1 and model.config.sigma:
                    sigma_factors = calibrate_sigma(averaged, validation_sequences, block=recipe.frames)
            history.curve.append([history.updates, None if math.isnan(smoothed_loss) else smoothed_loss, val_mpjpe_mm])
            save(batch, val_mpjpe_mm)
            return val_mpjpe_mm

        out.parent.mkdir(parents=True, exist_ok=True)
        state = None
        began_s = called_s = saved_s = measured_s = time.monotonic()
        earlier_s, first_update = history.seconds, history.updates
        over: float = _progress(recipe, history) >= 1
        while not over:
            progress = _progress(recipe, history)
            set_rate(optimizers, schedule(progress))
            ema_weight = 1 / max(1.0, recipe.average * history.updates / max(progress, 1e-9))
            batch, carries_state = next(batches)
            if carries_state and state is None:
                state = model.initial_state(recipe.rows)
            single = next(singles) if singles is not None else None
            measured, state = update(state, batch, single)
            loss = float(measured)
            averaging.update_parameters(model)
            history.updates += 1
            if history.updates == first_update + 1:  # the first update compiles: time is counted from its end
                began_s = called_s = saved_s = measured_s = time.monotonic()
            smoothed_loss = loss if math.isnan(smoothed_loss) else smoothed_loss + LOSS_SMOOTHING * (loss - smoothed_loss)
            now_s = time.monotonic()
            history.seconds = earlier_s + now_s - began_s
            share_done = _progress(recipe, history)
            over = share_done >= 1 or (minutes is not None and now_s - called_s >= 60 * minutes)
            if rank == 0:
                frames = (history.updates - first_update - 1) * recipe.rows * frames_per_row(model, recipe)
                frames_per_second = frames / max(now_s - began_s, 1e-9)
                val_mpjpe_mm = None
                if over or now_s - saved_s >= 60 * save_every_minutes:
                    measures = over or now_s - measured_s >= 60 * measure_every_minutes
                    if over or not measures:
                        save(batch)  # also before the last measurement, which takes long, and may be cut off
                    if measures:
                        val_mpjpe_mm = measure_and_save(batch)
                        measured_s = time.monotonic()
                    began_s += time.monotonic() - now_s  # else short trainings spend their last, slowest updates on measuring
                on_progress(TrainingProgress(share_done, history.updates, smoothed_loss, frames_per_second, val_mpjpe_mm))
            history.seconds, over = first_process_decides([history.seconds, over], device)
        measured_updates = history.curve[-1][0] if history.curve else 0
        if rank == 0 and _progress(recipe, history) >= 1 and history.updates != measured_updates:
            measure_and_save(next(batches)[0])  # an earlier run was cut off while it measured
        return record or _record(recipe, dataset, model, history, None, origin)


def _progress(recipe: Recipe, history: TrainingHistory) -> float:
    """The completed share of a training: of its updates, or of its time."""
    return history.updates / recipe.updates if recipe.minutes is None else history.seconds / (60 * recipe.minutes)


def _average(means: Sequence[Tensor], newest: Sequence[Tensor], weight: float) -> None:
    """Move running means towards the newest values, in place."""
    torch._foreach_lerp_(list(means), list(newest), weight)


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names have the prefix, by the rest of their names."""
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def _record(
    recipe: Recipe,
    dataset: Sequence[DatasetItem],
    model: Lifter,
    history: TrainingHistory,
    val_mpjpe_mm: float | None,
    origin: Mapping[str, Any] | None,
) -> dict[str, Any]:
    processes = process_count()
    return {
        "recipe": dataclasses.asdict(recipe),
        "start": None if origin is None else dict(origin),
        "processes": processes,
        "done": round(_progress(recipe, history), 3),
        "updates": history.updates,
        "frames": history.updates * recipe.rows * frames_per_row(model, recipe) * processes,
        "minutes": round(history.seconds / 60, 1),
        "runs": history.runs,
        "clips": len(dataset),
        "clip_frames": sum(len(item) for item in dataset),
        "val_mpjpe_mm": val_mpjpe_mm,
        "curve": history.curve,
        "torch": torch.__version__,
    }
