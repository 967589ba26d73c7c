"""Sources: named by URIs, they yield people and refuse what they cannot read."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError, PoseEdgeError, SourceError, UsageError
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17, coco_to_h36m
from posemoe_edge.runtime.sources import People, Source, SourceInfo, SyntheticSource, open_source
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

WALK = np.random.default_rng(0).uniform(-1, 1, (5, 17, 3)).astype(np.float32)
WALK[..., 2] = 1


def read(uri: str, *, frames: int | None = None) -> list[People]:
    """The frames of a source of keypoints."""
    with open_source(uri, frames=frames) as source:
        assert isinstance(source, Source) and not source.pictures
        return [item for item in source if isinstance(item, People)]


def test_keypoints_that_cannot_be_saved_leave_the_older_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_keypoints(tmp_path / "walk.npz", keypoints=WALK)
    before = (tmp_path / "walk.npz").read_bytes()

    def full(stream: BinaryIO, **entries: object) -> None:
        stream.write(b"half of it")
        raise OSError("no space")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        save_keypoints(tmp_path / "walk.npz", keypoints=WALK[:3])
    assert (tmp_path / "walk.npz").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_the_synthetic_walk_counts_people_and_time() -> None:
    uri = "synthetic://walk?people=3&fps=25&seed=4"
    info = open_source(uri, frames=130).info
    assert (info.name, info.fps, info.frames) == ("synthetic://walk", 25, 130)
    assert info.camera is not None and info.camera.intrinsics == Intrinsics(1147, 1147, 512, 512)
    frames = read(uri, frames=130)
    assert [frame.t_s for frame in frames] == [i / 25 for i in range(130)]
    for frame in frames[:3]:
        assert frame.truth_m is not None and set(frame.keypoints) == set(frame.truth_m) == {0, 1, 2}
        for person, keypoints in frame.keypoints.items():
            assert keypoints.skeleton == H36M17 and keypoints.size == ImageSize(1000, 1002)
            points = keypoints.normalised()
            assert points.shape == (17, 3) and points.dtype == np.float32 and (points[:, 2] == 1).all()
            assert frame.truth_m[person].shape == (17, 3) and not frame.truth_m[person][0].any()


def test_the_synthetic_walk_has_no_end_and_is_the_same_each_time() -> None:
    source = SyntheticSource(noise_px=2)
    assert source.info.frames is None
    first, again = (list(islice(source, 200)) for _ in range(2))
    other = list(islice(SyntheticSource(seed=1), 200))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.keypoints[0].points, b.keypoints[0].points)
    assert np.abs(first[0].keypoints[0].normalised() - other[0].keypoints[0].normalised()).max() > 0.01


def test_keypoints_show_the_truth() -> None:
    frame = next(iter(SyntheticSource()))
    assert frame.truth_m is not None
    pixels, truth = frame.keypoints[0].xy, frame.truth_m[0][:, :2]
    assert np.corrcoef(pixels[:, 1], truth[:, 1])[0, 1] > 0.999  # down is down in both


def test_noise_has_its_size_and_lasts() -> None:
    clean, noisy = (
        np.stack([frame.keypoints[0].normalised()[:, :2] for frame in SyntheticSource(noise_px=noise_px, frames=1500)])
        for noise_px in (0, 4)
    )
    error_px = (noisy - clean) * 500
    assert error_px.std() == pytest.approx(4, rel=0.1)
    correlation = (error_px[1:] * error_px[:-1]).mean() / error_px.var()
    assert correlation == pytest.approx(np.exp(-0.02 / 0.08), abs=0.05)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sinthetic://walk", "did you mean synthetic://walk"),
        ("synthetic://run", "no synthetic scene 'run'"),
        ("synthetic://walk?peple=3", "did you mean people"),
        ("synthetic://walk?people=three", "people=a whole number"),
        ("synthetic://walk?people=0", "people of at least 1"),
        ("synthetic://walk?fps=0", "fps from 0.001 to 10000"),
        ("synthetic://walk?fps=nan", "fps from 0.001 to 10000"),
        ("synthetic://walk?noise=-1", "noise of at least 0"),
        ("webcam0", "did you mean camera0"),
        ("walk.npz", "did you mean kpts:walk.npz"),
        ("v4l2:///dev/sda", "no camera '/dev/sda'"),
        ("clip.mpg", "expected one of synthetic://walk"),
        ("", "no source ''"),
        ("https://example.org/a walk.mp4", r"nothing is downloaded here.*run: curl -LO 'https://example.org/a walk.mp4'"),
        ("http://10.0.0.2:8080/video", "a file or a camera of this machine"),
        ("csi://one", "no CSI camera 'one'; expected csi://0"),
        ("rtsp://10.0.0.1/stream?backend=gstremer", "did you mean gstreamer"),
        ("rtps://me:word@10.0.0.1/stream", r"no source 'rtps://\*\*\*@10.0.0.1/stream'"),
    ],
)
def test_a_wrong_uri_is_an_error_that_names_the_possible_ones(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(uri)


def test_the_number_of_frames_is_checked() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        open_source("synthetic://walk", frames=0)


@pytest.mark.parametrize("people", [None, 2])
def test_a_keypoints_file_comes_back(tmp_path: Path, people: int | None) -> None:
    keypoints = WALK if people is None else np.stack([WALK, -WALK], 1)
    keypoints[..., 2] = 1
    times_s = np.array([0, 0.1, 0.2, 0.5, 0.6])
    save_keypoints(tmp_path / "walk.npz", keypoints=keypoints, t_s=times_s, truth_m=keypoints * 2)
    uri = f"kpts:{tmp_path / 'walk.npz'}"
    assert open_source(uri).info == SourceInfo(str(tmp_path / "walk.npz"), fps=None, frames=5)
    frames = read(uri)
    assert [frame.t_s for frame in frames] == times_s.tolist()
    for i, frame in enumerate(frames):
        assert frame.truth_m is not None and len(frame.keypoints) == (people or 1)
        for person, read_back in frame.keypoints.items():
            points = read_back.normalised()
            np.testing.assert_array_equal(points, keypoints[i] if people is None else keypoints[i, person])
            np.testing.assert_array_equal(frame.truth_m[person], 2 * points)


def test_a_keypoints_file_without_times_runs_at_fifty_frames_a_second(tmp_path: Path) -> None:
    save_keypoints(tmp_path / "walk.npz", keypoints=WALK[..., :2])
    uri = f"kpts:{tmp_path / 'walk.npz'}"
    info, frames = open_source(uri, frames=3).info, read(uri, frames=3)
    assert info.fps == 50 and info.frames == 3 and [frame.t_s for frame in frames] == [0, 0.02, 0.04]
    assert (frames[0].keypoints[0].score == 1).all() and frames[0].truth_m is None


def test_coco_in_pixels_stays_so_until_it_is_normalised(tmp_path: Path) -> None:
    coco_px = np.random.default_rng(1).uniform(0, 600, (4, 17, 3)).astype(np.float32)
    coco_px[..., 2] = 0.5
    save_keypoints(
        tmp_path / "coco.npz", keypoints=coco_px, layout="coco17", units="pixels", width_px=640, height_px=480, fps=30
    )
    keypoints = read(f"kpts:{tmp_path / 'coco.npz'}")[0].keypoints[0]
    assert keypoints.skeleton == COCO17 and keypoints.size == ImageSize(640, 480)
    np.testing.assert_array_equal(keypoints.points, coco_px[0])
    points, expected = keypoints.normalised(recipe="coco_neck"), coco_to_h36m(coco_px[0], "coco_neck")
    np.testing.assert_allclose(points[:, 0], expected[:, 0] / 320 - 1, atol=1e-5)
    np.testing.assert_allclose(points[:, 1], expected[:, 1] / 320 - 0.75, atol=1e-5)


def test_numbers_that_are_not_finite_are_left_to_the_stream(tmp_path: Path) -> None:
    keypoints = WALK.copy()
    keypoints[2, 4, 0] = np.nan
    save_keypoints(tmp_path / "holes.npz", keypoints=keypoints)
    frames = read(f"kpts:{tmp_path / 'holes.npz'}")
    np.testing.assert_array_equal(frames[2].keypoints[0].normalised(), keypoints[2])


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ({"points": WALK}, SourceError, "has no 'keypoints'"),
        ({"keypoints": WALK[:, :16]}, FrameError, "has 16 joints"),
        (
            {"keypoints": np.zeros((3, 25, 3))},
            FrameError,
            r"25 joints.* OpenPose's BODY_25\?; expected OpenPose's JSON as kpts:",
        ),
        ({"keypoints": np.zeros((3, 133, 3))}, FrameError, "133 joints.* COCO-WholeBody.*the first 17 of COCO-WholeBody"),
        ({"keypoints": WALK[0]}, FrameError, r"shape \(17, 3\)"),
        ({"keypoints": WALK[:0]}, FrameError, r"shape \(0, 17, 3\)"),
        ({"keypoints": np.full((3, 17, 3), "x")}, FrameError, "expected numbers"),
        ({"keypoints": WALK, "layout": "coco"}, SourceError, "layout is 'coco'"),
        ({"keypoints": WALK, "units": "metres"}, SourceError, "units is 'metres'"),
        ({"keypoints": WALK, "units": "pixels"}, SourceError, "has no 'width_px'"),
        ({"keypoints": WALK, "fps": 0}, SourceError, "fps is 0"),
        ({"keypoints": WALK, "t_s": np.zeros(4)}, FrameError, r"t_s has shape \(4,\)"),
        ({"keypoints": WALK, "truth_m": WALK[:4]}, FrameError, "truth_m has"),
        ({"keypoints": np.array([{}], object)}, SourceError, "plain numbers"),  # a pickle: never loaded
    ],
)
def test_a_keypoints_file_that_does_not_fit_is_refused(
    tmp_path: Path, entries: dict[str, Any], error: type[PoseEdgeError], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", **entries)
    with pytest.raises(error, match=message):
        open_source(f"kpts:{tmp_path / 'bad.npz'}")


def test_a_file_that_is_missing_or_no_npz_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "walks.npz").write_text("not a zip")
    with pytest.raises(SourceError, match=r"no file .*walk\.npz; did you mean .*walks\.npz"):
        open_source(f"kpts:{tmp_path / 'walk.npz'}")
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(f"kpts:{tmp_path / 'walks.npz'}")
    np.save(tmp_path / "bare.npy", WALK)
    with pytest.raises(SourceError, match="one bare array"):
        open_source(f"kpts:{tmp_path / 'bare.npy'}")
