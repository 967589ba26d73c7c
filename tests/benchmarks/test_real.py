"""benchmarks/real.py: cameras, truth, scores and tables are right on cases that are made by hand, and the command runs."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from posemoe_edge.runtime import load
from posemoe_edge.runtime.detectors import Detection, Region
from posemoe_edge.runtime.errors import ArtefactError, MissingError
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints
from posemoe_edge.runtime.pose.skeleton import COCO17, COCO_TO_H36M
from posemoe_edge.runtime.pose.types import Pose, Root

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
REAL = Path(__file__).parents[2].parent / "shared" / "assets" / "real"
FRAMES = 8


def calibration(eyes_m: np.ndarray) -> str:
    """Qualisys' calibration of cameras in a circle, 1000 px of focal length, that look at the world's (0, 0, 1)."""
    cameras = []
    for n, eye in enumerate(eyes_m):
        z = np.array([0, 0, 1.0]) - eye
        z /= np.linalg.norm(z)
        x = np.cross(z, (0, 0, 1.0))
        x /= np.linalg.norm(x)
        turn = np.stack([x, -np.cross(z, x), -z])  # Qualisys: x right, y up, z towards the viewer
        numbers = " ".join(f'r{i + 1}{j + 1}="{turn[i, j]}"' for i in range(3) for j in range(3))
        place = " ".join(f'{axis}="{1000 * value}"' for axis, value in zip("xyz", eye, strict=True))
        cameras.append(
            f'<camera serial="{n}"><fov_video right="1079" bottom="1919"/><transform {place} {numbers}/>'
            '<intrinsic focalLengthU="64000" focalLengthV="64000" centerPointU="34560" centerPointV="61440"/></camera>'
        )
    return f"<calibration><cameras>{''.join(cameras)}</cameras></calibration>"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Four cameras around a person, as a folder of clips of grey pictures with the truth."""
    cv2 = pytest.importorskip("cv2")
    eyes = np.array([[4, 0, 1.6], [0, 4, 1.6], [-4, 0, 1.6], [0, -4, 1.6]], np.float64)
    (tmp_path / "pose2sim_calib.qca.txt").write_text(calibration(eyes))
    for name in (*(f"single_cam0{n}" for n in (1, 2, 3, 4)), "multi_cam02", "multi_cam03"):
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 60, (270, 480))
        for _ in range(FRAMES):
            writer.write(np.full((480, 270, 3), 128, np.uint8))
        writer.release()
    np.savez(tmp_path / "pose2sim_single_truth.npz", coco17_m=standing_person())
    return tmp_path


def standing_person() -> np.ndarray:
    """(T, 17, 3) COCO-17 of a person who sways, world metres, z up."""
    y = {
        "nose": 0,
        "eye": 0.03,
        "ear": 0.07,
        "shoulder": 0.2,
        "elbow": 0.25,
        "wrist": 0.25,
        "hip": 0.12,
        "knee": 0.12,
        "ankle": 0.12,
    }
    z = {
        "nose": 1.6,
        "eye": 1.65,
        "ear": 1.62,
        "shoulder": 1.4,
        "elbow": 1.1,
        "wrist": 0.85,
        "hip": 0.95,
        "knee": 0.5,
        "ankle": 0.1,
    }
    person = np.array(
        [
            [0.1 * i % 0.17, y[n.split("_")[-1]] * (1 if "left" in n else -1), z[n.split("_")[-1]]]
            for i, n in enumerate(COCO17.joints)
        ]
    )
    sway = 0.02 * np.sin(np.arange(FRAMES) / 3)[:, None, None] * np.array([1, 0, 0])
    return np.asarray(person + sway)


def test_a_camera_of_the_calibration_sees_what_it_looks_at(clips: Path) -> None:
    views = importlib.import_module("footage.clips").read_views(clips)
    assert [view.name for view in views] == ["cam01", "cam02", "cam03", "cam04"] and views[0].camera.size.height_px == 1920
    first = views[0]  # at x = 4 m, so that the world's y is to its right
    centre, right, above = first.project(np.array([[0, 0, 1.0], [0, 0.4, 1], [0, 0, 1.4]]))
    np.testing.assert_allclose(centre, (540, 960), atol=1e-6)
    assert right[0] > 600 and right[1] == pytest.approx(960) and above[1] < 900 and above[0] == pytest.approx(540)
    assert first.camera.gravity is not None and first.camera.gravity[1] > 0.95  # down is down
    homogeneous = first.matrix @ (0.3, 0.4, 1.5, 1)
    np.testing.assert_allclose(homogeneous[:2] / homogeneous[2], first.project(np.array([0.3, 0.4, 1.5])))


def test_the_real_calibration_sees_the_real_person() -> None:
    if not (REAL / "pose2sim_single_truth.npz").is_file():
        pytest.skip("the real clips are not beside this checkout")
    truth = importlib.import_module("footage.truth").read_truth(REAL / "pose2sim_single_truth.npz")
    views = importlib.import_module("footage.clips").read_views(REAL)
    assert len(views) == 4
    for view in views:
        x, y = np.moveaxis(view.project(truth), -1, 0)
        assert ((x > 0) & (x < view.camera.size.width_px) & (y > 0) & (y < view.camera.size.height_px)).all()
        assert y[:, 0].mean() < y[:, 11].mean() < y[:, 15].mean()  # nose above hip above ankle
        assert view.camera.gravity is not None and view.camera.gravity[1] > 0.8


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), weak=st.integers(0, 3))
@example(seed=415, weak=0)  # needs more than five rounds
def test_points_come_back_from_their_projections_whatever_one_camera_says(seed: int, weak: int) -> None:
    sys.path.insert(0, str(BENCHMARKS))
    triangulate = importlib.import_module("footage.truth").triangulate
    rng = np.random.default_rng(seed)
    world = rng.uniform((-0.5, -0.5, 0), (0.5, 0.5, 2), (5, 3))
    matrices, keypoints = [], []
    for angle in np.arange(4) * np.pi / 2 + 0.3:
        z = np.array([-np.cos(angle), -np.sin(angle), 0])
        turn = np.stack([np.cross((0, 0, -1.0), z), (0, 0, -1.0), z])
        eye = -4 * z + (0, 0, 1)
        matrix = np.array([[1000, 0, 500], [0, 1000, 500], [0, 0, 1.0]]) @ np.concatenate([turn, -(turn @ eye)[:, None]], 1)
        seen = np.concatenate([world, np.ones((5, 1))], 1) @ matrix.T
        matrices.append(matrix)
        keypoints.append(np.concatenate([seen[:, :2] / seen[:, 2:], np.ones((5, 1))], 1))
    points = np.stack(keypoints)
    np.testing.assert_allclose(triangulate(matrices, points), world, atol=1e-6)
    points[weak, :, 0] += 80  # at first it counts as much as the others
    np.testing.assert_allclose(triangulate(matrices, points), world, atol=0.001)
    points[weak, :, 2] = 0
    points[(weak + 1) % 4, 0, 2] = points[(weak + 2) % 4, 0, 2] = 0  # the first point is left to one camera
    alone = triangulate(matrices, points)
    assert np.isnan(alone[0]).all()
    np.testing.assert_allclose(alone[1:], world[1:], atol=1e-6)


# Scores.


@pytest.fixture
def limbs() -> tuple[np.ndarray, np.ndarray]:
    """(T, 12, 3) metres and (T, 12, 2) pixels of moving limbs."""
    rng = np.random.default_rng(5)
    limbs_m = rng.normal(0, 0.4, (1, 12, 3)) + rng.normal(0, 0.01, (6, 12, 3)) + (0, 0, 4)
    return limbs_m, limbs_m[..., :2] / limbs_m[..., 2:] * 1000 + 500


def found(limbs_m: np.ndarray, limbs_px: np.ndarray, root_m: Any = None) -> list[list[Any]]:
    candidate = importlib.import_module("footage.scoring").Candidate
    return [[candidate(0, px, m, None if root_m is None else m + root_m)] for m, px in zip(limbs_m, limbs_px, strict=True)]


def test_the_truth_itself_has_no_error_wherever_its_origin_is(limbs: tuple[np.ndarray, np.ndarray]) -> None:
    scoring = importlib.import_module("footage.scoring")
    scores = scoring.score(found(limbs[0] - (1, 2, 3), limbs[1], np.array([1.0, 2, 3])), *limbs)
    assert (scores.flips, scores.missed, scores.ids, scores.others, scores.frames) == (0, 0, 1, 0, 6)
    for name in ("mpjpe", "p_mpjpe", "absolute", "acceleration_error"):
        assert getattr(scores, name) == pytest.approx(0, abs=1e-6), name
    assert scoring.score(found(*limbs), *limbs).absolute is None  # nobody said where the origin is


def test_errors_are_in_millimetres_and_a_size_counts_in_mpjpe_alone(limbs: tuple[np.ndarray, np.ndarray]) -> None:
    scoring = importlib.import_module("footage.scoring")
    truth = scoring.from_hips(limbs[0])
    scores = scoring.score(found(1.1 * truth, limbs[1], np.zeros(3)), *limbs)
    assert scores.mpjpe == pytest.approx(100 * np.linalg.norm(truth, axis=-1).mean()) and scores.p_mpjpe < 1e-6
    away = np.linalg.norm(1.1 * truth - limbs[0], axis=-1).mean()
    assert scores.absolute == pytest.approx(1000 * away)
    assert scores.acceleration == pytest.approx(1100 * np.linalg.norm(np.diff(truth, n=2, axis=0), axis=-1).mean())


def test_a_swap_of_left_and_right_is_a_flip(limbs: tuple[np.ndarray, np.ndarray]) -> None:
    scoring = importlib.import_module("footage.scoring")
    swapped = limbs[0].copy()
    mirror = [
        scoring.LIMBS.index(name.replace("left", "r1").replace("right", "left").replace("r1", "right"))
        for name in scoring.LIMBS
    ]
    swapped[2:4] = swapped[2:4][:, mirror]
    swapped_px = limbs[1].copy()
    swapped_px[2:4] = swapped_px[2:4][:, mirror]
    scores = scoring.score(found(swapped, swapped_px), *limbs)
    assert (scores.flips, scores.missed) == (2, 0)  # in the picture too, it is the same person


def test_the_person_is_chosen_by_the_picture_and_others_are_counted(limbs: tuple[np.ndarray, np.ndarray]) -> None:
    scoring = importlib.import_module("footage.scoring")
    people = found(*limbs)
    for frame, other in zip(people, found(limbs[0] + 1, limbs[1] + 400), strict=True):
        frame.insert(0, other[0])
    people[3].pop()  # the person is missed, and the other one is not taken for them
    people[5][1] = scoring.Candidate(7, people[5][1].limbs_px, people[5][1].limbs_m)
    scores = scoring.score(people, *limbs)
    assert (scores.missed, scores.others, scores.ids) == (1, 6, 2) and scores.mpjpe == pytest.approx(0, abs=1e-9)
    nobody = scoring.score([[]] * 6, *limbs)
    assert nobody.mpjpe is None and (nobody.missed, nobody.ids) == (6, 0)


def test_a_row_has_means_sums_and_each_camera(limbs: tuple[np.ndarray, np.ndarray]) -> None:
    scoring, tables = importlib.import_module("footage.scoring"), importlib.import_module("footage.tables")
    scores = {
        "cam01": scoring.Scores(100.0, 60.0, None, 5.0, 4.0, flips=2, missed=1, ids=1, others=0, frames=9),
        "cam02": scoring.Scores(120.0, 80.0, 300.0, 7.0, 6.0, flips=3, missed=0, ids=3, others=4, frames=9),
    }
    row = tables.row_of({"front_end": "x", "weights": "w", "camera": "known"}, scores)
    assert (row["mpjpe"], row["p_mpjpe"], row["absolute"], row["acceleration"]) == (110.0, 70.0, None, 6.0)
    assert (row["flips"], row["missed"], row["ids"], row["others"]) == (5, 1, 3, 4)
    lines = tables.markdown([row]).splitlines()
    assert lines[2] == "| x | w | known | 110.0 | 70.0 | - | 6.0 | 5.0 | 5 | 1 | 3 | 4 | 100.0 | 120.0 |"
    assert len({line.count("|") for line in lines}) == 1


def test_a_frame_without_the_person_has_no_error_and_the_others_have_theirs(limbs: tuple[np.ndarray, np.ndarray]) -> None:
    scoring = importlib.import_module("footage.scoring")
    people = found(limbs[0] * 1.1, limbs[1], np.zeros(3))
    people[2].clear()
    scores = scoring.score(people, *limbs)
    for name in ("mpjpe", "p_mpjpe", "absolute"):
        errors = scores.by_frame[name]
        assert np.isnan(errors).tolist() == [False, False, True, False, False, False]
        assert np.nanmean(errors) == pytest.approx(getattr(scores, name))


def test_intervals_and_leads_are_over_cameras_and_blocks_of_time() -> None:
    scoring, tables = importlib.import_module("footage.scoring"), importlib.import_module("footage.tables")
    spread = importlib.import_module("footage.spread")
    rng = np.random.default_rng(3)
    hard = {f"cam0{n}": 100 + 20 * n + rng.normal(0, 5, 100) for n in range(4)}  # cameras differ more than systems do

    def row(front_end: str, lead: float, missed: slice = slice(0)) -> dict[str, Any]:
        scores = {}
        for camera, errors in hard.items():
            by_frame = errors - lead
            by_frame[missed] = np.nan
            numbers = [float(np.nanmean(by_frame)), None, None, None, None, 0, 0, 1, 0, 100]
            scores[camera] = scoring.Scores(*numbers, by_frame={"mpjpe": by_frame})
        return dict(tables.row_of({"front_end": front_end, "weights": "w", "camera": "known"}, scores))

    rows = [row("blazepose:heavy", 3.0, slice(0, 25)), row("perfect 2D", 9.0), row("MediaPipe heavy", 0.0)]
    assert np.array(rows[1]["blocks"]["mpjpe"]).shape == (4, 100 // spread.BLOCK)
    assert rows[0]["blocks"]["mpjpe"][0][0] is None and rows[0]["blocks"]["mpjpe"][0][1] is not None  # frames 0 to 19, 20 to 39
    within = rows[1]["intervals"]["mpjpe"]
    assert 91 < within["low"] < 121 < within["high"] < 151 and within["high"] - within["low"] > 20
    [lead] = spread.leads(rows)
    assert (lead["front_end"], lead["over"]) == ("blazepose:heavy", "MediaPipe heavy")
    assert 0 < lead["low"] < 3 < lead["high"] < 8 and lead["mean"] == pytest.approx(3, abs=1)
    assert f"| {rows[1]['mpjpe']} [{within['low']:.0f}, {within['high']:.0f}] |" in tables.markdown(rows)
    json.dumps(rows, allow_nan=False)


# Scenes and times.


def test_people_and_ghosts_of_a_scene_are_counted() -> None:
    scenes = importlib.import_module("footage.scenes")
    pose = Pose(np.zeros((17, 3), np.float32), np.ones(17, np.float32), 0.0, 0.1, latency_frames=0, gap="none")
    people = [[0], [0, 1], [0, 1], [0, 5]]
    frames = [PoseFrame(float(i), dict.fromkeys(ids, pose)) for i, ids in enumerate(people)]
    row = scenes.count_people(iter(frames), scenes.SceneFile("x.mp4", people=2))
    assert (row["frames"], row["typical"], row["most"], row["ids"], row["frames_right"]) == (4, 2, 2, 3, 0.75)
    assert row["ghosts"] is None
    empty = scenes.SceneFile("x.mp4", people=2, always=False, empty_s=((0.0, 0.5), (2.5, 9.0)))
    row = scenes.count_people(iter(frames), empty)
    assert row["ghosts"] == 3 and row["frames_right"] is None


def test_systems_take_turns_and_stages_are_means_over_all_frames() -> None:
    timing = importlib.import_module("footage.timing")
    order: list[str] = []

    def ours() -> Any:
        for i in range(6):
            order.append("ours")
            yield PoseFrame(i / 10, {}, stages_s={"detect": 0.020, "lift": 0.002} | ({"find": 0.009} if i == 3 else {}))

    class Peer:
        def next(self) -> dict[str, float]:
            order.append("peer")
            return {"seconds": 0.030}

    rows = timing.measure_times({"ours": ours()}, {"peer": Peer()})
    assert order[:8] == ["peer", "ours", "ours", "peer", "peer", "ours", "ours", "peer"]
    assert rows[0] == {"system": "ours", "frame_ms": 22.0, "mean_ms": 25.0, "detect_ms": 20.0, "lift_ms": 2.0, "find_ms": 3.0}
    assert rows[1] == {"system": "peer", "frame_ms": 30.0, "mean_ms": 30.0}


STUB = """
import types
class Pose:
    def __init__(self, model_complexity, static_image_mode):
        self.complexity, self.frames = model_complexity, 0
    def process(self, rgb):
        print("words of its own")
        self.frames += 1
        if self.frames == 2:
            return types.SimpleNamespace(pose_landmarks=None, pose_world_landmarks=None)
        marks = [types.SimpleNamespace(x=i / 66, y=0.5, z=float(self.complexity), visibility=0.9) for i in range(33)]
        landmarks = types.SimpleNamespace(landmark=marks)
        return types.SimpleNamespace(pose_landmarks=landmarks, pose_world_landmarks=landmarks)
solutions = types.SimpleNamespace(pose=types.SimpleNamespace(Pose=Pose))
"""


def test_the_process_beside_us_is_asked_frame_by_frame(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = importlib.import_module("footage.mediapipe_peer")
    (tmp_path / "stub" / "mediapipe").mkdir(parents=True)
    (tmp_path / "stub" / "mediapipe" / "__init__.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"), prepend=":")
    monkeypatch.setattr(peer, "POSE_LANDMARKS", {})
    with peer.MediaPipe(Path(sys.executable), "heavy", clips / "single_cam01.mp4") as process:
        answers = list(process)
    assert len(answers) == FRAMES and all(answer["seconds"] > 0 for answer in answers)
    person, nobody = peer.candidates(answers[0])[0], peer.candidates(answers[1])
    assert nobody == [] and not peer.coco(answers[1]).any()
    np.testing.assert_allclose(person.limbs_px[0], (23 / 66 * 270, 240))  # the left hip is its landmark 23
    assert person.limbs_m[0, 2] == 2.0  # the variant was passed on


# The command.


@pytest.fixture
def run(tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    def command(*arguments: object) -> dict[str, Any]:
        outputs = ["--json", tmp_path / "r.json", "--markdown", tmp_path / "r.md", "--picture", tmp_path / "r.png"]
        monkeypatch.setattr(sys, "argv", ["real.py", *map(str, ["--clips", clips, *outputs, *arguments])])
        runpy.run_path(str(BENCHMARKS / "real.py"), run_name="__main__")
        result: dict[str, Any] = json.loads((tmp_path / "r.json").read_text())
        return result

    return command


def test_the_command_writes_its_tables_and_a_picture(
    run: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run("--detector", "--no-scenes", "--no-times", "--frames", 5)
    assert (result["frames"], result["cameras"]) == (5, ["cam01", "cam02", "cam03", "cam04"])
    assert [(row["front_end"], row["camera"]) for row in result["accuracy"]] == [
        ("perfect 2D", "known"),
        ("perfect 2D", "unknown"),
    ]
    for row in result["accuracy"]:
        assert row["missed"] == row["others"] == 0 and row["ids"] == 1 and set(row["cameras"]) == set(result["cameras"])
        means = [camera["mpjpe"] for camera in row["cameras"].values()]
        assert row["mpjpe"] == pytest.approx(np.mean(means), abs=0.11)
    assert "perfect 2D" in capsys.readouterr().out and "| perfect 2D |" in (tmp_path / "r.md").read_text()
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [["--mediapipe", "huge"], ["--json", "nowhere/r.json"], ["--smooth", "much"]])
def test_impossible_options_are_refused(arguments: list[str], run: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2


def test_clips_that_are_not_there_are_named(run: Callable[..., dict[str, Any]], clips: Path) -> None:
    (clips / "single_cam03.mp4").unlink()
    with pytest.raises(SystemExit, match=r"no single_cam03\.mp4 in"):
        run()


def test_a_truth_of_another_form_is_refused(clips: Path) -> None:
    np.savez(clips / "truth.npz", coco17_m=np.zeros((3, 16, 3)))
    truth = importlib.import_module("footage.truth")
    with pytest.raises(ArtefactError, match=r"shape \(3, 16, 3\)"):
        truth.read_truth(clips / "truth.npz")
    (clips / "truth.npz").write_text("a web page")
    with pytest.raises(ArtefactError, match="cannot be read"):
        truth.read_truth(clips / "truth.npz")


class Counting:
    """A detector of two stages that finds one person, elsewhere in every frame, and counts what it is asked."""

    skeleton = COCO17

    def __init__(self) -> None:
        self.asked = 0

    def find(self, image_bgr: Any) -> list[Region]:
        return [Region.whole(image_bgr)]

    def detect(self, image_bgr: Any, *, regions: Any = None) -> list[Detection]:
        assert image_bgr.mean() > 100  # never a black picture
        self.asked += 1
        points = np.random.default_rng(self.asked).uniform(50, 200, (17, 3)).astype(np.float32)
        points[:, 2] = 1
        return [Detection.from_coco(points, size=ImageSize.of(image_bgr), region=Region.whole(image_bgr))]


def test_what_a_detector_found_is_remembered_for_the_next_weights(clips: Path) -> None:
    ours = importlib.import_module("footage.ours")
    counting, model = Counting(), load()
    detector = ours.remembering(counting)
    runs = []
    for _ in range(2):
        detector.rewind()
        video = clips / "single_cam01.mp4"
        runs.append(list(ours.run_video(model, video, detector, tracker="order", camera=None)))
    assert counting.asked == FRAMES == len(runs[0]) == len(runs[1])
    for first, again in zip(*runs, strict=True):
        assert first.t_s == again.t_s
        np.testing.assert_array_equal(first.poses[0].xyz_m, again.poses[0].xyz_m)
        assert ours.candidates(first)[0].limbs_px[2].tolist() == first.keypoints[0].xy[13].tolist()  # the left knee


class Trembling(Counting):
    """The true joints with errors of some pixels."""

    def __init__(self, truth_px: np.ndarray) -> None:
        super().__init__()
        self.truth_px = truth_px

    def detect(self, image_bgr: Any, *, regions: Any = None) -> list[Detection]:
        noise_px = np.random.default_rng(self.asked).normal(0, 3, (17, 2))
        points = np.concatenate([self.truth_px[self.asked] + noise_px, np.ones((17, 1))], axis=1).astype(np.float32)
        self.asked += 1
        return [Detection.from_coco(points, size=ImageSize.of(image_bgr), region=Region.whole(image_bgr))]


def test_a_detector_has_a_row_for_each_level_of_smoothing_and_trembles_less(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module("real")
    monkeypatch.setattr(sys, "argv", ["real.py", "--detector", "trembling", "--smooth", "strong", "--tracker", "order"])
    options, views = real.parse_options(), real.read_views(clips)[:1]
    truth = real.find_truth(options, clips, views)
    monkeypatch.setattr(real, "open_detector", lambda name: Trembling(views[0].project(truth)))
    rows = list(real.measure_ours(options, views, truth, {"m": load()}, {}))
    assert [(row["front_end"], row["camera"]) for row in rows] == [
        ("trembling", "known"),
        ("trembling", "unknown"),
        ("trembling, smoothed strong", "known"),
        ("perfect 2D", "known"),
        ("perfect 2D", "unknown"),
    ]
    assert rows[2]["acceleration"] < 0.7 * rows[0]["acceleration"]


def test_perfect_keypoints_are_those_of_the_truth() -> None:
    ours = importlib.import_module("footage.ours")
    points = np.random.default_rng(1).uniform(0, 400, (3, 17, 2))
    people = list(ours.PerfectKeypoints(points, ImageSize(640, 480)))
    np.testing.assert_allclose(people[2].keypoints[0].xy, points[2], rtol=1e-6)
    assert people[2].t_s == pytest.approx(2 / 60) and (people[0].keypoints[0].score == 1).all()


# The moving picture.


def test_an_instant_is_in_the_axes_of_the_room_and_says_how_far_off_it_is(clips: Path) -> None:
    animation = importlib.import_module("footage.animation")
    view, truth = importlib.import_module("footage.clips").read_views(clips)[1], standing_person()[0]
    joints_m, aside_m = COCO_TO_H36M["coco_eyes"] @ truth, np.array([0.06, 0, 0])
    in_camera_m = view.to_camera(joints_m + aside_m).astype(np.float32)
    hip_m = in_camera_m[0]
    root = Root(hip_m, np.array([0.02, 0.02, 0.3], np.float32), 0.0, 1.0, "prior")
    pose = Pose(in_camera_m - hip_m, np.ones(17, np.float32), 0.0, 0.0, 0, "none", person=7, root=root)
    points = np.concatenate([view.project(truth), np.ones((17, 1))], axis=1)
    frame = PoseFrame(0.0, {7: pose}, {7: Keypoints.from_coco(points, size=view.camera.size)})
    (instant,) = animation.read_shot(view, iter([frame]), truth[None]).instants
    assert instant.error_mm == pytest.approx(0, abs=0.01) and instant.off_mm == pytest.approx(60, abs=0.01)
    np.testing.assert_allclose(instant.pose_m, instant.truth_m, atol=1e-5)
    np.testing.assert_allclose(instant.hip_m, joints_m[[1, 4]].mean(axis=0) + aside_m, atol=1e-5)
    values, vectors = np.linalg.eigh(instant.hip_covariance)  # the camera is at y = 4 m, and least sure along its line of sight
    assert np.sqrt(values[1]) > 0.25 and abs(vectors[1, 1]) > 0.95
    moved = animation.read_shot(view, iter([replace(frame, poses={7: replace(pose, root=None)})]), truth[None])
    assert moved.instants == [None]


def test_the_moving_picture_lasts_as_long_as_its_clips_and_shows_each_colour_of_its_key(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    real = importlib.import_module("real")
    monkeypatch.setattr(
        sys, "argv", ["real.py", "--gif", str(tmp_path / "r.gif"), "--detector", "trembling", "--tracker", "order"]
    )
    options, views = real.parse_options(), real.read_views(clips)[:2]
    truth = real.find_truth(options, clips, views)
    detectors = iter([Trembling(view.project(truth)) for view in views])
    monkeypatch.setattr(real, "open_detector", lambda name: next(detectors))
    real.draw_gif(options, views, truth, {"frame-retention-s": load()})
    assert f"cam02: {FRAMES} of {FRAMES} frames, joints " in capsys.readouterr().out
    with image.open(tmp_path / "r.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (4, (900, 470), 0)  # every fourth of 8 frames, of two cameras
        lasted_ms, pixels = 0, []
        for k in range(gif.n_frames):
            gif.seek(k)
            lasted_ms += gif.info["duration"]
            pixels.append(np.asarray(gif.convert("RGB")))
    assert lasted_ms == pytest.approx(1000 * 2 * FRAMES / 60, abs=10)
    panels = {"keypoints": slice(0, 240), "pose": slice(260, 580), "floor": slice(600, 900)}
    for panel, colours in (("keypoints", ("#0072B2", "#D55E00")), ("pose", ("#0072B2", "#8A8A8A")), ("floor", ("#009E73",))):
        for colour in colours:
            rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
            assert (pixels[1][75:395, panels[panel]] == rgb).all(axis=-1).any(), f"no {colour} in {panel}"
    assert (pixels[0] != pixels[1]).any()


def test_there_is_no_moving_picture_of_nobody(tmp_path: Path) -> None:
    animation = importlib.import_module("footage.animation")
    with pytest.raises(MissingError, match="nobody has a place in the room"):
        animation.write_gif(tmp_path / "r.gif", [animation.Shot(None, [None, None])], detector="x", model="y")
    assert not list(tmp_path.iterdir())
