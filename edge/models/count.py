"""What a lifter costs: parameters, multiply-accumulates, state."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from .posemoe import PoseMoE


def describe(model: PoseMoE) -> dict[str, Any]:
    """mixer, mode, params, macs_per_frame, latency_frames, state_bytes of a lifter, as ``models --json`` tells them."""
    window = model.config.window
    return {
        "mixer": model.config.mixer,
        "mode": "step" if window is None else "window",
        "params": sum(p.numel() for p in model.parameters()),
        "macs_per_frame": macs_per_frame(model),
        "latency_frames": 0,
        "state_bytes": 0 if model.state_shape is None else 4 * math.prod(model.state_shape),
    }


def macs_per_frame(model: PoseMoE) -> int:
    """Multiply-accumulates of one frame of one stream: all matrix products, attention's and the state's own among them.

    For a window model this is what streaming costs, a whole window for each new frame. Reading and writing a state is two
    products of its size.
    """
    config = model.config
    model = copy.deepcopy(model).requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        if model.state_shape is None:
            model(torch.zeros(1, config.window or 1, config.joints, config.channels))
        else:
            model.step(torch.zeros(1, config.joints, config.channels), model.initial_state(1))
    state = 0 if model.state_shape is None else 2 * math.prod(model.state_shape)
    return int(counter.get_total_flops()) // 2 + state
