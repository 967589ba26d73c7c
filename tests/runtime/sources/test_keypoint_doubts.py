"""Recorded keypoints that are not what their file says: each kind is refused or named, and good files pass without a word."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints, to_pixels
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17, H36M_ORDERS
from posemoe_edge.runtime.sources import SyntheticSource
from posemoe_edge.runtime.sources.keypoints_file import KeypointsFileSource

WIDTH, HEIGHT, FRAMES = 1920, 1080, 30


@pytest.fixture(scope="module")
def normalised() -> Any:
    """(T, 17, 3) of a walker, with scores below 1."""
    with SyntheticSource(people=1, fps=50, frames=FRAMES) as source:
        points = np.stack([frame.keypoints[0].normalised() for frame in source])
    points[..., 2] = 0.9
    return points


@pytest.fixture
def pixels(normalised: Any) -> Any:
    """The same walker in the pixels of a picture."""
    return to_pixels(normalised, width_px=WIDTH, height_px=HEIGHT)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(**entries: Any) -> Path:
        np.savez(tmp_path / "a.npz", **entries)
        return tmp_path / "a.npz"

    return write


IN_PIXELS: dict[str, Any] = {"units": "pixels", "width_px": WIDTH, "height_px": HEIGHT}


def scored(points: Any, score: Any) -> Any:
    """The same places with other scores."""
    return np.concatenate([points[..., :2], np.broadcast_to(score, points.shape[:-1])[..., None]], axis=-1)


def as_coco(points: Any) -> Any:
    """The same bodies in COCO's order, by the names of the joints; eyes and ears beside the nose."""
    names = [name if name in H36M17.joints else "head" for name in COCO17.joints]
    return points[:, [H36M17.joints.index(name) for name in names]]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda x, px: {"keypoints": px}, "coordinates up to .*, which are not normalised.*units 'pixels'"),
        (lambda x, px: {"keypoints": x, **IN_PIXELS}, "pixels, of which none is past"),
        (lambda x, px: {"keypoints": scored(x, 97.0)}, "scores up to 97; expected scores from 0 to 1: a hundredth of percent"),
        (lambda x, px: {"keypoints": scored(x, 200.0)}, "a 255th of bytes"),
        (lambda x, px: {"keypoints": scored(x, -3.5)}, "scores down to -3.5; .*logits"),
        (lambda x, px: {"keypoints": x, "t_s": 1000.0 * np.arange(FRAMES)}, "29 of 29 steps are 1000 s.* milliseconds"),
        (lambda x, px: {"keypoints": x, "t_s": 20_000_000 * np.arange(FRAMES)}, "29 of 29 steps are 2e.07 s.* nanoseconds"),
        (lambda x, px: {"keypoints": x, "t_s": np.zeros(FRAMES)}, "29 of 29 steps of t_s do not go forward"),
        (lambda x, px: {"keypoints": x, "t_s": np.full(FRAMES, np.nan)}, "29 of 29 steps of t_s do not go forward"),
        (lambda x, px: {"keypoints": x, "t_s": -np.arange(FRAMES) / 25}, "29 of 29 steps of t_s do not go forward"),
        (lambda x, px: {"keypoints": scored(x, np.arange(17) % 3)}, "scores up to 2; .*COCO's visibility"),
        (lambda x, px: {"keypoints": px, "units": "px"}, "units is 'px'; did you mean pixels"),
        (lambda x, px: {"keypoints": x, "layout": "COCO"}, "layout is 'COCO'; did you mean coco17"),
        (lambda x, px: {"keypoints": x.astype(object)}, "holds pickled objects"),
        (lambda x, px: {"keypoints": x[None, :, :, :2]}, "holds 30 people in 1 frame; .*frames first"),
        (lambda x, px: {"reconstruction": px[None, ..., :2]}, "MHFormer.*units 'pixels'"),
        (lambda x, px: {"positions_2d": np.array({}, object)}, "VideoPose3D.*posemoe-edge import h36m"),
        (lambda x, px: {"segments": np.array([{}]), "keypoints": np.array([{}], object)}, "Detectron2.*coco17"),
        (lambda x, px: {"kpts": x}, "has no 'keypoints', but kpts; 'kpts' may be them"),
    ],
    ids=[
        "pixels",
        "normalised",
        "percent",
        "bytes",
        "logits",
        "ms",
        "ns",
        "still",
        "nan times",
        "backwards",
        "visibility",
        "px",
        "COCO",
        "objects",
        "people first",
        "MHFormer",
        "VideoPose3D",
        "d2",
        "name",
    ],
)
def test_what_cannot_be_right_is_refused(
    changed: Callable[..., dict[str, Any]], message: str, normalised: Any, pixels: Any, save: Callable[..., Path]
) -> None:
    with pytest.raises(SourceError, match=message) as refused:
        KeypointsFileSource(save(**changed(normalised, pixels)))
    assert "allow_pickle" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda x, px: {"keypoints": px, **IN_PIXELS, "width_px": 400}, "far outside the picture of 400"),
        (lambda x, px: {"keypoints": scored(x, 1.12)}, "scores run up to 1.12; what is past 1 counts as 1"),
        (lambda x, px: {"keypoints": scored((x + 1) / 2, 0.9)}, "between 0 and 1; are these shares of the picture"),
        (lambda x, px: {"keypoints": x, "timestamps": np.arange(FRAMES), "frame_rate": 25},
         "'timestamps' (meant as 't_s'?), 'frame_rate' (meant as 'fps'?) are not read"),
        (lambda x, px: {"keypoints": x * [1, -1, 1]}, "heads are below the feet; does y grow upwards"),
        (lambda x, px: {"keypoints": x[:, H36M_ORDERS["3dhp17"]]}, "are they in the order of 3dhp17?"),
        (lambda x, px: {"keypoints": as_coco(x)}, "the joints of h36m17 make no body; are they in the order of coco17?"),
        (lambda x, px: {"keypoints": x, "layout": "coco17"}, "are they in the order of h36m17?"),
        (lambda x, px: {"keypoints": scored(x, 0)}, "no joint has a score above 0"),
        (lambda x, px: {"keypoints": x, "t_s": np.arange(FRAMES)}, "are these numbers of frames?"),
    ],
    ids=["exchanged", "SimCC", "shares", "names", "y up", "3dhp17", "COCO", "H36M", "nobody", "numbers of frames"],
)  # fmt: skip
def test_what_is_odd_is_said_once(
    changed: Callable[..., dict[str, Any]],
    message: str,
    normalised: Any,
    pixels: Any,
    save: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING), KeypointsFileSource(save(**changed(normalised, pixels))) as source:
        assert len(list(source)) == FRAMES
    assert [message in record.getMessage() for record in caplog.records] == [True]


def test_width_and_height_that_are_exchanged_are_asked_about(
    pixels: Any, save: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    pixels[..., 0] += 1700 - pixels[..., 0].max()  # at the right of a wide picture
    KeypointsFileSource(save(keypoints=pixels, units="pixels", width_px=HEIGHT, height_px=WIDTH))
    assert "are width_px and height_px exchanged?" in caplog.text


def test_good_files_pass_without_a_word(
    normalised: Any, pixels: Any, save: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    for entries in (
        {"keypoints": normalised, "fps": 25.0},
        {"keypoints": pixels, **IN_PIXELS},
        {"keypoints": scored(normalised, 1)},
        {"keypoints": as_coco(pixels), "layout": "coco17", **IN_PIXELS},
    ):
        KeypointsFileSource(save(**entries))
    few = normalised.copy()
    few[3, 4, :2], few[5, 6, 2], few[7] = 3e38, 100, np.nan  # one bad frame is the stream's to refuse
    KeypointsFileSource(save(keypoints=few))
    assert not caplog.records


@pytest.mark.parametrize("place_px", [0, -1])
def test_a_joint_at_the_corner_itself_was_not_seen(place_px: int) -> None:
    points = np.random.default_rng(0).uniform(50, 400, (17, 3)).astype(np.float32)
    points[:, 2] = 0.8
    points[9] = place_px, place_px, 0.37
    before = points.copy()
    keypoints = Keypoints.from_coco(points, size=ImageSize(640, 480))
    assert keypoints.score[9] == 0 and (np.delete(keypoints.score, 9) == np.float32(0.8)).all()
    np.testing.assert_array_equal(points, before)  # the caller's array is left alone
    assert Keypoints(np.tile(np.array([0, 0, 1], np.float32), (17, 1)), COCO17, None).score.all(), (
        "of normalised ones it is the middle"
    )
