"""What a lifter costs: parameters, multiply-accumulates, state. Counted on meta tensors: nothing is computed."""

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
    """Multiply-accumulates of one call, by the conventions in use.

    Args:
        linear: of the linear layers alone; twice this is what H2OT calls FLOPs.
        thop: as the thop package counts, whose numbers most papers print: linear layers, and four for each number that goes
            through a layer norm. Products of activations (attention's own) and raw weights are not in it.
        all: every matrix product, attention's and a state's own among them.
    """

    linear: int
    thop: int
    all: int


def count_macs(config: LifterConfig, frames: int) -> Macs:
    """Of ``frames`` frames of one person in one call: a step where a lifter streams and frames is 1, else a forward."""
    return _counted(_weightless(config), frames)


def _weightless(config: LifterConfig) -> Lifter:
    with torch.device("meta"):
        return build(config).eval().requires_grad_(False)


def _counted(model: Lifter, frames: int) -> Macs:
    with torch.device("meta"):
        x = torch.zeros(1, frames, model.config.joints, model.config.channels)
        counted = {"linear": 0, "norm": 0}

        def linear(module: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            counted["linear"] += output.numel() * module.in_features

        def norm(module: nn.LayerNorm, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            counted["norm"] += 4 * output.numel()

        hooks = [module.register_forward_hook(linear) for module in model.modules() if isinstance(module, nn.Linear)]
        hooks += [module.register_forward_hook(norm) for module in model.modules() if isinstance(module, nn.LayerNorm)]
        state = 0
        with FlopCounterMode(display=False) as counter:
            if model.state_shape is not None and frames == 1:
                model.step(x[:, 0], model.initial_state(1))
                state = 2 * math.prod(model.state_shape)  # reading and writing it are two products of its size
            else:
                model(x)
        for hook in hooks:
            hook.remove()
    return Macs(counted["linear"], counted["linear"] + counted["norm"], int(counter.get_total_flops()) // 2 + state)


def lifter_cost(config: LifterConfig, *, frames: int | None = None) -> dict[str, Any]:
    """topology, mixer, mode, params, macs, latency and state of a lifter, as ``models --json`` tells them.

    ``macs_per_frame`` is what each new frame of a live stream costs: a step, or for a window lifter a whole window.

    Args:
        frames: of the call that ``macs_linear``, ``macs_thop`` and ``macs_all`` are of; None is the window, or a step.
    """
    model = _weightless(config)
    streaming = config.window or 1
    call = _counted(model, frames or streaming)
    return {
        "topology": config.topology,
        "mixer": config.mixer,
        "pruning": None if config.pruning is None else f"{config.pruning.by}+{config.pruning.recover}",
        "mode": "window" if config.windowed else "step",
        "params": sum(p.numel() for p in model.parameters()),
        "frames": frames or streaming,
        "macs_linear": call.linear,
        "macs_thop": call.thop,
        "macs_all": call.all,
        "macs_per_frame": call.all if (frames or streaming) == streaming else _counted(model, streaming).all,
        "latency_frames": model.latency_frames,
        "state_bytes": 0 if model.state_shape is None else 4 * math.prod(model.state_shape),
    }
