"""What becomes of PoseRetNet's published positions in a long stream: they are counted from its first frame.

Its xPos multiplies keys by zeta^(-t / 512), queries by the inverse and turns both by angles theta t, with t the number of the
frame. In float32 the angle of frame 10,000 keeps three digits after the point, and after about 36,000 frames the keys' factor
is infinite. Here times are counted from the first frame of a call. Both are compared with ours in float64, by the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from experiment import Row
from posemoe_edge.edge.models.alternating import AlternatingConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.mixer import Mixer
from posemoe_edge.edge.models.modes import StatefulMode
from posemoe_edge.edge.models.retention import XPOS_SPAN, Retention, RetentionConfig, rotate
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.edge.models.topology import build
from torch import Tensor

CHUNK = 100  # frames of a call
SMALL = AlternatingConfig(
    mixer=RetentionConfig(zoh_gain=False), dim=64, heads=8, layers=2, channels=2, norm_eps=1e-6, lookahead=True, bias=False
)


class PublishedMode(StatefulMode):
    """Some frames by the published chunk form, equation (5), at absolute positions.

    Args:
        state: of each use of a mixer, (B, J, H, d, d); None at the beginning of a stream.
        age: number of the first frame.
    """

    def __init__(self, state: list[Tensor] | None, age: int, frames: int) -> None:
        super().__init__(Timing(torch.ones(1, frames)))
        self._state, self._age = state, age

    def mix(self, mixer: Mixer, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        assert isinstance(mixer, Retention)
        q, k, v = (x.unflatten(-1, (mixer.heads, -1)).permute(0, 2, 3, 1, 4) for x in (q, k, v))  # (B, J, H, T, d)
        frames, width = q.shape[-2:]
        place = torch.arange(frames)
        time, pair = (self._age + place).float()[:, None], torch.arange(width // 2)
        angle = time * 10000.0 ** (-2 * pair / width)
        scale = ((2 * pair + 0.4 * width) / (1.4 * width)) ** (time / XPOS_SPAN)  # (T, d / 2)
        q = rotate(q, angle.cos() * scale, angle.sin() * scale)
        k = rotate(k, angle.cos() / scale, angle.sin() / scale)
        decay = mixer.decay[:, :, None, None]  # (J, H, 1, 1)
        y = (q @ k.mT * decay ** (place[:, None] - place).abs()) @ v
        end = (k * decay ** (frames - 1 - place)[:, None]).mT @ v
        if self._state is not None:
            before = self._state[len(self.next_states)]
            y = y + q @ before * decay ** (place + 1)[:, None]
            end = end + before * decay**frames
        self.next_states.append(end)
        return y.permute(0, 3, 1, 2, 4).flatten(-2)


def drift(ages: Sequence[int]) -> list[Row]:
    """The error of a chunk's poses at each age of the stream, in percent of the poses' own size."""
    torch.manual_seed(0)
    model = build(SMALL).eval().requires_grad_(False)
    exact = build(SMALL).double().eval().requires_grad_(False)
    exact.load_state_dict(model.state_dict())
    x = torch.rand(1, CHUNK, SMALL.joints, SMALL.channels)
    published: list[Tensor] | None = None
    ours = reference = None
    rows: list[Row] = []
    with torch.inference_mode():
        for age in range(0, max(ages) + CHUNK, CHUNK):
            mode = PublishedMode(published, age, CHUNK)
            theirs, published = lift(model, x, mode), mode.next_states
            pose, ours = model.chunk(x, ours)
            truth, reference = exact.chunk(x.double(), reference)
            if any(age <= wanted < age + CHUNK for wanted in ages):
                rows.append({"frame": age, "published_percent": error(theirs, truth), "ours_percent": error(pose, truth)})
    return rows


def lift(model: Lifter, x: Tensor, mode: PublishedMode) -> Tensor:
    return model.lift(x, mode)


def error(pose: Tensor, truth: Tensor) -> float | None:
    """Root mean square of the difference, in percent of the poses' own; None where a pose is not finite."""
    size = (pose.double() - truth).square().mean().sqrt() / truth.square().mean().sqrt()
    return float(f"{100 * float(size):.2g}") if bool(size.isfinite()) else None
