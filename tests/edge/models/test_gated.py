"""HumMUSS's gated blocks against the paper's equations, with the filters run position by position."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from posemoe_edge.edge.models.blocks import GatedBlock, GatedJoints, GatedTime
from posemoe_edge.edge.models.dssm import DSSM, MAX_DIRECT, DSSMConfig, ReverseDSSM
from posemoe_edge.edge.models.dual_stream import DualStreamConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.modes import ForwardMode, StepMode
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.edge.models.topology import build
from posemoe_edge.runtime.errors import UsageError
from torch import Tensor, nn

GOLDEN = Path(__file__).parents[4] / "shared" / "reference" / "golden" / "s4d_kernel.npz"
FPS, FRAMES, JOINTS, DIM = 50.0, 7, 5, 8

SAME = 1e-10  # float64: the same numbers, summed in another order
FLOAT32 = 1e-6  # initial values are computed in float32

Array = NDArray[Any]


def config(*, both: bool, window: int = FRAMES, **others: Any) -> DualStreamConfig:
    fields: dict[str, Any] = {
        "mixer": DSSMConfig(state_size=4), "block": "gated", "dim": DIM, "heads": 2, "layers": 1, "joints": JOINTS,
        "reduction": 2, "lookahead": both, "window": window if both else None, "positions": False,
    }  # fmt: skip
    return DualStreamConfig(**(fields | others))


def make(module: nn.Module) -> Any:
    """In float64, every weight moved away from its initial value."""
    module.double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        weight.add_(0.1 * torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return module


def features(frames: int = FRAMES) -> Tensor:
    return torch.randn(2, frames, JOINTS, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def spaced(frames: int = FRAMES) -> Array:
    """(2, T) seconds since the frame before, uneven. The last one is nominal, as is the duration of the last frame."""
    dt_s = np.random.default_rng(0).uniform(0.005, 0.1, (2, frames))
    dt_s[:, -1] = 1 / FPS
    return dt_s


def apart(got: Tensor, expected: Tensor | Array) -> float:
    """The largest difference, relative to the largest value."""
    target = torch.as_tensor(expected)
    assert got.shape == target.shape
    return float((got - target).abs().max() / target.abs().max())


# The equations, in numpy.


def gelu(x: Array) -> Array:
    activated: Array = x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return activated


def linear(layer: nn.Linear, x: Array) -> Array:
    y: Array = x @ layer.weight.numpy().T
    if layer.bias is not None:
        y = y + layer.bias.numpy()
    return y


def normed(norm: nn.LayerNorm, x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.eps)
    y: Array = scaled * norm.weight.numpy() + norm.bias.numpy()
    return y


def filtered(dssm: DSSM, u: Array, elapsed: Array) -> Array:
    """A diagonal state space over (L, C), position by position, each held for its own time (L,)."""
    step = np.exp(dssm.log_step.numpy())[:, None]  # (C, 1)
    a = -np.exp(dssm.log_rate.numpy()) + 1j * dssm.frequency.numpy()  # (C or 1, N/2)
    c = dssm.read[0].numpy() + 1j * dssm.read[1].numpy()
    x = np.zeros(c.shape, complex)
    y = []
    for place, time in zip(u, elapsed, strict=True):
        power = np.exp(a * step * time)
        x = power * x + (power - 1) / a * place[:, None]
        y.append(2 * (c * x).sum(-1).real + dssm.skip.numpy() * place)
    return np.stack(y)


def block(gated: GatedBlock, x: Array, elapsed: Array, until: Array) -> Array:
    """(L, C) through equations of 4.1 or 4.2; forwards a position lasts ``elapsed``, backwards ``until`` the next one."""
    x_n = normed(gated.norm, x)
    x_id = gelu(linear(gated.identity, x_n))
    x_f = linear(gated.ahead_out, filtered(gated.ahead, gelu(linear(gated.ahead_in, x_n)), elapsed))
    if not gated.both:
        return x + linear(gated.out, x_f * x_id)
    flipped = gelu(linear(gated.back_in, x_n[::-1]))
    x_b = linear(gated.back_out, filtered(gated.back.dssm, flipped, until[::-1]))[::-1]
    x_cb = gelu(linear(gated.combine, x_f * x_b))
    return x + linear(gated.out, x_cb * x_id)


def over_time(gated: GatedBlock, x: Tensor, elapsed: Array) -> Array:
    """Every row and joint separately."""
    y = np.zeros_like(x.numpy())
    for row, joint in np.ndindex(len(x), JOINTS):
        times = elapsed[row]
        y[row, :, joint] = block(gated, x[row, :, joint].numpy(), times, np.append(times[1:], 1.0))
    return y


# Blocks.


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("both", [True, False], ids=["both", "ahead"])
@pytest.mark.parametrize("time", ["uniform", "varying"])
def test_a_block_over_time_is_its_equations(bias: bool, both: bool, time: str) -> None:
    gated, x = make(GatedTime(config(both=both, bias=bias, expansion=3))), features()
    elapsed = np.ones((2, FRAMES)) if time == "uniform" else spaced() * FPS
    timing = Timing(torch.from_numpy(elapsed), chunk_size=FRAMES if both else 1, uniform=time == "uniform")
    assert apart(gated(x, ForwardMode(timing)), over_time(gated, x, elapsed)) < SAME


@pytest.mark.parametrize("both", [True, False], ids=["both", "ahead"])
def test_a_block_over_joints_has_both_directions_always(both: bool) -> None:
    gated, x = make(GatedJoints(config(both=both))), features()
    ones = np.ones(JOINTS)
    expected = np.stack([[block(gated, frame.numpy(), ones, ones) for frame in row] for row in x])
    assert gated.both and apart(gated(x), expected) < SAME
    assert apart(gated(x[:, 0]), expected[:, 0]) < SAME  # a step's features have no frames


@pytest.mark.parametrize(("expansion", "reduction"), [(1, 1), (2, 4), (3, 2)])
def test_widths_are_multiples_and_fractions_of_the_channels(expansion: int, reduction: int) -> None:
    for both in (True, False):
        gated = GatedTime(config(both=both, expansion=expansion, reduction=reduction))
        assert gated.identity.weight.shape == (expansion * DIM, DIM) and gated.out.weight.shape == (DIM, expansion * DIM)
        assert gated.ahead_in.weight.shape == (DIM // reduction, DIM)
        assert gated.ahead_out.weight.shape == ((DIM if both else expansion * DIM), DIM // reduction)
        assert len(gated.ahead.log_step) == DIM // reduction


def test_a_causal_block_steps_as_it_runs() -> None:
    gated, x, times = make(GatedTime(config(both=False))), features(), torch.from_numpy(spaced() * FPS)
    expected, state = gated(x, ForwardMode(Timing(times))), torch.zeros(2, 1, *gated.ahead.state_shape, dtype=torch.float64)
    for n in range(FRAMES):
        mode = StepMode(Timing(times[:, n : n + 1]), state, [gated.ahead])
        assert apart(gated(x[:, n], mode), expected[:, n]) < SAME
        state = mode.packed_state()


def test_backwards_is_the_filter_of_the_flipped_window() -> None:
    dssm, u = make(DSSM(DIM, JOINTS, 4)), features()
    ones = torch.ones_like(u)
    for uniform in (True, False):
        timing = Timing(torch.ones(1, FRAMES, dtype=torch.float64), uniform=uniform)
        expected = dssm(ones, ones, u.flip(1), timing).flip(1)
        assert apart(ReverseDSSM(dssm)(ones, ones, u, timing), expected) < SAME
        scale = torch.ones((), dtype=torch.float64)
        assert apart(ReverseDSSM(dssm)(scale, scale, u, timing), expected) < SAME


def test_backwards_takes_queries_and_keys_of_its_own_frames() -> None:
    dssm, timing = make(DSSM(DIM, JOINTS, 4)), Timing(torch.ones(1, FRAMES, dtype=torch.float64))
    q, k, v = features(), features().roll(1, 0), features().roll(1, 1)
    ones = torch.ones_like(v)
    assert apart(ReverseDSSM(dssm)(q, k, v, timing), q * ReverseDSSM(dssm)(ones, ones, k * v, timing)) < SAME


def test_a_reverse_dssm_has_no_state() -> None:
    mixer, u = ReverseDSSM(DSSM(DIM, JOINTS, 4)), features()
    assert mixer.state_shape is None
    with pytest.raises(UsageError, match="dssm has no state"):
        mixer.chunk(u, u, u, torch.zeros(1), Timing(torch.ones(1, FRAMES)))


# Frame rates.


def test_a_held_input_is_the_same_at_half_the_frame_rate_in_both_directions() -> None:
    """A frame of twice the duration equals two equal frames: forwards after the second, backwards after the first of them."""
    dssm, slow = make(DSSM(DIM, JOINTS, 4)), features()
    slow[:, -1] = 0  # the duration of a window's last frame is unknown
    fast, ones = slow.repeat_interleave(2, dim=1), torch.ones((), dtype=torch.float64)
    at_half, at_full = Timing(torch.full((1, FRAMES), 2.0).double()), Timing(torch.ones(1, 2 * FRAMES).double())
    assert apart(dssm(ones, ones, slow, at_half), dssm(ones, ones, fast, at_full)[:, 1::2]) < SAME
    backwards = ReverseDSSM(dssm)
    assert apart(backwards(ones, ones, slow, at_half), backwards(ones, ones, fast, at_full)[:, ::2]) < SAME


def scaled(model: Lifter, by: float) -> Lifter:
    """A HumMUSS whose filters over time have a step so many times as long; those over joints stay as they are."""
    other = build(model.config).double().eval().requires_grad_(False)
    other.load_state_dict(model.state_dict())
    for module in other.modules():
        if isinstance(module, GatedTime):
            for dssm in module.modules():
                if isinstance(dssm, DSSM):
                    dssm.log_step.add_(math.log(by))
    return other


@pytest.mark.parametrize("both", [True, False], ids=["both", "ahead"])
@pytest.mark.parametrize("by", [0.5, 2.0])
def test_another_frame_rate_scales_the_step_of_every_filter_over_time(both: bool, by: float) -> None:
    model = make(build(config(both=both)))
    x = torch.randn(2, FRAMES, JOINTS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    dt = torch.full((2, FRAMES), by / FPS, dtype=torch.float64)
    assert apart(model(x, dt), scaled(model, by)(x)) < SAME


# Initial values of the filters, and their two ways of summing.


def frequencies(size: int, modes: str) -> Array:
    n = np.arange(size // 2)
    return math.pi * n if modes == "lin" else size / math.pi * (size / (2 * n + 1) - 1)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("size", [2, 16, 64])
@pytest.mark.parametrize("modes", ["lin", "inv"])
def test_filters_start_as_s4d_does(modes: Any, size: int, shared: bool) -> None:
    dssm = DSSM(DIM, size=size, modes=modes, shared=shared).requires_grad_(False)
    expected = np.broadcast_to(frequencies(size, modes), (1 if shared else DIM, size // 2))
    np.testing.assert_allclose(dssm.frequency, expected, rtol=FLOAT32, atol=FLOAT32)
    np.testing.assert_allclose(dssm.log_rate.exp(), np.full_like(expected, 0.5), rtol=FLOAT32)
    assert ((dssm.log_step >= math.log(1e-3)) & (dssm.log_step <= math.log(1e-1))).all()


@pytest.mark.parametrize("modes", ["lin", "inv"])
def test_filters_start_at_the_published_frequencies(modes: Any) -> None:
    if not GOLDEN.is_file():
        pytest.skip(f"the reference vectors are not beside this repository ({GOLDEN.name})")
    with np.load(GOLDEN) as file:
        expected = file[f"init_{modes}_imag"]
    np.testing.assert_allclose(DSSM(4, size=16, modes=modes).frequency[0].detach(), expected, rtol=FLOAT32, atol=FLOAT32)


def test_filters_of_no_known_start_or_odd_size_are_refused() -> None:
    with pytest.raises(UsageError, match="'hippo'"):
        DSSM(DIM, modes=cast("Any", "hippo"))
    with pytest.raises(UsageError, match="an even number"):
        DSSM(DIM, size=3)


@pytest.mark.parametrize("places", [1, MAX_DIRECT - 1, MAX_DIRECT, MAX_DIRECT + 1, 3 * MAX_DIRECT])
@pytest.mark.parametrize("dim", [1, -2])
def test_sums_and_transforms_filter_alike(places: int, dim: int) -> None:
    """numpy's own convolution with the kernel, along frames or joints."""
    dssm = make(DSSM(DIM, size=4))
    u = torch.randn(2, 3, places, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    kernel = dssm.kernel(places).numpy()
    expected = np.zeros_like(u.numpy())
    for row, joint, channel in np.ndindex(2, 3, DIM):
        line = u[row, joint, :, channel].numpy()
        summed = np.convolve(line, kernel[:, channel])[:places]
        expected[row, joint, :, channel] = summed + dssm.skip[channel].item() * line
    if dim == 1:
        assert apart(dssm.convolve(u.transpose(1, 2), dim=1).transpose(1, 2), expected) < SAME
    else:
        assert apart(dssm.convolve(u, dim=-2), expected) < SAME


def test_shared_modes_are_one_row_for_all_channels() -> None:
    shared, own = make(DSSM(DIM, JOINTS, 4, shared=True)), make(DSSM(DIM, JOINTS, 4))
    assert shared.log_rate.shape == shared.frequency.shape == (1, 2) and own.log_rate.shape == own.frequency.shape == (DIM, 2)
    weights = {name: w.expand(DIM, 2) if name in ("log_rate", "frequency") else w for name, w in shared.state_dict().items()}
    own.load_state_dict(weights)
    u, state = features(), torch.randn(2, *shared.state_shape, dtype=torch.float64)
    for timing in (Timing(torch.ones(1, FRAMES).double(), uniform=True), Timing(torch.from_numpy(spaced() * FPS))):
        assert apart(shared(u, u, u, timing), own(u, u, u, timing)) < SAME
        for got, expected in zip(shared.chunk(u, u, u, state, timing), own.chunk(u, u, u, state, timing), strict=True):
            assert apart(got, expected) < SAME
        step = timing.slice_frames(slice(0, 1))
        frame = u[:, 0]
        for got, expected in zip(
            shared.step(frame, frame, frame, state, step), own.step(frame, frame, frame, state, step), strict=True
        ):
            assert apart(got, expected) < SAME


def test_the_state_does_not_know_whether_modes_are_shared() -> None:
    assert DSSM(DIM, JOINTS, 4, shared=True).state_shape == DSSM(DIM, JOINTS, 4).state_shape == (JOINTS, DIM, 4)
