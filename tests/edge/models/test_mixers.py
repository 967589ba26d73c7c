from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from posemoe_edge.edge.models.attention import Attention
from posemoe_edge.edge.models.dssm import DSSM, PAIRWISE_BLOCK
from posemoe_edge.edge.models.mixer import Mixer
from posemoe_edge.edge.models.retention import DISTANCES as DISTANCES_OF
from posemoe_edge.edge.models.retention import H36M_DISTANCES, Retention
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.runtime.errors import UsageError
from torch import Tensor
from torch.nn import functional as F

GOLDEN = Path(__file__).parents[4] / "shared" / "reference" / "golden" / "s4d_kernel.npz"
FPS = 50.0
DISTANCES = (4.0, 1.0, 0.5)
JOINTS, DIM, HEADS = len(DISTANCES), 8, 2

# Tolerances between the forms, relative to the largest value: they sum the same numbers in another order.
SAME = {torch.float64: 1e-10, torch.float32: 1e-5}
EXACT = 1e-12  # float64, one formula written twice
CONSTANTS = 1e-6  # decays and angles are kept in float32 and multiplied by times of some hundred frames
DIGITS = 1.1e-7  # seven printed digits, and a float32 each
LONG = 1e-4  # float32 after 20,000 frames: rounding errors decay with the frames and do not add up

recurrent = pytest.mark.parametrize("kind", ["retention", "published", "dssm"])
reproducible = settings(max_examples=40, deadline=None, derandomize=True)
any_dtype = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


@dataclass(frozen=True)
class Stream:
    """The spacing of a stream's frames, its resets, and the frames at which it is cut into chunks."""

    frames: int
    dt_s: NDArray[np.float64] | None = None  # (rows or 1, T), None at the nominal rate
    reset: NDArray[np.bool_] | None = None  # (rows, T)
    cuts: tuple[int, ...] = ()
    seed: int = 0
    rows: int = 2

    def timing(self, dtype: torch.dtype = torch.float64, span: slice = slice(None), chunk_size: int = 1) -> Timing:
        """The timing of some of its frames, as a lifter computes it."""
        reset = None if self.reset is None else torch.from_numpy(self.reset)[:, span]
        if self.dt_s is None:
            return Timing(torch.ones(1, self.frames, dtype=dtype)[:, span], reset, chunk_size, uniform=True)
        return Timing(torch.from_numpy(self.dt_s * FPS)[:, span].to(dtype), reset, chunk_size)

    def qkv(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
        """Random q, k, v, (B, T, J, C)."""
        values = torch.randn(3, self.rows, self.frames, JOINTS, DIM, generator=torch.Generator().manual_seed(self.seed))
        q, k, v = values.to(dtype)
        return q, k, v

    def state(self, mixer: Mixer, dtype: torch.dtype = torch.float64) -> Tensor:
        """A random initial state."""
        assert mixer.state_shape is not None
        state = torch.randn(self.rows, *mixer.state_shape, generator=torch.Generator().manual_seed(self.seed + 1))
        return state.to(dtype)

    @property
    def spans(self) -> Iterable[slice]:
        return (slice(a, b) for a, b in pairwise((0, *self.cuts, self.frames)))


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    frames, rows = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    dt_s = None
    timed_rows, timed_frames = draw(st.sampled_from([(0, 0), (1, 1), (1, frames), (rows, frames)]))  # none, constant, varying
    if timed_rows:
        size = timed_rows * timed_frames
        drawn = draw(st.lists(st.floats(0.001, 0.5), min_size=size, max_size=size))
        dt_s = np.broadcast_to(np.reshape(drawn, (timed_rows, timed_frames)), (timed_rows, frames)).copy()
    reset = draw(st.none() | st.lists(st.booleans(), min_size=rows * frames, max_size=rows * frames))
    return Stream(
        frames=frames,
        dt_s=dt_s,
        reset=None if reset is None else np.reshape(reset, (rows, frames)),
        cuts=tuple(sorted(draw(st.sets(st.integers(1, frames - 1))))) if frames > 1 else (),
        seed=draw(st.integers(0, 1000)),
        rows=rows,
    )


def varying(frames: int, *, longest_s: float = 0.5, resets: Iterable[int] = (), cuts: tuple[int, ...] = ()) -> Stream:
    """Two rows of uneven spacing, different in each; both are reset before the frames ``resets``."""
    dt_s = np.random.default_rng(0).uniform(0.001, longest_s, (2, frames))
    reset = np.isin(np.arange(frames), list(resets))[None].repeat(2, 0)
    return Stream(frames, dt_s, reset if reset.any() else None, cuts)


def make(kind: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> Mixer:
    """Retention with ``zoh_gain``, NC-RetNet's own ("published"), or dssm."""
    torch.manual_seed(seed)
    mixer: Mixer = (
        DSSM(DIM, JOINTS, size=4) if kind == "dssm" else Retention(DIM, HEADS, DISTANCES, zoh_gain=kind == "retention")
    )
    return mixer.to(dtype).requires_grad_(False)


def forward(mixer: Mixer, stream: Stream, dtype: torch.dtype = torch.float64, chunk_size: int = 1) -> Tensor:
    y: Tensor = mixer(*stream.qkv(dtype), stream.timing(dtype, chunk_size=chunk_size))
    return y


def whole(mixer: Mixer, stream: Stream, state: Tensor, chunk_size: int = 1) -> tuple[Tensor, Tensor]:
    return mixer.chunk(*stream.qkv(state.dtype), state, stream.timing(state.dtype, chunk_size=chunk_size))


def chunks(mixer: Mixer, stream: Stream, state: Tensor, chunk_size: int = 1) -> tuple[Tensor, Tensor]:
    """Chunk by chunk, at the stream's cuts."""
    y = []
    for span in stream.spans:
        q, k, v = (x[:, span] for x in stream.qkv(state.dtype))
        part, state = mixer.chunk(q, k, v, state, stream.timing(state.dtype, span, chunk_size))
        y.append(part)
    return torch.cat(y, dim=1), state


def steps(mixer: Mixer, stream: Stream, state: Tensor) -> tuple[Tensor, Tensor]:
    """Frame by frame."""
    q, k, v = stream.qkv(state.dtype)
    y = []
    for n in range(stream.frames):
        part, state = mixer.step(q[:, n], k[:, n], v[:, n], state, stream.timing(state.dtype, slice(n, n + 1)))
        y.append(part)
    return torch.stack(y, dim=1), state


def empty(mixer: Mixer, rows: int, dtype: torch.dtype = torch.float64) -> Tensor:
    assert mixer.state_shape is not None
    return torch.zeros(rows, *mixer.state_shape, dtype=dtype)


def assert_close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    assert got.dtype == expected.dtype and got.shape == expected.shape
    apart = (got - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
    assert apart <= tolerance, f"apart by {apart:.2e} of the largest value"


# Three forms, one mixer.


@recurrent
@any_dtype
@reproducible
@given(stream=streams())
@example(stream=Stream(frames=1))
@example(stream=varying(6, resets=[0, 1, 2], cuts=(1, 2)))
@example(
    stream=varying(
        2 * PAIRWISE_BLOCK + 3, longest_s=0.05, resets=[PAIRWISE_BLOCK - 1, PAIRWISE_BLOCK], cuts=(5, PAIRWISE_BLOCK + 1)
    )
)
def test_forward_equals_chunks_and_steps(kind: str, dtype: torch.dtype, stream: Stream) -> None:
    mixer = make(kind, dtype)
    y = forward(mixer, stream, dtype)
    _, after = whole(mixer, stream, empty(mixer, stream.rows, dtype))
    for run in (whole, chunks, steps):
        got, state = run(mixer, stream, empty(mixer, stream.rows, dtype))
        assert_close(got, y, SAME[dtype])
        assert_close(state, after, SAME[dtype])


@recurrent
@any_dtype
@reproducible
@given(stream=streams())
@example(stream=varying(5, resets=[4], cuts=(4,)))
def test_a_chunk_equals_its_parts_and_its_steps_from_any_state(kind: str, dtype: torch.dtype, stream: Stream) -> None:
    mixer = make(kind, dtype)
    state = stream.state(mixer, dtype)
    y, after = whole(mixer, stream, state)
    for run in (chunks, steps):
        got, end = run(mixer, stream, state)
        assert_close(got, y, SAME[dtype])
        assert_close(end, after, SAME[dtype])


@recurrent
@reproducible
@given(stream=streams(), size=st.integers(2, 5))
def test_a_staircase_equals_its_chunks(kind: str, stream: Stream, size: int) -> None:
    mixer = make(kind)
    stairs = Stream(stream.frames, stream.dt_s, stream.reset, tuple(range(size, stream.frames, size)), stream.seed, stream.rows)
    got, _ = chunks(mixer, stairs, empty(mixer, stream.rows), chunk_size=size)
    assert_close(got, forward(mixer, stream, chunk_size=size), SAME[torch.float64])


@recurrent
def test_packed_states_decay_as_each_alone(kind: str) -> None:
    mixers, stream = [make(kind, seed=seed) for seed in range(3)], varying(1)
    states = [Stream(1, seed=seed).state(mixer) for seed, mixer in enumerate(mixers)]
    decayed = type(mixers[0]).decay_state(mixers, torch.stack(states, dim=1), stream.timing())
    for n, (mixer, state) in enumerate(zip(mixers, states, strict=True)):
        alone = type(mixer).decay_state([mixer], state[:, None], stream.timing())[:, 0]
        torch.testing.assert_close(decayed[:, n], alone, rtol=0, atol=0)


# Resets and decay.


@recurrent
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("run", [whole, steps])
@pytest.mark.parametrize("at", [0, 2])
def test_a_reset_clears_a_state_that_is_not_finite(
    kind: str, poison: float, run: Callable[[Mixer, Stream, Tensor], tuple[Tensor, Tensor]], at: int
) -> None:
    mixer, stream = make(kind), varying(5, resets=[at])
    clean = empty(mixer, stream.rows)
    expected, after = run(mixer, stream, clean)
    got, state = run(mixer, stream, torch.full_like(clean, poison))
    torch.testing.assert_close(got[:, at:], expected[:, at:], rtol=0, atol=0)
    torch.testing.assert_close(state, after, rtol=0, atol=0)


@recurrent
@pytest.mark.parametrize("run", [whole, steps])
def test_a_reset_of_one_row_leaves_the_others(kind: str, run: Callable[[Mixer, Stream, Tensor], tuple[Tensor, Tensor]]) -> None:
    mixer, stream = make(kind), varying(4)
    reset = np.zeros((2, 4), bool)
    reset[1, 0] = True
    state = stream.state(mixer)
    without_reset, _ = run(mixer, stream, state)
    forgotten, _ = run(mixer, stream, torch.stack([state[0], torch.zeros_like(state[1])]))
    got, _ = run(mixer, Stream(4, stream.dt_s, reset), state)
    assert_close(got, torch.stack([without_reset[0], forgotten[1]]), EXACT)


# Which outputs a frame affects.


@recurrent
@pytest.mark.parametrize("frame", [0, 3, 7])
@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("which", [0, 1, 2], ids=["q", "k", "v"])
def test_a_frame_changes_nothing_before_it(kind: str, frame: int, uniform: bool, which: int) -> None:
    mixer, stream = make(kind), Stream(8) if uniform else varying(8)
    qkv = stream.qkv()
    before = mixer(*qkv, stream.timing())
    qkv[which][:, frame] += 1
    after = mixer(*qkv, stream.timing())
    torch.testing.assert_close(after[:, :frame], before[:, :frame], rtol=EXACT, atol=EXACT)
    assert (after[:, frame] - before[:, frame]).abs().max() > 1e-3


@pytest.mark.parametrize("frame", [0, 4, 5, 8])
def test_a_staircase_sees_the_rest_of_its_chunk_and_nothing_beyond(frame: int) -> None:
    mixer, stream, size = make("retention"), varying(9), 3
    q, k, v = stream.qkv()
    before = mixer(q, k, v, stream.timing(chunk_size=size))
    v[:, frame] += 1
    changed = (mixer(q, k, v, stream.timing(chunk_size=size)) - before).abs().amax(dim=(0, 2, 3))  # (T,)
    start = frame // size * size
    assert (changed[:start] < EXACT).all() and (changed[start:] > 1e-6).all()


def test_dssm_is_causal_within_a_chunk_of_any_size() -> None:
    mixer, stream = make("dssm"), varying(8)
    assert_close(forward(mixer, stream, chunk_size=4), forward(mixer, stream), EXACT)


@recurrent
@pytest.mark.parametrize("run", [whole, steps])
def test_rows_do_not_touch_each_other(kind: str, run: Callable[[Mixer, Stream, Tensor], tuple[Tensor, Tensor]]) -> None:
    mixer, stream = make(kind), varying(4)
    state = stream.state(mixer)
    expected, after = run(mixer, stream, state)
    got, end = run(mixer, stream, torch.stack([state[0], torch.full_like(state[1], math.nan)]))
    torch.testing.assert_close(got[0], expected[0], rtol=0, atol=0)
    torch.testing.assert_close(end[0], after[0], rtol=0, atol=0)


@recurrent
def test_joints_do_not_touch_each_other(kind: str) -> None:
    mixer, stream = make(kind), varying(5)
    q, k, v = stream.qkv()
    expected = mixer(q, k, v, stream.timing())
    for x in (q, k, v):
        x[:, :, 1] = 100
    got = mixer(q, k, v, stream.timing())
    assert_close(got[:, :, ::2], expected[:, :, ::2], EXACT)


# Attention.


def test_attention_is_softmax_over_the_window() -> None:
    stream = Stream(7)
    q, k, v = (x.unflatten(-1, (HEADS, -1)).permute(0, 2, 3, 1, 4) for x in stream.qkv())  # (B, J, H, T, d)
    expected = F.scaled_dot_product_attention(q, k, v).permute(0, 3, 1, 2, 4).flatten(-2)
    assert_close(Attention(HEADS)(*stream.qkv(), stream.timing()), expected, EXACT)


def test_attention_has_no_state() -> None:
    mixer, stream = Attention(HEADS), Stream(1)
    (q, k, v), state = stream.qkv(), torch.zeros(2, 1)
    assert mixer.state_shape is None
    with pytest.raises(UsageError, match="attention has no state"):
        mixer.chunk(q, k, v, state, stream.timing())
    with pytest.raises(UsageError, match="attention has no state"):
        mixer.step(q[:, 0], k[:, 0], v[:, 0], state, stream.timing())


# Retention against its formula.

GAMMA = {  # NC-RetNet's decays by head, for joints of each distance, as computed by the published code
    4.0: (0.96875, 0.9789703, 0.9858481, 0.9904764, 0.9935911, 0.9956871, 0.9970977, 0.9980469),
    2.0: (0.9375, 0.9960938),  # the first and the last head
    1.0: (0.875, 0.9158812, 0.9433923, 0.9619058, 0.9743645, 0.9827486, 0.9883907, 0.9921875),
    0.5: (0.75, 0.8317625, 0.8867846, 0.9238116, 0.948729, 0.9654972, 0.9767814, 0.984375),
}


def test_decays_are_the_published_ones() -> None:
    mixer, ones = Retention(64, 8).double(), torch.ones(1, 17, 64, dtype=torch.float64)
    y, _ = mixer.step(ones, ones, ones, empty(mixer, 1), Timing(ones[:, 0, :1]))  # (1 - gamma) sqrt(d)
    gamma = (1 - y[0] / math.sqrt(8)).unflatten(-1, (8, 8))[..., 0]  # (J, H)
    for joint, distance in enumerate(H36M_DISTANCES):
        heads = [0, -1] if distance == 2 else slice(None)
        np.testing.assert_allclose(gamma[joint, heads], GAMMA[distance], atol=DIGITS)


def retention_by_hand(stream: Stream, chunk_size: int, *, zoh_gain: bool) -> NDArray[np.float64]:
    """The formula of the docstring, frame by frame and pair by pair."""
    q, k, v = (x.unflatten(-1, (HEADS, -1)).numpy() for x in stream.qkv())  # (B, T, J, H, d)
    rows, frames, joints, heads, width = q.shape
    dt = np.broadcast_to(stream.timing().elapsed.numpy(), (rows, frames))
    y = np.zeros_like(q)
    for b, j, h in np.ndindex(rows, joints, heads):
        gamma = 1 - 16 ** (-h / (heads - 1)) / (8 * DISTANCES[j])
        for n in range(frames):
            for m in range(min((n // chunk_size + 1) * chunk_size, frames)):
                first, last = sorted((n, m))
                if stream.reset is not None and stream.reset[b, first + 1 : last + 1].any():
                    continue
                apart = math.copysign(dt[b, first + 1 : last + 1].sum(), n - m)
                score = 0.0
                for i in range(width // 2):
                    theta, zeta = 10000 ** (-2 * i / width), (2 * i + 0.4 * width) / (1.4 * width)
                    query = complex(q[b, n, j, h, i], q[b, n, j, h, i + width // 2])
                    key = complex(k[b, m, j, h, i], k[b, m, j, h, i + width // 2])
                    turned = query * key.conjugate() * complex(math.cos(theta * apart), math.sin(theta * apart))
                    score += turned.real * zeta ** (apart / 512)
                gain = (1 - gamma ** dt[b, m]) / math.sqrt(width) if zoh_gain else 1.0
                y[b, n, j, h] += gamma ** abs(apart) * score * gain * v[b, m, j, h]
    outputs: NDArray[np.float64] = y.reshape(rows, frames, joints, -1)
    return outputs


@pytest.mark.parametrize("stream", [Stream(7), varying(7), varying(7, resets=[2, 3])], ids=["uniform", "varying", "reset"])
@pytest.mark.parametrize("chunk_size", [1, 3])
@pytest.mark.parametrize("zoh_gain", [True, False], ids=["zoh", "published"])
def test_retention_is_its_formula(stream: Stream, chunk_size: int, zoh_gain: bool) -> None:
    expected = torch.from_numpy(retention_by_hand(stream, chunk_size, zoh_gain=zoh_gain))
    mixer = make("retention" if zoh_gain else "published")
    assert_close(forward(mixer, stream, chunk_size=chunk_size), expected, CONSTANTS)


def test_published_decays_are_weights_that_do_not_train() -> None:
    zoh, published = Retention(64, 8), Retention(64, 8, zoh_gain=False)
    assert not zoh.state_dict() and list(published.state_dict()) == ["decay"]
    assert published.decay.shape == (17, 8) and not published.decay.requires_grad
    for joint, distance in enumerate(H36M_DISTANCES):
        heads = [0, -1] if distance == 2 else slice(None)
        np.testing.assert_allclose(published.decay[joint, heads], GAMMA[distance], atol=DIGITS)


def test_decays_follow_the_weights_of_a_checkpoint() -> None:
    mixer, stream = make("published"), Stream(4)
    slower = make("published")
    assert isinstance(slower, Retention) and isinstance(mixer, Retention)
    slower.decay.copy_(mixer.decay.sqrt())
    state = stream.state(mixer)
    zeros = torch.zeros(2, JOINTS, DIM, dtype=torch.float64)
    timing = Stream(1, np.array([[0.06]])).timing()
    _, once = mixer.step(zeros, zeros, zeros, state, timing)
    _, half = slower.step(zeros, zeros, zeros, state, timing)
    faded = (half.square().sum((1, 2)) / once.square().sum((1, 2))).sqrt()  # (B, J, H), rotated alike
    assert_close(faded, (mixer.decay.double() ** -1.5).expand(2, -1, -1), CONSTANTS)


@pytest.mark.parametrize("name", list(DISTANCES_OF))
def test_decays_are_the_formula_of_their_distances(name: str) -> None:
    """1 - exp of evenly spaced logarithms from 1 / (8 d) to 1 / (128 d)."""
    decay = Retention(64, 8, DISTANCES_OF[name], zoh_gain=False).decay
    for joint, distance in enumerate(DISTANCES_OF[name]):
        expected = 1 - np.exp(np.linspace(np.log(1 / (8 * distance)), np.log(1 / (128 * distance)), 8))
        np.testing.assert_allclose(decay[joint], expected, atol=DIGITS)


def test_two_silent_frames_decay_a_state_as_one_of_twice_the_time() -> None:
    mixer, zeros = make("retention"), torch.zeros(2, JOINTS, DIM, dtype=torch.float64)
    state = Stream(1).state(mixer)
    short, long = (Stream(1, np.array([[dt_s], [3 * dt_s]])).timing() for dt_s in (0.03, 0.06))
    _, once = mixer.step(zeros, zeros, zeros, state, short)
    y_twice, twice = mixer.step(zeros + 1, zeros, zeros, once, short)
    y_long, at_once = mixer.step(zeros + 1, zeros, zeros, state, long)
    assert_close(twice, at_once, EXACT)
    assert_close(y_twice, y_long, EXACT)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_a_call_with_many_long_gaps_is_finite_and_what_its_steps_are(dtype: torch.dtype) -> None:
    mixer = make("retention", dtype)
    timing = Timing.from_seconds(
        torch.full((2, 8), 200.0, dtype=dtype), None, fps=FPS
    )  # 80,000 frames, more than xPos can span
    q, k, v = Stream(frames=8).qkv(dtype)
    state = empty(mixer, 2, dtype)
    y, end = mixer.chunk(q, k, v, state, timing)
    for frame in range(8):
        stepped_y, state = mixer.step(
            q[:, frame], k[:, frame], v[:, frame], state, timing.slice_frames(slice(frame, frame + 1))
        )
        assert_close(y[:, frame], stepped_y, 1e-6)  # after 10,000 frames the slowest state keeps 2e-9 of itself
    assert_close(end, state, 1e-6)


def test_a_state_does_not_depend_on_the_age_of_its_stream() -> None:
    frames, recent, piece = 20_000, 4_000, 500  # gamma^4000 < 1e-13 for these joints
    torch.manual_seed(0)
    qkv = torch.randn(3, 1, frames, 2, 4)
    timing = Timing(torch.ones(1, 1))
    narrow, exact = (Retention(4, 1, (0.5, 0.25)).to(dtype) for dtype in (torch.float32, torch.float64))
    old, young = empty(narrow, 1, torch.float32), empty(narrow, 1, torch.float32)
    largest = 0.0
    with torch.no_grad():
        for n, (q, k, v) in enumerate(zip(*(x[0].split(1) for x in qkv), strict=True)):
            _, old = narrow.step(q, k, v, old, timing)
            if n >= frames - recent:
                _, young = narrow.step(q, k, v, young, timing)
            if n % piece == 0:
                largest = max(largest, old.abs().max().item())
        reference = empty(exact, 1)
        for q, k, v in zip(*(x.double().split(piece, dim=1) for x in qkv), strict=True):
            _, reference = exact.chunk(q, k, v, reference, Timing(torch.ones(1, piece, dtype=torch.float64)))
    assert largest < 10  # a mean over the past stays as large as its values
    assert_close(old.double(), reference, LONG)
    assert_close(young, old, SAME[torch.float32])


# dssm against the published kernel.


def golden() -> tuple[DSSM, dict[str, Tensor]]:
    """S4D's minimal kernel, recorded from its published code; its (B, H, L) is our (B, T, 1, C)."""
    if not GOLDEN.is_file():
        pytest.skip(f"the reference vectors are not beside this repository ({GOLDEN.name})")
    with np.load(GOLDEN) as file:
        values = {key: torch.from_numpy(file[key]) for key in file.files}
    mixer = DSSM(4, joints=1, size=16).double().requires_grad_(False)
    mixer.log_step.copy_(values["log_dt"])
    mixer.log_rate.copy_(values["log_A_real"])
    mixer.frequency.copy_(values["A_imag"])
    mixer.read.copy_(torch.stack([values["C_re"], values["C_im"]]))
    mixer.skip.zero_()
    return mixer, values


def test_the_kernel_is_the_published_one() -> None:
    mixer, values = golden()
    assert_close(mixer.kernel(64).T, values["K"], EXACT)


@pytest.mark.parametrize("path", ["fft", "blocks", "chunk", "steps"])
def test_every_path_filters_as_published(path: str) -> None:
    mixer, values = golden()
    u = values["u"].transpose(1, 2)[:, :, None]  # (B, T, 1, C)
    ones, state = torch.ones_like(u), empty(mixer, 2)
    timing = Timing(torch.ones(1, 64, dtype=torch.float64), uniform=path == "fft")
    if path in ("fft", "blocks"):
        y = mixer(ones, ones, u, timing)
    elif path == "chunk":
        y, state = mixer.chunk(ones, ones, u, state, timing)
    else:
        parts = []
        for n in range(64):
            part, state = mixer.step(ones[:, n], ones[:, n], u[:, n], state, timing.slice_frames(slice(n, n + 1)))
            parts.append(part)
        y = torch.stack(parts, dim=1)
    assert_close(y[:, :, 0].transpose(1, 2), values["y_conv"], EXACT)
    assert_close(y[:, :, 0].transpose(1, 2), values["y_rec"], EXACT)
    if path in ("chunk", "steps"):
        assert_close(state[:, 0], torch.cat([values["x_final_re"], values["x_final_im"]], dim=-1), EXACT)


def test_the_initial_frequencies_are_s4d_lins() -> None:
    _, values = golden()
    mixer = DSSM(4, size=16)
    np.testing.assert_allclose(mixer.frequency[0].detach(), values["init_lin_imag"], rtol=1e-6)
    np.testing.assert_allclose(mixer.log_rate.detach().exp(), 0.5, rtol=1e-6)


@pytest.mark.parametrize("dt_s", [0.001, 0.02, 0.25])
def test_a_held_input_is_the_same_at_half_the_frame_rate(dt_s: float) -> None:
    mixer = make("dssm")
    state, (q, k, v) = Stream(1).state(mixer), (x[:, 0] for x in Stream(1).qkv())
    fast, slow = (Stream(1, np.array([[dt]])).timing() for dt in (dt_s, 2 * dt_s))
    _, half_way = mixer.step(q, k, v, state, fast)
    y_fast, after_fast = mixer.step(q, k, v, half_way, fast)
    y_slow, after_slow = mixer.step(q, k, v, state, slow)
    assert_close(after_fast, after_slow, EXACT)
    assert_close(y_fast, y_slow, EXACT)
