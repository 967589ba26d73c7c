"""A user's own motion: BVH files as clips of 17 joints in metres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ...runtime.arrays import F64
from ...runtime.errors import MissingError, UsageError
from ...runtime.pose.skeleton import H36M17
from .bvh import BvhMotion, joint_positions, read_bvh
from .mocap import SPLITS, Clip
from .resample import resample
from .skeleton_mappings import SkeletonMapping, custom_mapping, find_mapping, normalise_name

FPS = 50.0
STATURE_PER_CHAIN = 1.10  # stature by the length of the chain ankle to head centre, of the adults in the CMU data base
STATURES_M = (0.6, 2.5)  # from toddlers to giants: outside of it the unit is wrong
ANKLE_M = 0.08  # height of a standing ankle above the floor
_TRUNK = tuple((a, b) for a, b in H36M17.bones if H36M17.joints[b] in ("spine", "thorax", "nose", "head"))
_LEGS = tuple((a, b) for a, b in H36M17.bones if H36M17.joints[b].endswith(("knee", "ankle")))


def load_bvh(
    path: Path,
    *,
    mapping: Mapping[str, str | Mapping[str, float]] | None = None,
    unit_m: float | None = None,
    stature_m: float | None = None,
    up: Literal["y", "z"] | None = None,
    subject: str = "own",
    action: str = "",
    split: str = "train",
    fps: float = FPS,
) -> Clip:
    """A BVH as a clip: z is up, its mean position is x = y = 0, its feet are on the floor.

    Args:
        path: the file; its stem is the clip's id.
        mapping: Human3.6M joint -> joint of the file, or joints with weights; None looks for a mapping in
            ``SKELETON_MAPPINGS``.
        unit_m: length of the file's unit; None takes the mapping's (a centimetre except for CMU's).
        stature_m: scale to a person of this height instead.
        up: the file's vertical axis; None takes the axis along which the head is above the hip.
        subject, action, split: labels of the clip.
        fps: frames per second of the clip; the file's frames are resampled.

    Raises:
        UsageError: an option is invalid, no mapping fits, or the stature is implausible.
        MissingError: there is no such file.
        ArtefactError: the file is not a BVH.
    """
    if split not in SPLITS:
        raise UsageError(f"there is no split {split!r}", expected="one of " + ", ".join(SPLITS))
    if unit_m is not None and stature_m is not None:
        raise UsageError("both a unit and a stature are given", expected="one of the two: each sets the scale")
    if not (fps > 0 and np.isfinite(fps)):
        raise UsageError(f"{fps} frames per second", expected="a positive rate")
    for name, length_m in (("unit", unit_m), ("stature", stature_m)):
        if length_m is not None and not 0 < length_m < np.inf:
            raise UsageError(f"a {name} of {length_m} m", expected="a positive length")
    motion = read_bvh(path)
    names = [joint.name for joint in motion.joints]
    try:
        skeleton = find_mapping(names) if mapping is None else custom_mapping(mapping, names)
    except UsageError as error:
        raise UsageError(f"{path}: {error.what}", expected=error.expected) from None
    joints = map_joints(motion, skeleton)  # (T, 17, 3) in the file's unit
    if up is None:
        up = "y" if np.abs((joints[:, 10] - joints[:, 0]).mean(axis=0)).argmax() == 1 else "z"
    if up == "y":
        joints = np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1)
    if stature_m is not None:
        joints = joints * (stature_m / stature(joints))
    else:
        joints = joints * (skeleton.unit_m if unit_m is None else unit_m)
        if not STATURES_M[0] <= stature(joints) <= STATURES_M[1]:
            raise UsageError(
                f"the person of {path} would be {stature(joints):.3g} m tall", expected="another unit_m, or a stature_m"
            )
    joints = _place_on_floor(resample(joints, fps=motion.fps, to_fps=fps))
    return Clip(path.stem, subject, action, split, native=True, fps=fps, joints_m=joints.astype(np.float32))


def load_bvh_files(
    path: Path,
    *,
    unit_m: float | None = None,
    stature_m: float | None = None,
    split: str = "train",
    fps: float = FPS,
) -> list[Clip]:
    """The clip of a BVH file, or the clips of all BVH files below a folder, with their path in it as id: ``test/anna/dance``.

    A file below a folder that is named like a split belongs to that split, any other to ``split``. The folder that a file lies
    in names its subject, unless it is the top folder or a split.

    Raises:
        MissingError: the folder holds no BVH file.
    """
    if not path.is_dir():
        return [load_bvh(path, unit_m=unit_m, stature_m=stature_m, split=split, fps=fps)]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".bvh" and file.is_file())
    if not files:
        raise MissingError(f"there is no BVH file in {path}", expected="names ending in .bvh")
    clips = []
    for file in files:
        name = file.relative_to(path).with_suffix("")
        folders = name.parts[:-1]
        clip = load_bvh(
            file,
            unit_m=unit_m,
            stature_m=stature_m,
            subject=folders[-1] if folders and folders[-1] not in SPLITS else "own",
            split=next((folder for folder in folders if folder in SPLITS), split),
            fps=fps,
        )
        clips.append(replace(clip, id=name.as_posix()))
    return clips


def map_joints(motion: BvhMotion, mapping: SkeletonMapping) -> F64:
    """Human3.6M's joints (T, 17, 3) in the file's unit and axes."""
    # Of joints that share a name, the first one counts.
    index = {normalise_name(joint.name): n for n, joint in reversed(list(enumerate(motion.joints)))}
    joints = list(motion.joints)
    for name, (source, factor) in mapping.missing_offsets.items():
        n, like = index[normalise_name(name)], motion.joints[index[normalise_name(source)]]
        if not np.any(joints[n].offset):
            x, y, z = like.offset
            joints[n] = replace(joints[n], offset=(factor * x, factor * y, factor * z))
    weights = np.zeros((len(H36M17), len(joints)))
    for joint, sources in mapping.joint_weights.items():
        for name, weight in sources.items():
            weights[H36M17.joints.index(joint), index[normalise_name(name)]] += weight
    return np.asarray(weights @ joint_positions(replace(motion, joints=tuple(joints))))


def stature(joints: F64) -> float:
    """The approximate height of a person (T, 17, 3), from the lengths of legs, trunk and head; in the unit of the joints."""
    mean = {pair: np.linalg.norm(joints[:, pair[1]] - joints[:, pair[0]], axis=-1).mean() for pair in (*_TRUNK, *_LEGS)}
    return STATURE_PER_CHAIN * float(sum(mean[pair] for pair in _TRUNK) + sum(mean[pair] for pair in _LEGS) / 2)


def _place_on_floor(joints_m: F64) -> F64:
    """Joints (T, 17, 3) shifted: the mean root is above the origin, the 3rd percentile of the lower ankle is 8 cm high."""
    low = np.percentile(joints_m[:, [3, 6], 2].min(axis=1), 3)
    shifted: F64 = joints_m - np.array([*joints_m[:, 0, :2].mean(axis=0), low - ANKLE_M])
    return shifted
