"""Sinks: a file appears complete or not at all, and pictures can be drawn."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError, MissingError, UsageError
from posemoe_edge.runtime.events import PoseFrame, TrackStarted
from posemoe_edge.runtime.plotting import Lines, draw_lines, draw_skeletons
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.sinks import RunInfo, Sink, open_sink, open_sinks
from posemoe_edge.runtime.sinks import png as png_module
from posemoe_edge.runtime.sources import People, SyntheticSource

PNG = b"\x89PNG\r\n\x1a\n"


def poses_of(frame: People, *, t_s: float | None = None) -> dict[int, Pose]:
    """The poses of a model whose joints, except the hip, are all 10 mm too far to the right."""
    assert frame.truth_m is not None
    shift = np.zeros((17, 3), np.float32)
    shift[1:, 0] = 0.01
    return {
        p: Pose(
            truth + shift,
            np.ones(17, np.float32),
            frame.t_s if t_s is None else t_s,
            0.02,
            latency_frames=0,
            gap="none",
            person=p,
        )
        for p, truth in frame.truth_m.items()
    }


def pose_frame(frame: People, poses: dict[int, Pose] | None = None) -> PoseFrame:
    """The event of a frame, with these poses or those of ``poses_of``."""
    return PoseFrame(frame.t_s, poses_of(frame) if poses is None else poses, truth_m=frame.truth_m)


SOURCE = SyntheticSource(people=2, frames=30)
FRAMES = list(SOURCE)
RUN = RunInfo(SOURCE.info, preset="a model", precision="fp32", mode="step", engine="onnxruntime", latency_frames=0)


def write_all(sink: Sink) -> None:
    sink.write(TrackStarted(0, 0.0))  # which neither of the sinks writes
    for frame in FRAMES:
        sink.write(pose_frame(frame))


def test_a_pose_is_plain_numbers_to_a_tenth_of_a_millimetre() -> None:
    record = json.loads(json.dumps(poses_of(FRAMES[3])[1].to_json()))
    assert record["person"] == 1 and record["t_s"] == 0.06 and record["gap"] == "none" and len(record["score"]) == 17
    assert all(round(v, 4) == v for joint in record["xyz_m"] for v in joint)
    np.testing.assert_allclose(record["xyz_m"], poses_of(FRAMES[3])[1].xyz_m, atol=5.1e-5)


def test_an_exception_leaves_the_old_picture_and_no_half_one(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "run.png"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), open_sink(f"png:{path}") as sink:
        write_all(sink)
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["jsonl", "png"])
def test_closing_twice_is_closing_once_and_writing_afterwards_is_an_error(tmp_path: Path, name: str) -> None:
    if name == "png":
        pytest.importorskip("matplotlib")
    sink = open_sink(f"{name}:{tmp_path / 'run'}")
    write_all(sink)
    sink.close()
    sink.close()
    sink.abort()
    assert (tmp_path / "run").stat().st_size > 100
    with pytest.raises(ValueError, match="closed"):
        write_all(sink)


def test_a_picture_is_drawn_at_the_end(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with open_sink(f"png:{tmp_path / 'run.png'}") as sink:
        write_all(sink)
    assert (tmp_path / "run.png").read_bytes().startswith(PNG) and len(list(tmp_path.iterdir())) == 1


def test_a_run_without_poses_leaves_no_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with open_sink(f"png:{tmp_path / 'run.png'}") as sink:
        sink.write(pose_frame(FRAMES[0], {}))
    assert list(tmp_path.iterdir()) == []


def test_a_late_pose_is_compared_with_its_own_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    drawn: list[Lines] = []
    monkeypatch.setattr(png_module, "draw_skeletons", lambda path, **options: drawn.extend(options["lines"]))
    with open_sink(f"png:{tmp_path / 'run.png'}") as sink:
        for late, now in zip(FRAMES, FRAMES[4:], strict=False):
            sink.write(pose_frame(now, poses_of(late, t_s=late.t_s)))
    error_mm = np.asarray(drawn[0].y["MPJPE"])
    assert np.isnan(error_mm[:4]).all()  # their frames were never shown to the sink
    np.testing.assert_allclose(error_mm[4:], 10 * 16 / 17, atol=1e-3)


def test_guessed_joints_are_grey_in_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("matplotlib.image")
    seen = poses_of(FRAMES[0])
    left_arm = np.where(np.isin(np.arange(17), (12, 13)), 0.1, 1.0).astype(np.float32)
    grey = {}
    for name, score in (("seen", np.ones(17, np.float32)), ("guessed", left_arm)):
        with open_sink(f"png:{tmp_path / name}") as sink:
            sink.write(PoseFrame(0.0, {0: replace(seen[0], score=score)}))
        pixels = np.round(255 * image.imread(tmp_path / name)[..., :3])
        grey[name] = int((pixels == 0x8C).all(axis=-1).sum())
    assert grey["guessed"] > grey["seen"] + 100


def test_a_long_run_is_thinned_out_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(png_module, "_MAX_SAMPLES", 64)
    times_s: list[float] = []
    monkeypatch.setattr(png_module, "draw_skeletons", lambda path, **options: times_s.extend(options["lines"][0].x))
    with open_sink(f"png:{tmp_path / 'run.png'}") as sink:
        for i in range(1000):
            sink.write(pose_frame(FRAMES[0], poses_of(FRAMES[0], t_s=float(i))))
    assert 32 <= len(times_s) <= 64 and len(set(np.diff(times_s))) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("json:poses", "did you mean jsonl:FILE"),
        ("run.png", "did you mean png:run.png"),
        ("hologram", "expected one of jsonl:FILE, png:FILE"),
        ("png:", "needs a file"),
    ],
)
def test_an_unknown_sink_is_an_error_that_names_the_known_ones(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_sink(spec)


def test_a_path_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="run: mkdir -p"):
        open_sink(f"jsonl:{tmp_path / 'nowhere' / 'poses.jsonl'}")
    with pytest.raises(UsageError, match="is a folder"):
        open_sink(f"jsonl:{tmp_path}")


def test_of_several_sinks_none_is_left_half_open(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sink 'nothing:x'"):
        open_sinks([f"jsonl:{tmp_path / 'poses.jsonl'}", "nothing:x"])
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingError, match=r'pip install "posemoe-edge\[plot\]"'):
        open_sink(f"png:{tmp_path / 'run.png'}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("n", "truth", "plots"), [(1, False, 0), (3, True, 1), (9, True, 2)])
def test_skeletons_of_any_number_are_drawn_without_a_warning(
    tmp_path: Path, n: int, truth: bool, plots: int, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    pytest.importorskip("matplotlib")
    points = np.stack([frame.keypoints[0].normalised() for frame in FRAMES[:n]])
    plot = Lines(x=np.arange(5), y={"a": np.arange(5), "b": [1, 2, np.nan, 0, 1]}, title="t", limits={"limit": 3})
    draw_skeletons(
        tmp_path / "a.png",
        poses=points,
        truth=points + 0.1 if truth else None,
        titles=["x"] * n,
        heading="h",
        lines=[plot] * plots,
    )
    draw_lines(tmp_path / "b.png", plot)
    assert all((tmp_path / f).read_bytes().startswith(PNG) for f in ("a.png", "b.png"))
    assert capfd.readouterr().err == "" and not len(recwarn)


def test_poses_that_do_not_fit_are_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="N of at least 1"):
        draw_skeletons(tmp_path / "a.png", poses=np.zeros((0, 17, 3)))
    with pytest.raises(FrameError, match="the truth has shape"):
        draw_skeletons(tmp_path / "a.png", poses=np.zeros((2, 17, 3)), truth=np.zeros((1, 17, 3)))


def test_standard_deviations_are_drawn_around_the_joints_of_poses_that_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    drawn: list[Any] = []
    monkeypatch.setattr(png_module, "draw_skeletons", lambda path, **options: drawn.append(options["sigma"]))
    sigma_m = np.linspace(0.01, 0.2, 17, dtype=np.float32)
    for sigma in (None, sigma_m):
        with open_sink(f"png:{tmp_path / 'run.png'}") as sink:
            for frame in FRAMES[:3]:
                poses = {person: replace(pose, sigma_m=sigma) for person, pose in poses_of(frame).items()}
                sink.write(pose_frame(frame, poses))
    assert drawn[0] is None
    np.testing.assert_array_equal(drawn[1], np.stack([sigma_m] * 3))


def test_larger_standard_deviations_colour_more_of_the_picture(tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    pose = np.stack([FRAMES[0].keypoints[0].normalised()])
    coloured = []
    for name, sigma in (("none", None), ("small", np.full((1, 17), 0.02)), ("large", np.full((1, 17), 0.08))):
        draw_skeletons(tmp_path / f"{name}.png", poses=pose, sigma=sigma)
        coloured.append((image.imread(tmp_path / f"{name}.png")[..., :3] < 0.99).any(axis=-1).sum())
    assert coloured[0] < coloured[1] < coloured[2]
    with pytest.raises(FrameError, match="sigma has shape"):
        draw_skeletons(tmp_path / "bad.png", poses=pose, sigma=np.ones((1, 16)))
