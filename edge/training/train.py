"""Training as the model will run: endless streams with a carried state, or whole windows; can be interrupted and resumed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..data.batches import SequenceBatch
from ..data.mocap import Clip
from ..data.sequences import DatasetItem, evaluation_sequences
from ..lifting import SkeletonAdapter, mean_error_mm
from ..models.lifter import Lifter
from ..models.losses import LOSSES, velocity_loss
from ..presets import Preset
from .distributed import first_process_decides, process_count, process_group
from .optimizers import load_optimizer_states, make_optimizers, optimizer_states, set_rate
from .recipe import Recipe, TrainingProgress, schedule
from .training_batches import frames_per_row, training_batches
from .training_file import TrainingHistory, load_training, save_training

LOSS_SMOOTHING = 0.02  # weight of the newest loss in the reported one


def train(
    preset: Preset,
    dataset: Sequence[DatasetItem],
    *,
    out: Path,
    recipe: Recipe,
    minutes: float | None = None,
    save_every_minutes: float = 5.0,
    validation: Sequence[Clip] = (),
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
    fresh: bool = False,
    start: Lifter | None = None,
    origin: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a preset and write ``out`` (safetensors, with a .json): the averaged weights.

    Calling it again resumes an interrupted training, which loses at most the last ``save_every_minutes``: weights, their mean
    and the optimizers' states are as they were; the random cameras differ. Under torchrun every process trains on streams of
    its own, and the first one reports and saves.

    Args:
        preset: the network.
        dataset: clips or recorded sequences to train on.
        out: path of the weights.
        recipe: how to train.
        minutes: stop after this time; None trains to the end.
        save_every_minutes: time between two saves.
        validation: clips on which the averaged weights are measured at each save; they influence nothing.
        on_progress: called after each update of the first process.
        fresh: start over, even if there is a training to resume.
        start: the network to start from, instead of random weights.
        origin: how that network was made, for the record.

    Returns:
        The record of the training, as written to the .json.

    Raises:
        UsageError: the training at ``out`` is of another network or recipe.
        ArtefactError: the training at ``out`` cannot be read.
    """
    with process_group() as (rank, device):
        torch.manual_seed(recipe.seed)
        model = (start or preset.build()).to(device).train()
        ema_decay = 1 - 1 / max(1.0, recipe.average * recipe.updates)
        averaging = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema_decay))
        averaged = averaging.module
        assert isinstance(averaged, Lifter)
        optimizers = make_optimizers(model, recipe)
        history = TrainingHistory()
        saved_training = None if fresh else load_training(out, model, dataclasses.asdict(recipe))
        if saved_training is not None:
            tensors, history = saved_training
            model.load_state_dict(_without_prefix("model", tensors))
            averaged.load_state_dict(_without_prefix("average", tensors))
            averaging.n_averaged.fill_(history.updates)
            load_optimizer_states(optimizers, _without_prefix("optimizer", tensors))
        history.runs += 1
        validation_sequences = evaluation_sequences(validation, noisy=True) if rank == 0 else []
        batches = training_batches(dataset, model, recipe, rank=rank, updates=history.updates)
        lift: nn.Module = SkeletonAdapter(model)
        if dist.is_initialized():
            lift = DistributedDataParallel(lift)
        lift = torch.compile(lift, dynamic=False) if recipe.compiled else lift  # type: ignore[assignment]
        bfloat16 = recipe.half and _has_fast_bfloat16(device)

        def save(val_mpjpe_mm: float | None) -> dict[str, Any]:
            tensors = {
                **_with_prefix("model", model.state_dict()),
                **_with_prefix("average", averaged.state_dict()),
                **_with_prefix("optimizer", optimizer_states(optimizers)),
            }
            record = _record(recipe, dataset, model, history, val_mpjpe_mm, origin)
            save_training(out, averaged, tensors, history, preset=preset.name, record=record)
            return record

        out.parent.mkdir(parents=True, exist_ok=True)
        state = None
        began_s = saved_s = time.monotonic()
        earlier_s, smoothed_loss, first_update = history.seconds, float("nan"), history.updates
        record: dict[str, Any] = {}
        while history.updates < recipe.updates:
            set_rate(optimizers, schedule(history.updates / recipe.updates))
            batch, carries_state = next(batches)
            if carries_state and state is None:
                state = model.initial_state(recipe.rows)
            loss, state = _update(lift, model, optimizers, state, batch, recipe, bfloat16=bfloat16)
            averaging.update_parameters(model)
            history.updates += 1
            if history.updates == first_update + 1:  # the first update compiles: time is counted from its end
                began_s = saved_s = time.monotonic()
            is_first_loss = smoothed_loss != smoothed_loss
            smoothed_loss = loss if is_first_loss else smoothed_loss + LOSS_SMOOTHING * (loss - smoothed_loss)
            now_s = time.monotonic()
            history.seconds = earlier_s + now_s - began_s
            over = history.updates == recipe.updates or (minutes is not None and now_s - began_s >= 60 * minutes)
            if rank == 0:
                val_mpjpe_mm = None
                if over or now_s - saved_s >= 60 * save_every_minutes:
                    if validation_sequences:
                        val_mpjpe_mm = mean_error_mm(averaged, validation_sequences, block=recipe.frames)
                    history.curve.append([history.updates, smoothed_loss, val_mpjpe_mm])
                    record, saved_s = save(val_mpjpe_mm), time.monotonic()
                frames = (history.updates - first_update - 1) * recipe.rows * frames_per_row(model, recipe)
                frames_per_second = frames / max(now_s - began_s, 1e-9)
                share_done = history.updates / recipe.updates
                on_progress(TrainingProgress(share_done, history.updates, smoothed_loss, frames_per_second, val_mpjpe_mm))
            if first_process_decides(over, device):
                break
        return record or _record(recipe, dataset, model, history, None, origin)


def _update(
    lift: nn.Module,
    model: Lifter,
    optimizers: Sequence[torch.optim.Optimizer],
    state: Tensor | None,
    batch: SequenceBatch,
    recipe: Recipe,
    *,
    bfloat16: bool,
) -> tuple[float, Tensor | None]:
    """One update on one batch: the loss, and the state after the batch, detached from its gradient.

    Without a state the rows of the batch are windows.
    """
    device = next(model.parameters()).device
    arrays = (batch.keypoints, batch.pose_m, batch.dt_s, batch.reset)
    x, target, dt, reset = (torch.from_numpy(array).to(device, non_blocking=True) for array in arrays)
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        if state is None:
            predicted, state = lift(x, None, dt[:1])  # all windows of a batch have one rate, so one row of dt is enough
        else:
            predicted, state = lift(x, state, dt, reset)
    predicted = predicted.float()
    if predicted.shape[1] < target.shape[1]:  # seq2frame
        target, reset = target[:, target.shape[1] // 2, None], reset[:, :1]
    loss = LOSSES[recipe.loss](predicted, target, reset) + recipe.velocity * velocity_loss(predicted, target, reset)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach()), None if state is None else state.detach()


def _has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 in hardware; a processor that does not is many times slower than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


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
        "done": round(history.updates / recipe.updates, 3),
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
