"""Causal attention that streams: the keys and values of the last frames are kept in a ring, as language models keep theirs.

The network is ours with its weights; only its mixing over time is another. A frame's query meets the keys of the W - 1 frames
before it and its own. The graph reads the ring where it lies and returns the new row alone, so that no frame copies the ring.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.mixer import Mixer
from posemoe_edge.edge.models.modes import ExecutionMode
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.edge.models.view import look_at
from posemoe_edge.runtime.arrays import F32
from torch import Tensor, nn


class RingMode(ExecutionMode):
    """One frame. Each use of a mixer is attention over the ring and the frame itself; ``rows`` collects its key and value.

    Args:
        ring: (B, M, 2, J, H, W - 1, d) keys and values of the frames before, in any order.
        hidden: (W - 1,) is added to the scores: 0, or minus infinity at places that no frame has filled yet.
    """

    def __init__(self, ring: Tensor, hidden: Tensor) -> None:
        self.timing = Timing(ring.new_ones(1, 1))
        self.rows: list[Tensor] = []  # (B, 2, J, H, d) each
        self._ring, self._hidden = ring, hidden

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self._ring[:, len(self.rows)].unbind(1)  # (B, J, H, W - 1, d)
        heads, width = keys.shape[-3], keys.shape[-1]
        q, k, v = (x.unflatten(-1, (heads, 1, width)) for x in (q, k, v))  # (B, J, H, 1, d)
        q = q * width**-0.5
        scores = torch.cat([q @ keys.mT + self._hidden, (q * k).sum(-1, keepdim=True)], dim=-1)  # (B, J, H, 1, W)
        weights = torch.softmax(scores, dim=-1)
        y = weights[..., :-1] @ values + weights[..., -1:] * v
        self.rows.append(torch.stack([k, v], dim=1).squeeze(-2))
        return y.flatten(-3)


class RingStep(nn.Module):
    """(keypoints, ring, hidden) -> (pose, rows): the next pose (B, J, 3), and (B, M, 2, J, H, d) to be put into the ring."""

    def __init__(self, model: Lifter) -> None:
        super().__init__()
        self.model = model

    def forward(self, keypoints: Tensor, ring: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        mode = RingMode(ring, hidden)
        if self.model.config.view == "image":
            pose = self.model.lift(keypoints, mode)
        else:
            view = look_at(keypoints)
            pose = view.to_camera(self.model.lift(view.keypoints, mode)[..., :3])
        return pose, torch.stack(mode.rows, dim=1)


class Ring:
    """The ring of one stream, in numpy's memory, which PyTorch shares.

    Args:
        model: a lifter that streams; its number of states is the number of uses of a mixer.
        window: W, frames that are seen.
    """

    def __init__(self, model: Lifter, window: int) -> None:
        config = model.config
        assert model.state_shape is not None
        uses, width = model.state_shape[0], config.dim // config.heads
        self.values: F32 = np.zeros((1, uses, 2, config.joints, config.heads, window - 1, width), np.float32)
        self.hidden: F32 = np.full(window - 1, -np.inf, np.float32)
        self._next = 0

    def add(self, rows: F32) -> None:
        """Put the row of a frame in the place of the oldest."""
        self.values[..., self._next, :] = rows
        self.hidden[self._next] = 0
        self._next = (self._next + 1) % len(self.hidden)


def trace_ring(model: Lifter, window: int, path: Path) -> None:
    """Write the ONNX graph of ``RingStep``."""
    ring, config = Ring(model, window), model.config
    example = (torch.zeros(1, config.joints, config.channels), torch.from_numpy(ring.values), torch.zeros(window - 1))
    program = torch.onnx.export(
        RingStep(model).eval(),
        example,
        dynamo=True,
        opset_version=20,
        input_names=["keypoints", "ring", "hidden"],
        output_names=["pose", "rows"],
        external_data=False,
        verbose=False,
    )
    assert program is not None
    program.save(path)
