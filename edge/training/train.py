"""Training as the model will run: endless streams whose memory is carried on, or whole windows; interrupted and resumed."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..data.batches import STRIDES, SequenceBatch
from ..data.mocap import Clip
from ..data.sequence_stream import SequenceStream
from ..data.sequences import DatasetItem, evaluation_sequences
from ..data.window_stream import WindowStream
from ..lifting import SkeletonAdapter, mean_error_mm
from ..models.lifter import Lifter
from ..models.losses import LOSSES, velocity_loss
from ..presets import Preset
from .optimizers import make_optimizers, momenta, restore, set_rate
from .recipe import Recipe, TrainingProgress, schedule
from .saved import TrainingHistory, load_training, save_training


def train(
    preset: Preset,
    clips: Sequence[DatasetItem],
    *,
    out: Path,
    recipe: Recipe,
    minutes: float | None = None,
    save_every_minutes: float = 5.0,
    validation: Sequence[Clip] = (),
    report: Callable[[TrainingProgress], None] = lambda progress: None,
    fresh: bool = False,
    start: Lifter | None = None,
    origin: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a preset and write ``out`` (safetensors, with a .json): the averaged weights.

    A training that was interrupted, at most ``save_every_minutes`` after it was last saved, goes on when it is called again:
    weights, their mean and the optimizers' momenta are as they were; the cameras are others. Under torchrun every process
    trains on streams of its own, and the first one reports and saves.

    Args:
        clips: what to train on, and nothing else: clips or recorded takes.
        minutes: stop for now after so long; None trains to the end.
        validation: clips to watch; they choose nothing.
        fresh: begin anew, whatever is there.
        start: a network to begin with, instead of fresh weights.
        origin: what to write down of how that network was made.

    Returns:
        The record of the training, as written to the .json.
    """
    with _processes() as (rank, device):
        torch.manual_seed(recipe.seed)
        model = (start or preset.build()).to(device).train()
        keep = 1 - 1 / max(1.0, recipe.average * recipe.updates)
        averaging = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(keep))
        averaged = averaging.module
        assert isinstance(averaged, Lifter)
        optimizers = make_optimizers(model, recipe)
        history = TrainingHistory()
        found = None if fresh else load_training(out, model, dataclasses.asdict(recipe))
        if found is not None:
            tensors, history = found
            model.load_state_dict(_part(tensors, "model"))
            averaged.load_state_dict(_part(tensors, "average"))
            averaging.n_averaged.fill_(history.updates)
            restore(optimizers, _part(tensors, "optimizer"))
        history.runs += 1
        watched = evaluation_sequences(validation, noisy=True) if rank == 0 else []
        chunks = _chunks(clips, model, recipe, rank, history.updates)
        lift: nn.Module = SkeletonAdapter(model)
        if dist.is_initialized():
            lift = DistributedDataParallel(lift)
        lift = torch.compile(lift, dynamic=False) if recipe.compiled else lift  # type: ignore[assignment]
        half = recipe.half and _multiplies_halves(device)

        def save(val: float | None) -> dict[str, Any]:
            tensors = {
                **_named("model", model.state_dict()),
                **_named("average", averaged.state_dict()),
                **_named("optimizer", momenta(optimizers)),
            }
            record = _record(recipe, clips, model, history, val, origin)
            save_training(out, averaged, tensors, history, preset=preset.name, record=record)
            return record

        out.parent.mkdir(parents=True, exist_ok=True)
        state = None
        began = saved = time.monotonic()
        spent, smoothed, first = history.seconds, float("nan"), history.updates
        record: dict[str, Any] = {}
        while history.updates < recipe.updates:
            set_rate(optimizers, schedule(history.updates / recipe.updates))
            chunk, carried = next(chunks)
            if carried and state is None:
                state = model.initial_state(recipe.rows)
            loss, state = _update(lift, model, optimizers, state, chunk, recipe, half=half)
            averaging.update_parameters(model)
            history.updates += 1
            if history.updates == first + 1:  # compiling is over with the first update: what follows is training
                began = saved = time.monotonic()
            smoothed = loss if smoothed != smoothed else smoothed + 0.02 * (loss - smoothed)
            now = time.monotonic()
            history.seconds = spent + now - began
            over = history.updates == recipe.updates or (minutes is not None and now - began >= 60 * minutes)
            val = None
            if rank == 0:
                if over or now - saved >= 60 * save_every_minutes:
                    val = mean_error_mm(averaged, watched, block=recipe.frames) if watched else None
                    history.curve.append([history.updates, smoothed, val])
                    record, saved = save(val), time.monotonic()
                pace = (history.updates - first - 1) * recipe.rows * _frames(model, recipe) / max(now - began, 1e-9)
                report(TrainingProgress(history.updates / recipe.updates, history.updates, smoothed, pace, val))
            if _agreed(over, device):
                break
        return record or _record(recipe, clips, model, history, None, origin)


def _chunks(
    clips: Sequence[DatasetItem], model: Lifter, recipe: Recipe, rank: int, updates: int
) -> Iterator[tuple[SequenceBatch, bool]]:
    """What to train on, and whether memory is carried into it: other cameras in every process, and after every interruption."""
    seed, opening = (recipe.seed, rank, updates), max(0, round(recipe.windows * recipe.updates) - updates)
    if model.config.windowed or opening:  # it copies all footage
        windows = WindowStream(clips, rows=recipe.rows, frames=_frames(model, recipe), seed=seed, strides=STRIDES)
        for chunk in windows if model.config.windowed else islice(windows, opening):
            yield chunk, False
    for chunk in SequenceStream(clips, rows=recipe.rows, frames=recipe.frames, seed=seed):
        yield chunk, True


def _frames(model: Lifter, recipe: Recipe) -> int:
    """Of one row of an update."""
    return model.config.window or recipe.frames


def _multiplies_halves(device: torch.device) -> bool:
    """Whether bfloat16 pays: a processor without it takes many times longer than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    known = torch.cpu.get_capabilities()
    return any(known.get(kind, False) for kind in ("amx_bf16", "avx512_bf16", "bf16"))


def _update(
    lift: nn.Module,
    model: Lifter,
    optimizers: Sequence[torch.optim.Optimizer],
    state: Tensor | None,
    chunk: SequenceBatch,
    recipe: Recipe,
    *,
    half: bool,
) -> tuple[float, Tensor | None]:
    """One chunk, one step; the memory goes on, its gradient does not. Without a memory the chunk is of windows."""
    device = next(model.parameters()).device
    given = (chunk.keypoints, chunk.pose_m, chunk.dt_s, chunk.reset)
    x, target, dt, reset = (torch.from_numpy(a).to(device, non_blocking=True) for a in given)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        if state is None:
            predicted, state = lift(x, None, dt[:1])  # windows of one batch are of one rate: one clock for all
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


@contextmanager
def _processes() -> Iterator[tuple[int, torch.device]]:
    """This process's number, and where it trains; among several under torchrun, joined to the others."""
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        yield 0, device
        return
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield dist.get_rank(), device
    finally:
        dist.destroy_process_group()


def _agreed(over: bool, device: torch.device) -> bool:
    """Whether it is over for the first process, and so for all: clocks differ."""
    if not dist.is_initialized():
        return over
    told = torch.tensor([over], dtype=torch.int32, device=device)
    dist.broadcast(told, 0)
    return bool(told)


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def _record(
    recipe: Recipe,
    clips: Sequence[DatasetItem],
    model: Lifter,
    history: TrainingHistory,
    val: float | None,
    origin: Mapping[str, Any] | None,
) -> dict[str, Any]:
    processes = dist.get_world_size() if dist.is_initialized() else 1
    return {
        "recipe": dataclasses.asdict(recipe),
        "start": None if origin is None else dict(origin),
        "processes": processes,
        "done": round(history.updates / recipe.updates, 3),
        "updates": history.updates,
        "frames": history.updates * recipe.rows * _frames(model, recipe) * processes,
        "minutes": round(history.seconds / 60, 1),
        "runs": history.runs,
        "clips": len(clips),
        "clip_frames": sum(len(clip) for clip in clips),
        "val_mpjpe_mm": val,
        "curve": history.curve,
        "torch": torch.__version__,
    }
