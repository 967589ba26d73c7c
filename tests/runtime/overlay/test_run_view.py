"""What is drawn is where it belongs: joints on their pixels, left and right in their colours, guesses in grey."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posemoe_edge.runtime.arrays import ImageBgr
from posemoe_edge.runtime.events import PoseFrame
from posemoe_edge.runtime.overlay import RunView
from posemoe_edge.runtime.overlay.brush import BLANK, GUESSED, LEFT, RIGHT
from posemoe_edge.runtime.overlay.figure2d import lines_of
from posemoe_edge.runtime.overlay.scene import level_axes
from posemoe_edge.runtime.overlay.view import SCENE_WIDTH_PX
from posemoe_edge.runtime.pose.camera_model import FieldOfView
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17
from posemoe_edge.runtime.pose.types import Pose, Root
from posemoe_edge.runtime.sinks import RunInfo
from posemoe_edge.runtime.sources import SyntheticSource

pytest.importorskip("cv2")

SOURCE = SyntheticSource(people=2)
PEOPLE = next(iter(SOURCE))
RUN = RunInfo(SOURCE.info, preset="a model", precision="fp32", mode="step", engine="onnxruntime", latency_frames=0)
WRIST = COCO17.joints.index("left_wrist")
ELBOW = COCO17.joints.index("right_elbow")


def coco(points_px: np.ndarray, size: tuple[int, int] = (640, 480)) -> Keypoints:
    return Keypoints.from_coco(points_px.astype(np.float32), size=ImageSize(*size))


@pytest.fixture
def spread() -> np.ndarray:
    """(17, 3) joints on a grid, far from each other, in a picture of 640 x 480."""
    x, y = np.meshgrid([80, 200, 320, 440, 560], [80, 180, 280, 400])
    return np.stack([x.ravel()[:17], y.ravel()[:17], np.ones(17)], axis=1)


def pose(score: float = 1.0, *, right_m: float = 0.0) -> Pose:
    assert PEOPLE.truth_m is not None
    xyz = PEOPLE.truth_m[0] + np.array([right_m, 0, 0], np.float32)
    return Pose(xyz, np.full(17, score, np.float32), 0.0, 0.02, latency_frames=0, gap="none")


def count(image: ImageBgr, colour: tuple[int, int, int]) -> int:
    """Pixels of exactly that colour."""
    return int((image == np.array(colour, np.uint8)).all(axis=-1).sum())


def test_joints_are_drawn_at_their_pixels_in_the_colour_of_their_side(spread: np.ndarray) -> None:
    picture = np.zeros((480, 640, 3), np.uint8)
    drawn = RunView().draw(PoseFrame(0.0, {}, keypoints={0: coco(spread)}, image_bgr=picture))
    assert drawn.shape == (720, 960 + SCENE_WIDTH_PX, 3)
    for joint, colour in ((WRIST, LEFT), (ELBOW, RIGHT)):
        x, y = np.round(spread[joint, :2] * 1.5).astype(int)  # 480 lines are shown as 720
        assert tuple(drawn[y, x]) == colour
    assert not picture.any()  # the caller's picture stays as it is


def test_joints_that_are_not_seen_are_not_drawn_and_guesses_are_grey(spread: np.ndarray) -> None:
    spread[:, 2] = 0
    spread[[WRIST, COCO17.joints.index("left_elbow")], 2] = 0.2
    drawn = RunView().draw(PoseFrame(0.0, {}, keypoints={0: coco(spread)}))[:, :960]
    assert count(drawn, GUESSED) > 50 and count(drawn, LEFT) == count(drawn, RIGHT) == 0
    spread[:, 2] = 0
    nobody = RunView().draw(PoseFrame(0.0, {}, keypoints={0: coco(spread)}))[:, :960]
    assert (nobody == np.array(BLANK, np.uint8)).all()


def test_the_body_in_three_dimensions_has_both_colours_and_a_guessed_one_none() -> None:
    seen, guessed = (RunView().draw(PoseFrame(0.0, {0: pose(score)}))[:600, 960:] for score in (1.0, 0.1))
    assert count(seen, LEFT) > 200 and count(seen, RIGHT) > 200 and count(seen, GUESSED) == 0
    assert count(guessed, LEFT) == count(guessed, RIGHT) == 0 and count(guessed, GUESSED) > 400


def test_people_stand_in_the_order_in_which_the_picture_shows_them(spread: np.ndarray) -> None:
    spread = spread * (0.4, 1, 1)
    left, right = coco(spread), coco(spread + np.array([380, 0, 0]))
    only_guessed = replace(pose(), score=np.full(17, 0.1, np.float32))
    for keypoints in ({0: left, 1: right}, {0: right, 1: left}):
        panel = RunView().draw(PoseFrame(0.0, {0: pose(), 1: only_guessed}, keypoints=keypoints))[:600, 960:]
        grey = np.flatnonzero((panel == np.array(GUESSED, np.uint8)).all(axis=-1).any(axis=0)).mean()
        blue = np.flatnonzero((panel == np.array(LEFT, np.uint8)).all(axis=-1).any(axis=0)).mean()
        assert (blue < grey) == (keypoints[0] is left)


def test_people_whose_place_is_known_stand_there() -> None:
    def root(x_m: float, z_m: float) -> Root:
        xyz_m = np.array([x_m, 1.0, z_m], np.float32)
        return Root(xyz_m, np.full(3, 0.1, np.float32), residual_px=2.0, scale=1.0, scale_from="prior")

    def middles(left: Root, right: Root) -> list[np.ndarray]:
        grey = replace(pose(), score=np.full(17, 0.1, np.float32), root=right)
        panel = RunView().draw(PoseFrame(0.0, {0: replace(pose(), root=left), 1: grey}))[:600, 960:]
        return [np.argwhere((panel == np.array(c, np.uint8)).all(axis=-1)).mean(axis=0) for c in (LEFT, GUESSED)]

    blue, grey = middles(root(-1, 3), root(1, 3))
    assert blue[1] < grey[1] - 50
    blue, grey = middles(root(1, 3), root(-1, 3))
    assert blue[1] > grey[1] + 50
    near, far = middles(root(0, 2), root(0, 6))
    assert near[0] > far[0] + 20  # what is far stands higher in the picture


def test_a_position_far_off_does_not_shrink_everybody() -> None:
    lost = Root(np.array([0, 0, 1e4], np.float32), np.ones(3, np.float32), residual_px=9.0, scale=1.0, scale_from="prior")
    near = replace(lost, xyz_m=np.array([0, 1, 3], np.float32))
    drawn = RunView().draw(PoseFrame(0.0, {0: replace(pose(), root=near), 1: replace(pose(), root=lost)}))[:600, 960:]
    assert count(drawn, LEFT) > 100


def test_the_size_of_the_first_frame_stays() -> None:
    view = RunView()
    first = view.draw(PoseFrame(0.0, {}, image_bgr=np.zeros((1920, 1080, 3), np.uint8)))
    second = view.draw(PoseFrame(0.1, {}, image_bgr=np.full((100, 300, 3), 250, np.uint8)))
    assert first.shape == second.shape == (720, 404 + SCENE_WIDTH_PX, 3) and first.flags.c_contiguous
    assert second[360, 202].min() > 240 and tuple(second[20, 202]) == BLANK  # in the middle, with its own proportions


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e9, -1e9])
def test_numbers_that_cannot_be_drawn_are_left_out(bad: float, spread: np.ndarray) -> None:
    spread[3, 0] = bad
    broken = pose()
    broken.xyz_m[2, 1] = bad
    drawn = RunView().draw(PoseFrame(0.0, {0: broken, 1: pose()}, keypoints={0: coco(spread)}))
    assert count(drawn[:600, 960:], LEFT) > 200  # the other person is there


def test_a_skeleton_is_joined_by_its_bones_and_coco_by_the_outline_of_its_trunk() -> None:
    assert lines_of(H36M17) == list(H36M17.bones)
    names = [{COCO17.joints[a], COCO17.joints[b]} for a, b in lines_of(COCO17)]
    assert {"left_shoulder", "left_hip"} in names and {"nose", "left_shoulder"} not in names
    assert set().union(*names) == set(COCO17.joints)


def tilted(pitch_rad: float, roll_rad: float) -> np.ndarray:
    """(3, 3) from level axes to those of a camera that looks down and is rolled."""
    p, r = pitch_rad, roll_rad
    down = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    roll = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(roll @ down)


@settings(max_examples=30, deadline=None)
@given(pitch_rad=st.floats(-1.5, 1.5), roll_rad=st.floats(-3.2, 3.2))
def test_level_axes_have_gravity_as_down_and_no_turn_to_the_side(pitch_rad: float, roll_rad: float) -> None:
    gravity = tilted(pitch_rad, roll_rad)[:, 1]
    axes = level_axes(gravity)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(axes @ gravity, (0, 1, 0), atol=1e-9)
    assert np.linalg.det(axes) > 0
    if abs(gravity[2]) < 0.95:
        np.testing.assert_allclose((axes @ (0, 0, 1))[0], 0, atol=1e-9)


def test_people_stand_upright_by_gravity_however_the_camera_is_held() -> None:
    camera_from_level = tilted(0.5, 0.7)
    place = np.array([0.5, 0.4, 3.0])

    def seen_by(turn: np.ndarray, gravity: np.ndarray | None) -> ImageBgr:
        root = Root((turn @ place).astype(np.float32), np.ones(3, np.float32), residual_px=1.0, scale=1.0, scale_from="prior")
        turned = replace(pose(), xyz_m=(pose().xyz_m @ turn.T).astype(np.float32), root=root)
        camera = FieldOfView(60.0, gravity=gravity)
        return RunView(replace(RUN, camera=camera)).draw(PoseFrame(0.0, {0: turned}))[80:600, 960:]

    level = seen_by(np.eye(3), None)
    upright = seen_by(camera_from_level, camera_from_level[:, 1])
    lying = seen_by(camera_from_level, None)
    assert np.abs(level.astype(int) - upright).mean() < 0.1 < 0.5 < np.abs(level.astype(int) - lying).mean()
