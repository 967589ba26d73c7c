"""The cost of a lifter: parameters, multiply-accumulates, state. Counted on meta tensors, without computing anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .config import LifterConfig
from .lifter import Lifter
from .topology import build


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one call, by three conventions.

    Args:
        linear: of the linear layers alone; H2OT's FLOPs are twice this.
        thop: as the thop package counts, whose numbers most papers print: linear layers, and four for each element that goes
            through a layer norm. Products of two activations (in attention) and raw weights are not counted.
        all: every matrix product, also those of attention and of a state.
    """

    linear: int
    thop: int
    all: int


def count_macs(config: LifterConfig, frames: int) -> Macs:
    """Of one call for one person: a step if the lifter streams and ``frames`` is 1, else a forward over ``frames`` frames."""
    return _count(_on_meta(config), frames)


def _on_meta(config: LifterConfig) -> Lifter:
    with torch.device("meta"):
        return build(config).eval().requires_grad_(False)


def _count(model: Lifter, frames: int) -> Macs:
    with torch.device("meta"):
        x = torch.zeros(1, frames, model.config.joints, model.config.channels)
        macs = {"linear": 0, "norm": 0}

        def linear(module: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            macs["linear"] += output.numel() * module.in_features

        def norm(module: nn.LayerNorm, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            macs["norm"] += 4 * output.numel()

        hooks = [module.register_forward_hook(linear) for module in model.modules() if isinstance(module, nn.Linear)]
        hooks += [module.register_forward_hook(norm) for module in model.modules() if isinstance(module, nn.LayerNorm)]
        state_macs = 0
        with FlopCounterMode(display=False) as counter:
            if model.state_shape is not None and frames == 1:
                model.step(x[:, 0], model.initial_state(1))
                state_macs = 2 * math.prod(model.state_shape)  # reading and writing the state: one product each per number
            else:
                model(x)
        for hook in hooks:
            hook.remove()
    return Macs(macs["linear"], macs["linear"] + macs["norm"], int(counter.get_total_flops()) // 2 + state_macs)


def lifter_cost(config: LifterConfig, *, frames: int | None = None) -> dict[str, Any]:
    """Topology, mixer, mode, params, macs, latency and state of a lifter, as ``models --json`` prints them.

    ``macs_per_frame`` is the cost of each new frame of a live stream: a step, or for a window lifter a whole window.

    Args:
        frames: length of the call that ``macs_linear``, ``macs_thop`` and ``macs_all`` count; None is the window, or a step.
    """
    model = _on_meta(config)
    streaming = config.window or 1
    call = _count(model, frames or streaming)
    return {
        "topology": config.topology,
        "mixer": config.mixer_kind,
        "pruning": None if config.pruning is None else f"{config.pruning.by}+{config.pruning.recover}",
        "mode": "window" if config.windowed else "step",
        "params": sum(p.numel() for p in model.parameters()),
        "frames": frames or streaming,
        "macs_linear": call.linear,
        "macs_thop": call.thop,
        "macs_all": call.all,
        "macs_per_frame": call.all if (frames or streaming) == streaming else _count(model, streaming).all,
        "latency_frames": model.latency_frames,
        "state_bytes": 0 if model.state_shape is None else 4 * math.prod(model.state_shape),
    }
