"""The time of a network camera's frames: steady, and never going back."""

from __future__ import annotations

import time

import numpy as np
import pytest
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.sources.stream_clock import StreamClock

FRAME_S = 1 / 30
JITTER_S = 0.03
STEADY_S = JITTER_S / 10  # what is left of it: the smallest delay is looked for anew all the time


def times(clock: StreamClock, stream_s: np.ndarray, arrived_s: np.ndarray) -> np.ndarray:
    """The time of each frame; NaN where it is left out."""
    given = [clock.see(float(s), arrived_s=float(a)) for s, a in zip(stream_s, arrived_s, strict=True)]
    return np.array([np.nan if t_s is None else t_s for t_s in given])


def test_the_jitter_of_the_network_is_not_in_the_times() -> None:
    stream_s = np.arange(300) * FRAME_S
    delay_s = 0.02 + np.random.default_rng(0).uniform(0, JITTER_S, 300)
    delay_s[0] = 0.02  # the fastest
    t_s = times(StreamClock(), stream_s, 50 + stream_s + delay_s)
    assert np.abs(np.diff(stream_s + delay_s) - FRAME_S).max() > JITTER_S / 2
    np.testing.assert_allclose(np.diff(t_s), FRAME_S, atol=STEADY_S)


def test_the_times_are_those_of_this_machine_since_1970() -> None:
    t_s = StreamClock().see(0.0, arrived_s=time.monotonic())
    assert t_s == pytest.approx(time.time(), abs=1.0)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_the_times_never_go_back_nor_ahead_of_the_arrival(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrived_s = 1000 + np.cumsum(rng.exponential(FRAME_S, 2000))
    stream_s = np.cumsum(rng.exponential(FRAME_S, 2000)) + 1e-9
    for at in rng.integers(0, 2000, 8):  # the stream's own time jumps, in both directions
        stream_s[at:] += rng.uniform(-20, 20)
    offset_s = time.time() - time.monotonic()
    t_s = times(StreamClock(), stream_s, arrived_s)
    given = ~np.isnan(t_s)
    assert given.mean() > 0.3
    assert (np.diff(t_s[given]) >= -1e-6).all()
    assert (t_s[given] <= arrived_s[given] + offset_s + 0.01).all()


def test_the_backlog_of_a_stall_is_left_out() -> None:
    stream_s = np.arange(90) * FRAME_S
    arrived_s = 50 + stream_s
    arrived_s[30:51] = arrived_s[50]  # frames 30 to 50 arrive together
    given = ~np.isnan(times(StreamClock(), stream_s, arrived_s))
    age_s = arrived_s - 50 - stream_s
    assert given[:30].all() and given[51:].all()
    assert (age_s[given] < 0.2).all() and not given[30:45].any()


def test_frames_that_were_there_at_the_beginning_are_left_out() -> None:
    clock = StreamClock()
    waits_s = [0.0, 0.001, 0.001, 0.03, 0.0, 0.03]  # once caught up, a frame that comes early is a frame
    given = [clock.see(i * FRAME_S, arrived_s=50 + i * 1e-3, waited_s=wait_s) for i, wait_s in enumerate(waits_s)]
    assert [t_s is not None for t_s in given] == [False, False, False, True, True, True]


def test_a_decoder_that_never_waits_gives_frames_after_a_second() -> None:
    clock = StreamClock()
    given = [clock.see(i * FRAME_S, arrived_s=50 + i * FRAME_S, waited_s=0.0) is not None for i in range(60)]
    assert given == [i * FRAME_S > 1 for i in range(60)]


def test_a_way_that_became_longer_costs_a_second() -> None:
    stream_s = np.arange(150) * FRAME_S
    arrived_s = 50 + stream_s + np.where(np.arange(150) < 30, 0.0, 0.4)
    given = ~np.isnan(times(StreamClock(), stream_s, arrived_s))
    assert given[:30].all() and given[61:].all() and (~given).sum() in (29, 30, 31)


def test_a_camera_whose_clock_is_slow_is_followed() -> None:
    arrived_s = np.arange(30 * 3600) * FRAME_S
    t_s = times(StreamClock(), arrived_s * (1 - 2e-4), arrived_s)  # 0.7 s in the hour
    assert not np.isnan(t_s).any()


def test_frames_without_stream_time_have_that_of_their_arrival() -> None:
    clock = StreamClock()
    first_s, second_s = (clock.see(None, arrived_s=arrived_s) for arrived_s in (5.0, 5.1))
    assert first_s is not None and second_s is not None and second_s - first_s == pytest.approx(0.1)


def test_a_first_frame_without_stream_time_costs_the_next_ones_nothing() -> None:
    clock = StreamClock()
    given = [clock.see(i * FRAME_S if i else None, arrived_s=50 + i * FRAME_S) for i in range(20)]
    times_s = [t_s for t_s in given if t_s is not None]
    assert len(times_s) == 20 and (np.diff(times_s) > 0).all()


def test_the_senders_clock_is_never_mixed_with_another() -> None:
    clock = StreamClock("sender")
    assert clock.see(0.0, arrived_s=100.0) is None
    assert clock.see(2.0, arrived_s=102.0, sender_s=1_600_000_002.0) == 1_600_000_002.0
    with pytest.raises(SourceError, match=r"no clock over RTCP within 10 s; expected clock=arrival"):
        for second in range(20):
            clock.see(3.0 + second, arrived_s=103.0 + second)
