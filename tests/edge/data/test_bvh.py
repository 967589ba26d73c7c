"""BVH files that the tests write: a walker by position channels, and random trees by angles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from posemoe_edge.edge.data.bvh import BvhJoint, BvhMotion, joint_positions, read_bvh
from posemoe_edge.edge.data.bvh_clips import FPS, load_bvh, load_bvh_files, map_joints
from posemoe_edge.edge.data.frame_rate import frame_rate
from posemoe_edge.edge.data.mocap import load_clips, save_clips
from posemoe_edge.edge.data.skeleton_mappings import SKELETON_MAPPINGS, SkeletonMapping, custom_mapping, find_mapping
from posemoe_edge.edge.data.stature import stature
from posemoe_edge.runtime.arrays import F64
from posemoe_edge.runtime.errors import ArtefactError, MissingError, UsageError
from posemoe_edge.runtime.pose.skeleton import H36M17
from posemoe_edge.runtime.sources.walker import walk_world

WRITTEN_MM = 0.05  # six digits in the file, float32 in the clip
RESAMPLED_MM = 0.5
STATURE_SHARE = 0.06  # proportions differ
SAME = {name: name for name in H36M17.joints}
Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # ours to the file's axes


def tree_text(bones: tuple[BvhJoint, ...]) -> str:
    """The HIERARCHY of bones in depth-first order."""
    children: dict[int, list[int]] = {n: [] for n in range(-1, len(bones))}
    for n, bone in enumerate(bones):
        children[bone.parent].append(n)

    def lines(n: int, depth: int) -> list[str]:
        bone, pad = bones[n], "\t" * depth
        end = bone.name.endswith(" end")
        word = "End Site" if end else f"{'ROOT' if bone.parent < 0 else 'JOINT'} {bone.name}"
        positions = [pad + word, pad + "{", pad + "\tOFFSET " + " ".join(f"{x:.6f}" for x in bone.offset)]
        if not end:
            words = [f"{'XYZ'[axis]}{'position' if position else 'rotation'}" for position, axis in bone.channels]
            positions.append(pad + f"\tCHANNELS {len(words)} " + " ".join(words))
        for child in children[n]:
            positions += lines(child, depth + 1)
        return [*positions, pad + "}"]

    return "\n".join(["HIERARCHY", *lines(0, 0)])


def write(path: Path, motion: BvhMotion) -> Path:
    rows = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in motion.values)
    path.write_text(
        f"{tree_text(motion.joints)}\nMOTION\nFrames: {len(motion.values)}\nFrame Time: {1 / motion.fps:.7f}\n{rows}\n"
    )
    return path


def depth_first(parents: tuple[int, ...]) -> list[int]:
    def below(n: int) -> list[int]:
        return [n, *(m for child, parent in enumerate(parents) if parent == n for m in below(child))]

    return below(parents.index(-1))


def walker(path: Path, *, fps: float = 50.0, frames: int = 200, unit_m: float = 0.01, axes: Any = Y_UP) -> Path:
    """The walker as a BVH with position channels at every joint."""
    joints = walk_world(np.arange(frames) / fps) @ np.asarray(axes).T / unit_m
    order = depth_first(H36M17.parents)
    bones, columns = [], []
    for n in order:
        parent = H36M17.parents[n]
        way = joints[:, n] - (joints[:, parent] if parent >= 0 else 0)
        x, y, z = way[0] if parent >= 0 else (0, 0, 0)
        channels = tuple((True, axis) for axis in range(3))
        bones.append(BvhJoint(H36M17.joints[n], order.index(parent) if parent >= 0 else -1, (x, y, z), channels))
        columns.append(way)
    return write(path, BvhMotion(tuple(bones), np.concatenate(columns, axis=1), fps))


def expected_walk(frames: int, fps: float = 50.0) -> F64:
    walk = walk_world(np.arange(frames) / fps)
    low = np.percentile(walk[:, [3, 6], 2].min(axis=1), 3) - 0.08
    shifted: F64 = walk - np.array([*walk[:, 0, :2].mean(axis=0), low])
    return shifted


@pytest.mark.parametrize("axes", [Y_UP, np.eye(3)], ids=["y up", "z up"])
@pytest.mark.parametrize("unit_m", [1.0, 0.01, 0.0254])
def test_a_walker_is_read_in_metres_z_up_on_the_floor(tmp_path: Path, axes: Any, unit_m: float) -> None:
    clip = load_bvh(walker(tmp_path / "walk.bvh", axes=axes, unit_m=unit_m), mapping=SAME, unit_m=unit_m, action="walk")
    assert (clip.id, clip.subject, clip.action, clip.split, clip.fps) == ("walk", "own", "walk", "train", FPS)
    assert clip.joints_m.dtype == np.float32
    np.testing.assert_allclose(clip.joints_m, expected_walk(200), atol=WRITTEN_MM / 1000)


def test_other_rates_are_resampled_to_50_hz(tmp_path: Path) -> None:
    clip = load_bvh(walker(tmp_path / "walk.bvh", fps=120, frames=481), mapping=SAME)
    assert clip.fps == 50 and len(clip) == 201
    expected = expected_walk(201)
    moved = (clip.joints_m - clip.joints_m[:, :1].mean(axis=0)) - (expected - expected[:, :1].mean(axis=0))
    assert np.abs(moved[5:-5]).max() < RESAMPLED_MM / 1000


def test_a_stature_scales_the_person(tmp_path: Path) -> None:
    clip = load_bvh(walker(tmp_path / "walk.bvh", unit_m=0.37), mapping=SAME, stature_m=1.8)
    assert stature(clip.joints_m.astype(np.float64)) == pytest.approx(1.8, rel=1e-3)
    legs = np.linalg.norm(clip.joints_m[:, 3] - clip.joints_m[:, 2], axis=-1)
    np.testing.assert_allclose(legs, 0.445 * 1.8 / 1.75, rtol=STATURE_SHARE)


def test_a_unit_that_makes_a_giant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"would be 1\d\d m tall; it would be 1\.\d+ m in centimetres; expected another unit_m"
    ):
        load_bvh(walker(tmp_path / "walk.bvh"), mapping=SAME, unit_m=1.0)
    with pytest.raises(UsageError, match="both a unit and a stature"):
        load_bvh(tmp_path / "walk.bvh", mapping=SAME, unit_m=1.0, stature_m=1.8)
    with pytest.raises(UsageError, match="a stature of -1 m"):
        load_bvh(tmp_path / "walk.bvh", mapping=SAME, stature_m=-1)
    with pytest.raises(UsageError, match="'dev'; expected one of train, val, test"):
        load_bvh(tmp_path / "walk.bvh", mapping=SAME, split="dev")


def random_tree(seed: int) -> BvhMotion:
    rng = np.random.default_rng(seed)
    bones = []
    for n, parent in enumerate((-1, 0, 1, 2, 3, 1, 5, 0)):
        axes = tuple(int(a) for a in rng.permutation(3))
        turns = tuple((False, a) for a in (axes if n % 3 else (axes[0], axes[1], axes[0])))  # proper Euler angles too
        channels = (tuple((True, a) for a in axes) if n == 0 else ()) + turns
        bones.append(BvhJoint(f"Bone {n}", parent, tuple(rng.normal(size=3)), channels))
    return BvhMotion(tuple(bones), rng.uniform(-180, 180, (4, sum(len(bone.channels) for bone in bones))), 30.0)


@pytest.mark.parametrize("seed", range(3))
def test_forward_kinematics_is_that_of_matrices_one_by_one(seed: int) -> None:
    motion = random_tree(seed)
    positions = joint_positions(motion)
    for t, row in enumerate(motion.values):
        values = list(row)
        world: list[F64] = []
        for bone in motion.joints:
            local = np.eye(4)
            local[:3, 3] = bone.offset
            for position, axis in bone.channels:
                value, step = values.pop(0), np.eye(4)
                if position:
                    local[axis, 3] = value
                    continue
                a, b = [i for i in range(3) if i != axis]
                c, s = np.cos(np.radians(value)), np.sin(np.radians(value)) * (-1 if axis == 1 else 1)
                step[[a, a, b, b], [a, b, a, b]] = c, -s, s, c
                local = local @ step
            world.append(world[bone.parent] @ local if bone.parent >= 0 else local)
        np.testing.assert_allclose(positions[t], [matrix[:3, 3] for matrix in world], atol=1e-9)


def test_positions_below_the_root_are_added_to_offsets_or_replace_them() -> None:
    turns = tuple((False, axis) for axis in (2, 0, 1))
    places = tuple((True, axis) for axis in range(3))
    bones = (BvhJoint("hip", -1, (0, 0, 0), places + turns), BvhJoint("knee", 0, (0, -40.0, 2.0), places))
    values = np.zeros((5, 9))
    values[:, 6:] = [0.0, 0.3, 0.1]
    np.testing.assert_allclose(joint_positions(BvhMotion(bones, values, 50))[:, 1], [[0, -39.7, 2.1]] * 5)
    values[:, 6:] = [0.0, -39.7, 2.1]
    np.testing.assert_allclose(joint_positions(BvhMotion(bones, values, 50))[:, 1], [[0, -39.7, 2.1]] * 5)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    motion = random_tree(0)
    read = read_bvh(write(tmp_path / "tree.bvh", motion))
    assert [bone.name for bone in read.joints] == [bone.name for bone in motion.joints]
    assert [(bone.parent, bone.channels) for bone in read.joints] == [(bone.parent, bone.channels) for bone in motion.joints]
    np.testing.assert_allclose([bone.offset for bone in read.joints], [bone.offset for bone in motion.joints], atol=1e-6)
    np.testing.assert_allclose(read.values, motion.values, atol=1e-6)
    assert read.fps == 30


def test_variants_of_the_syntax_are_read(tmp_path: Path) -> None:
    """Braces in the line, Windows' line ends, tabs, a byte order mark, lower-case channels, a colon apart."""
    text = tree_text(random_tree(0).joints).replace("\n{", " {").replace("rotation", "Rotation")
    rows = "\r\n".join("\t".join("0" for _ in range(27)) for _ in range(2))
    (tmp_path / "odd.bvh").write_bytes(
        ("\ufeff" + text + f"\nMOTION\nFrames:2\nFrame Time:\t0.008333\n{rows}\n").replace("\n", "\r\n").encode()
    )
    read = read_bvh(tmp_path / "odd.bvh")
    assert read.fps == 120 and read.values.shape == (2, 27)


# A standing person, in centimetres or CMU's inches, from the joint above: y up, x to the left.


def standing(names: dict[str, tuple[str, tuple[float, float, float]]]) -> BvhMotion:
    """A motion of one frame in the rest pose: joint -> (its parent, the way from it)."""
    order, bones = list(names), []
    for name, (parent, offset) in names.items():
        channels = () if name.endswith(" end") else tuple((False, axis) for axis in (2, 0, 1))
        bones.append(BvhJoint(name, order.index(parent) if parent else -1, offset, channels))
    return BvhMotion(tuple(bones), np.zeros((1, sum(len(bone.channels) for bone in bones))), 120.0)


def limbs(root: str, chest: str, names: tuple[str, ...], sizes: tuple[float, ...]) -> dict[str, Any]:
    hip, knee, ankle, shoulder, elbow, wrist = names
    wide, thigh, shin, broad, upper, fore = sizes
    positions: dict[str, Any] = {}
    for side, sign in (("Left", 1), ("Right", -1)):
        positions |= {
            side + hip: (root, (sign * wide, -3.0, 0.0)),
            side + knee: (side + hip, (0.0, -thigh, 0.0)),
            side + ankle: (side + knee, (0.0, -shin, 0.0)),
            side + shoulder: (chest, (sign * broad, 0.0, 0.0)),
            side + elbow: (side + shoulder, (sign * upper, 0.0, 0.0)),
            side + wrist: (side + elbow, (sign * fore, 0.0, 0.0)),
        }
    return positions


SIZES = (9.0, 42.0, 43.0, 18.0, 29.0, 26.0)
GAME = ("UpLeg", "Leg", "Foot", "Arm", "ForeArm", "Hand")
FIGURES = {
    "mixamo": {
        "Hips": ("", (0.0, 95.0, 0.0)), "Spine": ("Hips", (0.0, 10.0, 0.0)), "Spine1": ("Spine", (0.0, 12.0, 0.0)),
        "Spine2": ("Spine1", (0.0, 13.0, 0.0)), "Neck": ("Spine2", (0.0, 15.0, 0.0)), "Head": ("Neck", (0.0, 10.0, 2.0)),
        "HeadTop_End": ("Head", (0.0, 19.0, 2.0)), **limbs("Hips", "Spine2", GAME, SIZES),
    },
    "xsens": {
        "Hips": ("", (0.0, 95.0, 0.0)), "Chest": ("Hips", (0.0, 9.0, 0.0)), "Chest2": ("Chest", (0.0, 11.0, 0.0)),
        "Chest3": ("Chest2", (0.0, 10.0, 0.0)), "Chest4": ("Chest3", (0.0, 10.0, 0.0)), "Neck": ("Chest4", (0.0, 13.0, 0.0)),
        "Head": ("Neck", (0.0, 10.0, 2.0)), "Head end": ("Head", (0.0, 18.0, 2.0)),
        **limbs("Hips", "Chest4", ("Hip", "Knee", "Ankle", "Shoulder", "Elbow", "Wrist"), SIZES),
    },
    "rokoko": {
        "Hips": ("", (0.0, 95.0, 0.0)), "Spine1": ("Hips", (0.0, 10.0, 0.0)), "Spine2": ("Spine1", (0.0, 12.0, 0.0)),
        "Spine3": ("Spine2", (0.0, 13.0, 0.0)), "Neck": ("Spine3", (0.0, 15.0, 0.0)), "Head": ("Neck", (0.0, 10.0, 2.0)),
        "Head end": ("Head", (0.0, 0.0, 0.0)),
        **limbs("Hips", "Spine3", ("Thigh", "Shin", "Foot", "Arm", "ForeArm", "Hand"), SIZES),
    },
    "plain": {
        "Hips": ("", (0.0, 95.0, 0.0)), "Spine": ("Hips", (0.0, 10.0, 0.0)), "Spine1": ("Spine", (0.0, 12.0, 0.0)),
        "Spine2": ("Spine1", (0.0, 13.0, 0.0)), "Neck": ("Spine2", (0.0, 15.0, 0.0)), "Head": ("Neck", (0.0, 10.0, 2.0)),
        "Head end": ("Head", (0.0, 18.0, 2.0)), **limbs("Hips", "Spine2", GAME, SIZES),
    },
}  # fmt: skip
CMU = {
    "Hips": ("", (0.0, 17.0, 0.0)), "LowerBack": ("Hips", (0.0, 0.0, 0.0)), "Spine": ("LowerBack", (0.0, 2.0, 0.0)),
    "Spine1": ("Spine", (0.0, 2.1, 0.0)), "Neck": ("Spine1", (0.0, 0.0, 0.0)), "Neck1": ("Neck", (0.0, 1.6, 0.2)),
    "Head": ("Neck1", (0.0, 1.6, 0.2)), "Head end": ("Head", (0.0, 1.6, 0.1)),
    "LeftShoulder": ("Spine1", (0.0, 0.0, 0.0)), "RightShoulder": ("Spine1", (0.0, 0.0, 0.0)),
    "LeftArm": ("LeftShoulder", (3.4, 0.8, 0.0)), "LeftForeArm": ("LeftArm", (5.2, 0.0, 0.0)),
    "LeftHand": ("LeftForeArm", (3.2, 0.0, 0.0)), "LeftFingerBase": ("LeftHand", (0.0, 0.0, 0.0)),
    "RightArm": ("RightShoulder", (-3.4, 0.8, 0.0)), "RightForeArm": ("RightArm", (-5.2, 0.0, 0.0)),
    "RightHand": ("RightForeArm", (-3.2, 0.0, 0.0)), "RightFingerBase": ("RightHand", (0.0, 0.0, 0.0)),
    "LeftUpLeg": ("Hips", (1.6, -1.8, 0.0)), "LeftLeg": ("LeftUpLeg", (0.0, -7.1, 0.0)),
    "LeftFoot": ("LeftLeg", (0.0, -7.7, 0.0)),
    "RightUpLeg": ("Hips", (-1.6, -1.8, 0.0)), "RightLeg": ("RightUpLeg", (0.0, -7.1, 0.0)),
    "RightFoot": ("RightLeg", (0.0, -7.7, 0.0)),
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "mixamorig:", "Actor_01:"])
@pytest.mark.parametrize("name", FIGURES)
def test_common_skeletons_are_mapped_to_a_standing_person(tmp_path: Path, name: str, prefix: str) -> None:
    figure = {prefix + joint: (prefix + parent if parent else "", way) for joint, (parent, way) in FIGURES[name].items()}
    assert find_mapping(list(figure)).name == name
    clip = load_bvh(write(tmp_path / "stand.bvh", standing(figure)))
    at = dict(zip(H36M17.joints, clip.joints_m[0], strict=True))
    column = [at[joint][2] for joint in ("left_ankle", "left_knee", "hip", "spine", "thorax", "nose", "head")]
    assert (np.diff(column) > 0.05).all() and column[0] == pytest.approx(0.08, abs=1e-3)
    assert at["spine"][2] - at["hip"][2] == pytest.approx(0.22, abs=0.05)  # CMU's 0.218 and 0.282
    assert at["thorax"][2] - at["spine"][2] == pytest.approx(0.29, abs=0.06)
    assert at["head"][2] - at["thorax"][2] == pytest.approx(0.235, abs=0.03)
    assert np.abs(at["hip"] - (at["left_hip"] + at["right_hip"]) / 2).max() < 1e-6
    for side, sign in (("left", 1), ("right", -1)):
        assert all(sign * at[f"{side}_{joint}"][0] > 0 for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"))


def test_cmus_missing_offsets_are_restored() -> None:
    joints = map_joints(standing(CMU), find_mapping(list(CMU)))[0]
    at = dict(zip(H36M17.joints, joints, strict=True))
    np.testing.assert_allclose(at["thorax"] - at["spine"], [0, 2 * 2.1 + 0.8, 0.1])  # the upper back twice, half the neck
    np.testing.assert_allclose(at["left_shoulder"] - at["spine"], [3.4, 2 * 2.1 + 0.8, 0])
    np.testing.assert_allclose(at["right_wrist"] - at["right_elbow"], [-3.2 * 1.5, 0, 0])
    assert find_mapping(list(CMU)).name == "cgspeed"
    whole = CMU | {"Neck": ("Spine1", (0.0, 1.9, 0.0))}  # a repaired file is left alone
    at = dict(zip(H36M17.joints, map_joints(standing(whole), find_mapping(list(whole)))[0], strict=True))
    np.testing.assert_allclose(at["thorax"] - at["spine"], [0, 2.1 + 1.9 + 0.8, 0.1])


def test_cmus_unit_is_known(tmp_path: Path) -> None:
    clip = load_bvh(write(tmp_path / "cmu.bvh", standing(CMU)))
    assert 1.6 < stature(clip.joints_m.astype(np.float64)) < 1.85


def test_unknown_joints_are_named(tmp_path: Path) -> None:
    names = [name for name in FIGURES["plain"] if name != "LeftForeArm"]
    with pytest.raises(UsageError, match=r"plain is nearest and lacks leftforearm; expected cgspeed, .* your own mapping"):
        find_mapping(names)
    with pytest.raises(UsageError, match=r"no joints Tail; expected some of Hips"):
        custom_mapping(SAME | {"head": "Tail"}, [*H36M17.joints, "Hips"][::-1])
    with pytest.raises(UsageError, match="the mapping lacks head; expected all of hip"):
        custom_mapping({name: name for name in H36M17.joints if name != "head"}, H36M17.joints)
    with pytest.raises(UsageError, match="unknown joints tail"):
        custom_mapping(SAME | {"tail": "tail"}, [*H36M17.joints, "tail"])
    with pytest.raises(UsageError, match="weights of head do not sum to 1"):
        custom_mapping(SAME | {"head": {"nose": 0.5, "head": 0.6}}, H36M17.joints)


def test_a_joint_may_be_a_mean_of_several(tmp_path: Path) -> None:
    path = walker(tmp_path / "walk.bvh")
    clip = load_bvh(path, mapping=SAME | {"head": {"nose": 0.5, "head": 0.5}})
    plain = load_bvh(path, mapping=SAME)
    np.testing.assert_allclose(clip.joints_m[:, 10], plain.joints_m[:, 9:11].mean(axis=1), atol=1e-5)


@pytest.mark.parametrize("mapping", SKELETON_MAPPINGS, ids=lambda mapping: mapping.name)
def test_mappings_are_weighted_means_for_all_joints(mapping: SkeletonMapping) -> None:
    assert set(mapping.joint_weights) == set(H36M17.joints)
    assert all(sum(row.values()) == pytest.approx(1) for row in mapping.joint_weights.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("HIERARCHY", ""), "is no BVH"),
        (("MOTION", "NOTION"), "is no BVH"),
        (("Frames: 3", "Frames: 4"), "has 153 values; expected 4 frames of 51 channels"),
        (("Frames: 3", "Frames: 0"), "has 153 values"),
        (("Frames: 3", "Frames: many"), "cannot be read: invalid literal"),
        (("Frame Time: 0.0200000", ""), "cannot be read: MOTION starts with"),
        (("Frame Time: 0.0200000", "Frame Time: 0"), "frame time of 0, which is not positive and finite"),
        (("CHANNELS 3", "CHANNELS 4"), "cannot be read at 'CHANNELS 4 Xposition Yposition Zposition'"),
        (("Xposition", "Wposition"), "unknown channel Wposition"),
        (("OFFSET 0.000000 0.000000 0.000000", "OFFSET 0 0"), "cannot be read at 'OFFSET 0 0'"),
        (("OFFSET 0.000000 0.000000 0.000000", "OFFSET 0 0 nan"), "offsets that are not finite"),
        (("JOINT spine", "BONE spine"), "unknown word BONE"),
        (("\n}", ""), "a hierarchy that does not close"),
        (("\n}", "\n}\n}"), "cannot be read at '}'"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = walker(tmp_path / "broken.bvh", frames=3)
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(ArtefactError, match=message) as error:
        read_bvh(path)
    assert "broken.bvh" in error.value.what and error.value.expected


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    motion = random_tree(0)
    motion.values[2, 3] = np.nan
    with pytest.raises(ArtefactError, match="not finite"):
        read_bvh(write(tmp_path / "nan.bvh", motion))
    with pytest.raises(MissingError, match=r"nowhere\.bvh"):
        read_bvh(tmp_path / "nowhere.bvh")


def test_clips_become_a_file_to_train_on(tmp_path: Path) -> None:
    paths = walker(tmp_path / "anna.bvh"), walker(tmp_path / "ben.bvh")
    clips = [load_bvh(paths[0], mapping=SAME, subject="a"), load_bvh(paths[1], mapping=SAME, subject="b", split="val")]
    save_clips(tmp_path / "own.npz", clips)
    for got, stored in zip(load_clips(tmp_path / "own.npz"), clips, strict=True):
        assert (got.id, got.subject, got.split, got.fps, got.native) == (stored.id, stored.subject, stored.split, 50, True)
        np.testing.assert_allclose(got.joints_m, stored.joints_m, atol=0.1e-3)


def test_folders_name_splits_and_subjects(tmp_path: Path) -> None:
    for name in ("walk.bvh", "anna/dance.BVH", "val/jump.bvh", "test/ben/fall.bvh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, standing(FIGURES["plain"]))
    (tmp_path / "notes.txt").write_text("")
    clips = {clip.id: (clip.subject, clip.split) for clip in load_bvh_files(tmp_path)}
    assert clips == {
        "anna/dance": ("anna", "train"),
        "test/ben/fall": ("ben", "test"),
        "val/jump": ("own", "val"),
        "walk": ("own", "train"),
    }
    assert {clip.split for clip in load_bvh_files(tmp_path / "anna", split="test", stature_m=1.5)} == {"test"}
    assert [clip.id for clip in load_bvh_files(tmp_path / "walk.bvh")] == ["walk"]


def test_a_folder_without_motion_or_with_an_unknown_skeleton_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no BVH file in"):
        load_bvh_files(tmp_path)
    walker(tmp_path / "odd.bvh")
    with pytest.raises(UsageError, match=r"odd\.bvh: an unknown skeleton"):
        load_bvh_files(tmp_path)


def test_clips_may_have_another_rate(tmp_path: Path) -> None:
    path = walker(tmp_path / "walk.bvh", fps=50, frames=101)
    clip = load_bvh(path, mapping=SAME, fps=25)
    assert clip.fps == 25 and len(clip) == 51
    with pytest.raises(UsageError, match="0 frames per second"):
        load_bvh(path, mapping=SAME, fps=0)


# Recordings of other programs, from the same standing figure.


def written(path: Path, change: Any = lambda text: text) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    write(path, standing(FIGURES["mixamo"]))
    path.write_text(change(path.read_text()))
    return path


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_the_rest_pose_tells_the_axis_also_of_somebody_who_lies(tmp_path: Path, up: str) -> None:
    axis = {"x": 0, "y": 1, "z": 2}[up[-1]]
    to_file = np.roll(np.eye(3), axis - 1, axis=0) * (-1 if up[0] == "-" else 1)  # y up to the file's axes
    motion = standing(FIGURES["mixamo"])
    bones = tuple(
        BvhJoint(bone.name, bone.parent, tuple(to_file @ np.array(bone.offset)), bone.channels) for bone in motion.joints
    )
    lying = np.array(motion.values)
    columns = [a for is_position, a in bones[0].channels]
    lying[0, columns.index((axis + 1) % 3)] = 90.0  # about a level axis
    for values, height in ((motion.values, 0.5), (lying, -0.1)):
        joints = load_bvh(write(tmp_path / "x.bvh", BvhMotion(bones, values, 50.0))).joints_m
        rise = float((joints[:, 10] - joints[:, 0])[..., 2].mean())
        assert rise > height if height > 0 else abs(rise) < -height


@pytest.mark.parametrize(
    "affix",
    ["Character1_{}", "Skeleton_001_{}", "Bob {}", "Armature.{}", "{}.001", "Armature|mixamorig:{}", "Bip01 {}", "Bob{}"],
)
def test_what_all_names_share_is_no_part_of_them(tmp_path: Path, affix: str) -> None:
    def renamed(text: str) -> str:
        return "\n".join(
            f"{line[: line.index(word)]}{word} {affix.format(line.split()[-1])}"
            if (word := line.split()[0] if line.split() else "") in ("ROOT", "JOINT")
            else line
            for line in text.splitlines()
        )

    plain = load_bvh(written(tmp_path / "plain.bvh"))
    np.testing.assert_array_equal(load_bvh(written(tmp_path / "other.bvh", renamed)).joints_m, plain.joints_m)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("JOINT Spine\n", "JOINT MOTION_Spine\n").replace("MOTION_Spine", "Spine"),
        lambda text: text + "\x1a",
        lambda text: text + "\0" * 700,
        lambda text: text.replace("Frame Time:", "Frame time:").replace("Frames:", "frames:"),
        lambda text: text.replace("HIERARCHY", "hierarchy").replace("MOTION", "Motion").replace("End Site", "end site"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "# written by hand\n" + text.replace("MOTION", "  MOTION \t"),
    ],
    ids=["joint", "ctrl z", "zeros", "case", "lower", "returns alone", "comment"],
)
def test_sections_are_lines_however_they_are_written(tmp_path: Path, change: Any) -> None:
    plain = load_bvh(written(tmp_path / "plain.bvh"))
    np.testing.assert_array_equal(load_bvh(written(tmp_path / "other.bvh", change)).joints_m, plain.joints_m)


def test_utf_16_is_read(tmp_path: Path) -> None:
    plain = load_bvh(written(tmp_path / "plain.bvh"))
    (tmp_path / "wide.bvh").write_bytes((tmp_path / "plain.bvh").read_text().encode("utf-16"))
    np.testing.assert_array_equal(load_bvh(tmp_path / "wide.bvh").joints_m, plain.joints_m)


@pytest.mark.parametrize(
    ("written_time", "fps"),
    [
        ("0.0333667", 29.97),
        ("0.0333333", 30),
        ("0.0417083", 23.976),
        ("0.0416667", 24),
        ("0.0166833", 59.94),
        ("0.00834167", 119.88),
        ("0.008333", 120),
        ("33.3333", 30),
        ("16.68", 59.94),
        ("20", 50),
    ],
)
def test_ntsc_rates_are_not_rounded_and_milliseconds_are_known(written_time: str, fps: float) -> None:
    assert frame_rate(written_time) == pytest.approx(fps, rel=1e-6)


def test_hidden_files_are_left_out_and_files_of_one_name_told_apart(tmp_path: Path) -> None:
    for name in ("anna/dance.bvh", "ben/dance.bvh", "anna/._dance.bvh", "anna/jump.bvh"):
        written(tmp_path / name)
    assert [clip.id for clip in load_bvh_files(tmp_path)] == ["anna/dance", "anna/jump", "ben/dance"]
    both = load_bvh_files(tmp_path / "anna" / "dance.bvh", tmp_path / "ben" / "dance.bvh")
    assert [clip.id for clip in both] == ["anna/dance", "ben/dance"]
    with pytest.raises(UsageError, match="given twice"):
        load_bvh_files(tmp_path / "anna" / "dance.bvh", tmp_path / "anna")
