"""Official checkpoints, against the outputs of the official code and against formulas written out by official names."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posemoe_edge.edge.checkpoints import import_official
from posemoe_edge.edge.models.alternating import AlternatingConfig
from posemoe_edge.edge.models.dual_stream import DualStream, DualStreamConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.modes import ForwardMode
from posemoe_edge.edge.models.pruning import Pruning, evenly_spaced, sampled_frames
from posemoe_edge.edge.models.retention import DISTANCES, RetentionConfig
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.edge.models.topology import build
from posemoe_edge.runtime.errors import ArtefactError, UsageError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

GOLDEN = Path(__file__).parents[3] / "shared" / "reference" / "golden"
POSERETNETS = ["joint", "nojoint", "causal_joint", "3dhp", "officialinit"]

SAME = 1e-10  # float64: the same numbers, summed in another order
FLOAT32 = 2e-4  # two networks in float32 that order their sums differently, metres
CHUNKWISE = 5e-4  # the same, where the published code scales keys up by the frame's number

# A small network of each family: C, heads, layers, frames, joints.
DIM, HEADS, DEPTH, FRAMES, JOINTS = 16, 2, 2, 12, 17
HOT_FRAMES, HOT_LAYER = 5, 1

Weights = dict[str, Tensor]


def golden(name: str) -> tuple[Weights, dict[str, Tensor], dict[str, Any]]:
    """The official state dict, the other vectors and the configuration of a golden file."""
    path = GOLDEN / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"the reference vectors are not beside this repository ({path.name})")
    vectors = load_file(path)
    weights = {key.removeprefix("sd."): value for key, value in vectors.items() if key.startswith("sd.")}
    others = {key: value for key, value in vectors.items() if not key.startswith("sd.")}
    return weights, others, json.loads(path.with_suffix(".json").read_text())


def apart(got: Tensor, expected: Tensor) -> float:
    assert got.dtype == expected.dtype and got.shape == expected.shape
    return float((got - expected).abs().max())


@torch.no_grad()
def in_chunks(model: Lifter, x: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Chunk by chunk, each in one call; and the state at the end."""
    poses, state = [], model.initial_state(len(x))
    for start, end in pairwise([*range(0, x.shape[1], size), x.shape[1]]):
        pose, state = model.chunk(x[:, start:end], state)
        poses.append(pose)
    return torch.cat(poses, dim=1), state


@torch.no_grad()
def run(model: Lifter, x: Tensor, chunk_size: int | None = None) -> Tensor:
    y: Tensor = model(x, chunk_size=chunk_size)
    return y


def published_state(state: Tensor, last: int) -> Tensor:
    """A state of ours, (B, d, d, J, H), as the published code stores it: (H, B J, d, d).

    Ours has its keys at the last frame's time and pairs half a head apart; there they are at the stream's own times, where
    the last frame has the number ``last``, and pairs lie side by side.
    """
    width = state.shape[1]
    pair = torch.arange(width // 2, dtype=torch.float64)
    zeta = (2 * pair + 0.4 * width) / (1.4 * width)
    turning = torch.polar(zeta ** (-last / 512), last * 10000.0 ** (-2 * pair / width))  # (d/2,)
    keys = torch.complex(*state.chunk(2, dim=1)) * turning[:, None, None, None]
    beside = torch.stack([keys.real, keys.imag], dim=2).flatten(1, 2)  # (B, d, d, J, H)
    return beside.permute(4, 0, 3, 1, 2).flatten(1, 2)


# Outputs of the official code.


@pytest.mark.parametrize("name", POSERETNETS)
def test_poseretnet_gives_the_published_numbers(name: str) -> None:
    weights, expected, config = golden(f"poseretnet_small_{name}")
    model, x = import_official("poseretnet", weights, config), expected["input"]
    for size in config["chunk_sizes"]:
        assert apart(run(model, x, size), expected[f"parallel_f32.chunk{size}"]) < FLOAT32
        assert apart(in_chunks(model, x, size)[0], expected[f"chunkwise_f32.chunk{size}"]) < CHUNKWISE
    if name == "officialinit":  # the published file has no float64
        return
    model.double()
    for size in config["chunk_sizes"]:
        poses, state = in_chunks(model, x.double(), size)
        assert apart(run(model, x.double(), size), expected[f"parallel_f64.chunk{size}"]) < SAME
        assert apart(poses, expected[f"chunkwise_f64.chunk{size}"]) < SAME
        state = published_state(state[:, 0], x.shape[1] - 1)
        assert apart(state, expected[f"final_state_f64.chunk{size}.layer0"]) < SAME


def test_poseretnet_steps_give_the_published_numbers() -> None:
    weights, expected, config = golden("poseretnet_small_causal_joint")
    model, x = import_official("poseretnet", weights, config).double(), expected["input"].double()
    state, poses = model.initial_state(len(x)), []
    with torch.no_grad():
        for frame in x.unbind(1):
            pose, state = model.step(frame, state)
            poses.append(pose)
    assert apart(torch.stack(poses, dim=1), expected["chunkwise_f64.chunk1"]) < SAME


@pytest.mark.parametrize(("name", "family"), [("mixste_small", "mixste"), ("motionbert_small", "motionbert")])
def test_attention_networks_give_the_published_numbers(name: str, family: str) -> None:
    weights, expected, config = golden(name)
    model, x = import_official(family, weights, config), expected["input"]
    assert apart(run(model, x), expected["output_f32"]) < FLOAT32
    assert apart(run(model.double(), x.double()), expected["output_f64"]) < SAME


def test_motionbert_takes_a_short_window_and_gives_its_representation() -> None:
    weights, expected, config = golden("motionbert_small")
    model, x = import_official("motionbert", weights, config), expected["input"]
    assert isinstance(model, DualStream)
    assert apart(run(model, x[:, :13]), expected["output_first13frames_f32"]) < FLOAT32
    with torch.no_grad():
        representation = model.represented(x, ForwardMode(Timing(torch.ones(1, x.shape[1]), uniform=True)))
    assert apart(representation, expected["rep_f32"]) < FLOAT32


@pytest.mark.parametrize("ties", ["round", "floor"])
def test_h2ot_keeps_and_recovers_what_the_composition_does(ties: str) -> None:
    weights, expected, config = golden("h2ot_mixste_small")
    model, x = import_official("mixste", weights, config).double(), expected["input"].double()
    chosen = model.config.pruning
    assert chosen is not None and (chosen.keep, chosen.layers, chosen.by, chosen.recover) == ((121, 81), (0, 3), "tps", "tri")
    for stage, (frames, keep) in enumerate(pairwise((243, *chosen.keep)), 1):
        np.testing.assert_array_equal(evenly_spaced(frames, keep, ties), expected[f"{ties}.idx_stage{stage}"])
    pruning = replace(chosen, ties=ties)  # type: ignore[arg-type]
    assert sampled_frames(243, pruning) == expected[f"{ties}.kept"].tolist()
    for interpolate, key in (("aligned", "tri_align_corners"), ("kept", "tri_keptindex")):
        config_ = replace(model.config, pruning=replace(pruning, interpolate=interpolate))  # type: ignore[arg-type]
        variant = build(config_).double().eval()
        variant.load_state_dict(model.state_dict())
        heads: list[Tensor] = []
        variant.get_submodule("head").register_forward_hook(lambda module, inputs, output, heads=heads: heads.append(output))
        assert apart(run(variant, x), expected[f"{ties}.{key}_f64"]) < SAME
        assert apart(heads[0], expected[f"{ties}.head_out81_f64"]) < SAME


def test_a_checkpoint_of_h2ot_runs_unpruned_too() -> None:
    weights, expected, config = golden("h2ot_mixste_small")
    model = import_official("mixste", weights, {key: value for key, value in config.items() if key not in "rb"})
    assert model.config.pruning is None
    assert apart(run(model.double(), expected["input"].double()), expected["mixste_unpruned_f64"]) < SAME


# Checkpoints built for the tests, by official names.


class Checkpoint(Weights):
    """Builds a state dict of random weights, name by name."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def add(self, name: str, *shape: int, scale: float = 0.3, around: float = 0.0) -> None:
        self[name] = around + scale * torch.randn(shape, generator=self.generator)

    def linear(self, name: str, inner: int, outer: int) -> None:
        self.add(f"{name}.weight", outer, inner)
        self.add(f"{name}.bias", outer)

    def norm(self, name: str, dim: int = DIM) -> None:
        self.add(f"{name}.weight", dim, around=1.0)
        self.add(f"{name}.bias", dim)

    def attention(self, block: str, attn: str = "attn", norm: str = "norm1") -> None:
        self.norm(f"{block}.{norm}")
        self.linear(f"{block}.{attn}.qkv", DIM, 3 * DIM)
        self.linear(f"{block}.{attn}.proj", DIM, DIM)

    def feed(self, block: str, mlp: str = "mlp", norm: str = "norm2", ratio: int = 2) -> None:
        self.norm(f"{block}.{norm}")
        self.linear(f"{block}.{mlp}.fc1", DIM, ratio * DIM)
        self.linear(f"{block}.{mlp}.fc2", ratio * DIM, DIM)

    def retention(self, block: str, gammas: Tensor) -> None:
        """``gammas``: (H, J), or (H,) where all joints share them."""
        self.norm(f"{block}.norm1")
        for head, gamma in enumerate(gammas):
            for part in "QKV":
                self.add(f"{block}.attn.retentions.{head}.W_{part}", DIM, DIM // HEADS)
            self[f"{block}.attn.retentions.{head}.gamma"] = gamma.float()
            self.add(f"{block}.attn.retentions.{head}.xpos.scale", DIM // HEADS // 2)
        self.add(f"{block}.attn.W_G", DIM, DIM)
        self.add(f"{block}.attn.W_O", DIM, DIM)
        self.norm(f"{block}.attn.group_norm")


def gammas_of(distances: str) -> Tensor:
    """(H, J) gamma, or (H,) without distances, from NC-RetNet's formula."""
    head = torch.arange(HEADS, dtype=torch.float64)
    if distances == "uniform":
        return 1 - torch.exp(torch.linspace(math.log(1 / 8), math.log(1 / 128), HEADS, dtype=torch.float64))
    return torch.stack([1 - 16.0 ** (-head / (HEADS - 1)) / (8 * d) for d in DISTANCES[distances]], dim=1)


def alternating(*, gammas: Tensor | None = None, hot: bool = False, depth: int = DEPTH) -> Checkpoint:
    """A MixSTE, a HoT around it, or with ``gammas`` a PoseRetNet."""
    checkpoint = Checkpoint()
    checkpoint.linear("Spatial_patch_to_embedding", 2, DIM)
    checkpoint.add("Spatial_pos_embed", 1, JOINTS, DIM)
    if gammas is None:
        checkpoint.add("Temporal_pos_embed", 1, FRAMES, DIM)
    for layer in range(depth):
        checkpoint.attention(f"STEblocks.{layer}")
        checkpoint.feed(f"STEblocks.{layer}")
        if gammas is None:
            checkpoint.attention(f"TTEblocks.{layer}")
        else:
            checkpoint.retention(f"TTEblocks.{layer}", gammas)
        checkpoint.feed(f"TTEblocks.{layer}")
    for norm in ("Spatial_norm", "Temporal_norm", "head.0"):
        checkpoint.norm(norm)
    checkpoint.linear("head.1", DIM, 3)
    if hot:
        checkpoint.add("pos_embed_token", 1, HOT_FRAMES, DIM)
        checkpoint.add("x_token", 1, FRAMES, DIM)
        for part in ("linear_q", "linear_k", "linear_v", "proj"):
            checkpoint.linear(f"cross_attention.{part}", DIM, DIM)
    return checkpoint


def motionbert(ratio: int = 2) -> Checkpoint:
    checkpoint, representation = Checkpoint(), 24
    checkpoint.linear("joints_embed", 3, DIM)
    checkpoint.add("pos_embed", 1, JOINTS, DIM)
    checkpoint.add("temp_embed", 1, FRAMES, 1, DIM)
    for layer in range(DEPTH):
        for order in ("st", "ts"):
            for axis in "st":
                checkpoint.attention(f"blocks_{order}.{layer}", f"attn_{axis}", f"norm1_{axis}")
                checkpoint.feed(f"blocks_{order}.{layer}", f"mlp_{axis}", f"norm2_{axis}", ratio)
        checkpoint.linear(f"ts_attn.{layer}", 2 * DIM, 2)
    checkpoint.norm("norm")
    checkpoint.linear("pre_logits.fc", DIM, representation)
    checkpoint.linear("head", representation, 3)
    return checkpoint


MADE: dict[str, Callable[[], Checkpoint]] = {
    "mixste": alternating,
    "hot": lambda: alternating(hot=True),
    "poseretnet": lambda: alternating(gammas=gammas_of("h36m17")),
    "motionbert": motionbert,
}
OPTIONS = {
    "mixste": {"num_heads": HEADS},
    "hot": {"num_heads": HEADS, "layer_index": HOT_LAYER},
    "poseretnet": {},
    "motionbert": {"num_heads": HEADS},
}
DATASET: dict[str, Any] = {"h36m17": {"dataset": "h36m"}, "3dhp17": {"dataset": "mpii3d_univ"}, "uniform": {}}
families = pytest.mark.parametrize("kind", list(MADE))


def imported(kind: str, weights: Weights | None = None, **options: Any) -> Lifter:
    family = "mixste" if kind == "hot" else kind
    return import_official(family, MADE[kind]() if weights is None else weights, OPTIONS[kind] | options)


def keypoints(channels: int = 2, frames: int = FRAMES, rows: int = 2) -> Tensor:
    return torch.randn(rows, frames, JOINTS, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# The published networks, written out over official names: (B, T, J, C) features, float64.


class ByHand:
    """The parts that the families share."""

    def __init__(self, weights: Weights) -> None:
        self.weights = {name: weight.double() for name, weight in weights.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[name]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self[f"{name}.weight"], self[f"{name}.bias"])

    def norm(self, name: str, x: Tensor, eps: float = 1e-6) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps)

    def attended(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Multi-head attention over the last axis but one."""
        parts = (x.unflatten(-1, (HEADS, -1)).transpose(-3, -2) for x in (q, k, v))
        return F.scaled_dot_product_attention(*parts).transpose(-3, -2).flatten(-2)

    def attention(self, block: str, x: Tensor, axis: str = "", *, over_time: bool = False) -> Tensor:
        """A block of attention and a feed-forward; ``axis`` is the ending of MotionBERT's names."""
        normed = self.norm(f"{block}.norm1{axis}", x)
        normed = normed.transpose(1, 2) if over_time else normed
        mixed = self.attended(*self.linear(f"{block}.attn{axis}.qkv", normed).chunk(3, dim=-1))
        mixed = self.linear(f"{block}.attn{axis}.proj", mixed)
        return self.feed(block, x + (mixed.transpose(1, 2) if over_time else mixed), axis)

    def feed(self, block: str, x: Tensor, axis: str = "") -> Tensor:
        hidden = F.gelu(self.linear(f"{block}.mlp{axis}.fc1", self.norm(f"{block}.norm2{axis}", x)))
        return x + self.linear(f"{block}.mlp{axis}.fc2", hidden)

    def alternating(
        self, x: Tensor, over_time: Callable[[str, Tensor], Tensor], prune: Callable[[int, Tensor], Tensor] = lambda _, x: x
    ) -> Tensor:
        """MixSTE and PoseRetNet up to the head."""
        x = self.linear("Spatial_patch_to_embedding", x) + self["Spatial_pos_embed"]
        for layer in range(DEPTH):
            x = self.norm("Spatial_norm", self.attention(f"STEblocks.{layer}", prune(layer, x)))
            if layer == 0 and "Temporal_pos_embed" in self.weights:
                x = x + self["Temporal_pos_embed"][0, :, None]
            x = self.norm("Temporal_norm", over_time(f"TTEblocks.{layer}", x))
        return x

    def head(self, x: Tensor) -> Tensor:
        return self.linear("head.1", self.norm("head.0", x, 1e-5))

    def mixste(self, x: Tensor) -> Tensor:
        return self.head(self.alternating(x, lambda block, x: self.attention(block, x, over_time=True)))

    def hot(self, x: Tensor) -> Tensor:
        """MixSTE with HoT's TPC before layer HOT_LAYER and TRA before the head."""

        def prune(layer: int, x: Tensor) -> Tensor:
            if layer != HOT_LAYER:
                return x
            centres = torch.stack([row[cluster_centres(row.mean(1))] for row in x])
            return centres + self["pos_embed_token"][0, :, None]

        x = self.alternating(x, lambda block, x: self.attention(block, x, over_time=True), prune).transpose(1, 2)
        query = self["x_token"][0].expand(*x.shape[:2], -1, -1)  # (B, J, T, C)
        q = self.linear("cross_attention.linear_q", query)
        k, v = (self.linear(f"cross_attention.linear_{part}", x) for part in "kv")
        return self.head((query + self.linear("cross_attention.proj", self.attended(q, k, v))).transpose(1, 2))

    def poseretnet(self, x: Tensor, chunk_size: int, *, causal: bool, mode: str) -> tuple[Tensor, list[Tensor]]:
        """Poses, and the states that the chunk form ends with, one (H, B J, d, d) for each layer."""
        states: list[Tensor] = []

        def over_time(block: str, x: Tensor) -> Tensor:
            normed = self.norm(f"{block}.norm1", x)
            run = self.parallel if mode == "parallel" else self.chunkwise
            heads, state = zip(*(run(block, head, normed, chunk_size, causal) for head in range(HEADS)), strict=True)
            states.append(torch.stack(state))
            group = F.group_norm(torch.cat(heads, -1).flatten(0, 2), HEADS, eps=1e-5).view_as(x)
            read = group * self[f"{block}.attn.group_norm.weight"] + self[f"{block}.attn.group_norm.bias"]
            gate = normed @ self[f"{block}.attn.W_G"]
            return self.feed(block, x + (gate * torch.sigmoid(gate) * read) @ self[f"{block}.attn.W_O"])

        return self.head(self.alternating(x, over_time)), states

    def projected(self, block: str, head: int, x: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q, k, v of one head, (B, J, T, d), with xPos at the frames' absolute numbers; and gamma, (J, 1, 1)."""
        name = f"{block}.attn.retentions.{head}"
        q, k, v = ((x @ self[f"{name}.W_{part}"]).transpose(1, 2) for part in "QKV")
        number = first + torch.arange(x.shape[1], dtype=torch.float64)[:, None]
        return xpos(q, number, 1), xpos(k, number, -1), v, self[f"{name}.gamma"].expand(JOINTS)[:, None, None]

    def parallel(self, block: str, head: int, x: Tensor, chunk_size: int, causal: bool) -> tuple[Tensor, Tensor]:
        q, k, v, gamma = self.projected(block, head, x, 0)
        n, m = torch.meshgrid(torch.arange(x.shape[1]), torch.arange(x.shape[1]), indexing="ij")
        visible = m <= n if causal else m < (n // chunk_size + 1) * chunk_size
        decay = torch.where(visible, gamma ** (n - m).abs(), 0.0)
        return ((q @ k.transpose(-2, -1) * decay) @ v).transpose(1, 2), torch.zeros(())

    def chunkwise(self, block: str, head: int, x: Tensor, chunk_size: int, causal: bool) -> tuple[Tensor, Tensor]:
        """A short last chunk is padded with zeros, and its state decays to the padded end."""
        state = x.new_zeros(len(x), JOINTS, DIM // HEADS, DIM // HEADS)
        outputs = []
        for start in range(0, x.shape[1], chunk_size):
            part = x[:, start : start + chunk_size]
            padded = F.pad(part, (0, 0, 0, 0, 0, chunk_size - part.shape[1]))
            q, k, v, gamma = self.projected(block, head, padded, start)
            r = torch.arange(chunk_size, dtype=torch.float64)
            decay = gamma ** (r[:, None] - r).abs()
            decay = decay.tril() if causal else decay
            y = (q @ k.transpose(-2, -1) * decay) @ v + gamma ** (r[:, None] + 1) * (q @ state)
            left = gamma ** (chunk_size - 1 - r[:, None])
            state = gamma**chunk_size * state + (k * left).transpose(-2, -1) @ v
            outputs.append(y[:, :, : part.shape[1]])
        return torch.cat(outputs, dim=2).transpose(1, 2), state.flatten(0, 1)

    def motionbert(self, x: Tensor) -> Tensor:
        x = self.linear("joints_embed", x) + self["pos_embed"] + self["temp_embed"][:, : x.shape[1]]
        for layer in range(DEPTH):
            st, ts = f"blocks_st.{layer}", f"blocks_ts.{layer}"
            a = self.attention(st, self.attention(st, x, "_s"), "_t", over_time=True)
            b = self.attention(ts, self.attention(ts, x, "_t", over_time=True), "_s")
            share = self.linear(f"ts_attn.{layer}", torch.cat([a, b], -1)).softmax(-1)
            x = a * share[..., :1] + b * share[..., 1:]
        return self.linear("head", torch.tanh(self.linear("pre_logits.fc", self.norm("norm", x))))


def xpos(x: Tensor, number: Tensor, sign: int) -> Tensor:
    """xPos as published: adjacent pairs rotate by the frame's number, queries (1) shrink and keys (-1) grow."""
    width = x.shape[-1]
    pair = torch.arange(width // 2, dtype=torch.float64)
    angle = number * 10000.0 ** (-pair / (width // 2))
    scale = ((2 * pair + 0.4 * width) / (1.4 * width)) ** (sign * number / 512)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([(a * angle.cos() - b * angle.sin()) * scale, (b * angle.cos() + a * angle.sin()) * scale], -1).flatten(
        -2
    )


def cluster_centres(x: Tensor) -> Tensor:
    """HoT's DPC-kNN with k = 2 over (T, C), in the order of time.

    Each other's nearest neighbours are equally dense: there the published code draws lots, and the earlier one is taken here.
    """
    distance = (x[:, None] - x[None, :]).square().sum(-1).sqrt() / math.sqrt(x.shape[-1])
    density = (-distance.topk(2, largest=False).values.square().mean(-1)).exp()
    frame = torch.arange(len(x))
    denser = (density > density[:, None]) | ((density == density[:, None]) & (frame < frame[:, None]))
    apart = torch.where(denser, distance, distance.max()).amin(-1)
    return (apart * density).topk(HOT_FRAMES).indices.sort().values


@pytest.mark.parametrize("kind", ["mixste", "hot", "motionbert"])
def test_attention_networks_are_the_official_ones_by_hand(kind: str) -> None:
    x = keypoints(3 if kind == "motionbert" else 2)
    expected = getattr(ByHand(MADE[kind]()), kind)(x)
    assert apart(run(imported(kind).double(), x), expected) < SAME


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("kind", ["mixste", "motionbert"])
def test_a_short_window_takes_the_first_positions(kind: str, frames: int) -> None:
    x = keypoints(3 if kind == "motionbert" else 2, frames)
    weights = MADE[kind]()
    cropped = weights | {"Temporal_pos_embed": weights["Temporal_pos_embed"][:, :frames]} if kind == "mixste" else weights
    assert apart(run(imported(kind).double(), x), getattr(ByHand(cropped), kind)(x)) < SAME


@pytest.mark.parametrize("distances", ["h36m17", "3dhp17", "uniform"])
@pytest.mark.parametrize("causal", [False, True], ids=["non-causal", "causal"])
@pytest.mark.parametrize("size", [1, 3, 5, FRAMES])
def test_poseretnet_is_the_official_one_by_hand(distances: str, causal: bool, size: int) -> None:
    weights = alternating(gammas=gammas_of(distances))
    model = imported("poseretnet", weights, causal=causal, joint_related=distances != "uniform", **DATASET[distances]).double()
    x, by_hand = keypoints(), ByHand(weights)
    parallel, _ = by_hand.poseretnet(x, size, causal=causal, mode="parallel")
    chunkwise, states = by_hand.poseretnet(x, size, causal=causal, mode="chunkwise")
    poses, state = in_chunks(model, x, size)
    assert apart(chunkwise, parallel) < SAME  # both forms by hand agree; the last chunk of 5 is short
    assert apart(run(model, x, size), parallel) < SAME
    assert apart(poses, parallel) < SAME
    if FRAMES % size == 0:  # a published state is decayed to the end of a padded chunk, ours is at the last frame
        for layer, expected in enumerate(states):
            assert apart(published_state(state[:, layer], FRAMES - 1), expected) < SAME


def test_the_group_norms_epsilon_counts_where_retention_is_faint() -> None:
    """As in a network that has just been initialised: there the variance of a head is smaller than 1e-5."""
    weights = MADE["poseretnet"]()
    faint = {name: weight * 1e-3 if name.endswith("W_Q") else weight for name, weight in weights.items()}
    x = keypoints()
    expected, _ = ByHand(faint).poseretnet(x, 3, causal=False, mode="parallel")
    assert apart(run(imported("poseretnet", faint).double(), x, 3), expected) < SAME


def test_one_call_of_many_chunks_and_chunks_of_any_length_give_the_same_poses() -> None:
    model, x = imported("poseretnet").double(), keypoints()
    expected, after = in_chunks(model, x, 3)
    with torch.no_grad():
        poses, state = model.chunk(x, chunk_size=3)
        first, between = model.chunk(x[:, :9], chunk_size=3)
        rest, end = model.chunk(x[:, 9:], between)
    for got in (poses, torch.cat([first, rest], dim=1)):
        assert apart(got, expected) < SAME
    assert apart(state, after) < SAME and apart(end, after) < SAME


# Checkpoints that are recognised, and those that are refused.


@pytest.mark.parametrize(("ratio", "name"), [(2, "base"), (4, "lite")])
def test_lite_and_base_motionbert_differ_by_their_weights(ratio: int, name: str) -> None:
    config = imported("motionbert", motionbert(ratio)).config
    assert isinstance(config, DualStreamConfig), name
    assert (config.mlp_ratio, config.dim, config.representation, config.window) == (ratio, DIM, 24, FRAMES)


def test_the_weights_and_the_options_are_the_configuration() -> None:
    config = imported("poseretnet", alternating(gammas=gammas_of("3dhp17")), causal=True, dataset="mpii3d_univ").config
    assert config == AlternatingConfig(
        mixer=RetentionConfig(zoh_gain=False, distances="3dhp17"), dim=DIM, heads=HEADS, layers=DEPTH, channels=2,
        norm_eps=1e-6, bias=False, skeleton="3dhp17",
    )  # fmt: skip
    hot = imported("hot").config.pruning
    assert hot == Pruning(keep=(HOT_FRAMES,), layers=(HOT_LAYER,), by="tpc", recover="tra", positions=True)


@pytest.mark.parametrize("distances", ["h36m17", "3dhp17"])
def test_the_skeleton_follows_from_the_decays_of_joints(distances: str) -> None:
    weights = alternating(gammas=gammas_of(distances))
    assert imported("poseretnet", weights).config.skeleton == distances
    (other,) = {"h36m17", "3dhp17"} - {distances}
    with pytest.raises(UsageError, match="dataset"):
        imported("poseretnet", weights, **DATASET[other])


@families
def test_the_network_is_ready_to_run(kind: str) -> None:
    weights = {name: weight.double() for name, weight in MADE[kind]().items()}
    model = imported(kind, weights)
    assert not model.training and all(weight.dtype == torch.float32 for weight in model.parameters())


@families
def test_the_network_has_weights_of_its_own(kind: str) -> None:
    weights = MADE[kind]()
    model = imported(kind, weights)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for weight in weights.values():
        weight.zero_()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@families
def test_a_prefix_of_data_parallel_is_no_part_of_a_name(kind: str) -> None:
    plain = imported(kind).state_dict()
    prefixed = imported(kind, {f"module.{name}": weight for name, weight in MADE[kind]().items()}).state_dict()
    assert all(torch.equal(prefixed[name], weight) for name, weight in plain.items())


def test_constants_of_xpos_are_not_read() -> None:
    weights = MADE["poseretnet"]()
    others = {name: weight * 2 if name.endswith("xpos.scale") else weight for name, weight in weights.items()}
    without = {name: weight for name, weight in weights.items() if not name.endswith("xpos.scale")}
    x = keypoints()
    expected = run(imported("poseretnet").double(), x)
    for changed in (others, without):
        assert torch.equal(run(imported("poseretnet", changed).double(), x), expected)


@families
def test_every_missing_weight_is_named(kind: str) -> None:
    for name in MADE[kind]():
        if name.endswith("xpos.scale"):
            continue
        weights = MADE[kind]()
        del weights[name]
        # Without its tokens a HoT is a MixSTE, whose other tokens are unknown.
        message = "has odd keys" if name == "pos_embed_token" else name.rsplit(".", 1)[0].replace(".", r"\.")
        with pytest.raises(ArtefactError, match=message):
            imported(kind, weights)


def test_many_missing_weights_are_counted() -> None:
    weights = {name: weight for name, weight in MADE["mixste"]().items() if not name.startswith("TTEblocks.1.")}
    with pytest.raises(ArtefactError, match=r"lacks: TTEblocks\.1\..* and 7 more; expected the \d+ weights of a mixste"):
        imported("mixste", weights)


@families
def test_odd_keys_are_named(kind: str) -> None:
    weights = MADE[kind]()
    weights["optimizer.lr"] = weights["Z"] = torch.zeros(1)
    with pytest.raises(ArtefactError, match=r"has odd keys: Z, optimizer\.lr"):
        imported(kind, weights)


@families
def test_a_weight_of_another_shape_is_refused(kind: str) -> None:
    """Any weight, longer, with an axis more and with one less. A longer one of the input is of another number of channels."""
    for name in MADE[kind]():
        if name.endswith(("xpos.scale", "embedding.weight", "joints_embed.weight")):
            continue
        weight = MADE[kind]()[name]
        for changed in (torch.cat([weight, weight[..., :1]], dim=-1), weight[None], weight[..., 0]):
            with pytest.raises((ArtefactError, UsageError)):
                imported(kind, MADE[kind]() | {name: changed})


def test_a_strange_state_dict_lacks_its_first_weights() -> None:
    for family in ("mixste", "poseretnet", "motionbert"):
        for weights in ({}, {"conv.weight": torch.zeros(3)}):
            with pytest.raises(ArtefactError, match="the checkpoint lacks"):
                import_official(family, weights)


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("mixste", "depth", 3),
        ("mixste", "embed_dim", 512),
        ("mixste", "num_frame", 243),
        ("mixste", "mlp_ratio", 4),
        ("mixste", "n_joints", 16),
        ("hot", "token_num", 81),
        ("hot", "frames", 243),
        ("poseretnet", "num_heads", 8),
        ("poseretnet", "depth", 8),
        ("poseretnet", "dataset", "humaneva"),
        ("poseretnet", "groupnorm_eps", 1e-6),
        ("poseretnet", "head_layernorm_eps", 1e-6),
        ("motionbert", "maxlen", 81),
        ("motionbert", "dim_in", 2),
        ("motionbert", "dim_rep", 512),
        ("motionbert", "mlp_ratio", 4),
        ("motionbert", "att_fuse", False),
    ],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(kind: str, option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=option):
        imported(kind, **{option: value})


def test_options_that_change_no_weight_are_not_read() -> None:
    told = imported("mixste", drop_path_rate=0.1, repo="JinluZhang1126/MixSTE", depth=DEPTH, mlp_ratio=2.0)
    assert told.config == imported("mixste").config


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(UsageError, match="no family 'mhformer'; expected one of poseretnet, mixste, motionbert"):
        import_official("mhformer", {})


def test_decays_that_were_trained_apart_are_refused() -> None:
    weights = MADE["poseretnet"]()
    weights["TTEblocks.1.attn.retentions.1.gamma"] = weights["TTEblocks.1.attn.retentions.1.gamma"] * 0.999
    with pytest.raises(ArtefactError, match=r"TTEblocks\.1\.attn\.retentions\.1\.gamma differs from layer 0's"):
        imported("poseretnet", weights)


def test_h2ot_around_motionbert_follows_from_the_options() -> None:
    model, x = imported("motionbert", r=[6, 3], b=[0, 1]), keypoints(3).float()
    assert model.config.pruning == Pruning(keep=(6, 3), layers=(0, 1))
    assert run(model, x).shape == (2, FRAMES, JOINTS, 3)
