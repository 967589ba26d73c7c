"""Sources: named by a small grammar, they yield normalised people and refuse what they cannot read."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError, PoseEdgeError, SourceError, UsageError
from posemoe_edge.runtime.pose.skeleton import coco_to_h36m
from posemoe_edge.runtime.sources import Source, open_source
from posemoe_edge.runtime.sources.keypoints_file import save_keypoints

WALK = np.random.default_rng(0).uniform(-1, 1, (5, 17, 3)).astype(np.float32)
WALK[..., 2] = 1


def test_the_synthetic_walk_counts_people_and_time() -> None:
    with open_source("synthetic://walk?people=3&fps=25&seed=4", frames=130) as source:
        assert isinstance(source, Source)
        assert source.fps == 25 and source.frames == 130
        frames = list(source)
    assert [f.t_s for f in frames] == [i / 25 for i in range(130)]
    for frame in frames[:3]:
        assert frame.truth_m is not None and set(frame.people) == set(frame.truth_m) == {0, 1, 2}
        for person, keypoints in frame.people.items():
            assert keypoints.shape == (17, 3) and keypoints.dtype == np.float32 and (keypoints[:, 2] == 1).all()
            assert frame.truth_m[person].shape == (17, 3) and not frame.truth_m[person][0].any()


def test_the_synthetic_walk_has_no_end_and_is_the_same_each_time() -> None:
    source = open_source("synthetic://walk?noise=2")
    assert source.frames is None
    first, again = (list(islice(source, 200)) for _ in range(2))
    other = list(islice(open_source("synthetic://walk?seed=1"), 200))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.people[0], b.people[0])
    assert np.abs(first[0].people[0] - other[0].people[0]).max() > 0.01


def test_keypoints_show_what_the_truth_is() -> None:
    frame = next(iter(open_source("synthetic://walk")))
    assert frame.truth_m is not None
    seen, truth = frame.people[0][:, :2], frame.truth_m[0][:, :2]
    assert np.corrcoef(seen[:, 1], truth[:, 1])[0, 1] > 0.999  # down is down in both


def test_noise_has_its_size_and_lasts() -> None:
    clean, noisy = (
        np.stack([f.people[0][:, :2] for f in islice(open_source(f"synthetic://walk?noise={n}"), 1500)]) for n in (0, 4)
    )
    error_px = (noisy - clean) * 500
    assert error_px.std() == pytest.approx(4, rel=0.1)
    memory = (error_px[1:] * error_px[:-1]).mean() / error_px.var()
    assert memory == pytest.approx(np.exp(-0.02 / 0.08), abs=0.05)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sinthetic://walk", "did you mean synthetic://walk"),
        ("synthetic://run", "no synthetic scene 'run'"),
        ("synthetic://walk?peple=3", "did you mean people"),
        ("synthetic://walk?people=three", "people=a whole number"),
        ("synthetic://walk?people=0", "people of at least 1"),
        ("synthetic://walk?fps=0", "fps above 0"),
        ("synthetic://walk?fps=nan", "fps above 0"),
        ("synthetic://walk?noise=-1", "noise of at least 0"),
        ("webcam0", "did you mean camera0"),
        ("walk.npz", "did you mean kpts:walk.npz"),
        ("film.mpg", "expected one of synthetic://walk"),
        ("", "no source ''"),
        ("csi://0", "csi are not built yet"),
        ("rtsp://10.0.0.1/stream", "rtsp are not built yet"),
        ("mcap:bag.mcap", "mcap are not built yet"),
    ],
)
def test_a_name_that_is_off_is_answered_with_what_there_is(uri: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(uri)


def test_recipe_and_frames_are_checked() -> None:
    with pytest.raises(UsageError, match="did you mean coco_eyes"):
        open_source("synthetic://walk", recipe="coco_eye")
    with pytest.raises(UsageError, match="at least 1"):
        open_source("synthetic://walk", frames=0)


@pytest.mark.parametrize("people", [None, 2])
def test_a_keypoints_file_comes_back(tmp_path: Path, people: int | None) -> None:
    keypoints = WALK if people is None else np.stack([WALK, -WALK], 1)
    keypoints[..., 2] = 1
    times = np.array([0, 0.1, 0.2, 0.5, 0.6])
    save_keypoints(tmp_path / "walk.npz", keypoints=keypoints, t_s=times, truth_m=keypoints * 2)
    with open_source(f"kpts:{tmp_path / 'walk.npz'}") as source:
        frames = list(source)
        assert source.frames == 5 and source.fps is None
    assert [f.t_s for f in frames] == times.tolist()
    for i, frame in enumerate(frames):
        assert frame.truth_m is not None and len(frame.people) == (people or 1)
        for p, person in frame.people.items():
            np.testing.assert_array_equal(person, keypoints[i] if people is None else keypoints[i, p])
            np.testing.assert_array_equal(frame.truth_m[p], 2 * person)


def test_a_silent_keypoints_file_runs_at_fifty_frames_a_second(tmp_path: Path) -> None:
    save_keypoints(tmp_path / "walk.npz", keypoints=WALK[..., :2])
    source = open_source(f"kpts:{tmp_path / 'walk.npz'}", frames=3)
    frames = list(source)
    assert source.fps == 50 and source.frames == 3 and [f.t_s for f in frames] == [0, 0.02, 0.04]
    assert (frames[0].people[0][:, 2] == 1).all() and frames[0].truth_m is None


def test_pixels_and_coco_are_turned_into_what_networks_take(tmp_path: Path) -> None:
    coco_px = np.random.default_rng(1).uniform(0, 600, (4, 17, 3)).astype(np.float32)
    coco_px[..., 2] = 0.5
    save_keypoints(
        tmp_path / "coco.npz", keypoints=coco_px, layout="coco17", units="pixels", width_px=640, height_px=480, fps=30
    )
    frame = next(iter(open_source(f"kpts:{tmp_path / 'coco.npz'}", recipe="coco_neck")))
    expected = coco_to_h36m(coco_px[0], "coco_neck")
    np.testing.assert_allclose(frame.people[0][:, 0], expected[:, 0] / 320 - 1, atol=1e-5)
    np.testing.assert_allclose(frame.people[0][:, 1], expected[:, 1] / 320 - 0.75, atol=1e-5)


def test_numbers_that_are_not_finite_are_left_to_the_stream(tmp_path: Path) -> None:
    keypoints = WALK.copy()
    keypoints[2, 4, 0] = np.nan
    save_keypoints(tmp_path / "holes.npz", keypoints=keypoints)
    frames = list(open_source(f"kpts:{tmp_path / 'holes.npz'}"))
    np.testing.assert_array_equal(frames[2].people[0], keypoints[2])


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ({"points": WALK}, SourceError, "has no 'keypoints'"),
        ({"keypoints": WALK[:, :16]}, FrameError, "has 16 joints"),
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
    tmp_path: Path, entries: dict[str, np.ndarray], error: type[PoseEdgeError], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", **entries)
    with pytest.raises(error, match=message):
        open_source(f"kpts:{tmp_path / 'bad.npz'}")


def test_a_file_that_is_missing_or_no_npz_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "walks.npz").write_text("not a zip")
    with pytest.raises(SourceError, match=r"no file .*walk\.npz; did you mean .*walks\.npz"):
        open_source(f"kpts:{tmp_path / 'walk.npz'}")
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(f"kpts:{tmp_path / 'walks.npz'}")
    np.save(tmp_path / "bare.npy", WALK)
    with pytest.raises(SourceError, match="one bare array"):
        open_source(f"kpts:{tmp_path / 'bare.npy'}")
