"""Multi-scale retention (NC-RetNet): attention without the softmax, with a memory that decays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...runtime.errors import UsageError
from .mixer import Mixer
from .precision import at_least_fp32
from .timing import Timing, phase

# NC-RetNet's per-joint distance d_j: small for the limbs' ends, which forget fast.
H36M_DISTANCES = (4.0, 4.0, 1.0, 1.0, 4.0, 1.0, 1.0, 4.0, 4.0, 4.0, 2.0, 2.0, 0.5, 0.5, 2.0, 0.5, 0.5)
MPI3DHP_DISTANCES = (1.5, 1.5, 2.0, 1.0, 0.5, 2.0, 1.0, 0.5, 2.0, 1.0, 0.5, 2.0, 1.0, 0.5, 2.0, 2.0, 1.5)
DISTANCES = {"h36m17": H36M_DISTANCES, "3dhp17": MPI3DHP_DISTANCES}

XPOS_SPAN = 512.0  # frames over which xPos scales by zeta


class Retention(Mixer):
    """y_n = sum over m of gamma^|t_n - t_m| (R(t_n) q_n . R(t_m) k_m) g_m v_m, per head and joint.

    R is xPos: pairs of channels turn by theta_i per frame; queries shrink by zeta_i^(1/512) and keys grow by as much, so that
    a product scales with the time between them. The pairs are channel i and i + d/2 (one slice each in a graph), a fixed
    permutation of NC-RetNet's interleaved ones.

    Times are counted from the first frame of a call, never from the start of the stream, and the state's key axis is turned
    on when it is passed on: exact, with nothing that grows. The published absolute positions overflow float32 after some
    36,000 frames; here the number of calls does not matter, and one call may span that long. t is elapsed time in nominal
    frames, not an index: decay and rotation know the true spacing.

    g is 1 and the decays are weights (frozen, as in the published checkpoints), or with ``zoh_gain`` what sets our own lifters
    apart: g_m = (1 - gamma^(dt_m)) / sqrt(d), the zero-order hold of a frame that stands for the time since the one before.
    The sum becomes a mean over the decaying past, so that a second of motion weighs the same at any frame rate and the
    decoder's two passes do not outgrow one. The group norm that follows removes the constant part of it.

    Args:
        dim: channels C.
        heads: H; each has its own decay.
        distances: d_j per joint; gamma = 1 - 16^(-h / (H - 1)) / (8 d_j).
        zoh_gain: weigh each key by the time that its frame stands for.
    """

    kind: ClassVar[str] = "retention"

    def __init__(self, dim: int, heads: int, distances: Sequence[float] = H36M_DISTANCES, *, zoh_gain: bool = True) -> None:
        super().__init__()
        if dim % (2 * heads):
            raise UsageError(f"retention of {dim} channels in {heads} heads", expected="heads of an even number of channels")
        self.heads, self.width, self.joints, self.zoh_gain = heads, dim // heads, len(distances), zoh_gain
        self.geometry = (dim, heads, tuple(distances), zoh_gain)  # mixers of one geometry share what depends on time alone
        self.distances = tuple(distances)
        self.angle: Tensor
        self.log_shrink: Tensor
        self.log_gamma: Tensor
        for name, value in self._constants().items():
            self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)
        if not zoh_gain:
            self.decay = nn.Parameter(1 - one_minus_gamma(heads, distances).float(), requires_grad=False)  # gamma, (J, H)

    def _constants(self) -> dict[str, Tensor]:
        """theta_i and log zeta_i / 512, (d/2,); log gamma, (J, H); in float64."""
        pair = torch.arange(self.width // 2, dtype=torch.float64)
        zeta = (2 * pair + 0.4 * self.width) / (1.4 * self.width)
        return {
            "angle": 10000.0 ** (-2 * pair / self.width),
            "log_shrink": zeta.log() / XPOS_SPAN,
            "log_gamma": torch.log1p(-one_minus_gamma(self.heads, self.distances)),
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Retention:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in self._constants().items():  # made anew in the new precision, not rounded twice
            setattr(self, name, value.to(getattr(self, name)))
        return self

    @property
    def log_decay(self) -> Tensor:
        """log gamma, (J, H)."""
        return self.log_gamma if self.zoh_gain else self.decay.log()

    @property
    def state_shape(self) -> tuple[int, ...]:
        # Key and value axes first: the wide runs over joints and heads are last, where elementwise kernels like them.
        return self.width, self.width, self.joints, self.heads

    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        q, k, v = self._turned(q, k, v, timing)
        return self._join(self._within(q, k, v, timing))

    def chunk(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        q, k, v = self._turned(q, k, v, timing)  # (B, J, H, T, d)
        kept, left = timing.cached(("retention.edges", self.geometry), lambda: self._edges(timing))
        state = self.decay_state([self], state[:, None], timing)[:, 0].permute(
            0, 3, 4, 1, 2
        )  # (B, J, H, d, d) at the first frame
        recalled, decayed = q @ state * kept, state * kept[:, :, :, -1:]
        if timing.reset is not None:  # select, don't multiply: a memory that is forgotten may hold anything, even NaN
            recalled = torch.where((timing.segment == 0)[:, None, None, :, None], recalled, 0.0)
            decayed = torch.where((timing.segment[:, -1] == 0)[:, None, None, None, None], decayed, 0.0)
        y = self._join(self._within(q, k, v, timing) + recalled)
        end = (decayed + (k * left).transpose(-2, -1) @ v).permute(0, 3, 4, 1, 2)  # (B, d, d, J, H), keys at their own times
        cos, sin = self._turn_back(timing.time[:, -1])
        return y, turn(end, cos[:, :, None], -sin[:, :, None], dim=1)

    @classmethod
    def decay_state(cls, mixers: Sequence[Mixer], state: Tensor, timing: Timing) -> Tensor:
        mixer = mixers[0]  # a lifter's mixers have one geometry, and age alike
        assert isinstance(mixer, Retention)
        if timing.reset is not None:
            state = torch.where(timing.reset[:, 0].bool()[:, None, None, None, None, None], 0.0, state)
        elapsed = timing.elapsed[:, 0]
        cos, sin = (part * torch.exp(elapsed[:, None, None, None] * mixer.log_decay) for part in mixer._turn_back(elapsed))
        return turn(state, cos[:, None, :, None], -sin[:, None, :, None], dim=2)  # (B, M, d, d, J, H)

    def update_state(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        q, k, v = (at_least_fp32(x).unflatten(-1, (self.heads, -1)).permute(0, 3, 1, 2) for x in (q, k, v))  # (B, d, J, H)
        gain = timing.cached(("retention.gain", self.geometry), lambda: self._gain(timing.elapsed[:, 0])[:, None])
        state = state + (k * gain)[:, :, None] * v[:, None]  # (B, d, d, J, H)
        y = (q[:, :, None] * state).sum(1)  # (B, d, J, H)
        return y.permute(0, 2, 3, 1).flatten(-2), state

    # What the forms share.

    def _turned(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, J, C) -> (B, J, H, T, d), with xPos on queries and keys."""
        q, k, v = (at_least_fp32(x).unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1, 4) for x in (q, k, v))
        on_queries, on_keys = timing.cached(("retention.xpos", self.geometry), lambda: self._xpos(timing))
        return turn(q, *on_queries), turn(k, *on_keys), v

    @staticmethod
    def _join(y: Tensor) -> Tensor:
        """(B, J, H, T, d) -> (B, T, J, C)"""
        return y.permute(0, 3, 1, 2, 4).flatten(-2)

    def _xpos(self, timing: Timing) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """cos and sin for the queries, which shrink with time, and for the keys, which grow, each (B, 1, 1, T, d/2)."""
        time = timing.time[:, None, None, :, None]
        angle = phase(time, self.angle)
        cos, sin, shrink = angle.cos(), angle.sin(), self._shrink(time)
        return (cos * shrink, sin * shrink), (cos / shrink, sin / shrink)

    def _shrink(self, time: Tensor) -> Tensor:
        """zeta_i^(t / 512). It stays at e^-80 where a call with many long gaps would go on, so that its inverse is finite."""
        return torch.exp((time.to(self.angle.dtype) * self.log_shrink).clamp(min=-80.0))

    def _within(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        """What the frames of one call tell one another, (B, J, H, T, d)."""
        weights = timing.cached(("retention.weights", self.geometry), lambda: self._weights(timing))
        return (q @ k.transpose(-2, -1) * weights) @ v

    def _weights(self, timing: Timing) -> Tensor:
        """gamma^|t_n - t_m| g_m / sqrt(d) where n may see m, (B, J, H, T, T)."""
        apart = (
            (timing.time[:, :, None] - timing.time[:, None, :]).abs().to(self.log_decay.dtype)[:, None, None]
        )  # (B, 1, 1, T, T)
        decay = torch.exp(apart * self.log_decay[..., None, None])
        return torch.where(timing.visible[:, None, None], decay * self._gain(timing.elapsed)[..., None, :], 0.0)

    def _edges(self, timing: Timing) -> tuple[Tensor, Tensor]:
        """What is left of the recalled state at each frame, and of each frame at the end of the call, (B, J, H, T, 1)."""
        log_decay = self.log_decay[..., None]  # (J, H, 1)
        since, until = (time.to(log_decay.dtype)[:, None, None] for time in (timing.time, timing.time[:, -1:] - timing.time))
        kept = torch.exp(since * log_decay)
        left = torch.exp(until * log_decay) * self._gain(timing.elapsed)
        if timing.reset is not None:
            left = torch.where((timing.segment == timing.segment[:, -1:])[:, None, None], left, 0.0)
        return kept[..., None], left[..., None]

    def _gain(self, elapsed: Tensor) -> Tensor:
        """What a key is worth: (B, *) -> (B, J, H, *)"""
        if not self.zoh_gain:
            return elapsed.new_ones((1,) * (elapsed.ndim + 2))
        log_decay = self.log_decay.reshape(self.log_decay.shape + (1,) * (elapsed.ndim - 1))
        return (1 - torch.exp(elapsed[:, None, None] * log_decay)) * self.width**-0.5  # type: ignore[no-any-return]

    def _turn_back(self, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin by which the key axis turns back, so that the last frame is at time 0, (B, d/2, 1, 1). A contraction."""
        elapsed = elapsed[:, None]
        shrink, angle = self._shrink(elapsed), phase(elapsed, self.angle)
        return (angle.cos() * shrink)[..., None, None], (angle.sin() * shrink)[..., None, None]


def one_minus_gamma(heads: int, distances: Sequence[float]) -> Tensor:
    """1 - gamma per joint and head, (J, H) in float64."""
    head = torch.arange(heads, dtype=torch.float64)
    return 16.0 ** (-head / max(heads - 1, 1)) / (8 * torch.tensor(distances, dtype=torch.float64)[:, None])


def turn(x: Tensor, cos: Tensor, sin: Tensor, dim: int = -1) -> Tensor:
    """The pairs (i, i + d/2) of an axis, turned."""
    a, b = x.chunk(2, dim=dim)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=dim)
