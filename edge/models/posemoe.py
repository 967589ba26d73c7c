"""PoseMoE (arXiv 2512.16494), the moe topology: a 2D pose expert, a depth expert, a router, and a decoder that aggregates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ...runtime.errors import UsageError
from .aggregation import CekaFeedForward, CekaVariant, CrossExpert, StreamingCrossExpert
from .config import LifterConfig
from .layers import EndpointLinear, FeedForward, JointAttention, Norm, TimeMixing
from .lifter import Lifter
from .modes import ExecutionMode
from .precision import at_least_fp32
from .router import PoseRouter
from .sigma_head import SigmaHead
from .stem import PoseStem
from .validation import check_whole_numbers

Part = Literal[
    "joint_self_2d", "joint_cross_2d", "time_self_2d", "time_cross_2d", "tokens", "joint_self_depth", "time_self_depth",
    "router", "ceka_joints_cross", "ceka_joints_expert", "ceka_time_cross", "ceka_time_expert", "stem_time",
]  # fmt: skip

ABLATIONS: dict[str, tuple[Part, ...]] = {
    "VI w/o 2D expert": ("joint_cross_2d", "time_cross_2d"),
    "VI w/o depth expert": ("tokens",),
    "VI w/o router": ("router",),
    "VI w/o SpatialCEKA": ("ceka_joints_cross", "ceka_joints_expert"),
    "VI w/o TemporalCEKA": ("ceka_time_cross", "ceka_time_expert"),
    "VI encoder alone": ("ceka_joints_cross", "ceka_joints_expert", "ceka_time_cross", "ceka_time_expert"),
    "VI decoder alone": ("joint_cross_2d", "time_cross_2d", "tokens", "router"),
    "VII w/o SpatialMHSA": ("joint_self_2d",),
    "VII w/o TemporalMHSA": ("time_self_2d",),
    "VII w/o SpatialMHCA": ("joint_cross_2d",),
    "VII w/o TemporalMHCA": ("time_cross_2d",),
    "VIII w/o Gaussian token": ("tokens",),
    "VIII w/o SpatialMHSA": ("joint_self_depth",),
    "VIII w/o TemporalMHSA": ("time_self_depth",),
    "X SpatialCEKA w/o cross attention": ("ceka_joints_cross",),
    "X SpatialCEKA w/o cross expert attention": ("ceka_joints_expert",),
    "X TemporalCEKA w/o cross attention": ("ceka_time_cross",),
    "X TemporalCEKA w/o cross expert attention": ("ceka_time_expert",),
}
"""The rows of the paper's tables as values of ``without``. An expert that is left out keeps self-attention over joints and
time, so that the network without experts, router and decoder is the tables' baseline of two plain branches. Table IX varies
``tokens``."""


@dataclass(frozen=True, kw_only=True)
class PoseMoEConfig(LifterConfig):
    """A PoseMoE. The defaults follow the paper and, where it gives no detail, our reading; docs/papers/posemoe.md lists both.

    Args:
        feed: a feed-forward after each attention of the experts, after each pair over joints and over time, or none.
        compress: (8) as one linear map, or with a hidden layer.
        tokens: initialisation of F_G.
        tokens_of, pose_of: one F_G, and one linear map to F_P, for the model or for each layer.
        positions: embeddings of each frame and joint ("full": (T, J, C)), of joints alone, or of both added up. A streaming
            lifter has embeddings of joints alone, and an F_G of (J, C).
        norm_pose: F_P is normed before it is projected to keys and values.
        router: (11) reads the inputs of (10) ("together"), or the output of (10) ("in_turn").
        ceka: the reading of (17) and (18), see ``aggregation``.
        ceka_feed: feed-forwards of the decoder.
        decoder: the axis that it aggregates over first.
        head: one linear map, or with a hidden layer.
        stem: width of a residual MLP over all joints of a frame, with the mixer over time between its blocks. It gives each
            joint's features a start that knows the whole pose, and a first guess of the pose that the experts then correct.
            None leaves it out, as published.
        gate: (11) weighs the features as they are ("raw", as published), or normed features by bounded weights ("bounded"), so
            that no weight can become 0: see ``PoseRouter``.
        without: parts to leave out; ``ABLATIONS`` names those of the paper's tables.
    """

    topology: Literal["moe"] = "moe"
    feed: Literal["each", "pair", "none"] = "each"
    compress: Literal["linear", "mlp"] = "linear"
    tokens: Literal["gaussian", "zero", "laplace"] = "gaussian"
    tokens_of: Literal["model", "layer"] = "model"
    pose_of: Literal["model", "layer"] = "model"
    positions: Literal["full", "joint", "joint_time"] = "full"
    norm_pose: bool = True
    router: Literal["together", "in_turn"] = "together"
    ceka: CekaVariant = "paper"
    ceka_feed: CekaFeedForward = "each"
    decoder: Literal["joints_first", "time_first"] = "joints_first"
    head: Literal["linear", "mlp"] = "linear"
    stem: int | None = None
    gate: Literal["raw", "bounded"] = "raw"
    without: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole_numbers(self, "lifter", "stem")
        unknown = set(self.without) - set(get_args(Part))
        if unknown:
            raise UsageError(f"a PoseMoE without {sorted(unknown)}", expected=f"parts of {', '.join(get_args(Part))}")

    def has(self, part: Part) -> bool:
        """Whether the network has a part. Without a mixer it has none over time."""
        return part not in self.without and not (self.mixer is None and "time" in part)


class Skip(nn.Module):
    """Takes the place of a block that is left out: returns its first input."""

    def forward(self, x: Tensor, *others: object) -> Tensor:
        return x


class Expert(nn.Module):
    """Base of both experts: builds attention over joints or time, with feed-forwards, or ``Skip`` for a part left out."""

    def __init__(self, config: PoseMoEConfig) -> None:
        super().__init__()
        self.config = config

    def joint_block(self, part: Part, *, cross: bool = False) -> nn.Module:
        c = self.config
        if not c.has(part):
            return Skip()
        return JointAttention(c.dim, c.heads, cross=cross, norm_context=c.norm_pose, eps=c.norm_eps)

    def time_block(self, part: Part, *, cross: bool = False) -> nn.Module:
        c = self.config
        if not c.has(part):
            return Skip()
        mixer = c.build_mixer()
        return TimeMixing(c.dim, c.heads, mixer, cross=cross, norm_context=c.norm_pose, eps=c.norm_eps)

    def feed_forwards(self, *pairs: tuple[Part, ...]) -> nn.ModuleList:
        """One module for each part of each pair: a feed-forward or an identity, as ``config.feed`` says."""
        c, modules = self.config, []
        for pair in pairs:
            for index, part in enumerate(pair):
                after_pair = index == len(pair) - 1 and any(c.has(other) for other in pair)
                present = {"each": c.has(part), "pair": after_pair, "none": False}[c.feed]
                modules.append(FeedForward(c.dim, c.mlp_ratio, eps=c.norm_eps) if present else nn.Identity())
        return nn.ModuleList(modules)


class Pose2DExpert(Expert):
    """Refines the features of the detected pose, with cross-attention to that pose in every layer (equations 3 to 6)."""

    def __init__(self, config: PoseMoEConfig) -> None:
        super().__init__(config)
        self.joint_self = self.joint_block("joint_self_2d")
        self.joint_cross = self.joint_block("joint_cross_2d", cross=True)
        self.time_self = self.time_block("time_self_2d")
        self.time_cross = self.time_block("time_cross_2d", cross=True)
        self.feed = self.feed_forwards(("joint_self_2d", "joint_cross_2d"), ("time_self_2d", "time_cross_2d"))

    def forward(self, f_2d: Tensor, f_pose: Tensor, mode: ExecutionMode) -> Tensor:
        f_2d = self.feed[0](self.joint_self(f_2d))  # (3)
        f_2d = self.feed[1](self.joint_cross(f_2d, f_pose))  # (4)
        f_2d = self.feed[2](self.time_self(f_2d, mode))  # (5)
        return self.feed[3](self.time_cross(f_2d, mode, f_pose))  # type: ignore[no-any-return]  # (6)


class DepthExpert(Expert):
    """Learns depth from scratch, with learnable Gaussian tokens for what 2D does not determine (equations 7 to 9)."""

    def __init__(self, config: PoseMoEConfig) -> None:
        super().__init__(config)
        dim = config.dim
        if config.has("tokens"):
            # Compress(F_D + F_G concatenated) as two linear maps: the tokens' half is then a constant of the graph.
            self.compress = nn.Linear(dim, dim)
            self.compress_tokens = nn.Linear(dim, dim, bias=False)
            self.compress_out = nn.Sequential(nn.GELU(), nn.Linear(dim, dim)) if config.compress == "mlp" else nn.Identity()
        self.joint_self = self.joint_block("joint_self_depth")
        self.time_self = self.time_block("time_self_depth")
        self.feed = self.feed_forwards(("joint_self_depth",), ("time_self_depth",))

    def forward(self, f_depth: Tensor, tokens: Tensor | None, mode: ExecutionMode) -> Tensor:
        if tokens is not None:
            f_depth = self.compress_out(self.compress(f_depth) + self.compress_tokens(tokens))  # (8)
        f_depth = self.feed[0](self.joint_self(f_depth))  # (9)
        return self.feed[1](self.time_self(f_depth, mode))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """One layer of the PoseMoE encoder: both experts, then the router."""

    def __init__(self, config: PoseMoEConfig) -> None:
        super().__init__()
        self.expert_2d = Pose2DExpert(config)
        self.expert_depth = DepthExpert(config)
        router = PoseRouter(config.dim, config.router, config.gate, eps=config.norm_eps)
        self.router = router if config.has("router") else None

    def forward(
        self, f_2d: Tensor, f_depth: Tensor, f_pose: Tensor, tokens: Tensor | None, mode: ExecutionMode
    ) -> tuple[Tensor, Tensor]:
        f_2d, f_depth = self.expert_2d(f_2d, f_pose, mode), self.expert_depth(f_depth, tokens, mode)
        return (f_2d, f_depth) if self.router is None else self.router(f_2d, f_depth)


class PoseMoE(Lifter):
    """N encoder layers, then the decoder: cross-expert aggregation over joints and over time, and a head for each branch."""

    config: PoseMoEConfig

    def __init__(self, config: PoseMoEConfig) -> None:
        super().__init__(config)
        dim, joints, window = config.dim, config.joints, config.window
        token_shape = (joints, dim) if window is None else (window, joints, dim)
        layers = config.layers
        self.embed_pose = EndpointLinear(config.input_channels, dim * (layers if config.pose_of == "layer" else 1))  # F_P
        position_shape = token_shape if config.positions == "full" else (joints, dim)
        self.position_2d = nn.Parameter(torch.randn(position_shape) * 0.02)
        self.position_depth = nn.Parameter(torch.randn(position_shape) * 0.02)
        if config.positions == "joint_time" and window is not None:
            self.position_time_2d = nn.Parameter(torch.randn(window, 1, dim) * 0.02)
            self.position_time_depth = nn.Parameter(torch.randn(window, 1, dim) * 0.02)
        if config.has("tokens"):
            shape = (layers, *token_shape) if config.tokens_of == "layer" else token_shape
            self.tokens = nn.Parameter(_initial_tokens(config.tokens, shape))  # F_G (7)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(layers))
        self.ceka_joints, self.ceka_time = self._decoder(over_time=False), self._decoder(over_time=True)
        self.head_2d, self.head_depth = _head(config, 2), _head(config, 1)
        self.stem = PoseStem(config, config.stem, over_time=config.has("stem_time")) if config.stem is not None else None
        self.sigma = SigmaHead(dim, config.joints, eps=config.norm_eps) if config.sigma else None
        self.number_states()

    def _decoder(self, *, over_time: bool) -> nn.Module:
        c = self.config
        parts: tuple[Part, Part] = (
            ("ceka_time_cross", "ceka_time_expert") if over_time else ("ceka_joints_cross", "ceka_joints_expert")
        )
        cross, expert = map(c.has, parts)
        if over_time and c.window is None:
            return StreamingCrossExpert(
                c.dim, c.heads, c.mlp_ratio, c.build_mixer, cross=cross, expert=expert, feed=c.ceka_feed, eps=c.norm_eps
            )
        return CrossExpert(
            c.dim, c.heads, c.mlp_ratio, over_time=over_time, variant=c.ceka, cross=cross, expert=expert, feed=c.ceka_feed,
            eps=c.norm_eps,
        )  # fmt: skip

    def scale_sigma(self, factors: Tensor) -> None:
        if self.sigma is None:
            return super().scale_sigma(factors)
        with torch.no_grad():
            self.sigma.log_scale.add_(factors.log()[:, None])

    def lift(self, x: Tensor, mode: ExecutionMode) -> Tensor:
        x = x.to(self.embed.weight.dtype)
        frames = x.shape[-3]
        features = self.embed(x)  # (..., J, C)
        guess: Tensor | None = None
        if self.stem is not None:
            whole, guess = self.stem(x, mode)
            features = features + whole
        f_2d, f_depth = features + self._position("2d", frames), features + self._position("depth", frames)
        poses = list(self.embed_pose(x).split(self.config.dim, dim=-1))  # one F_P, or one per layer
        tokens = self._tokens(frames)  # no F_G, one, or one per layer
        for index, layer in enumerate(self.encoder):
            f_2d, f_depth, *others = mode.before_layer(index, f_2d, f_depth, *poses, *tokens)
            poses, tokens = others[: len(poses)], others[len(poses) :]
            f_pose = poses[index % len(poses)]
            f_2d, f_depth = layer(f_2d, f_depth, f_pose, tokens[index % len(tokens)] if tokens else None, mode)
        decoder = (self.ceka_joints, self.ceka_time)
        for ceka in decoder if self.config.decoder == "joints_first" else decoder[::-1]:
            f_2d, f_depth = ceka(f_2d, f_depth, mode)
        f_2d, f_depth = mode.before_head(f_2d), mode.before_head(f_depth)
        pose = at_least_fp32(torch.cat([self.head_2d(f_2d), self.head_depth(f_depth)], dim=-1))
        if guess is not None:
            pose = pose + guess
        if self.sigma is not None:
            pose = torch.cat([pose, self.sigma(f_2d, f_depth)], dim=-1)
        return mode.after_head(pose)

    def _position(self, branch: str, frames: int) -> Tensor:
        """The position embedding of a branch, (T, J, C) or (J, C)."""
        position: Tensor = getattr(self, f"position_{branch}")
        if self.config.window is None or self.config.positions == "joint":
            return position
        if self.config.positions == "full":
            return position[:frames]
        time: Tensor = getattr(self, f"position_time_{branch}")
        return position + time[:frames]

    def _tokens(self, frames: int) -> list[Tensor]:
        """F_G of the model or of each layer, (T, J, C) or (J, C) each."""
        if not self.config.has("tokens"):
            return []
        sets = self.tokens.unbind(0) if self.config.tokens_of == "layer" else (self.tokens,)
        return [tokens if self.config.window is None else tokens[:frames] for tokens in sets]


def _initial_tokens(kind: str, shape: tuple[int, ...]) -> Tensor:
    """Initialisation of F_G (7), and of its two alternatives in Table IX. Gaussian and Laplace have unit variance."""
    if kind == "gaussian":
        return torch.randn(shape)
    if kind == "zero":
        return torch.zeros(shape)
    sign, size = torch.rand(shape) - 0.5, torch.rand(shape).clamp(min=1e-12)
    return sign.sign() * -size.log() / 2**0.5


def _head(config: PoseMoEConfig, numbers: int) -> nn.Sequential:
    """The regression head of a branch."""
    dim = config.dim
    hidden = [nn.Linear(dim, dim), nn.GELU()] if config.head == "mlp" else []
    return nn.Sequential(Norm(dim, config.norm_eps), *hidden, EndpointLinear(dim, numbers))
