"""Refinement of a pose over time: the guess of a pose from one frame, corrected by what was guessed before."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...runtime.errors import UsageError
from ...runtime.pose.skeleton import SKELETONS
from .config import LifterConfig
from .layers import EPS, EndpointLinear, FeedForward, Norm, zero_
from .mixer import Mixer
from .modes import ExecutionMode
from .precision import at_least_fp32

UNIT_M = 0.3  # a bone's usual length, by which bones are divided where the network reads them
SHORTEST_M = 0.02  # a bone that is shorter is taken to be so long where its length is changed
VALUES = 4  # numbers of a bone: the vector from its parent, and its length


class BoneRefinement(nn.Module):
    """Blocks over time that correct each bone by what was guessed of it before, relative to what is guessed now.

    A guess that does not change is therefore not corrected: what the blocks learn is which guess to trust, and for how long.
    Blocks that may add anything to a guess learn the poses of the training set by heart instead: their error fell in training
    and rose on other people. The length of a bone is corrected apart from its direction, since a body keeps its lengths. All
    bones share the blocks and none sees another.

    Args:
        config: of the lifter: its mixer, heads, skeleton and input.
        dim: channels of a bone.
        layers: blocks.
        sigma: whether each guess comes with the standard deviations of its joints.
    """

    def __init__(self, config: LifterConfig, *, dim: int, layers: int, sigma: bool) -> None:
        super().__init__()
        eps, parents = config.norm_eps, SKELETONS[config.skeleton].parents
        self.root = parents.index(-1)
        self.parents: Tensor
        self.chains: Tensor
        self.register_buffer("parents", torch.tensor([self.root if p < 0 else p for p in parents]), persistent=False)
        self.register_buffer("chains", _chains(parents), persistent=False)
        self.embed = EndpointLinear(4 + 2 * (config.input_channels + int(sigma)), dim)
        self.position = nn.Parameter(torch.zeros(config.joints, dim))
        self.feeds = nn.ModuleList(FeedForward(dim, 2, eps=eps) for _ in range(layers))
        self.pasts = nn.ModuleList(
            PastDifference(dim, config.heads, config.build_mixer(dim=dim), eps=eps) for _ in range(layers)
        )

    def forward(self, x: Tensor, guess: Tensor, sigma: Tensor | None, mode: ExecutionMode) -> tuple[Tensor, Tensor]:
        """Features (..., J, C) of each bone, by the joint at its end, and the refined pose (..., J, 3) in metres.

        Args:
            x: (..., J, input channels) what the network sees.
            guess: (..., J, 3) metres.
            sigma: (..., J) metres.
        """
        guess = at_least_fp32(guess)
        x = x.to(guess.dtype)
        bone = guess - guess.index_select(-2, self.parents)  # (..., J, 3)
        joint = x if sigma is None else torch.cat([x, sigma.to(guess.dtype)[..., None].log()], dim=-1)
        seen = torch.cat([bone / UNIT_M, _length(bone) / UNIT_M, joint, joint.index_select(-2, self.parents)], dim=-1)
        features = self.embed(seen) + self.position
        for feed, past in zip(self.feeds, self.pasts, strict=True):
            features, change = past(feed(features), torch.cat([bone, _length(bone)], dim=-1), mode)
            of_bone, of_length = change.split((3, 1), dim=-1)
            bone = bone + of_bone
            bone = bone * (1 + of_length / _length(bone).clamp(min=SHORTEST_M)).clamp(0.5, 2.0)
        return features, guess[..., self.root, None, :] + self.chains.to(bone.dtype) @ bone

    def zero_init_residual(self) -> None:
        """Correct nothing yet."""
        for past in self.pasts:
            assert isinstance(past, PastDifference)
            zero_(past.gate)


class PastDifference(nn.Module):
    """A block that changes values u by sum over h of g_n^h sum over m of a_nm^h (u_m - u_n), with a mixer's weights a^h.

    Each head h looks at the past in its own way, and has one gate g for bones and another for lengths. The inner sum is the
    mixer's map of the values less the present value times its map of 1. 1 is one more channel of each head, where the channels
    of a head share their weights; otherwise it is mixed apart, with a state of its own.
    """

    def __init__(self, dim: int, heads: int, mixer: Mixer, *, eps: float = EPS) -> None:
        super().__init__()
        self.heads, self.width = heads, dim // heads
        if self.width <= VALUES:
            raise UsageError(
                f"a refinement over time of {dim} channels in {heads} heads", expected=f"more than {VALUES} channels a head"
            )
        self.norm = Norm(dim, eps)
        self.project = nn.Linear(dim, 2 * dim)
        self.gate = EndpointLinear(dim, 2 * heads)
        self.back = nn.Linear(VALUES * heads, dim)
        self.mixer = mixer
        self.to_heads: Tensor
        self.one: Tensor
        self.gate_of: Tensor
        per_head = torch.eye(VALUES, self.width)
        self.register_buffer("to_heads", per_head.repeat(1, heads), persistent=False)  # (4, H * width) each head has the values
        self.register_buffer(
            "one", torch.eye(1, self.width).roll(VALUES).repeat(1, heads)[0], persistent=False
        )  # and a 1 after
        of_bone, of_length = torch.arange(2 * heads).chunk(2)
        gate_of = torch.stack([of_bone, of_bone, of_bone, of_length], dim=-1)  # (H, 4)
        self.register_buffer("gate_of", gate_of.flatten(), persistent=False)

    def forward(self, features: Tensor, value: Tensor, mode: ExecutionMode) -> tuple[Tensor, Tensor]:
        """Features (..., J, C) and the change of the values (..., J, 4), from features and values."""
        normed = self.norm(features)
        q, k = _normed_heads(self.project(normed), 2 * self.heads).chunk(2, dim=-1)
        past = self._mix(q, k, value @ self.to_heads + self.one, mode)  # (..., J, H, width)
        mixed, weight, _ = past.split((VALUES, 1, self.width - VALUES - 1), dim=-1)
        if not self.mixer.shared_by_head:
            weight = self._mix(q, k, torch.ones_like(q), mode)[..., :VALUES]
        difference = mixed - weight * value[..., None, :]  # (..., J, H, 4) metres
        gates = self.gate(normed).to(value.dtype).index_select(-1, self.gate_of).unflatten(-1, (self.heads, VALUES))
        change = (gates * difference).sum(dim=-2)
        return features + self.back((difference / UNIT_M).flatten(-2).to(features.dtype)), change

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, mode: ExecutionMode) -> Tensor:
        """The mixer's map of (..., J, C), by head: (..., J, H, width)."""
        mixed: Tensor = mode.mix(self.mixer, q, k, v).unflatten(-1, (self.heads, self.width))
        return mixed / math.sqrt(self.width)


def _normed_heads(x: Tensor, heads: int) -> Tensor:
    """Each head of (..., C) scaled to the square root of its width."""
    x = at_least_fp32(x).unflatten(-1, (heads, -1))
    return (x / _norm(x, least=1e-12)).flatten(-2) * math.sqrt(x.shape[-1])


def _length(bone: Tensor) -> Tensor:
    """(..., J, 1) metres, at least 1 mm."""
    return _norm(bone, least=1e-3)


def _norm(vector: Tensor, *, least: float) -> Tensor:
    """The length of vectors along the last axis, which stays."""
    return torch.linalg.vector_norm(vector, dim=-1, keepdim=True).clamp(min=least)  # type: ignore[no-any-return]


def _chains(parents: tuple[int, ...]) -> Tensor:
    """(J, J) 1 where a bone, by the joint at its end, is on the way from the root to a joint."""
    chains = torch.zeros(len(parents), len(parents))
    for joint in range(len(parents)):
        bone = joint
        while parents[bone] >= 0:
            chains[joint, bone] = 1
            bone = parents[bone]
    return chains
