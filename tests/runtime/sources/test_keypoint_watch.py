"""The first keypoints of a source that cannot be looked at as a whole: what is odd about them is said once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.sources import IterableSource, People, SyntheticSource
from posemoe_edge.runtime.sources.keypoint_watch import WATCHED, watched


@pytest.fixture(scope="module")
def walkers() -> list[People]:
    """Two people in pixels, in twice as many frames as are watched."""
    with SyntheticSource(people=2, fps=50, frames=WATCHED) as source:
        return list(source)


def told(items: list[People], change: Callable[[Keypoints], Keypoints], caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is said about a source whose keypoints are changed."""

    def changed() -> Iterator[People]:
        for item in items:
            yield People(item.t_s, {person: change(of) for person, of in item.keypoints.items()})

    with caplog.at_level(logging.WARNING):
        assert len(list(watched(IterableSource(changed(), pictures=False, name="mine")))) == len(items)
    return caplog.messages


def scaled(factor: Any, size: ImageSize | None) -> Callable[[Keypoints], Keypoints]:
    return lambda of: Keypoints((of.points * factor).astype(np.float32), H36M17, size)


def test_good_keypoints_pass_without_a_word(walkers: list[People], caplog: pytest.LogCaptureFixture) -> None:
    assert told(walkers, lambda of: of, caplog) == []


@pytest.mark.parametrize("frames", [20, WATCHED])
def test_what_is_odd_is_said_once(walkers: list[People], frames: int, caplog: pytest.LogCaptureFixture) -> None:
    size = walkers[0].keypoints[0].size
    assert size is not None
    shares = 1 / np.array([size.width_px, size.height_px, 1])
    (message,) = told(walkers[:frames], scaled(shares, None), caplog)
    assert message.startswith("mine: all keypoints lie between 0 and 1; are these shares of the picture")
    caplog.clear()
    (message,) = told(walkers[:frames], scaled([1, 1, 100], size), caplog)
    assert "scores from 0 to 1: a hundredth of percent" in message
    caplog.clear()
    (message,) = told(walkers[:frames], scaled(1, None), caplog)
    assert "which are not normalised; expected units 'pixels'" in message


def test_a_source_that_gives_nobody_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert told([], lambda of: of, caplog) == [] == told([People(0.0, {})], lambda of: of, caplog)
