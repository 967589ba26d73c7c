"""The fast encoder gives the bytes that rosbags gives, and they decode to the poses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import FrameError, MissingError
from posemoe_edge.runtime.events import FrameRefused, PoseFrame, SourceLost, TrackStarted
from posemoe_edge.runtime.pose.camera import Intrinsics
from posemoe_edge.runtime.pose.camera_model import Camera, FieldOfView
from posemoe_edge.runtime.pose.distortion import Distortion
from posemoe_edge.runtime.pose.keypoints import ImageSize, Keypoints
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.pose.types import Pose, Root
from posemoe_edge.runtime.ros import messages
from posemoe_edge.runtime.ros import types as ros_types_module
from posemoe_edge.runtime.ros.body import PARTS, Body, body_axes
from posemoe_edge.runtime.ros.encoder import RosEncoder, RosMessage, string_cdr
from posemoe_edge.runtime.ros.figure import Figure, stamp_ns
from posemoe_edge.runtime.ros.types import IDS, STRING, definition, from_cdr, ros_types, to_cdr, type_hash

pytest.importorskip("rosbags")
CAMERA = Camera(Intrinsics(900, 910, 640, 350), ImageSize(1280, 720), Distortion("rational", (0.1, -0.2, 0.001, 0.002, 0.05)))


def pose(person: int, *, seed: int = 0, t_s: float = 12.345678901, root: bool = True, **fields: Any) -> Pose:
    rng = np.random.default_rng(seed + 100 * person)
    place = Root(np.array([0.5, -0.2, 3 + person], np.float32), np.full(3, 0.1, np.float32), 2.0, 1.1, "prior")
    made = Pose(rng.normal(size=(17, 3)).astype(np.float32), rng.uniform(0, 1, 17).astype(np.float32), t_s, 0.02, 0, "none")
    return replace(made, person=person, root=place if root else None, **fields)


def decoded(encoded: list[RosMessage]) -> dict[str, Any]:
    return {message.topic.name: from_cdr(message.cdr, message.topic.type) for message in encoded}


@pytest.mark.parametrize("people", [(), (0,), (3, 17), (0, 1, 2, 100, 2**40)])
def test_the_bytes_are_those_of_rosbags(people: tuple[int, ...]) -> None:
    encoder = RosEncoder(frame_id="a/frame", camera=CAMERA)
    for seed in range(3):  # the second and third fill the template of the first
        poses = {p: pose(p, seed=seed, t_s=5.1 + seed + p % 7, doubts=("fit",) if p == 3 else ()) for p in people}
        encoded = {m.topic.name: m.cdr for m in encoder.frame(PoseFrame(9.25, poses))}
        figures = [Figure.of(poses[p]) for p in people]
        t_ns = max([f.t_ns for f in figures], default=9_250_000_000)
        at: dict[str, Any] = {"frame_id": "a/frame", "t_ns": t_ns}
        expected = {
            "markers": messages.marker_array(figures, **at),
            "poses": messages.pose_array(figures, **at),
            "camera_info": messages.camera_info(CAMERA, **at),
        }
        if people:
            expected["/tf"] = messages.transforms(figures, frame_id="a/frame")
        assert encoded == {name: to_cdr(message) for name, message in expected.items()}


def test_joints_are_where_the_person_is_before_the_camera() -> None:
    person = pose(3)
    root = person.root
    assert root is not None
    expected_m = np.array([root.xyz_m + 1.1 * joint for joint in person.xyz_m])
    out = decoded(RosEncoder().frame(PoseFrame(12.4, {3: person})))
    poses, transforms, markers = out["poses"], out["/tf"].transforms, out["markers"].markers
    found_m = np.array([[p.position.x, p.position.y, p.position.z] for p in poses.poses])
    np.testing.assert_allclose(found_m, expected_m, atol=1e-6)
    assert (poses.header.frame_id, poses.header.stamp.sec, poses.header.stamp.nanosec) == ("camera0_optical", 12, 345678901)
    assert [t.child_frame_id for t in transforms] == [f"person_3/{name}" for name in H36M17.joints]
    knee = next(t for t in transforms if t.child_frame_id == "person_3/left_knee")
    assert knee.header == poses.header
    moved, turned = knee.transform.translation, knee.transform.rotation
    np.testing.assert_allclose([moved.x, moved.y, moved.z], expected_m[5], atol=1e-6)
    assert (turned.x, turned.y, turned.z, turned.w) == (0, 0, 0, 1)
    delete, bones, joints = markers
    assert delete.action == delete.DELETEALL and (bones.type, joints.type) == (bones.LINE_LIST, joints.SPHERE_LIST)
    assert (bones.ns, joints.ns, bones.id, joints.id) == ("bones", "joints", 3, 3)
    lines_m = np.array([[p.x, p.y, p.z] for p in bones.points]).reshape(16, 2, 3)
    expected_lines_m = [(expected_m[parent], expected_m[child]) for child, parent in enumerate(H36M17.parents) if parent >= 0]
    np.testing.assert_allclose(lines_m, expected_lines_m, atol=1e-6)


def test_without_a_position_the_hip_is_the_origin() -> None:
    person = pose(0, root=False)
    poses = decoded(RosEncoder().frame(PoseFrame(1.0, {0: person})))["poses"].poses
    np.testing.assert_allclose([[p.position.x, p.position.y, p.position.z] for p in poses], person.xyz_m, atol=1e-7)


def test_guessed_joints_are_grey_and_doubtful_people_translucent() -> None:
    sure = replace(pose(0), score=np.ones(17, np.float32))
    guessed = replace(sure, score=np.where(np.arange(17) == 13, 0.1, 1).astype(np.float32))
    out = {}
    for name, person in (("sure", sure), ("guessed", guessed), ("doubtful", replace(sure, doubts=("bones",)))):
        joints = decoded(RosEncoder().frame(PoseFrame(1.0, {0: person})))["markers"].markers[2]
        out[name] = np.array([[c.r, c.g, c.b, c.a] for c in joints.colors])
    assert (out["sure"][:, 3] == 1).all() and (out["doubtful"][:, 3] < 0.5).all()
    grey = np.ptp(out["guessed"][:, :3], axis=1) == 0
    assert grey[13] and out["guessed"][13, 0] < 0.6
    np.testing.assert_array_equal(np.delete(out["guessed"], 13, 0), np.delete(out["sure"], 13, 0))
    assert len(np.unique(out["sure"], axis=0)) == 3  # left, right, torso


def test_the_cameras_calibration_fits_the_picture() -> None:
    half = Keypoints(np.ones((17, 3), np.float32), H36M17, ImageSize(640, 360))
    info = decoded(RosEncoder(camera=CAMERA).frame(PoseFrame(1.0, {}, keypoints={0: half})))["camera_info"]
    assert (info.width, info.height, info.distortion_model) == (640, 360, "rational_polynomial")
    assert info.k.tolist() == [450, 0, 320, 0, 455, 175, 0, 0, 1]
    assert info.p.tolist() == [450, 0, 320, 0, 0, 455, 175, 0, 0, 0, 1, 0]
    assert info.d.tolist() == [0.1, -0.2, 0.001, 0.002, 0.05, 0, 0, 0]
    cropped = PoseFrame(1.0, {}, image_bgr=np.zeros((720, 720, 3), np.uint8))
    assert "camera_info" not in decoded(RosEncoder(camera=CAMERA).frame(cropped))
    wide = RosEncoder(camera=FieldOfView(90))
    assert "camera_info" not in decoded(wide.frame(PoseFrame(1.0, {})))  # no picture yet
    assert decoded(wide.frame(PoseFrame(2.0, {}, keypoints={0: half})))["camera_info"].k[0] == pytest.approx(320)
    assert decoded(wide.frame(PoseFrame(3.0, {})))["camera_info"].header.stamp.sec == 3


@pytest.mark.parametrize("people", [(), (0,), (3, 17, 2**40)])
def test_the_bytes_of_ros4hri_are_those_of_rosbags(people: tuple[int, ...]) -> None:
    encoder = RosEncoder(frame_id="a/frame", ros4hri=True)
    for seed in range(3):
        poses = {p: pose(p, seed=seed, t_s=5.1 + seed + p % 7) for p in people}
        figures = [Figure.of(poses[p]) for p in people]
        t_ns = max([f.t_ns for f in figures], default=9_250_000_000)
        encoded = {m.topic.name: m.cdr for m in encoder.frame(PoseFrame(9.25, poses))}
        expected = {"/humans/bodies/tracked": messages.body_ids(people, frame_id="a/frame", t_ns=t_ns)}
        if people:
            expected["/tf"] = messages.body_transforms([Body.of(f) for f in figures], frame_id="a/frame")
        assert {n: c for n, c in encoded.items() if n.startswith("/")} == {n: to_cdr(m) for n, m in expected.items()}
        assert encoded.keys() - expected.keys() == {"markers", "poses"}


def test_a_body_of_rep_155_stands_where_the_person_does_and_looks_where_they_look() -> None:
    standing_m = np.zeros((17, 3), np.float32)  # before the camera, and facing it: their left is on the camera's right
    for name, xyz_m in {
        "left_hip": (0.1, 0, 0), "right_hip": (-0.1, 0, 0), "thorax": (0, -0.5, 0), "head": (0, -0.7, -0.05),
        "left_wrist": (0.2, -0.4, -0.6), "right_ankle": (-0.1, 0.9, 0.1),
    }.items():  # fmt: skip
        standing_m[H36M17.joints.index(name)] = xyz_m
    root = Root(np.array([0.5, -0.2, 3], np.float32), np.full(3, 0.1, np.float32), 2.0, 1.0, "prior")
    person = Pose(standing_m, np.ones(17, np.float32), 12.5, 0.02, 0, "none", person=3, root=root)
    out = decoded(RosEncoder(ros4hri=True).frame(PoseFrame(12.5, {3: person})))
    ids, transforms = out["/humans/bodies/tracked"], {t.child_frame_id: t for t in out["/tf"].transforms}
    assert ids.ids == ["p3"] and (ids.header.stamp.sec, ids.header.stamp.nanosec) == (12, 500_000_000)
    assert ids.header.frame_id == transforms["body_p3"].header.frame_id == "camera0_optical"
    sides = [f"{side}_{part}_p3" for side in "lr" for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]
    assert set(transforms) == {"body_p3", "torso_p3", "head_p3", *sides} and len(PARTS) == 14
    assert {t.header.frame_id for name, t in transforms.items() if name != "body_p3"} == {"body_p3"}
    body = transforms["body_p3"].transform
    np.testing.assert_allclose([body.translation.x, body.translation.y, body.translation.z], [0.5, -0.2, 3], atol=1e-6)
    for name, expected_m in (("head_p3", (0.05, 0, 0.7)), ("l_wrist_p3", (0.6, 0.2, 0.4)), ("r_ankle_p3", (-0.1, -0.1, -0.9))):
        moved, turned = transforms[name].transform.translation, transforms[name].transform.rotation
        np.testing.assert_allclose([moved.x, moved.y, moved.z], expected_m, atol=1e-6)
        assert (turned.x, turned.y, turned.z, turned.w) == (0, 0, 0, 1)


def test_the_tree_of_a_body_leads_to_the_joints_in_any_posture() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        xyz_m = rng.normal(size=(17, 3))
        body = Body.of(Figure(0, 0, xyz_m, np.ones((17, 4), np.float32)))
        x, y, z, w = body.turn_xyzw
        turned_m = [_rotated(np.array([x, y, z]), w, part_m) + body.hip_m for part_m in body.parts_m]
        np.testing.assert_allclose(turned_m, xyz_m[[H36M17.joints.index(name) for name in PARTS.values()]], atol=1e-9)
        assert np.linalg.norm(body.turn_xyzw) == pytest.approx(1)


def _rotated(axis: Any, w: float, vector: Any) -> Any:
    """A vector turned by a quaternion, by Rodrigues' formula."""
    across = np.cross(axis, vector)
    return vector + 2 * w * across + 2 * np.cross(axis, across)


def test_a_figure_without_a_trunk_or_hips_still_has_axes() -> None:
    thorax, left = (H36M17.joints.index(name) for name in ("thorax", "left_hip"))
    for xyz_m in (np.zeros((17, 3)), np.eye(17, 3, -thorax), np.eye(17, 3, -left), -np.eye(17, 3, -thorax)):
        axes = body_axes(xyz_m)
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1)
    np.testing.assert_allclose(body_axes(np.zeros((17, 3)))[:, 0], [0, 0, -1])  # to the camera


def test_the_ids_of_ros4hri_are_a_type_that_others_can_read() -> None:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    others: Any = get_typestore(Stores.ROS2_HUMBLE)
    text = definition(IDS)
    others.register(get_types_from_msg(text.partition("=" * 80)[0], IDS))
    ids = ros_types().types[IDS](header=messages.body_ids([1], frame_id="a", t_ns=5).header, ids=["p1", "p22"])
    assert others.deserialize_cdr(to_cdr(ids), IDS).ids == ["p1", "p22"]
    assert type_hash(IDS) == others.hash_rihs01(IDS) and "MSG: std_msgs/Header" in text


@pytest.mark.parametrize("event", [TrackStarted(3, 1.5), SourceLost(2.0, "Kabel gelöst"), PoseFrame(1.0, {3: pose(3)})])
def test_events_are_our_json_in_a_string(event: Any) -> None:
    message = RosEncoder().event(event)
    text = from_cdr(message.cdr, message.topic.type).data
    assert json.loads(text) == event.to_json()
    assert message.cdr == to_cdr(ros_types().types[STRING](data=text))


def test_an_event_at_no_time_and_a_stamp_out_of_range_do_not_stop_the_run() -> None:
    message = RosEncoder().event(FrameRefused(0, float("nan"), FrameError("a frame at no time")))
    assert json.loads(from_cdr(message.cdr, message.topic.type).data)["t_s"] == "nan"
    assert [stamp_ns(t_s) for t_s in (float("nan"), -1.0, 1.5, float("inf"))] == [0, 0, 1_500_000_000, 2147483647 * 10**9]
    assert len(RosEncoder().frame(PoseFrame(float("inf"), {0: pose(0, t_s=1e30)}))) == 3


def test_people_who_come_and_go_do_not_fill_the_memory() -> None:
    encoder = RosEncoder()
    for person in range(40):
        encoder.frame(PoseFrame(1.0, {person: pose(person)}))
    assert len(encoder._templates) <= 64
    np.testing.assert_array_equal(string_cdr("é"), to_cdr(ros_types().types[STRING](data="é")))


def test_without_rosbags_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    ros_types_module.ros_types.cache_clear()
    monkeypatch.setitem(sys.modules, "rosbags.typesys", None)
    with pytest.raises(MissingError, match=r'pip install "posemoe-edge\[ros\]"'):
        RosEncoder().frame(PoseFrame(1.0, {}))
    ros_types_module.ros_types.cache_clear()
