"""Training as the model will run: endless streams, memory carried from chunk to chunk, gradients through one chunk."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...export.reference import save_reference
from ...runtime.metrics import mpjpe
from ...runtime.skeleton import H36M_ORDERS
from ..data.mocap import Clip
from ..data.takes import Chunk, Take, TakeStream, evaluation_takes
from ..models.lifter import Lifter
from ..models.losses import posemoe_loss, velocity_loss
from ..models.mixer import Mixer
from ..presets import Preset


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Args:
        minutes: wall-clock budget; the learning rate follows it.
        rows, frames: streams side by side, and frames between two updates.
        rate: peak learning rate, after a warm-up of 2 % and down to 1 % of it by a cosine.
        muon: learning rate of the hidden weight matrices, by Muon (updates of AdamW's size); 0 leaves them to AdamW.
        velocity: weight of the velocity loss beside PoseMoE's own (21).
        half: matrix products in bfloat16, by autocast (sums, norms and the carried state stay float32).
        compiled: fuse the network with torch.compile first: minutes of waiting, then a third faster on a CPU.
    """

    minutes: float = 60.0
    rows: int = 16
    frames: int = 27
    rate: float = 1e-3
    muon: float = 2e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    velocity: float = 2.0
    average: float = 0.999
    seed: int = 0
    half: bool = True
    compiled: bool = True
    save_every_minutes: float = 5.0


@dataclass(frozen=True)
class Progress:
    """What a training run reports: how far it is, and how well it does."""

    done: float
    updates: int
    loss: float
    frames_per_second: float
    val_mpjpe_mm: float | None


def train(
    preset: Preset,
    clips: Sequence[Clip],
    *,
    out: Path,
    recipe: Recipe,
    validation: Sequence[Clip] = (),
    report: Callable[[Progress], None] = lambda progress: None,
    resume: Lifter | None = None,
) -> dict[str, Any]:
    """Train a streaming preset and write ``out`` (safetensors, with a .json): the averaged weights.

    Args:
        clips: what to train on, and nothing else.
        validation: clips to watch; they choose nothing.

    Returns:
        The record of the training, as written to the .json.
    """
    torch.manual_seed(recipe.seed)
    model = resume or preset.build()
    model.train()
    averaging = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
    averaged = averaging.module
    assert isinstance(averaged, Lifter)
    optimizers = _optimizers(model, recipe)
    watched = evaluation_takes(validation, noisy=True)
    stream = TakeStream(clips, rows=recipe.rows, frames=recipe.frames, seed=recipe.seed)
    state = model.initial_state(recipe.rows)

    lift = torch.compile(Speaking(model), dynamic=False) if recipe.compiled else Speaking(model)

    out.parent.mkdir(parents=True, exist_ok=True)
    started = saved = time.monotonic()
    updates, smoothed = 0, float("nan")
    for chunk in stream:
        if updates == 1:  # the budget is for training: compiling is over with the first update
            started = saved = time.monotonic()
        now = time.monotonic()
        done = (now - started) / 60 / recipe.minutes
        if done >= 1:
            break
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * _schedule(done)
        loss, state = _update(lift, model, optimizers, state, chunk, recipe)
        averaging.update_parameters(model)
        updates += 1
        smoothed = loss if updates == 1 else smoothed + 0.02 * (loss - smoothed)
        speed = updates * recipe.rows * recipe.frames / (time.monotonic() - started)
        val = None
        if now - saved > 60 * recipe.save_every_minutes:
            saved = now
            val = evaluate(averaged, watched, block=recipe.frames) if watched else None
            save_reference(out, averaged, preset=preset.name, training=_record(recipe, clips, updates, done, val))
        report(Progress(done=done, updates=updates, loss=smoothed, frames_per_second=speed, val_mpjpe_mm=val))

    record = _record(recipe, clips, updates, 1.0, evaluate(averaged, watched, block=recipe.frames) if watched else None)
    save_reference(out, averaged, preset=preset.name, training=record)
    return record


class Speaking:
    """A lifter's ``chunk`` on our data, Human3.6M-17 with confidence, whatever joints and channels it was made for."""

    def __init__(self, model: Lifter) -> None:
        self.model = model
        order = H36M_ORDERS[model.config.skeleton]
        self.order = list(order)
        self.back = sorted(range(len(order)), key=self.order.__getitem__)

    def __call__(
        self, x: Tensor, state: Tensor, dt: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        y, state = self.model.chunk(x[..., self.order, : self.model.config.channels], state, dt, reset)
        return y[..., self.back, :], state


def evaluate(model: Lifter, takes: Sequence[Take], *, block: int) -> float:
    """Mean MPJPE over the takes' frames in mm, each take streamed whole from an empty memory."""
    was, lift = model.training, Speaking(model)
    model.eval()
    wrong, frames = 0.0, 0
    with torch.no_grad():
        for take in takes:
            state = model.initial_state(1)
            for start in range(0, len(take), block):  # what one with lookahead says depends on where the chunks end
                span = slice(start, start + block)
                x, dt = torch.from_numpy(take.keypoints[None, span]), torch.from_numpy(take.dt_s[None, span])
                y, state = lift(x, state, dt)
                n = y.shape[1]
                wrong += n * float(mpjpe(y[0].numpy(), take.pose_m[span]))
                frames += n
    model.train(was)
    return 1000 * wrong / frames


def _update(
    lift: Callable[..., tuple[Tensor, Tensor]],
    model: Lifter,
    optimizers: Sequence[torch.optim.Optimizer],
    state: Tensor,
    chunk: Chunk,
    recipe: Recipe,
) -> tuple[float, Tensor]:
    """One chunk, one step; the memory goes on, its gradient does not."""
    x, target, dt, reset = (torch.from_numpy(a) for a in (chunk.keypoints, chunk.pose_m, chunk.dt_s, chunk.reset))
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.half):
        predicted, state = lift(x, state, dt, reset)
    loss = posemoe_loss(predicted, target, reset) + recipe.velocity * velocity_loss(predicted, target, reset)
    model.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach()), state.detach()


def _optimizers(model: Lifter, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the hidden weight matrices; AdamW for the rest, which decays no norm, bias, token or mixer's parameter."""
    hidden, decayed, plain = [], [], []
    mixers = {id(p) for module in model.modules() if isinstance(module, Mixer) for p in module.parameters()}
    for name, p in model.named_parameters():
        if p.ndim != 2 or id(p) in mixers or "position" in name or name == "tokens":
            plain.append(p)
        elif name.startswith(("embed", "head")) or not recipe.muon:
            decayed.append(p)
        else:
            hidden.append(p)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=recipe.rate)]
    if hidden:
        muon = torch.optim.Muon(hidden, lr=recipe.muon, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw")
        optimizers.append(muon)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _schedule(done: float) -> float:
    """The learning rate's share of its peak."""
    warm = min(1.0, done / 0.02)
    return warm * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * done))))


def _record(recipe: Recipe, clips: Sequence[Clip], updates: int, done: float, val: float | None) -> dict[str, Any]:
    return {
        "recipe": dataclasses.asdict(recipe),
        "done": round(done, 3),
        "updates": updates,
        "frames": updates * recipe.rows * recipe.frames,
        "clips": len(clips),
        "clip_frames": sum(len(clip) for clip in clips),
        "val_mpjpe_mm": val,
        "torch": torch.__version__,
    }
