"""Multi-scale retention (NC-RetNet): attention without the softmax, with a state that decays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ...runtime.errors import UsageError
from .mixer import Mixer, MixerConfig
from .precision import at_least_fp32
from .timing import Timing, phase
from .validation import check_literals

# NC-RetNet's per-joint distance d_j: small for the ends of the limbs, whose state decays fast.
H36M_DISTANCES = (4.0, 4.0, 1.0, 1.0, 4.0, 1.0, 1.0, 4.0, 4.0, 4.0, 2.0, 2.0, 0.5, 0.5, 2.0, 0.5, 0.5)
MPI3DHP_DISTANCES = (1.5, 1.5, 2.0, 1.0, 0.5, 2.0, 1.0, 0.5, 2.0, 1.0, 0.5, 2.0, 1.0, 0.5, 2.0, 2.0, 1.5)
BONE_DISTANCES = (2.0,) * 17  # a body keeps its lengths: the slowest head of every bone remembers 256 frames
DISTANCES = {"h36m17": H36M_DISTANCES, "3dhp17": MPI3DHP_DISTANCES, "bones": BONE_DISTANCES}

XPOS_SPAN = 512.0  # frames over which xPos scales by zeta
WIDEST_MATRIX = 16
"""Channels of a head up to which one product turns a state, at a cost that grows with their square. Others turn by pairs."""
PIECE = 64  # frames of a piece of a long call; docs/results/performance.md has the measurement
LONGEST_WHOLE = 128  # frames of a call that is computed whole: its pairs cost less than passing a state from piece to piece


class Retention(Mixer):
    """y_n = sum over m of gamma^|t_n - t_m| (R(t_n) q_n . R(t_m) k_m) g_m v_m, per head and joint.

    R is xPos: pairs of channels rotate by theta_i per frame; queries shrink by zeta_i^(1/512) and keys grow by as much, so
    that a product scales with the time between them. The pairs are channel i and i + d/2 (one slice each in a graph), a fixed
    permutation of NC-RetNet's interleaved ones.

    Times are counted from the first frame of a call, never from the start of the stream, and the state's key axis is rotated
    as the state is passed on: exact, with nothing that grows. The published absolute positions overflow float32 after some
    36,000 frames; here the number of calls does not matter, and one call may span that long. t is elapsed time in nominal
    frames, not an index: decay and rotation follow the true spacing.

    As published, g is 1 and the decays are weights (frozen, as in the published checkpoints). With ``zoh_gain``, as in our own
    lifters, g_m = (1 - gamma^(dt_m)) / sqrt(d): the zero-order hold of a frame that stands for the time since the one before.
    The sum becomes a mean over the decaying past, so that a second of motion weighs the same at any frame rate and the
    decoder's two passes do not outgrow one. The group norm that follows removes the constant part of it.

    Args:
        dim: channels C.
        heads: H; each has its own decay.
        distances: d_j per joint; gamma = 1 - 16^(-h / (H - 1)) / (8 d_j).
        zoh_gain: weigh each key by the time that its frame stands for.
    """

    kind: ClassVar[str] = "retention"
    state_axes: ClassVar[tuple[str, ...]] = ("key", "value", "joint", "head")

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
        self.quarter_turns: Tensor
        for name, value in self._constants().items():
            self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)
        if not zoh_gain:
            self.decay = nn.Parameter(1 - one_minus_gamma(heads, distances).float(), requires_grad=False)  # gamma, (J, H)

    def _constants(self) -> dict[str, Tensor]:
        """In float64: theta_i and log zeta_i / 512, (d/2,); pairs turned by 0 and -90 degrees, (2, d, d); log gamma, (J, H)."""
        pair = torch.arange(self.width // 2, dtype=torch.float64)
        half, same = self.width // 2, torch.eye(self.width, dtype=torch.float64)
        zeta = (2 * pair + 0.4 * self.width) / (1.4 * self.width)
        return {
            "angle": 10000.0 ** (-2 * pair / self.width),
            "log_shrink": zeta.log() / XPOS_SPAN,
            "quarter_turns": torch.stack([same, torch.cat([same[half:], -same[:half]])]),
            "log_gamma": torch.log1p(-one_minus_gamma(self.heads, self.distances)),
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Retention:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in self._constants().items():  # computed anew in the new precision, not rounded twice
            setattr(self, name, value.to(getattr(self, name)))
        return self

    @property
    def log_decay(self) -> Tensor:
        """log gamma, (J, H)."""
        return self.log_gamma if self.zoh_gain else self.decay.log()

    @property
    def state_shape(self) -> tuple[int, ...]:
        # Key and value axes first: the long runs over joints and heads are last, which elementwise kernels prefer.
        return self.width, self.width, self.joints, self.heads

    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        if self._piece_size(timing) is not None:
            return self.chunk(q, k, v, at_least_fp32(v).new_zeros(v.shape[0], *self.state_shape), timing)[0]
        q, k, v = self._with_xpos(q, k, v, timing)
        return self._merge_heads(self._within_call(q, k, v, timing))

    def chunk(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        size = self._piece_size(timing)
        if size is None:
            return self._chunk_whole(q, k, v, state, timing)
        outputs = []
        for frames, piece in timing.cached(("pieces", size), lambda: timing.split(size)):
            y, state = self._chunk_whole(q[:, frames], k[:, frames], v[:, frames], state, piece)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state

    def _piece_size(self, timing: Timing) -> int | None:
        """The frames of the pieces in which a long call is computed, linear in T; None for a call that is computed whole.

        A piece holds whole chunks of the staircase. An exported graph has one length, and is computed whole.
        """
        size = -(-PIECE // timing.chunk_size) * timing.chunk_size
        frames = timing.elapsed.shape[-1]
        return None if frames <= max(LONGEST_WHOLE, size) or torch.compiler.is_exporting() else size

    def _chunk_whole(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        """As ``chunk``, by one weight for each pair of frames."""
        q, k, v = self._with_xpos(q, k, v, timing)  # (B, J, H, T, d)
        since_start, until_end = timing.cached(("retention.edges", self.geometry), lambda: self._edge_decays(timing))
        # (B, J, H, d, d) at the first frame
        state = self.decay_state([self], state[:, None], timing)[:, 0].permute(0, 3, 4, 1, 2)
        from_state, decayed = q @ state * since_start, state * since_start[:, :, :, -1:]
        if timing.reset is not None:  # select, do not multiply: a state that is reset may hold anything, even NaN
            from_state = torch.where((timing.segment == 0)[:, None, None, :, None], from_state, 0.0)
            decayed = torch.where((timing.segment[:, -1] == 0)[:, None, None, None, None], decayed, 0.0)
        y = self._merge_heads(self._within_call(q, k, v, timing) + from_state)
        # (B, d, d, J, H), keys at their own times
        end = (decayed + (k * until_end).transpose(-2, -1) @ v).permute(0, 3, 4, 1, 2)
        return y, self._shift_origin(end, timing.time[:, -1])

    @classmethod
    def decay_state(cls, mixers: Sequence[Mixer], state: Tensor, timing: Timing) -> Tensor:
        mixer = mixers[0]  # the mixers of a lifter have one geometry, and so one decay
        assert isinstance(mixer, Retention)
        if timing.reset is not None:
            state = torch.where(timing.reset[:, 0].bool()[:, None, None, None, None, None], 0.0, state)
        elapsed = timing.elapsed[:, 0]
        decay = torch.exp(elapsed[:, None, None] * mixer.log_decay)  # (B, J, H)
        return mixer._shift_origin(state, elapsed, decay)  # (B, M, d, d, J, H)

    def update_state(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor, timing: Timing) -> tuple[Tensor, Tensor]:
        # (B, d, 1, J, H) along the state's keys, and (B, 1, d, J, H) along its values
        q, k = (at_least_fp32(x).unflatten(-1, (self.heads, -1, 1)).permute(0, 3, 4, 1, 2) for x in (q, k))
        v = at_least_fp32(v).unflatten(-1, (self.heads, 1, -1)).permute(0, 3, 4, 1, 2)
        gain = timing.cached(("retention.gain", self.geometry), lambda: self._key_gain(timing.elapsed[:, 0])[:, None, None])
        state = state + (k * gain) * v  # (B, d, d, J, H)
        y = (q * state).sum(1)  # (B, d, J, H)
        return y.permute(0, 2, 3, 1).flatten(-2), state

    # Shared by the forms.

    def _with_xpos(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, J, C) -> (B, J, H, T, d), with xPos on queries and keys."""
        q, k, v = (at_least_fp32(x).unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1, 4) for x in (q, k, v))
        for_queries, for_keys = timing.cached(("retention.xpos", self.geometry), lambda: self._xpos(timing))
        return rotate(q, *for_queries), rotate(k, *for_keys), v

    @staticmethod
    def _merge_heads(y: Tensor) -> Tensor:
        """(B, J, H, T, d) -> (B, T, J, C)"""
        return y.permute(0, 3, 1, 2, 4).flatten(-2)

    def _xpos(self, timing: Timing) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """cos and sin for the queries, which shrink with time, and for the keys, which grow, each (B, 1, 1, T, d/2)."""
        time = timing.time[:, None, None, :, None]
        angle = phase(time, self.angle)
        cos, sin, shrink = angle.cos(), angle.sin(), self._shrink(time)
        return (cos * shrink, sin * shrink), (cos / shrink, sin / shrink)

    def _shrink(self, time: Tensor) -> Tensor:
        """zeta_i^(t / 512), at least e^-80: a call with many long gaps would go below, and its inverse must be finite."""
        return torch.exp((time.to(self.angle.dtype) * self.log_shrink).clamp(min=-80.0))

    def _within_call(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        """The part of the output that comes from the frames of this call, (B, J, H, T, d)."""
        weights = timing.cached(("retention.weights", self.geometry), lambda: self._weights(timing))
        return (q @ k.transpose(-2, -1) * weights) @ v

    def _weights(self, timing: Timing) -> Tensor:
        """gamma^|t_n - t_m| g_m where n may see m, else 0, (B, J, H, T, T)."""
        distance = (timing.time[:, :, None] - timing.time[:, None, :]).abs()  # (B, T, T)
        distance = distance.to(self.log_decay.dtype)[:, None, None]  # (B, 1, 1, T, T)
        decay = torch.exp(distance * self.log_decay[..., None, None])
        return torch.where(timing.visible[:, None, None], decay * self._key_gain(timing.elapsed)[..., None, :], 0.0)

    def _edge_decays(self, timing: Timing) -> tuple[Tensor, Tensor]:
        """Decay of the carried state up to each frame, and of each frame up to the end of the call, (B, J, H, T, 1)."""
        log_decay = self.log_decay[..., None]  # (J, H, 1)
        since, until = (time.to(log_decay.dtype)[:, None, None] for time in (timing.time, timing.time[:, -1:] - timing.time))
        since_start = torch.exp(since * log_decay)
        until_end = torch.exp(until * log_decay) * self._key_gain(timing.elapsed)
        if timing.reset is not None:
            until_end = torch.where((timing.segment == timing.segment[:, -1:])[:, None, None], until_end, 0.0)
        return since_start[..., None], until_end[..., None]

    def _key_gain(self, elapsed: Tensor) -> Tensor:
        """g, the weight of a key by its frame's duration: (B, *) -> (B, J, H, *)"""
        if not self.zoh_gain:
            return elapsed.new_ones((1,) * (elapsed.ndim + 2))
        log_decay = self.log_decay.reshape(self.log_decay.shape + (1,) * (elapsed.ndim - 1))
        return (1 - torch.exp(elapsed[:, None, None] * log_decay)) * self.width**-0.5  # type: ignore[no-any-return]

    def _shift_origin(self, state: Tensor, elapsed: Tensor, scale: Tensor | None = None) -> Tensor:
        """States (B, ..., d, d, J, H) with the axis of keys turned back, so that the last frame is at time 0. A contraction.

        Args:
            elapsed: (B,) frames from the time that was 0 to the last frame.
            scale: (B, J, H) the state's decay; None is 1.
        """
        shrink, angle = self._shrink(elapsed[:, None]), phase(elapsed[:, None], self.angle)
        cos, sin = angle.cos() * shrink, angle.sin() * shrink  # (B, d/2)
        before_keys = (-1, *(1,) * (state.ndim - 5))
        if self.width > WIDEST_MATRIX:
            cos, sin = (part.unflatten(0, before_keys)[..., None, None, None] for part in (cos, sin))
            if scale is not None:
                cos, sin = (part * scale.unflatten(0, before_keys)[..., None, None, :, :] for part in (cos, sin))
            return rotate(state, cos, -sin, dim=-4)
        cos, sin = (part.repeat(1, 2)[..., None] for part in (cos, sin))
        back = (cos * self.quarter_turns[0] + sin * self.quarter_turns[1]).unflatten(0, before_keys)  # (B, ..., d, d)
        state = (back @ state.flatten(-3)).unflatten(-1, state.shape[-3:])
        return state if scale is None else state * scale.unflatten(0, before_keys)[..., None, None, :, :]


def one_minus_gamma(heads: int, distances: Sequence[float]) -> Tensor:
    """1 - gamma per joint and head, (J, H) in float64."""
    head = torch.arange(heads, dtype=torch.float64)
    return 16.0 ** (-head / max(heads - 1, 1)) / (8 * torch.tensor(distances, dtype=torch.float64)[:, None])


def rotate(x: Tensor, cos: Tensor, sin: Tensor, dim: int = -1) -> Tensor:
    """The pairs (i, i + d/2) of an axis, rotated."""
    a, b = x.chunk(2, dim=dim)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=dim)


@dataclass(frozen=True, kw_only=True)
class RetentionConfig(MixerConfig):
    """Retention over time.

    Args:
        zoh_gain: keys are weighted by the time that their frames stand for (False: by 1, as published).
        distances: the table of d_j: a name in ``DISTANCES``, or "uniform" for 1 at every joint.
    """

    kind: Literal["retention"] = "retention"
    zoh_gain: bool = True
    distances: str = "h36m17"

    def __post_init__(self) -> None:
        check_literals(self)
        if self.distances not in (*DISTANCES, "uniform"):
            raise UsageError(f"there are no distances {self.distances!r}", expected=f"uniform, {', '.join(DISTANCES)}")

    def distance_of_joint(self, joints: int) -> tuple[float, ...]:
        """d_j of each joint."""
        return (1.0,) * joints if self.distances == "uniform" else DISTANCES[self.distances]

    def check_lifter(self, *, joints: int) -> None:
        supported = len(self.distance_of_joint(joints))
        if supported != joints:
            raise UsageError(f"retention over {joints} joints", expected=f"{supported} joints, one decay for each")

    def build(self, *, dim: int, heads: int, joints: int) -> Retention:
        return Retention(dim, heads, self.distance_of_joint(joints), zoh_gain=self.zoh_gain)
