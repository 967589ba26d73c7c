"""PoseMoE (arXiv 2512.16494): a 2D pose expert, a depth expert, a router, and a decoder that aggregates across them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ...runtime.errors import UsageError
from .aggregation import CrossExpert, StreamingCrossExpert
from .attention import Attention
from .clock import Clock
from .dssm import DSSM
from .forms import Chunk, Form, Forward, Step
from .layers import FeedForward, JointAttention, Norm, TimeMixing
from .mixer import Mixer
from .precision import wide
from .retention import H36M_DISTANCES, Retention

MixerKind = Literal["attention", "retention", "dssm"]


@dataclass(frozen=True)
class PoseMoEConfig:
    """What decides a PoseMoE's shape.

    Args:
        mixer: the temporal mixer.
        dim, heads, layers, mlp_ratio: C, H, N encoder layers, width of the feed-forward over C.
        window: T of an attention model, whose position embeddings and Gaussian tokens are (T, J, C) as published; None for
            a streaming one, where they are (J, C) and shared over time.
        channels: 2 (x, y) or 3 (x, y, confidence).
        state_size: N of dssm.
        fps: nominal frame rate: dt = 1 / fps is one step of the mixers.
    """

    mixer: MixerKind
    dim: int
    heads: int
    layers: int
    mlp_ratio: int = 2
    window: int | None = None
    channels: int = 3
    joints: int = 17
    state_size: int = 16
    fps: float = 50.0

    def __post_init__(self) -> None:
        if self.mixer not in get_args(MixerKind):
            raise UsageError(f"there is no mixer {self.mixer!r}", expected=f"one of {', '.join(get_args(MixerKind))}")
        if min(self.dim, self.heads, self.layers, self.mlp_ratio, self.fps) <= 0 or self.dim % self.heads:
            raise UsageError(f"a lifter of {self}", expected="positive sizes, and heads that divide the channels")
        if self.mixer == "retention" and self.joints != len(H36M_DISTANCES):
            raise UsageError(
                f"retention over {self.joints} joints", expected=f"the {len(H36M_DISTANCES)} that it has decays for"
            )
        if (self.mixer == "attention") != (self.window is not None):
            raise UsageError(
                f"mixer {self.mixer} with window {self.window}", expected="a window for attention, and for it alone"
            )

    def make_mixer(self) -> Mixer:
        """One mixer of this lifter."""
        if self.mixer == "retention":
            return Retention(self.dim, self.heads)
        if self.mixer == "dssm":
            return DSSM(self.dim, self.joints, self.state_size)
        return Attention(self.heads)


class Pose2DExpert(nn.Module):
    """Refines the features of the detected pose, looking back at it again and again (equations 3 to 6)."""

    def __init__(self, config: PoseMoEConfig) -> None:
        super().__init__()
        dim, heads, ratio = config.dim, config.heads, config.mlp_ratio
        self.joint_self = JointAttention(dim, heads)
        self.joint_cross = JointAttention(dim, heads, cross=True)
        self.time_self = TimeMixing(dim, heads, config.make_mixer())
        self.time_cross = TimeMixing(dim, heads, config.make_mixer(), cross=True)
        self.feed = nn.ModuleList(FeedForward(dim, ratio) for _ in range(4))

    def forward(self, f_2d: Tensor, f_pose: Tensor, form: Form) -> Tensor:
        f_2d = self.feed[0](self.joint_self(f_2d))  # (3)
        f_2d = self.feed[1](self.joint_cross(f_2d, f_pose))  # (4)
        f_2d = self.feed[2](self.time_self(f_2d, form))  # (5)
        return self.feed[3](self.time_cross(f_2d, form, f_pose))  # type: ignore[no-any-return]  # (6)


class DepthExpert(nn.Module):
    """Learns depth from scratch, with learnable Gaussian tokens for what 2D cannot say (equations 7 to 9)."""

    def __init__(self, config: PoseMoEConfig) -> None:
        super().__init__()
        dim, heads, ratio = config.dim, config.heads, config.mlp_ratio
        # Compress(F_D + F_G concatenated) as two linear maps: the tokens' half is then a constant of the graph.
        self.compress = nn.Linear(dim, dim)
        self.compress_tokens = nn.Linear(dim, dim, bias=False)
        self.joint_self = JointAttention(dim, heads)
        self.time_self = TimeMixing(dim, heads, config.make_mixer())
        self.feed = nn.ModuleList(FeedForward(dim, ratio) for _ in range(2))

    def forward(self, f_depth: Tensor, tokens: Tensor, form: Form) -> Tensor:
        f_depth = self.compress(f_depth) + self.compress_tokens(tokens)  # (8)
        f_depth = self.feed[0](self.joint_self(f_depth))  # (9)
        return self.feed[1](self.time_self(f_depth, form))  # type: ignore[no-any-return]


class PoseRouter(nn.Module):
    """Each branch takes its share of both experts, token by token (equations 10 and 11, both from the experts' outputs)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * dim, 4)  # F_FC^2D and F_FC^D, two shares each

    def forward(self, f_2d: Tensor, f_depth: Tensor) -> tuple[Tensor, Tensor]:
        shares = self.gate(torch.cat([f_2d, f_depth], dim=-1)).unflatten(-1, (2, 2))  # (..., J, branch, expert)
        shares = torch.softmax(wide(shares), dim=-1).to(f_2d.dtype)
        mixed = shares[..., :1] * f_2d[..., None, :] + shares[..., 1:] * f_depth[..., None, :]  # (..., J, branch, C)
        return mixed[..., 0, :], mixed[..., 1, :]


class EncoderLayer(nn.Module):
    """One layer of the PoseMoE encoder: both experts, then the router."""

    def __init__(self, config: PoseMoEConfig) -> None:
        super().__init__()
        self.expert_2d = Pose2DExpert(config)
        self.expert_depth = DepthExpert(config)
        self.router = PoseRouter(config.dim)

    def forward(self, f_2d: Tensor, f_depth: Tensor, f_pose: Tensor, tokens: Tensor, form: Form) -> tuple[Tensor, Tensor]:
        return self.router(self.expert_2d(f_2d, f_pose, form), self.expert_depth(f_depth, tokens, form))  # type: ignore[no-any-return]


class PoseMoE(nn.Module):
    """Lifts 2D keypoints to a 3D pose.

    Input (B, T, J, channels), normalised per frame as x / w * 2 - 1, y / w * 2 - h / w, confidence in [0, 1]. Output
    (B, T, J, 3): metres in camera axes (x right, y down, z forward), relative to the root. ``dt`` is seconds since the frame
    before (None: 1 / fps), ``reset`` true where memory is forgotten before the frame.
    """

    def __init__(self, config: PoseMoEConfig) -> None:
        super().__init__()
        self.config = config
        dim, heads, ratio, joints = config.dim, config.heads, config.mlp_ratio, config.joints
        places = (joints, dim) if config.window is None else (config.window, joints, dim)
        self.embed = nn.Linear(config.channels, dim)
        self.embed_pose = nn.Linear(config.channels, dim)  # F_P
        self.position_2d = nn.Parameter(torch.randn(places) * 0.02)
        self.position_depth = nn.Parameter(torch.randn(places) * 0.02)
        self.tokens = nn.Parameter(torch.randn(places))  # F_G ~ N(0, 1) (7)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.ceka_joints = CrossExpert(dim, heads, ratio)
        self.ceka_time = (
            CrossExpert(dim, heads, ratio, over_time=True)
            if config.window is not None
            else StreamingCrossExpert(dim, heads, ratio, config.make_mixer)
        )
        self.head_2d = nn.Sequential(Norm(dim), nn.Linear(dim, 2))
        self.head_depth = nn.Sequential(Norm(dim), nn.Linear(dim, 1))
        # A dry run tells which mixer each memory belongs to: they are numbered in the order of use.
        form = Forward(Clock(torch.ones(1, 1)))
        with torch.no_grad():
            self.lift(torch.zeros(1, 1, joints, config.channels), form)
        self._uses = form.used

    @property
    def state_shape(self) -> tuple[int, ...] | None:
        """(M, ...) of one stream, M memories in the order of use; None for a window model."""
        inner = self._uses[0].state_shape
        return None if inner is None else (len(self._uses), *inner)

    def initial_state(self, batch: int) -> Tensor:
        """(B, M, ...) zeros: nothing seen yet."""
        if self.state_shape is None:
            raise UsageError(f"a {self.config.mixer} lifter has no state", expected="retention or dssm")
        return wide(self.tokens).new_zeros(batch, *self.state_shape)

    def forward(self, x: Tensor, dt: Tensor | None = None, reset: Tensor | None = None, *, chunk_size: int = 1) -> Tensor:
        """(B, T, J, 3) from an empty memory.

        Args:
            dt, reset: (B, T). Attention knows neither: its windows are evenly spaced, of one person.
            chunk_size: T_s, the staircase of NC-RetNet; 1 is causal. Attention sees the whole window whatever it is.
        """
        return self.lift(x, Forward(self._clock(x, dt, reset, chunk_size)))

    def chunk(
        self, x: Tensor, state: Tensor, dt: Tensor | None = None, reset: Tensor | None = None, *, chunk_size: int = 1
    ) -> tuple[Tensor, Tensor]:
        """(B, T, J, 3) and the next state, (B, M, ...), from the state before. dt, reset: (B, T)."""
        form = Chunk(self._clock(x, dt, reset, chunk_size), state)
        return self.lift(x, form), form.packed()

    def step(self, x: Tensor, state: Tensor, dt: Tensor | None = None, reset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, J, 3) and the next state, (B, M, ...), from one frame (B, J, channels). dt, reset: (B,)."""
        dt = None if dt is None else dt[:, None]
        reset = None if reset is None else reset[:, None]
        form = Step(self._clock(x[:, None], dt, reset, 1), state, self._uses)
        return self.lift(x, form), form.packed()

    def lift(self, x: Tensor, form: Form) -> Tensor:
        """The network, whatever the form: (..., J, 3) from (..., J, channels)."""
        x = x.to(self.embed.weight.dtype)
        frames = slice(x.shape[1]) if self.config.window is not None else slice(None)
        tokens = self.tokens[frames]
        features, f_pose = self.embed(x), self.embed_pose(x)  # (..., J, C)
        f_2d, f_depth = features + self.position_2d[frames], features + self.position_depth[frames]
        for layer in self.encoder:
            f_2d, f_depth = layer(f_2d, f_depth, f_pose, tokens, form)
        f_2d, f_depth = self.ceka_joints(f_2d, f_depth, form)
        f_2d, f_depth = self.ceka_time(f_2d, f_depth, form)
        return wide(torch.cat([self.head_2d(f_2d), self.head_depth(f_depth)], dim=-1))

    def _clock(self, x: Tensor, dt: Tensor | None, reset: Tensor | None, chunk_size: int) -> Clock:
        if self.config.window is not None and x.shape[1] > self.config.window:
            raise UsageError(f"{x.shape[1]} frames at once", expected=f"at most the window of {self.config.window}")
        scale = wide(self.embed.weight)  # time is never in half precision
        if dt is None:
            return Clock(scale.new_ones(1, x.shape[1]), reset, chunk_size, uniform=True)
        return Clock.since(dt.to(scale.dtype), reset, fps=self.config.fps, chunk_size=chunk_size)
