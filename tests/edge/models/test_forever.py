"""Long streams: NC-RetNet counts frames from the beginning of its stream, and overflows after twelve minutes."""

from __future__ import annotations

import inspect
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from posemoe_edge.edge.models.alternating import AlternatingConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.retention import Retention, RetentionConfig
from posemoe_edge.edge.models.timing import Timing
from posemoe_edge.edge.models.topology import build
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

WIDTH = 64  # d of the published network
LIMIT = 512 * np.log(np.finfo(np.float32).max) / -np.log(0.4 / 1.4)  # zeta_0^(-p / 512) leaves float32: frame 36,260

SAME = 1e-10  # float64: the same numbers, summed in another order
ROUNDING = 1e-4  # float32, of the largest value: rounding errors decay with the frames and do not add up

CHUNK, FRAMES, CALL = 9, 1_000_000, 90
FORGOTTEN = 20_000  # gamma^20000 < 1e-68 for the slowest head of a joint at distance 1: nothing older is left
SPREAD = 1.5  # ratio of the largest values of two stretches, which have the same noise as input


def published(
    q: Tensor, k: Tensor, v: Tensor, sizes: list[int], gamma: float, *, first: int, causal: bool = False
) -> tuple[Tensor, Tensor]:
    """NC-RetNet's chunk form of one head, in the precision of q: (T, d) outputs from (T, d), and the state (d, d).

    xPos turns pairs of channels (i, i + d/2 here) by the frame's number in its stream, which begins with ``first``.
    """
    width = q.shape[-1]
    pair = torch.arange(width // 2, dtype=q.dtype)
    theta, zeta = 10000.0 ** (-2 * pair / width), (2 * pair + 0.4 * width) / (1.4 * width)

    def turned(x: Tensor, number: Tensor, sign: int) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        cos, sin = (number * theta).cos(), (number * theta).sin()
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1) * (zeta ** (sign * number / 512)).repeat(1, 2)

    state, outputs, start = q.new_zeros(width, width), [], 0
    for size in sizes:
        span = slice(start, start + size)
        number = first + torch.arange(start, start + size, dtype=q.dtype)[:, None]
        r = torch.arange(size, dtype=q.dtype)
        queries, keys = turned(q[span], number, 1), turned(k[span], number, -1)
        decay = gamma ** (r[:, None] - r).abs()
        scores = queries @ keys.T * (decay.tril() if causal else decay)
        outputs.append(scores @ v[span] + gamma ** (r[:, None] + 1) * (queries @ state))
        state = gamma**size * state + (keys * gamma ** (size - 1 - r[:, None])).T @ v[span]
        start += size
    return torch.cat(outputs), state


def ours(mixer: Retention, q: Tensor, k: Tensor, v: Tensor, sizes: list[int], *, causal: bool = False) -> tuple[Tensor, Tensor]:
    """The same of one row, joint and head by a mixer without frame numbers."""
    assert mixer.state_shape is not None
    state, outputs = q.new_zeros(1, *mixer.state_shape), []
    for start, end in pairwise(np.cumsum([0, *sizes]).tolist()):
        timing = Timing(q.new_ones(1, end - start), chunk_size=1 if causal else end - start)
        q_, k_, v_ = (x[None, start:end, None] for x in (q, k, v))
        y, state = mixer.chunk(q_, k_, v_, state, timing)
        outputs.append(y[0, :, 0])
    return torch.cat(outputs), state[0, :, :, 0, 0]


def qkv(frames: int, width: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = torch.randn(3, frames, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return q, k, v


def mixer_of(width: int, dtype: torch.dtype) -> tuple[Retention, float]:
    """One head for one joint at distance 1; and its gamma."""
    mixer = Retention(width, 1, (1.0,), zoh_gain=False).to(dtype).requires_grad_(False)
    return mixer, mixer.decay.item()


def apart(got: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((got.double() - expected.double()).abs().max() / expected.abs().max())


# The published form and its overflow.


def test_the_published_form_overflows_after_twelve_minutes_where_ours_goes_on() -> None:
    first, frames = round(LIMIT) - 60, 120
    (q, k, v), sizes = qkv(frames, WIDTH, torch.float32), [1] * frames
    mixer, gamma = mixer_of(WIDTH, torch.float32)
    theirs, _ = published(q, k, v, sizes, gamma, first=first)
    alive = theirs.isfinite().all(-1)
    dies = first + int(alive.int().argmin())
    assert not alive.all() and LIMIT - 60 <= dies <= LIMIT + 1
    assert not alive[dies - first :].any()  # and it stays so
    y, state = ours(mixer, q, k, v, sizes)
    assert y.isfinite().all() and state.isfinite().all()
    wide, _ = published(q.double(), k.double(), v.double(), sizes, gamma, first=first)
    assert apart(y, wide) < ROUNDING


def test_ours_is_the_same_number_at_any_age_of_the_stream() -> None:
    parts, sizes = qkv(30, 8, torch.float64), [9, 9, 9, 3]
    mixer, gamma = mixer_of(8, torch.float64)
    y, _ = ours(mixer, *parts, sizes)
    for first in (0, 1_000, 30_000, 200_000):  # float64 is finite to frame 290,000
        expected, _ = published(*parts, sizes, gamma, first=first)
        assert apart(y, expected) < SAME


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    first=st.integers(0, 20_000),
    causal=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_ours_is_the_published_form_while_that_lives(sizes: list[int], first: int, causal: bool, seed: int) -> None:
    parts = qkv(sum(sizes), 8, torch.float64, seed)
    mixer, gamma = mixer_of(8, torch.float64)
    y, state = ours(mixer, *parts, sizes, causal=causal)
    expected, published_state = published(*parts, sizes, gamma, first=first, causal=causal)
    assert apart(y, expected) < SAME
    last = first + sum(sizes) - 1  # ours keeps keys at the last frame's time, the published state at the stream's
    pair = torch.arange(4, dtype=torch.float64)
    turning = torch.polar(((2 * pair + 3.2) / 11.2) ** (-last / 512), last * 10000.0 ** (-pair / 4))
    keys = torch.complex(*state.chunk(2, dim=0)) * turning[:, None]
    assert apart(torch.cat([keys.real, keys.imag]), published_state) < SAME


# A network, for five and a half hours at 50 Hz.


def lifter(dtype: torch.dtype) -> Lifter:
    torch.manual_seed(0)
    config = AlternatingConfig(
        mixer=RetentionConfig(zoh_gain=False, distances="uniform"), dim=8, heads=2, layers=1, mlp_ratio=1, channels=2, joints=3,
        lookahead=True,
    )  # fmt: skip
    return build(config).to(dtype).eval().requires_grad_(False)


def noise(call: int) -> Tensor:
    """(1, CALL, 3, 2) keypoints of the call of that number."""
    return torch.randn(1, CALL, 3, 2, generator=torch.Generator().manual_seed(call))


def test_a_stream_of_a_million_frames_is_as_exact_as_a_young_one() -> None:
    """float64 starts late, from an empty state: the frames before count gamma^FORGOTTEN of one frame, which is 0."""
    narrow, exact = lifter(torch.float32), lifter(torch.float64)
    calls, late = FRAMES // CALL + 1, (FRAMES - FORGOTTEN) // CALL
    assert exact.state_shape is not None and 0.9921875**FORGOTTEN < 1e-68
    state, reference = narrow.initial_state(1), exact.initial_state(1)
    largest, worst = [], 0.0
    with torch.inference_mode():
        for call in range(calls):
            x = noise(call)
            poses, state = narrow.chunk(x, state, chunk_size=CHUNK)
            if call >= late:
                expected, reference = exact.chunk(x.double(), reference, chunk_size=CHUNK)
            if call >= calls - 100:
                worst = max(worst, apart(poses, expected))
            if call % 100 == 99:
                largest.append(state.abs().max().item())
    assert worst < ROUNDING and apart(state, reference) < ROUNDING
    tenth = len(largest) // 10
    assert np.isfinite(largest).all() and max(largest[tenth:]) < SPREAD * max(largest[:tenth])


# A call does not depend on the age of its stream.


class Recorded(TorchDispatchMode):
    """The operations of a call, and the shapes of their outputs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[str, tuple[int, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self.seen.append((str(func), tuple(output.shape) if isinstance(output, Tensor) else ()))
        return output


def called(model: Lifter, mode: str, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    return model.step(x[:, 0], state) if mode == "step" else model.chunk(x[:, :CHUNK], state)


@pytest.mark.parametrize("mode", ["step", "chunk"])
def test_a_call_does_the_same_work_with_the_same_tables_at_any_age(mode: str) -> None:
    model = lifter(torch.float32)
    tables = {name: table.clone() for name, table in (*model.named_buffers(), *model.named_parameters())}
    young = model.initial_state(1)
    with torch.no_grad(), Recorded() as at_first:
        poses, _ = called(model, mode, noise(0), young)
    state = young
    with torch.no_grad():
        for call in range(200):
            _, state = called(model, mode, noise(call), state)
        with Recorded() as later:
            _, old = called(model, mode, noise(0), state)
        again, _ = called(model, mode, noise(0), young)
    assert later.seen == at_first.seen and old.shape == young.shape
    assert torch.equal(again, poses)
    after = dict((*model.named_buffers(), *model.named_parameters()))
    assert after.keys() == tables.keys() and all(torch.equal(table, after[name]) for name, table in tables.items())


def test_a_call_takes_no_frame_number() -> None:
    parameters = {name for method in (Lifter.step, Lifter.chunk) for name in inspect.signature(method).parameters}
    assert parameters == {"self", "x", "state", "dt", "reset", "chunk_size"}
