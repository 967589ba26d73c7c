from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from posemoe_edge.edge.models.aggregation import CrossExpert, CrossExpertAttention, StreamingCrossExpert
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.layers import FeedForward, JointAttention, TimeMixing
from posemoe_edge.edge.models.mixer import Mixer, MixerConfig
from posemoe_edge.edge.models.modes import ForwardMode
from posemoe_edge.edge.models.posemoe import ABLATIONS, EncoderLayer, Part, PoseMoE, PoseMoEConfig
from posemoe_edge.edge.models.retention import H36M_DISTANCES, Retention, RetentionConfig
from posemoe_edge.edge.models.router import PoseRouter
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.runtime.errors import UsageError
from torch import Tensor, nn
from torch.nn import functional as F

DIM, HEADS, WINDOW, FPS = 16, 2, 8, 50.0
ROWS, FRAMES = 2, 9

SMALL_MIXERS: dict[str, MixerConfig] = {
    "attention": AttentionConfig(),
    "retention": RetentionConfig(),
    "dssm": DSSMConfig(state_size=4),
}

SAME = 1e-10  # float64: the forms sum the same numbers in another order
EXACT = 1e-12  # float64: one formula written twice
CONSTANTS = 1e-6  # retention's decays and angles are kept in float32
HALF = 1e-2  # mean error of the mean size: ten bits of mantissa, through some twenty layers

M = TypeVar("M", bound=nn.Module)
streaming = pytest.mark.parametrize("kind", ["retention", "dssm"])


def make(kind: str, seed: int = 0, **others: Any) -> PoseMoE:
    """A tiny lifter in float64. No weight has its initial value, so that zeros hide no error."""
    torch.manual_seed(seed)
    window = WINDOW if kind == "attention" else None
    config = PoseMoEConfig(mixer=SMALL_MIXERS[kind], dim=DIM, heads=HEADS, layers=1, window=window, **others)
    return stirred(PoseMoE(config)).eval()


def stirred(module: M) -> M:
    """In float64, without gradients, every weight moved at random."""
    module.double().requires_grad_(False)
    for weight in module.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    return module


@dataclasses.dataclass(frozen=True)
class CallInputs:
    """The inputs of a call: (B, T, J, 3) keypoints, (B, T) seconds since the frame before, (B, T) resets."""

    x: Tensor
    dt: Tensor | None = None
    reset: Tensor | None = None

    def during(self, span: slice | int) -> CallInputs:
        return CallInputs(*(None if part is None else part[:, span] for part in (self.x, self.dt, self.reset)))  # type: ignore[arg-type]


def call(time: str = "uniform", resets: str = "none", frames: int = FRAMES) -> CallInputs:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.uniform(-1, 1, (ROWS, frames, 17, 3)))
    varying = torch.from_numpy(rng.uniform(0.001, 0.5, (ROWS, frames)))
    reset = torch.zeros(ROWS, frames, dtype=torch.bool)
    reset[0, :1] = reset[1, 4:6] = True
    dt = {"uniform": None, "constant": torch.full_like(varying, 1 / 30), "varying": varying}[time]
    return CallInputs(x, dt, reset if resets == "some" else None)


def in_chunks(
    model: PoseMoE, inputs: CallInputs, state: Tensor, cuts: Iterable[int] = (), size: int = 1
) -> tuple[Tensor, Tensor]:
    poses = []
    for start, end in pairwise((0, *cuts, inputs.x.shape[1])):
        part = inputs.during(slice(start, end))
        pose, state = model.chunk(part.x, state, part.dt, part.reset, chunk_size=size)
        poses.append(pose)
    return torch.cat(poses, dim=1), state


def in_steps(model: PoseMoE, inputs: CallInputs, state: Tensor) -> tuple[Tensor, Tensor]:
    poses = []
    for n in range(inputs.x.shape[1]):
        frame = inputs.during(n)
        pose, state = model.step(frame.x, state, frame.dt, frame.reset)
        poses.append(pose)
    return torch.stack(poses, dim=1), state


def random_state(model: PoseMoE) -> Tensor:
    return torch.randn_like(model.initial_state(ROWS))


def assert_close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    assert got.dtype == expected.dtype and got.shape == expected.shape
    apart = (got - expected).abs().max() / expected.abs().max()
    assert apart <= tolerance, f"apart by {apart:.2e} of the largest value"


# Three forms, one network.


@streaming
@pytest.mark.parametrize("time", ["uniform", "constant", "varying"])
@pytest.mark.parametrize("resets", ["none", "some"])
def test_forward_equals_chunks_and_steps(kind: str, time: str, resets: str) -> None:
    model, inputs = make(kind), call(time, resets)
    expected = model(inputs.x, inputs.dt, inputs.reset)
    _, after = in_steps(model, inputs, model.initial_state(ROWS))
    for cuts in [(), (1,), (3, 4, 7), range(1, FRAMES)]:
        poses, state = in_chunks(model, inputs, model.initial_state(ROWS), cuts)
        assert_close(poses, expected, SAME)
        assert_close(state, after, SAME)
    assert_close(in_steps(model, inputs, model.initial_state(ROWS))[0], expected, SAME)


@streaming
@pytest.mark.parametrize("resets", ["none", "some"])
def test_chunks_equal_steps_from_any_state(kind: str, resets: str) -> None:
    model, inputs = make(kind), call("varying", resets)
    state = random_state(model)
    expected, after = in_steps(model, inputs, state)
    for cuts in [(), (2, 6)]:
        poses, end = in_chunks(model, inputs, state, cuts)
        assert_close(poses, expected, SAME)
        assert_close(end, after, SAME)


@streaming
def test_a_staircase_equals_its_chunks(kind: str) -> None:
    model, inputs = make(kind), call("varying", "some")
    poses, _ = in_chunks(model, inputs, model.initial_state(ROWS), cuts=(4, 8), size=4)
    assert_close(poses, model(inputs.x, inputs.dt, inputs.reset, chunk_size=4), SAME)


@streaming
def test_no_time_is_the_nominal_time_and_no_reset_is_none(kind: str) -> None:
    model, inputs = make(kind), call()
    nominal = CallInputs(
        inputs.x, torch.full((ROWS, FRAMES), 1 / FPS, dtype=torch.float64), torch.zeros(ROWS, FRAMES, dtype=torch.bool)
    )
    assert_close(model(nominal.x, nominal.dt, nominal.reset), model(inputs.x), SAME)
    assert_close(in_steps(model, nominal, model.initial_state(ROWS))[0], model(inputs.x), SAME)


# The state.


@streaming
def test_the_state_is_one_tensor_that_starts_empty(kind: str) -> None:
    model = make(kind)
    assert model.state_shape is not None
    states, *inner = model.state_shape
    assert tuple(inner) == model.config.build_mixer().state_shape
    assert states == 3 + 2 + 2 * 3  # an encoder layer; cross-attention; own and twice aggregated, of both experts
    state = model.initial_state(5)
    assert state.shape == (5, *model.state_shape) and not state.any()


@streaming
def test_a_reset_clears_a_posemoe_state_that_is_not_finite(kind: str) -> None:
    model, inputs = make(kind), call("varying")
    reset = torch.zeros(ROWS, FRAMES, dtype=torch.bool)
    reset[:, 0] = True
    inputs, state = CallInputs(inputs.x, inputs.dt, reset), model.initial_state(ROWS)
    expected, after = in_steps(model, inputs, state)
    for poses, end in (in_steps(model, inputs, state * math.nan), in_chunks(model, inputs, state + math.inf)):
        assert_close(poses, expected, SAME)
        assert_close(end, after, SAME)


@streaming
def test_streams_of_a_batch_do_not_touch_each_other(kind: str) -> None:
    model, inputs = make(kind), call("varying", "some")
    state = random_state(model)
    expected, after = in_steps(model, inputs, state)
    for row in range(ROWS):
        alone = CallInputs(*(part[row : row + 1] for part in (inputs.x, inputs.dt, inputs.reset)))  # type: ignore[index]
        poses, end = in_steps(model, alone, state[row : row + 1])
        assert_close(poses, expected[row : row + 1], EXACT)
        assert_close(end, after[row : row + 1], EXACT)
    assert_close(model(inputs.x, inputs.dt, inputs.reset)[:1], model(inputs.x[:1], inputs.dt[:1], inputs.reset[:1]), EXACT)  # type: ignore[index]


@streaming
def test_a_pose_depends_on_the_past_and_not_on_the_future(kind: str) -> None:
    model, inputs = make(kind), call()
    later = inputs.x.clone()
    later[:, 5] += 1
    before, after = model(inputs.x), model(later)
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=EXACT, atol=EXACT)
    assert ((after - before).abs().amax(dim=(0, 2, 3))[5:] > 1e-6).all()


# The window model.


@pytest.mark.parametrize("frames", [1, 5, WINDOW])
def test_a_window_may_be_short(frames: int) -> None:
    model, inputs = make("attention"), call(frames=frames)
    assert model(inputs.x).shape == (ROWS, frames, 17, 3)
    assert_close(model(inputs.x)[:1], model(inputs.x[:1]), EXACT)


def test_a_window_may_not_be_longer_than_the_model() -> None:
    with pytest.raises(UsageError, match=f"{WINDOW + 1} frames at once; expected at most the window of {WINDOW}"):
        make("attention")(call(frames=WINDOW + 1).x)


def test_a_window_model_sees_past_and_future() -> None:
    model, x = make("attention"), call(frames=6).x
    changed = x.clone()
    changed[:, 3] += 1
    assert ((model(changed) - model(x)).abs().amax(dim=(0, 2, 3)) > 1e-6).all()


def test_a_window_model_has_no_state() -> None:
    model, x = make("attention"), call(frames=1).x
    assert model.state_shape is None
    for refused in (
        lambda: model.initial_state(1),
        lambda: model.step(x[:, 0], torch.zeros(ROWS, 1)),
        lambda: model.chunk(x, torch.zeros(ROWS, 1)),
    ):
        with pytest.raises(UsageError):
            refused()


@pytest.mark.parametrize(("mixer", "window"), [("attention", None), ("retention", 8), ("dssm", 8)])
def test_a_window_belongs_to_attention(mixer: str, window: int | None) -> None:
    with pytest.raises(UsageError, match="a window for attention"):
        PoseMoEConfig(mixer=SMALL_MIXERS[mixer], dim=16, heads=2, layers=1, window=window)


# The encoder's parts.


@pytest.mark.parametrize("kind", ["attention", "retention"])
def test_gaussian_tokens_start_normal_and_are_learnt(kind: str) -> None:
    torch.manual_seed(0)
    window = 27 if kind == "attention" else None
    model = PoseMoE(PoseMoEConfig(mixer=SMALL_MIXERS[kind], dim=64, heads=2, layers=1, window=window))
    assert model.tokens.shape == ((27, 17, 64) if kind == "attention" else (17, 64))
    tokens = model.tokens.detach()
    assert tokens.mean().abs() < 0.1 and abs(tokens.std() - 1) < 0.1
    assert abs((tokens.abs() < 1).float().mean() - 0.683) < 0.05  # as of a normal distribution
    model(torch.rand(1, 4, 17, 3)).square().sum().backward()
    gradient = model.tokens.grad
    assert gradient is not None and (gradient[:4].abs().amax(dim=-1) > 0).all()


def test_the_router_gives_each_branch_shares_of_both_experts() -> None:
    torch.manual_seed(0)
    router = stirred(PoseRouter(DIM))
    f_2d, f_depth = torch.randn(2, ROWS, 5, 17, DIM, dtype=torch.float64)
    for branch, got in enumerate(router(f_2d, f_depth)):
        rows = slice(2 * branch, 2 * branch + 2)
        logits = torch.cat([f_2d, f_depth], -1) @ router.gate.weight[rows].T + router.gate.bias[rows]
        share = logits.exp() / logits.exp().sum(-1, keepdim=True)
        assert_close(got, share[..., :1] * f_2d + share[..., 1:] * f_depth, EXACT)
    for got in router(f_2d, f_2d):  # weights sum to 1
        assert_close(got, f_2d, EXACT)


# Cross-expert aggregation against its equations, one sequence and one head at a time.


def normalised(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def softmax(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum(-1, keepdim=True)


def attention(block: JointAttention | TimeMixing, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
    """(3) to (6), (12), (13): of x (L, C), to itself or to the context (L, C); and the map of each head."""
    q, *kv = block.project.own(normalised(block.project.norm, x)).split(DIM, dim=-1)
    if block.project.context is not None:
        assert context is not None
        norm, linear = block.project.context
        kv = linear(normalised(norm, context) if isinstance(norm, nn.LayerNorm) else context).chunk(2, dim=-1)
    k, v = kv
    heads = block.heads if isinstance(block, JointAttention) else HEADS
    maps, mixed = [], []
    for h in np.split(np.arange(DIM), heads):
        maps.append(softmax(q[:, h] @ k[:, h].T / math.sqrt(len(h))))
        mixed.append(maps[-1] @ v[:, h])
    return x + block.out(torch.cat(mixed, dim=-1)), maps


def cross_expert_attention(block: CrossExpertAttention, x: Tensor, aggregated: list[Tensor] | None) -> Tensor:
    """(16) to (18), or TCPFormer's mixture of two softmax maps; self-attention where there is nothing aggregated."""
    q, k, v = block.project.own(normalised(block.project.norm, x)).chunk(3, dim=-1)
    share = 0.0 if aggregated is None else 1 / (1 + torch.exp(-block.mu))
    mixed = []
    for index, h in enumerate(np.split(np.arange(DIM), block.heads)):
        m: Tensor | float = 0.0 if aggregated is None else aggregated[index]
        scores = q[:, h] @ k[:, h].T
        if block.variant == "tcpformer":
            fused = share * m + (1 - share) * softmax(scores / math.sqrt(len(h)))
        else:
            fused = softmax((share * m + (1 - share) * scores) / math.sqrt(DIM))
        mixed.append(fused @ v[:, h])
    y = torch.cat(mixed, dim=-1)
    return x + (y @ block.out.weight.T + block.out.bias if isinstance(block.out, nn.Linear) else y)


def aggregated_by_hand(ceka: CrossExpert, f_2d: Tensor, f_depth: Tensor) -> tuple[Tensor, Tensor]:
    """(12) to (18) for one sequence, (L, C) each."""
    forwards = back = None
    if ceka.cross:
        f_2d, to_depth = attention(ceka.cross_2d, f_2d, f_depth)
        f_2d = ceka.feed[0](f_2d)
        f_depth, to_2d = attention(ceka.cross_depth, f_depth, f_2d)
        f_depth = ceka.feed[1](f_depth)
        forwards = [a @ b for a, b in zip(to_depth, to_2d, strict=True)]
        back = [b @ a for a, b in zip(to_depth, to_2d, strict=True)]
    if ceka.expert:
        f_2d = ceka.feed[2](cross_expert_attention(ceka.expert_2d, f_2d, forwards))
        f_depth = ceka.feed[3](cross_expert_attention(ceka.expert_depth, f_depth, back))
    return f_2d, f_depth


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("over_time", [False, True], ids=["joints", "time"])
def test_aggregation_is_its_equations(heads: int, over_time: bool) -> None:
    torch.manual_seed(0)
    ceka = stirred(CrossExpert(DIM, heads, 2, over_time=over_time))
    f_2d, f_depth = torch.randn(2, 1, 5, 3, DIM, dtype=torch.float64)  # (1, T, J, C)
    got = ceka(f_2d, f_depth, ForwardMode(Timing(torch.ones(1, 5))))
    axis = 2 if over_time else 1  # one sequence per joint, or per frame
    pairs = [
        aggregated_by_hand(ceka, a, b)
        for a, b in zip(f_2d.unbind(axis), f_depth.unbind(axis), strict=True)
        for a, b in [(a[0], b[0])]
    ]
    for branch in range(2):
        assert_close(got[branch], torch.stack([pair[branch] for pair in pairs])[None].movedim(1, axis), EXACT)


def over(axis: int, run: Callable[..., Tensor], *features: Tensor) -> Tensor:
    """``run`` on every sequence along joints (axis 0: one per frame) or time (axis 1: one per joint) of (T, J, C)."""
    return torch.stack([run(*parts) for parts in zip(*(f.unbind(axis) for f in features), strict=True)], dim=axis)


def test_a_window_model_is_the_papers_equations() -> None:
    """(2) to (18), with a feed-forward after each attention, for one window of three frames."""
    model, x = make("attention"), call(frames=3).x[:1]

    def attend(axis: int, block: nn.Module, feed: nn.Module, *features: Tensor) -> Tensor:
        mixed: Tensor = feed(over(axis, lambda *parts: attention(block, *parts)[0], *features))  # type: ignore[arg-type]
        return mixed

    feature, f_pose = model.embed(x[0]), model.embed_pose(x[0])  # (T, J, C)
    f_2d, f_depth = feature + model.position_2d[:3], feature + model.position_depth[:3]
    (layer,) = model.encoder
    assert isinstance(layer, EncoderLayer) and isinstance(layer.router, PoseRouter)
    expert, depth = layer.expert_2d, layer.expert_depth
    assert isinstance(depth.compress, nn.Linear) and isinstance(depth.compress_tokens, nn.Linear)
    f_2d = attend(0, expert.joint_self, expert.feed[0], f_2d)  # (3)
    f_2d = attend(0, expert.joint_cross, expert.feed[1], f_2d, f_pose)  # (4)
    f_2d = attend(1, expert.time_self, expert.feed[2], f_2d)  # (5)
    f_2d = attend(1, expert.time_cross, expert.feed[3], f_2d, f_pose)  # (6)
    both = torch.cat([f_depth, model.tokens[:3]], dim=-1)
    f_depth = both @ torch.cat([depth.compress.weight, depth.compress_tokens.weight], dim=-1).T + depth.compress.bias  # (8)
    f_depth = attend(1, depth.time_self, depth.feed[1], attend(0, depth.joint_self, depth.feed[0], f_depth))  # (9)
    f_2d, f_depth = layer.router(f_2d, f_depth)  # (10), (11)
    for axis, ceka in enumerate((model.ceka_joints, model.ceka_time)):
        pair = over(axis, lambda *parts, ceka=ceka: torch.stack(aggregated_by_hand(ceka, *parts), dim=-1), f_2d, f_depth)
        f_2d, f_depth = pair.unbind(-1)
    assert_close(model(x)[0], torch.cat([model.head_2d(f_2d), model.head_depth(f_depth)], dim=-1), SAME)  # (2)


def retention_maps(q: Tensor, k: Tensor, dt: Tensor, gamma: Tensor) -> Tensor:
    """Retention's map written out, (J, H, T, T), from (T, J, C), (T,) nominal frames and (J, H)."""
    q, k = (x.unflatten(-1, (HEADS, -1)).permute(1, 2, 0, 3) for x in (q, k))  # (J, H, T, d)
    width = q.shape[-1]
    pair = torch.arange(width // 2, dtype=torch.float64)
    turning = torch.complex(((2 * pair + 0.4 * width) / (1.4 * width)).log() / 512, 10000.0 ** (-2 * pair / width))  # (d/2,)
    time = dt.cumsum(0)
    apart = time[:, None] - time  # (T, T)
    query, key = (torch.complex(*x.chunk(2, dim=-1)) for x in (q, k))  # (J, H, T, d/2)
    scores = (query[..., :, None, :] * key[..., None, :, :].conj() * (apart[..., None] * turning).exp()).sum(-1).real
    decay = gamma[..., None, None] ** apart * (1 - gamma[..., None, None] ** dt)
    return (scores * decay / math.sqrt(width)).tril()


@pytest.mark.parametrize("uniform", [True, False])
def test_two_passes_of_a_mixer_are_the_product_of_its_maps(uniform: bool) -> None:
    torch.manual_seed(0)
    ceka = stirred(StreamingCrossExpert(DIM, HEADS, 2, lambda: Retention(DIM, HEADS)))
    rng = np.random.default_rng(0)
    dt = torch.ones(6, dtype=torch.float64) if uniform else torch.from_numpy(rng.uniform(0.05, 25, 6))
    mode = ForwardMode(Timing(dt[None]))
    f_2d, f_depth = torch.randn(2, 1, 6, 17, DIM, dtype=torch.float64)
    distance = torch.tensor(H36M_DISTANCES, dtype=torch.float64)[:, None]
    gamma = 1 - 16.0 ** -torch.arange(HEADS) / (8 * distance)  # (J, H)

    def with_map(block: TimeMixing, x: Tensor, context: Tensor) -> Tensor:
        q, k, *_ = block.project(x, context)
        return retention_maps(q[0], k[0], dt, gamma)

    def applied(maps: Tensor, values: Tensor) -> Tensor:
        output: Tensor = (maps @ values[0].unflatten(-1, (HEADS, -1)).permute(1, 2, 0, 3)).permute(2, 0, 1, 3).flatten(-2)[None]
        return output

    to_depth, to_2d = with_map(ceka.cross_2d, f_2d, f_depth), with_map(ceka.cross_depth, f_depth, f_2d)
    _, pass_to_depth = ceka.cross_2d.with_map(f_2d, mode, f_depth)
    _, pass_to_2d = ceka.cross_depth.with_map(f_depth, mode, f_2d)
    values = torch.randn(1, 6, 17, DIM, dtype=torch.float64)
    assert_close(pass_to_depth(pass_to_2d(values)), applied(to_depth @ to_2d, values), CONSTANTS)

    # (16) to (18) of the branch, with a norm per head and a gate in place of the softmax.
    expert = ceka.expert_2d
    q, k, v, gate = expert.project(f_2d)
    share = torch.sigmoid(expert.mu)
    fused = applied(share * to_depth @ to_2d + (1 - share) * retention_maps(q[0], k[0], dt, gamma), v)
    heads = F.layer_norm(fused.unflatten(-1, (HEADS, -1)), (DIM // HEADS,)).flatten(-2)
    read = (heads * expert.readout.weight + expert.readout.bias) * F.silu(gate)
    got = expert(f_2d, mode, lambda values: pass_to_depth(pass_to_2d(values)))
    assert_close(got, f_2d + read, 100 * CONSTANTS)  # the norm enlarges small values


def test_the_decoder_aggregates_both_ways() -> None:
    """The whole block over time: (14) maps 2D through depth back to 2D, (15) the reverse."""
    torch.manual_seed(0)
    ceka = stirred(StreamingCrossExpert(DIM, HEADS, 2, lambda: Retention(DIM, HEADS)))
    mode = ForwardMode(Timing(torch.ones(1, 6, dtype=torch.float64)))
    f_2d, f_depth = torch.randn(2, 1, 6, 17, DIM, dtype=torch.float64)
    got = ceka(f_2d, f_depth, mode)
    f_2d, to_depth = ceka.cross_2d.with_map(f_2d, mode, f_depth)
    f_depth, to_2d = ceka.cross_depth.with_map(f_depth, mode, ceka.feed[0](f_2d))
    f_2d, f_depth = ceka.feed[0](f_2d), ceka.feed[1](f_depth)
    assert_close(got[0], ceka.feed[2](ceka.expert_2d(f_2d, mode, lambda v: to_depth(to_2d(v)))), EXACT)
    assert_close(got[1], ceka.feed[3](ceka.expert_depth(f_depth, mode, lambda v: to_2d(to_depth(v)))), EXACT)


# Readings of the paper, and its ablations: each follows its equations, and streams.

READINGS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "F_P as it is": {"norm_pose": False},
    "feed-forwards after pairs": {"feed": "pair"},
    "no feed-forwards": {"feed": "none", "ceka_feed": "none"},
    "compress with a hidden layer": {"compress": "mlp"},
    "tokens of each layer": {"tokens_of": "layer"},
    "F_P of each layer": {"pose_of": "layer"},
    "positions of joints": {"positions": "joint"},
    "positions of joints and frames": {"positions": "joint_time"},
    "the router in turn": {"router": "in_turn"},
    "TCPFormer's aggregation": {"ceka": "tcpformer"},
    "feed-forwards after cross-attention": {"ceka_feed": "cross"},
    "the decoder over time first": {"decoder": "time_first"},
    "heads with a hidden layer": {"head": "mlp"},
    "all at once": {
        "norm_pose": False, "feed": "pair", "compress": "mlp", "tokens_of": "layer", "pose_of": "layer", "head": "mlp",
        "positions": "joint_time", "router": "in_turn", "ceka": "tcpformer", "ceka_feed": "cross", "decoder": "time_first",
    },
}  # fmt: skip
VARIANTS = READINGS | {name: {"without": parts} for name, parts in ABLATIONS.items()}
BOTH_EXPERTS = ("joint_cross_2d", "time_cross_2d", "tokens", "router")
VARIANTS["the tables' baseline"] = {"without": (*BOTH_EXPERTS, *ABLATIONS["VI encoder alone"])}
variants = pytest.mark.parametrize("variant", list(VARIANTS))


def variant_of(kind: str, variant: str) -> PoseMoE:
    """Two layers, so that a part of each layer differs from a part of the model."""
    torch.manual_seed(0)
    window = WINDOW if kind == "attention" else None
    config = PoseMoEConfig(mixer=SMALL_MIXERS[kind], dim=DIM, heads=HEADS, layers=2, window=window, **VARIANTS[variant])
    return stirred(PoseMoE(config)).eval()


def linear(layer: nn.Module, x: Tensor, rows: slice = slice(None)) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return x @ layer.weight[rows].T + layer.bias[rows]


def fed_forward(feed: FeedForward, x: Tensor) -> Tensor:
    return x + linear(feed.down, F.gelu(linear(feed.up, normalised(feed.norm, x))))


def lifted_by_hand(model: PoseMoE, x: Tensor) -> Tensor:
    """(2) to (18) for one window (T, J, channels), as the configuration reads them."""
    c, frames = model.config, len(x)
    parts: tuple[Part, ...]

    def block(axis: int, parts: tuple[Part, ...], attention_block: Any, feeds: Any, at: int, *features: Tensor) -> Tensor:
        """Attention number ``at`` of an expert, if it has it, and the feed-forward after it."""
        if c.has(parts[at]):
            features = (over(axis, lambda *f: attention(attention_block, *f)[0], *features), *features[1:])
        pair = parts[at // 2 * 2 : at // 2 * 2 + 2] if len(parts) == 4 else parts[at : at + 1]
        last = parts[at] == pair[-1]
        fed = {"each": c.has(parts[at]), "pair": last and any(c.has(part) for part in pair), "none": False}[c.feed]
        assert isinstance(feeds[at], FeedForward) is fed
        return fed_forward(feeds[at], features[0]) if fed else features[0]

    def shares(router: PoseRouter, branch: int, f_2d: Tensor, f_depth: Tensor) -> Tensor:
        share = softmax(linear(router.gate, torch.cat([f_2d, f_depth], -1), slice(2 * branch, 2 * branch + 2)))
        return share[..., :1] * f_2d + share[..., 1:] * f_depth

    def position(branch: str) -> Tensor:
        own = model.get_parameter(f"position_{branch}")
        if c.positions == "joint_time":
            return own + model.get_parameter(f"position_time_{branch}")[:frames]
        return own[:frames] if c.positions == "full" else own

    f_2d, f_depth = (linear(model.embed, x) + position(branch) for branch in ("2d", "depth"))
    layer: Any
    for n, layer in enumerate(model.encoder):
        of_layer = slice(n * DIM, (n + 1) * DIM) if c.pose_of == "layer" else slice(DIM)
        f_pose = linear(model.embed_pose, x, of_layer)
        expert, parts = layer.expert_2d, ("joint_self_2d", "joint_cross_2d", "time_self_2d", "time_cross_2d")
        f_2d = block(0, parts, expert.joint_self, expert.feed, 0, f_2d)
        f_2d = block(0, parts, expert.joint_cross, expert.feed, 1, f_2d, f_pose)
        f_2d = block(1, parts, expert.time_self, expert.feed, 2, f_2d)
        f_2d = block(1, parts, expert.time_cross, expert.feed, 3, f_2d, f_pose)
        depth, parts = layer.expert_depth, ("joint_self_depth", "time_self_depth")
        if c.has("tokens"):
            tokens = (model.tokens[n] if c.tokens_of == "layer" else model.tokens)[:frames]
            f_depth = linear(depth.compress, f_depth) + tokens @ depth.compress_tokens.weight.T
            f_depth = linear(depth.compress_out[1], F.gelu(f_depth)) if c.compress == "mlp" else f_depth
        f_depth = block(0, parts, depth.joint_self, depth.feed, 0, f_depth)
        f_depth = block(1, parts, depth.time_self, depth.feed, 1, f_depth)
        if c.has("router"):
            to_2d = shares(layer.router, 0, f_2d, f_depth)
            f_2d, f_depth = to_2d, shares(layer.router, 1, to_2d if c.router == "in_turn" else f_2d, f_depth)
    pairs = [(0, model.ceka_joints), (1, model.ceka_time)]
    for axis, ceka in pairs if c.decoder == "joints_first" else pairs[::-1]:
        pair = over(axis, lambda *f, ceka=ceka: torch.stack(aggregated_by_hand(ceka, *f), dim=-1), f_2d, f_depth)
        f_2d, f_depth = pair.unbind(-1)
    numbers = []
    for head, f in ((model.head_2d, f_2d), (model.head_depth, f_depth)):
        f = normalised(head[0], f)  # type: ignore[arg-type]
        f = F.gelu(linear(head[1], f)) if c.head == "mlp" else f
        numbers.append(linear(head[-1], f))
    return torch.cat(numbers, dim=-1)


@variants
def test_a_variant_follows_its_equations(variant: str) -> None:
    model, x = variant_of("attention", variant), call(frames=3).x[:1]
    assert_close(model(x)[0], lifted_by_hand(model, x[0]), SAME)


@pytest.mark.parametrize("variant", ["the router in turn", "the decoder over time first"])
def test_a_variant_without_weights_of_its_own_changes_the_poses(variant: str) -> None:
    changed, plain, x = variant_of("attention", variant), variant_of("attention", "the defaults"), call(frames=3).x
    changed.load_state_dict(plain.state_dict())
    assert (changed(x) - plain(x)).abs().max() > 1e-6


@variants
def test_a_variant_streams(variant: str) -> None:
    model, inputs = variant_of("retention", variant), call("varying", "some")
    expected = model(inputs.x, inputs.dt, inputs.reset)
    poses, after = in_steps(model, inputs, model.initial_state(ROWS))
    assert_close(poses, expected, SAME)
    poses, state = in_chunks(model, inputs, model.initial_state(ROWS), cuts=(3, 4, 7))
    assert_close(poses, expected, SAME)
    assert_close(state, after, SAME)


# The weights of a part in a state dict: its own, and those of the feed-forward after it.
WEIGHTS_OF = {
    "joint_self_2d": ("expert_2d.joint_self.", "expert_2d.feed.0."),
    "joint_cross_2d": ("expert_2d.joint_cross.", "expert_2d.feed.1."),
    "time_self_2d": ("expert_2d.time_self.", "expert_2d.feed.2."),
    "time_cross_2d": ("expert_2d.time_cross.", "expert_2d.feed.3."),
    "tokens": ("tokens", "expert_depth.compress"),
    "joint_self_depth": ("expert_depth.joint_self.", "expert_depth.feed.0."),
    "time_self_depth": ("expert_depth.time_self.", "expert_depth.feed.1."),
    "router": (".router.",),
    "ceka_joints_cross": ("ceka_joints.cross_", "ceka_joints.feed.0.", "ceka_joints.feed.1."),
    "ceka_joints_expert": ("ceka_joints.expert_", "ceka_joints.feed.2.", "ceka_joints.feed.3."),
    "ceka_time_cross": ("ceka_time.cross_", "ceka_time.feed.0.", "ceka_time.feed.1."),
    "ceka_time_expert": ("ceka_time.expert_", "ceka_time.feed.2.", "ceka_time.feed.3."),
}


@pytest.mark.parametrize("kind", ["attention", "retention"])
@pytest.mark.parametrize("ablation", list(ABLATIONS))
def test_an_ablation_leaves_no_trace_of_its_parts_and_all_of_the_others(kind: str, ablation: str) -> None:
    left, whole = (variant_of(kind, name).state_dict() for name in (ablation, "the defaults"))
    gone = [trace for part in ABLATIONS[ablation] for trace in WEIGHTS_OF[part]]
    assert left.keys() == {name for name in whole if not any(trace in name for trace in gone)} < whole.keys()


def test_the_ablations_are_the_rows_of_the_papers_tables() -> None:
    rows = {table: sum(name.startswith(f"{table} ") for name in ABLATIONS) for table in ("VI", "VII", "VIII", "X")}
    assert rows == {"VI": 7, "VII": 4, "VIII": 3, "X": 4} and sum(rows.values()) == len(ABLATIONS)
    assert {part for parts in ABLATIONS.values() for part in parts} == set(WEIGHTS_OF)


@pytest.mark.parametrize("kind", ["attention", "retention"])
def test_a_lifter_without_anything_over_time_is_refused(kind: str) -> None:
    parts: tuple[Part, ...] = ("time_self_2d", "time_cross_2d", "time_self_depth", "ceka_time_cross", "ceka_time_expert")
    window = WINDOW if kind == "attention" else None
    config = PoseMoEConfig(mixer=SMALL_MIXERS[kind], dim=DIM, heads=HEADS, layers=1, window=window, without=parts)
    with pytest.raises(UsageError, match="over time"):
        PoseMoE(config)


def test_a_streaming_lifter_has_one_place_for_each_joint() -> None:
    places: tuple[Any, ...] = ("full", "joint", "joint_time")
    for positions in places:
        config = PoseMoEConfig(mixer=RetentionConfig(), dim=DIM, heads=HEADS, layers=2, positions=positions, tokens_of="layer")
        model = PoseMoE(config)
        assert model.position_2d.shape == model.position_depth.shape == (17, DIM)
        assert model.tokens.shape == (2, 17, DIM)
        assert not any("position_time" in name for name in model.state_dict())


@pytest.mark.parametrize(
    ("start", "deviation", "size", "within_one"),
    [("gaussian", 1.0, (2 / math.pi) ** 0.5, 0.683), ("laplace", 1.0, 0.5**0.5, 1 - math.exp(-(2**0.5))), ("zero", 0, 0, 1)],
)
def test_tokens_start_as_their_distribution_has_it(start: Any, deviation: float, size: float, within_one: float) -> None:
    torch.manual_seed(0)
    model = PoseMoE(PoseMoEConfig(mixer=AttentionConfig(), dim=64, heads=2, layers=1, window=27, tokens=start))
    tokens = model.tokens.detach()
    statistics = tokens.mean(), tokens.std(), tokens.abs().mean(), (tokens.abs() <= 1).float().mean()
    np.testing.assert_allclose(statistics, (0, deviation, size, within_one), atol=0.03)  # of 29,376 numbers
    assert tokens.isfinite().all() and model.tokens.requires_grad


@pytest.mark.parametrize(
    "wrong",
    [
        {"feed": "twice"}, {"compress": "conv"}, {"tokens": "uniform"}, {"tokens_of": "joint"}, {"pose_of": "joint"},
        {"positions": "time"}, {"router": "hard"}, {"ceka": "mixste"}, {"ceka_feed": "pair"}, {"decoder": "both"},
        {"head": "conv"}, {"without": ("time",)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_a_reading_that_is_not_there_is_refused(wrong: dict[str, Any]) -> None:
    ((_, value),) = wrong.items()
    with pytest.raises(UsageError, match=value if isinstance(value, str) else value[0]):
        PoseMoEConfig(mixer=RetentionConfig(), dim=DIM, heads=HEADS, layers=1, **wrong)


# Half precision.


@streaming
def test_half_precision_steps_with_a_wide_state(kind: str) -> None:
    inputs = call("varying", "some")
    inputs = CallInputs(inputs.x.float(), inputs.dt.float(), inputs.reset)  # type: ignore[union-attr]
    model = make(kind).float()
    state = model.initial_state(ROWS)
    expected, _ = in_steps(model, inputs, state)
    model.half()
    for module in model.modules():
        if isinstance(module, Mixer):
            module.float()
    poses, after = in_steps(model, inputs, state)
    assert after.dtype == poses.dtype == torch.float32 and poses.isfinite().all() and after.isfinite().all()
    assert 0 < (poses - expected).abs().mean() < HALF * expected.abs().mean()


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_a_bounded_gate_never_shuts_an_expert_out(scale: float) -> None:
    torch.manual_seed(0)
    router = PoseRouter(DIM, gate="bounded").double()
    torch.nn.init.normal_(router.gate.weight, std=100)
    f_2d, f_depth = scale * torch.randn(2, 5, 3, 17, DIM, dtype=torch.float64)
    shares = router.weights(f_2d, f_depth)
    least = 1 / (1 + math.exp(2 * PoseRouter.BOUND))
    assert shares.min() >= least - EXACT and shares.max() <= 1 - least + EXACT
    torch.testing.assert_close(shares.sum(-1), torch.ones_like(shares[..., 0]))
    raw = PoseRouter(DIM).double()
    torch.nn.init.normal_(raw.gate.weight, std=100)
    assert raw.weights(f_2d, f_depth).min() < 1e-12  # what the bound prevents


def test_a_bounded_gate_begins_with_equal_shares() -> None:
    router = PoseRouter(DIM, gate="bounded")
    shares = router.weights(torch.randn(2, 17, DIM), torch.randn(2, 17, DIM))
    assert torch.equal(shares, torch.full_like(shares, 0.5))


@pytest.mark.parametrize("kind", SMALL_MIXERS)
def test_every_expert_moves_the_pose(kind: str) -> None:
    model = make(kind, gate="bounded", stem=16)
    x = call(frames=WINDOW).x
    before = model(x)
    for layer in model.encoder:
        assert isinstance(layer, EncoderLayer)
        for expert in (layer.expert_2d, layer.expert_depth):
            weights = [weight.clone() for weight in expert.parameters()]
            for weight in expert.parameters():
                weight.zero_()
            assert (model(x) - before).abs().mean() > 1e-4
            for weight, value in zip(expert.parameters(), weights, strict=True):
                weight.copy_(value)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("kind", SMALL_MIXERS)
def test_sigma_is_positive_and_its_gradient_reaches_its_head_alone(kind: str) -> None:
    model = make(kind, sigma=True, stem=16).requires_grad_(True)
    y = model(call(frames=WINDOW).x)
    assert y.shape[-1] == 4 and y[..., 3].min() > 0
    y[..., 3].sum().backward()
    reached = {name.split(".")[0] for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert reached == {"sigma"}


def test_a_stem_gives_a_first_guess_that_the_experts_correct() -> None:
    model = make("retention", stem=16)
    x = call().x
    for head in (model.head_2d, model.head_depth):
        for weight in head.parameters():
            weight.zero_()
    assert model.stem is not None
    torch.testing.assert_close(model(x), model.stem(x, ForwardMode(Timing(torch.ones(1, FRAMES))))[1])
