"""Long calls are computed piece by piece: linear in their frames, and the same numbers and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from posemoe_edge.edge.models import retention
from posemoe_edge.edge.models.dssm import DSSM, MAX_DIRECT
from posemoe_edge.edge.models.mixer import Mixer
from posemoe_edge.edge.models.retention import LONGEST_WHOLE, PIECE, Retention
from posemoe_edge.edge.models.timing import Timing
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

DISTANCES = (4.0, 0.5)
JOINTS, DIM, HEADS, ROWS = len(DISTANCES), 8, 2, 2
SAME = 1e-10  # float64: the same sums in another order, relative to the largest value
reproducible = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def timings(draw: st.DrawFn, frames: int) -> Timing:
    """The nominal rate, or any gaps, and resets or none."""
    size = ROWS * frames
    drawn = draw(st.none() | st.lists(st.floats(0.05, 30.0), min_size=size, max_size=size))
    cleared = draw(st.none() | st.lists(st.booleans(), min_size=size, max_size=size))
    reset = None if cleared is None else torch.tensor(cleared).view(ROWS, frames)
    if drawn is None:
        return Timing(torch.ones(1, frames, dtype=torch.float64), reset, uniform=True)
    return Timing(torch.tensor(drawn, dtype=torch.float64).view(ROWS, frames), reset)


def with_stairs(timing: Timing, stairs: int) -> Timing:
    return Timing(timing.elapsed, timing.reset, stairs, timing.uniform)


def output_and_gradients(mixer: Mixer, timing: Timing, rows: int = ROWS) -> list[Tensor]:
    """Of random q, k and v, and of the mixer's weights."""
    generator = torch.Generator().manual_seed(0)
    frames = timing.elapsed.shape[-1]
    drawn = torch.randn(4, rows, frames, JOINTS, DIM, dtype=torch.float64, generator=generator)
    q, k, v = (x.clone().requires_grad_() for x in drawn[:3])
    weights = [weight for weight in mixer.parameters() if weight.requires_grad]
    y = mixer(q, k, v, timing)
    return [y, *torch.autograd.grad(y, [q, k, v, *weights], drawn[3])]


def assert_all_close(got: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(got, expected, strict=True):
        assert (a - b).abs().max() <= SAME * b.abs().max().clamp(min=1.0)


def flops(mixer: Mixer, timing: Timing) -> int:
    x = torch.ones(1, timing.elapsed.shape[-1], JOINTS, DIM)
    with FlopCounterMode(display=False) as counter:
        mixer(x, x, x, timing)
    return int(counter.get_total_flops())


def uniform(frames: int) -> Timing:
    return Timing(torch.ones(1, frames), uniform=True)


# Retention.


@reproducible
@given(data=st.data(), frames=st.integers(2, 13), piece=st.integers(1, 6), stairs=st.integers(1, 4), zoh_gain=st.booleans())
def test_pieces_give_the_numbers_and_gradients_of_the_whole(
    data: st.DataObject, frames: int, piece: int, stairs: int, zoh_gain: bool
) -> None:
    timing = with_stairs(data.draw(timings(frames)), stairs)
    mixer = Retention(DIM, HEADS, DISTANCES, zoh_gain=zoh_gain).double()
    expected = output_and_gradients(mixer, timing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "PIECE", piece)
        patch.setattr(retention, "LONGEST_WHOLE", 1)
        got = output_and_gradients(mixer, with_stairs(timing, stairs))
    assert_all_close(got, expected)


@pytest.mark.parametrize("reset", [None, PIECE, PIECE + 5])
def test_a_chunk_of_many_pieces_goes_on_from_a_state(reset: int | None) -> None:
    mixer, frames = Retention(DIM, HEADS, DISTANCES).double(), 2 * LONGEST_WHOLE + 3
    cleared = None if reset is None else (torch.arange(frames) == reset)[None]
    elapsed = torch.linspace(0.5, 2.0, frames, dtype=torch.float64)[None]
    q, k, v = torch.randn(3, 1, frames, JOINTS, DIM, dtype=torch.float64)
    start = torch.randn(1, *mixer.state_shape, dtype=torch.float64)
    y, end = mixer.chunk(q, k, v, start, Timing(elapsed, cleared))
    parts, state = [], start
    for n in range(frames):
        now = Timing(elapsed[:, n : n + 1], None if cleared is None else cleared[:, n : n + 1])
        part, state = mixer.step(q[:, n], k[:, n], v[:, n], state, now)
        parts.append(part)
    assert_all_close([y, end], [torch.stack(parts, dim=1), state])


def test_a_long_call_costs_in_proportion_to_its_frames() -> None:
    mixer, frames = Retention(DIM, HEADS, DISTANCES), 8 * PIECE
    assert flops(mixer, uniform(2 * frames)) == 2 * flops(mixer, uniform(frames))
    assert flops(mixer, uniform(LONGEST_WHOLE)) == 4 * flops(mixer, uniform(LONGEST_WHOLE // 2))


def test_frames_that_all_see_one_another_are_one_piece() -> None:
    mixer, frames = Retention(DIM, HEADS, DISTANCES), 4 * LONGEST_WHOLE
    ahead = Timing(torch.ones(1, frames), chunk_size=frames)
    assert flops(mixer, ahead) == 2 * 2 * frames**2 * JOINTS * DIM


def test_an_exported_graph_is_computed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, frames = Retention(DIM, HEADS, DISTANCES), 4 * LONGEST_WHOLE
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert flops(mixer, uniform(frames)) == 2 * 2 * frames**2 * JOINTS * DIM


# Timing.


def test_pieces_of_one_rate_share_their_timing() -> None:
    (a, first), (b, second), (c, last) = uniform(7).split(3)
    assert (a, b, c) == (slice(0, 3), slice(3, 6), slice(6, 7))
    assert first is second and first.uniform and last.elapsed.shape == (1, 1)


@pytest.mark.parametrize("reset", [None, torch.tensor([[True, False, False, True, False]])])
def test_pieces_of_other_timings_have_their_own(reset: Tensor | None) -> None:
    timing = Timing(torch.arange(1.0, 6.0)[None], reset, uniform=reset is not None, chunk_size=2)
    (_, first), (_, second) = timing.split(4)
    assert torch.equal(first.elapsed, timing.elapsed[:, :4]) and torch.equal(second.elapsed, timing.elapsed[:, 4:])
    assert first.chunk_size == 2
    if reset is not None:
        assert first.reset is not None and torch.equal(first.reset, reset[:, :4])


def test_rows_that_are_alike_become_one() -> None:
    alike, apart = torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([[1.0, 2.0], [1.0, 2.5]])
    nowhere, somewhere = torch.zeros(2, 2, dtype=torch.bool), torch.tensor([[False, False], [False, True]])
    assert torch.equal(Timing(alike).one_row().elapsed, alike[:1])
    one = Timing(alike, nowhere).one_row()
    assert one.reset is None and one.elapsed.shape == (1, 2)
    for timing in (Timing(apart), Timing(alike, somewhere), Timing(alike[:1], somewhere)):
        assert timing.one_row() is timing


def test_the_longest_run_of_frames() -> None:
    timing = Timing(torch.tensor([[9.0, 1.0, 2.0, 5.0, 1.0], [9.0, 1.0, 1.0, 1.0, 1.0]]))
    assert timing.longest(1) == 0 and timing.longest(2) == 5 and timing.longest(3) == 7
    assert timing.longest(5) == timing.longest(99) == 9


# dssm.


def small_dssm(*, fastest: float = 0.1) -> DSSM:
    """Its fastest mode loses half of ``fastest`` a frame."""
    torch.manual_seed(0)
    mixer = DSSM(DIM, JOINTS, size=4).double()
    mixer.log_step.data.clamp_(max=np.log(fastest)).view(-1)[0] = np.log(fastest)
    return mixer


@reproducible
@given(frames=st.integers(1, 12), gap=st.floats(0.1, 4.0))
@example(frames=12, gap=1.0)
def test_rows_of_equal_times_are_filtered_as_each_alone(frames: int, gap: float) -> None:
    mixer = small_dssm()
    elapsed = (gap * torch.arange(1, frames + 1, dtype=torch.float64))[None]
    together = output_and_gradients(mixer, Timing(elapsed.expand(ROWS, -1)))
    never = torch.zeros(ROWS, frames, dtype=torch.bool)
    with_reset = output_and_gradients(mixer, Timing(elapsed.expand(ROWS, -1), never))
    apart = elapsed.repeat(ROWS + 1, 1)
    apart[-1] *= 1.5  # rows that differ are filtered by a kernel each
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(4, ROWS, frames, JOINTS, DIM, dtype=torch.float64, generator=generator)[:3]
    one_by_one = mixer(*(torch.cat([x, x[:1]]) for x in (q, k, v)), Timing(apart))[:ROWS]
    assert_all_close(together[:1], [one_by_one])
    assert_all_close(with_reset, together)


@pytest.mark.parametrize("frames", [MAX_DIRECT, 4 * MAX_DIRECT])
def test_a_long_call_is_filtered_as_the_nominal_rates_convolution(frames: int) -> None:
    """The fastest mode decays by more than can be undone over the long call, but not over a block of it."""
    mixer = small_dssm(fastest=1.0)
    by_blocks = output_and_gradients(mixer, Timing(torch.ones(ROWS, frames, dtype=torch.float64)))
    convolved = output_and_gradients(mixer, Timing(torch.ones(1, frames, dtype=torch.float64), uniform=True))
    assert_all_close(by_blocks, convolved)
