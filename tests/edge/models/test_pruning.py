"""H2OT's pruning and recovery, against equations 1 to 5 of the paper, by brute force."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from posemoe_edge.edge.models.alternating import AlternatingConfig
from posemoe_edge.edge.models.attention import Attention, AttentionConfig
from posemoe_edge.edge.models.config import LifterConfig
from posemoe_edge.edge.models.dssm import DSSMConfig
from posemoe_edge.edge.models.dual_stream import DualStreamConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.mixer import Mixer, MixerConfig
from posemoe_edge.edge.models.modes import ForwardMode
from posemoe_edge.edge.models.posemoe import PoseMoEConfig
from posemoe_edge.edge.models.pruning import PrunedMode, Pruner, Pruning, evenly_spaced, interpolation, sampled_frames
from posemoe_edge.edge.models.retention import RetentionConfig
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.edge.models.topology import build
from posemoe_edge.runtime.errors import UsageError
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW, ROWS, JOINTS, DIM, HEADS = 13, 3, 4, 8, 2
KEEP = 5

SAME = 1e-10  # float64: the same numbers, summed in another order

Array = NDArray[Any]
M = TypeVar("M", bound=nn.Module)
CHOOSERS = ["tpc", "tpa", "tpmo"]
TOPOLOGIES: dict[str, type[LifterConfig]] = {
    "alternating": AlternatingConfig,
    "dual_stream": DualStreamConfig,
    "moe": PoseMoEConfig,
}
chooser = pytest.mark.parametrize("by", CHOOSERS)
topology = pytest.mark.parametrize("kind", list(TOPOLOGIES))


def stirred(module: M) -> M:
    """In float64, without gradients, every weight moved away from its initial value."""
    module.double().requires_grad_(False)
    for weight in module.parameters():
        weight.add_(0.1 * torch.randn_like(weight))
    return module


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def whole(seed: int, *shape: int) -> Tensor:
    """Small whole numbers: their sums and products are exact, and many are equal."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).double()


def around(by: Any, *, keep: tuple[int, ...] = (KEEP,), layers: tuple[int, ...] = (1,), output: Any = "sequence") -> Pruning:
    recover: Any = "none" if output == "centre" else "tri" if by == "tps" else "tra"
    return Pruning(keep=keep, layers=layers, by=by, recover=recover, output=output)


def chosen(pruning: Pruning, x: Tensor, keypoints: Tensor, qk: tuple[Tensor, Tensor] | None = None) -> list[Array]:
    """The frames kept after each stage, (B, r) each, of features (B, T, J, C) and the last attention's q and k."""
    mode = PrunedMode(Timing(torch.ones(1, x.shape[1])), Pruner(pruning, DIM, HEADS, x.shape[1]), keypoints)
    kept_frames: list[Array] = []
    features = x
    for layer in pruning.layers:
        if qk is not None:
            q, k = (part.gather(1, spread(mode.kept_frames, part)) for part in qk)
            mode.mix(Attention(HEADS), q, k, q)
        (features,) = mode.before_layer(layer, features)
        assert torch.equal(features, x.gather(1, spread(mode.kept_frames, x)))
        kept_frames.append(mode.kept_frames.expand(len(x), -1).numpy())
    return kept_frames


def spread(frames: Tensor, x: Tensor) -> Tensor:
    """Indices (r,) or (B, r) as ``gather`` takes them from (B, T, J, C)."""
    return frames.expand(len(x), -1)[..., None, None].expand(-1, -1, *x.shape[2:])


# Equations 1 to 4.


def best(score: Array, keep: int) -> Array:
    """The frames of the highest scores in the order of time; of equal scores, the earlier frames."""
    return np.array(sorted(sorted(range(len(score)), key=lambda n: (-score[n], n))[:keep]))


def tpc_by_hand(x: Array, keep: int) -> Array:
    """(T, J, C): density among two nearest neighbours, a frame itself one of them, times the distance to a denser one.

    Distances are of C channels' mean, as in the published code. Of equally dense frames the earlier counts as the denser.
    """
    pooled = x.mean(1)
    frames = range(len(pooled))
    apart = np.array([[math.sqrt(((pooled[i] - pooled[j]) ** 2).sum() / x.shape[-1]) for j in frames] for i in frames])
    density = [math.exp(-sum(sorted(apart[i] ** 2)[:2]) / 2) for i in frames]
    score = []
    for i in frames:
        denser = [apart[i, j] for j in frames if density[j] > density[i] or (density[j] == density[i] and j < i)]
        score.append(density[i] * (min(denser) if denser else max(apart[i])))
    return best(np.array(score), keep)


def tpa_by_hand(q: Array, k: Array, keep: int) -> Array:
    """(T, J, C): the attention that each frame receives from all frames, a mean over joints and heads."""
    score = np.zeros(len(q))
    for joint in range(JOINTS):
        for head in np.split(np.arange(DIM), HEADS):
            scores = np.exp(q[:, joint, head] @ k[:, joint, head].T / math.sqrt(len(head)))
            score += (scores / scores.sum(1, keepdims=True)).sum(0)
    return best(score, keep)


def tpmo_by_hand(keypoints: Array, keep: int) -> Array:
    """(T, J, 2): how far the keypoints moved since the frame before; the first frame's motion is 0."""
    moved = [0.0, *(np.abs(b - a).sum() for a, b in pairwise(keypoints))]
    return best(np.array(moved), keep)


def by_hand(by: str, x: Array, keypoints: Array, qk: tuple[Array, Array], keep: int) -> Array:
    if by == "tpc":
        return tpc_by_hand(x, keep)
    return tpa_by_hand(*qk, keep) if by == "tpa" else tpmo_by_hand(keypoints, keep)


Drawn = Callable[..., Tensor]


def inputs(draw: Drawn, seed: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Features, keypoints with a confidence, and the last attention's q and k."""
    shape = (ROWS, WINDOW, JOINTS, DIM)
    return draw(seed, *shape), draw(seed + 100, ROWS, WINDOW, JOINTS, 3), (draw(seed + 200, *shape), draw(seed + 300, *shape))


@chooser
@pytest.mark.parametrize("seed", range(10))
def test_a_stage_keeps_the_frames_of_its_equation(by: str, seed: int) -> None:
    x, keypoints, qk = inputs(random, seed)
    (kept_frames,) = chosen(around(by), x, keypoints, qk)
    for row in range(ROWS):
        expected = by_hand(by, x[row].numpy(), keypoints[row, ..., :2].numpy(), (qk[0][row].numpy(), qk[1][row].numpy()), KEEP)
        np.testing.assert_array_equal(kept_frames[row], expected)


@chooser
@pytest.mark.parametrize("seed", range(5))
def test_a_second_stage_chooses_among_the_survivors(by: str, seed: int) -> None:
    x, keypoints, qk = inputs(random, seed)
    stages = chosen(around(by, keep=(8, 3), layers=(1, 2)), x, keypoints, qk)
    for row in range(ROWS):
        left = np.arange(WINDOW)
        for kept_frames, keep in zip(stages, (8, 3), strict=True):
            parts = (x[row, left].numpy(), keypoints[row, left, :, :2].numpy(), tuple(part[row, left].numpy() for part in qk))
            left = left[by_hand(by, *parts, keep)]  # type: ignore[arg-type]
            np.testing.assert_array_equal(kept_frames[row], left)


@pytest.mark.parametrize("by", ["tpc", "tpmo"])
@pytest.mark.parametrize("seed", range(10))
def test_of_equal_frames_the_earlier_stay(by: str, seed: int) -> None:
    """A still person and a camera that repeats frames: whole numbers, each frame twice."""
    x, keypoints = (part.repeat_interleave(2, 1)[:, :WINDOW] for part in inputs(whole, seed)[:2])
    (kept_frames,) = chosen(around(by), x, keypoints)
    for row in range(ROWS):
        points = keypoints[row, ..., :2].numpy()
        expected = tpc_by_hand(x[row].numpy(), KEEP) if by == "tpc" else tpmo_by_hand(points, KEEP)
        np.testing.assert_array_equal(kept_frames[row], expected)


@chooser
def test_of_a_window_of_one_frame_repeated_the_first_stay(by: str) -> None:
    x, keypoints, qk = inputs(whole, 0)
    still = [part[:, :1].expand_as(part) for part in (x, keypoints, *qk)]
    (kept_frames,) = chosen(around(by), still[0], still[1], (still[2], still[3]))
    np.testing.assert_array_equal(kept_frames, np.tile(np.arange(KEEP), (ROWS, 1)))


@chooser
@pytest.mark.parametrize("draw", [random, whole])
def test_rows_choose_for_themselves_and_the_same_again(by: str, draw: Drawn) -> None:
    x, keypoints, qk = inputs(draw, 0)
    (kept_frames,) = chosen(around(by), x, keypoints, qk)
    for row in range(ROWS):
        single = slice(row, row + 1)
        (alone,) = chosen(around(by), x[single], keypoints[single], (qk[0][single], qk[1][single]))
        np.testing.assert_array_equal(alone[0], kept_frames[row])
    assert (np.diff(kept_frames, axis=1) > 0).all()  # in the order of time


@chooser
@pytest.mark.parametrize("seed", range(3))
def test_the_middle_frame_is_kept_for_seq2frame(by: str, seed: int) -> None:
    x, keypoints, qk = inputs(random, seed)
    for kept_frames in chosen(around(by, keep=(4, 1), layers=(1, 2), output="centre"), x, keypoints, qk):
        assert (kept_frames == WINDOW // 2).sum(1).tolist() == [1] * ROWS


def test_motion_is_of_x_and_y_and_not_of_confidence() -> None:
    x, keypoints, _ = inputs(random, 0)
    surer = keypoints.clone()
    surer[..., 2] += random(9, ROWS, WINDOW, JOINTS)
    np.testing.assert_array_equal(chosen(around("tpmo"), x, keypoints), chosen(around("tpmo"), x, surer))


# TPS.


@pytest.mark.parametrize("ties", ["round", "floor"])
def test_frames_are_spread_evenly(ties: str) -> None:
    """In fractions, which are exact: Python rounds halves to the even number too."""
    rule: Callable[[Fraction], int] = round if ties == "round" else math.floor
    for frames in (*range(2, 64), 81, 121, 189, 243, 351):
        for keep in range(2, frames):
            expected = [rule(Fraction(n * (frames - 1), keep - 1)) for n in range(keep)]
            assert evenly_spaced(frames, keep, ties).tolist() == expected, f"{keep} of {frames}"


def test_both_ends_and_of_odd_numbers_the_middle_are_kept() -> None:
    for keep in (3, 5, 81, 121, 175, 243):
        for ties in ("round", "floor"):
            kept_frames = evenly_spaced(351, keep, ties)
            assert kept_frames[0] == 0 and kept_frames[-1] == 350 and kept_frames[keep // 2] == 175


def test_one_frame_alone_is_the_first() -> None:
    assert evenly_spaced(9, 1, "round").tolist() == evenly_spaced(9, 1, "floor").tolist() == [0]


def test_later_stages_sample_among_the_survivors() -> None:
    pruning = Pruning(keep=(7, 4), layers=(0, 1))
    first = [0, 2, 4, 6, 8, 10, 12]
    assert evenly_spaced(13, 7, "round").tolist() == first
    assert sampled_frames(13, pruning) == [first[n] for n in (0, 2, 4, 6)]
    x, keypoints, _ = inputs(random, 0)
    np.testing.assert_array_equal(chosen(pruning, x, keypoints)[-1], np.tile(sampled_frames(13, pruning), (ROWS, 1)))


def test_halves_go_to_the_even_frame_or_to_the_one_before() -> None:
    assert evenly_spaced(4, 3, "round").tolist() == [0, 2, 3] and evenly_spaced(4, 3, "floor").tolist() == [0, 1, 3]
    assert evenly_spaced(6, 3, "round").tolist() == [0, 2, 5] and evenly_spaced(6, 3, "floor").tolist() == [0, 2, 5]


# Recovery.


def test_evenly_spaced_poses_are_interpolated_with_aligned_corners() -> None:
    pose = random(0, ROWS, KEEP, JOINTS, 3)
    for window in (WINDOW, 16):
        weights = torch.from_numpy(interpolation(window, Pruning(keep=(KEEP,), layers=(0,))))
        expected = F.interpolate(pose.flatten(2).transpose(1, 2), window, mode="linear", align_corners=True).transpose(1, 2)
        torch.testing.assert_close(weights @ pose.flatten(2), expected, rtol=SAME, atol=SAME)


@pytest.mark.parametrize("ties", ["round", "floor"])
def test_poses_are_interpolated_at_their_own_times(ties: Any) -> None:
    pruning = Pruning(keep=(9, 6), layers=(0, 1), ties=ties, interpolate="kept")
    kept_frames = sampled_frames(WINDOW, pruning)
    assert np.ptp(np.diff(kept_frames)) > 0  # not evenly spaced
    weights, line = interpolation(WINDOW, pruning), np.array(kept_frames, float) * 3 - 2
    np.testing.assert_allclose(weights @ line, np.arange(WINDOW) * 3.0 - 2, atol=SAME)  # a line stays a line
    for frame, row in enumerate(weights):
        after = next(n for n, at in enumerate(kept_frames) if at >= frame)
        expected = np.zeros(len(kept_frames))
        share = (kept_frames[after] - frame) / (kept_frames[after] - kept_frames[after - 1]) if after else 0.0
        expected[after] = 1 - share
        expected[after - 1] += share
        np.testing.assert_allclose(row, expected, atol=SAME)


def test_tra_is_multi_head_attention_from_a_query_for_each_frame() -> None:
    pruner = stirred(Pruner(around("tpc"), DIM, HEADS, WINDOW))
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True).double().requires_grad_(False)
    theirs.in_proj_weight.copy_(torch.cat([pruner.to_query.weight, pruner.to_key_value.weight]))
    theirs.in_proj_bias.copy_(torch.cat([pruner.to_query.bias, pruner.to_key_value.bias]))
    theirs.out_proj.load_state_dict(pruner.out.state_dict())
    x, query = random(0, ROWS, KEEP, JOINTS, DIM), pruner.query.expand(ROWS, -1, -1)
    for joint, got in enumerate(pruner.recover(x).unbind(2)):
        expected, _ = theirs(query, x[:, :, joint], x[:, :, joint])
        torch.testing.assert_close(got, query + expected, rtol=SAME, atol=SAME)


def test_tra_learns_queries_that_start_at_zero_and_tri_learns_nothing() -> None:
    attending = Pruner(around("tpc"), DIM, HEADS, WINDOW)
    assert not attending.query.any() and attending.query.shape == (WINDOW, DIM)
    assert sum(p.numel() for p in attending.parameters()) == WINDOW * DIM + 4 * (DIM * DIM + DIM)
    assert not list(Pruner(around("tps"), DIM, HEADS, WINDOW).parameters())
    placed = Pruner(Pruning(keep=(7, 3), layers=(0, 1), positions=True), DIM, HEADS, WINDOW)
    assert [tuple(p.shape) for p in placed.parameters()] == [(7, 1, DIM), (3, 1, DIM)]
    assert not any(p.any() for p in placed.parameters())


# Around a network.


def make(kind: str, pruning: Pruning | None, layers: int = 3) -> Lifter:
    torch.manual_seed(0)
    fields: dict[str, Any] = {"mixer": AttentionConfig(), "window": WINDOW, "dim": DIM, "heads": HEADS, "layers": layers}
    return stirred(build(TOPOLOGIES[kind](pruning=pruning, **fields))).eval()


class Taking(ForwardMode):
    """A forward that takes frames (B, r) of its features before each layer and returns the poses of those that remain."""

    def __init__(self, taken: dict[int, Tensor]) -> None:
        super().__init__(Timing(torch.ones(1, WINDOW, dtype=torch.float64)))
        self.taken = taken

    def before_layer(self, layer: int, *features: Tensor) -> tuple[Tensor, ...]:
        if layer not in self.taken:
            return features
        rows = range(ROWS)
        return tuple(torch.stack([(x if x.ndim == 3 else x[n])[self.taken[layer][n]] for n in rows]) for x in features)


class Recorded(PrunedMode):
    """Records the frames that a pruned forward keeps at each layer, among those before it."""

    def __init__(self, model: Lifter, x: Tensor) -> None:
        assert model.pruner is not None
        super().__init__(Timing(torch.ones(1, WINDOW, dtype=torch.float64)), model.pruner, x)
        self.taken: dict[int, Tensor] = {}

    def before_layer(self, layer: int, *features: Tensor) -> tuple[Tensor, ...]:
        before = self.kept_frames.expand(ROWS, -1)
        entered = super().before_layer(layer, *features)
        if layer in self.pruning.layers:
            after = self.kept_frames.expand(ROWS, -1)
            self.taken[layer] = torch.stack([torch.searchsorted(a, b) for a, b in zip(before, after, strict=True)])
        return entered


@topology
@pytest.mark.parametrize("by", ["tps", *CHOOSERS])
def test_a_pruned_network_is_the_network_on_the_frames_that_it_keeps(kind: str, by: str) -> None:
    first = 1 if by == "tpa" else 0
    model = make(kind, around(by, keep=(9, KEEP), layers=(first, 2)))
    x = random(0, ROWS, WINDOW, 17, 3)
    mode = Recorded(model, x)
    got = model.lift(x, mode)
    assert torch.equal(got, model(x)) and got.shape == (ROWS, WINDOW, 17, 3)

    class Recovered(Taking):
        def before_head(self, x: Tensor) -> Tensor:
            return x if by == "tps" else mode.pruner.recover(x)

    pose = model.lift(x, Recovered(mode.taken))
    if by == "tps":
        aligned = F.interpolate(pose.flatten(2).transpose(1, 2), WINDOW, mode="linear", align_corners=True)
        pose = aligned.transpose(1, 2).unflatten(-1, (17, 3))
    torch.testing.assert_close(got, pose, rtol=SAME, atol=SAME)


@topology
@pytest.mark.parametrize("by", ["tps", *CHOOSERS])
def test_seq2frame_answers_with_the_middle_frames_pose(kind: str, by: str) -> None:
    model = make(kind, around(by, keep=(9, KEEP), layers=(1, 2), output="centre"))
    x = random(0, ROWS, WINDOW, 17, 3)
    mode = Recorded(model, x)
    got = model.lift(x, mode)
    poses = model.lift(x, Taking(mode.taken))  # (B, r, J, 3)
    middle = [kept_frames.tolist().index(WINDOW // 2) for kept_frames in mode.kept_frames.expand(ROWS, -1)]
    expected = torch.stack([pose[n] for pose, n in zip(poses, middle, strict=True)])[:, None]
    assert got.shape == (ROWS, 1, 17, 3) and model.latency_frames == WINDOW // 2
    torch.testing.assert_close(got, expected, rtol=SAME, atol=SAME)


@topology
@pytest.mark.parametrize("by", ["tps", *CHOOSERS])
def test_rows_of_a_pruned_network_do_not_touch_each_other(kind: str, by: str) -> None:
    model = make(kind, around(by, keep=(9, KEEP), layers=(1, 2)))
    x = random(0, ROWS, WINDOW, 17, 3)
    for row, expected in enumerate(model(x)):
        torch.testing.assert_close(model(x[row : row + 1])[0], expected, rtol=SAME, atol=SAME)


@pytest.mark.parametrize("kind", ["alternating", "dual_stream"])
def test_positions_are_added_after_each_stage(kind: str) -> None:
    pruning = Pruning(keep=(9, KEEP), layers=(0, 2), by="tpc", recover="tra", positions=True)
    model = make(kind, pruning)
    x = random(0, ROWS, WINDOW, 17, 3)
    mode = Recorded(model, x)
    got = model.lift(x, mode)
    positions = {layer: p for layer, p in zip((0, 2), mode.pruner.positions, strict=True)}

    class Placed(Taking):
        def before_layer(self, layer: int, *features: Tensor) -> tuple[Tensor, ...]:
            return tuple(x + positions[layer] if layer in positions else x for x in super().before_layer(layer, *features))

        def before_head(self, x: Tensor) -> Tensor:
            return mode.pruner.recover(x)

    torch.testing.assert_close(got, model.lift(x, Placed(mode.taken)), rtol=SAME, atol=SAME)


@topology
def test_what_pruning_has_learnt_is_trained(kind: str) -> None:
    model = make(kind, Pruning(keep=(9, KEEP), layers=(0, 2), by="tpc", recover="tra", positions=True)).requires_grad_(True)
    model(random(0, 1, WINDOW, 17, 3)).square().sum().backward()
    assert model.pruner is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.pruner.parameters())


def test_an_unpruned_network_answers_at_once() -> None:
    assert make("alternating", None).latency_frames == 0 and make("alternating", around("tps")).latency_frames == 0


@topology
@pytest.mark.parametrize("frames", [1, WINDOW - 1, WINDOW + 1])
def test_a_pruned_network_takes_whole_windows(kind: str, frames: int) -> None:
    with pytest.raises(UsageError, match=f"window of {frames} frames|{frames} frames at once"):
        make(kind, around("tps"))(random(0, 1, frames, 17, 3))


class Silent(Mixer):
    """A mixer other than attention."""

    kind = "silent"

    @property
    def state_shape(self) -> None:
        return None

    def forward(self, q: Tensor, k: Tensor, v: Tensor, timing: Timing) -> Tensor:
        return v


def test_only_attention_records_what_is_attended() -> None:
    mode = PrunedMode(
        Timing(torch.ones(1, WINDOW)), Pruner(around("tpmo"), DIM, HEADS, WINDOW), random(0, 1, WINDOW, JOINTS, 3)
    )
    x = random(0, 1, WINDOW, JOINTS, DIM)
    assert torch.equal(mode.mix(Silent(), x, x, x), x) and mode.attended is None


# Refused prunings.


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"by": "random"}, "'random'"),
        ({"recover": "copy"}, "'copy'"),
        ({"output": "both"}, "'both'"),
        ({"ties": "up"}, "'up'"),
        ({"interpolate": "cubic"}, "'cubic'"),
        ({"keep": (), "layers": ()}, "fewer frames at each stage"),
        ({"keep": (WINDOW,)}, "fewer frames at each stage"),
        ({"keep": (WINDOW + 1,)}, "fewer frames at each stage"),
        ({"keep": (0,)}, "fewer frames at each stage"),
        ({"keep": (-1,)}, "fewer frames at each stage"),
        ({"keep": (7, 7), "layers": (0, 1)}, "fewer frames at each stage"),
        ({"keep": (5, 7), "layers": (0, 1)}, "fewer frames at each stage"),
        ({"keep": (7, 5)}, "one layer a stage"),
        ({"keep": (7,), "layers": (0, 1)}, "one layer a stage"),
        ({"layers": (3,)}, "increasing numbers of existing layers"),
        ({"layers": (-1,)}, "increasing numbers of existing layers"),
        ({"keep": (7, 5), "layers": (1, 0)}, "increasing numbers of existing layers"),
        ({"keep": (7, 5), "layers": (1, 1)}, "increasing numbers of existing layers"),
        ({"recover": "none"}, "none with centre, tri or tra with sequence"),
        ({"output": "centre"}, "none with centre, tri or tra with sequence"),
        ({"output": "centre", "recover": "tra"}, "none with centre, tri or tra with sequence"),
        ({"by": "tpc"}, "tra: interpolation needs"),
        ({"by": "tpmo"}, "tra: interpolation needs"),
        ({"by": "tpa", "recover": "tra"}, "a later layer"),
        ({"keep": (6,), "output": "centre", "recover": "none"}, "odd numbers"),
        ({"keep": (1,), "output": "centre", "recover": "none"}, "odd numbers"),
    ],
)
@topology
def test_an_invalid_pruning_is_refused(kind: str, wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"keep": (7,), "layers": (0,)}
    make(kind, Pruning(**right))
    with pytest.raises(UsageError, match=message):
        make(kind, Pruning(**(right | wrong)))


@topology
@pytest.mark.parametrize("mixer", [RetentionConfig(), DSSMConfig()], ids=["retention", "dssm"])
def test_a_lifter_with_a_state_is_not_pruned(kind: str, mixer: MixerConfig) -> None:
    with pytest.raises(UsageError, match=f"pruning of {mixer.kind}; expected an attention lifter"):
        TOPOLOGIES[kind](mixer=mixer, dim=DIM, heads=HEADS, layers=3, pruning=around("tps"))  # type: ignore[call-arg]


def test_the_middle_frame_of_an_even_window_may_be_kept() -> None:
    for by in ("tpc", "tps"):  # the middle of frames 0 to 11 is 6, and so is 5.5, rounded
        around(by, keep=(3,), output="centre").check(12, 3)
    with pytest.raises(UsageError, match="odd numbers"):
        Pruning(keep=(3,), layers=(0,), recover="none", output="centre", ties="floor").check(12, 3)
