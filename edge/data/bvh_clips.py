"""A user's own motion: BVH files as clips of 17 joints in metres."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...runtime.arrays import F64
from ...runtime.errors import MissingError, UsageError
from ...runtime.pose.skeleton import H36M17
from .bvh import BvhMotion, joint_positions, read_bvh, rest_pose
from .mocap import SPLITS, Clip
from .resample import resample
from .skeleton_mappings import SkeletonMapping, match_skeleton, normalise_name
from .stature import check_stature, stature
from .up_axis import UP_AXES, UpAxis, find_up, turn_up

FPS = 50.0
ANKLE_M = 0.08  # height of a standing ankle above the floor


def load_bvh(
    path: Path,
    *,
    mapping: Mapping[str, str | Mapping[str, float]] | None = None,
    unit_m: float | None = None,
    stature_m: float | None = None,
    up: UpAxis | None = None,
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
        up: the file's vertical axis; None takes the rest pose's, see ``find_up``.
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
    if up not in (None, *UP_AXES):
        raise UsageError(f"{up!r} as the axis that points up", expected="one of " + ", ".join(UP_AXES))
    motion = read_bvh(path)
    try:
        skeleton, names = match_skeleton([joint.name for joint in motion.joints], mapping)
    except UsageError as error:
        raise UsageError(f"{path}: {error.what}", expected=error.expected) from None
    motion = replace(motion, joints=tuple(replace(joint, name=name) for joint, name in zip(motion.joints, names, strict=True)))
    joints = map_joints(motion, skeleton)  # (T, 17, 3) in the file's unit
    if up is None:
        up = find_up(map_joints(rest_pose(motion), skeleton)[0], joints)
    joints = turn_up(joints, up)
    if stature_m is not None:
        joints = joints * (stature_m / stature(joints))
    else:
        unit_m = skeleton.unit_m if unit_m is None else unit_m
        check_stature(joints, unit_m=unit_m, place=str(path), expected="another unit_m, or a stature_m", error=UsageError)
        joints = joints * unit_m
    joints = _place_on_floor(resample(joints, fps=motion.fps, to_fps=fps))
    return Clip(path.stem, subject, action, split, native=True, fps=fps, joints_m=joints.astype(np.float32))


def load_bvh_files(
    *paths: Path,
    mapping: Mapping[str, str | Mapping[str, float]] | None = None,
    unit_m: float | None = None,
    stature_m: float | None = None,
    up: UpAxis | None = None,
    split: str = "train",
    fps: float = FPS,
) -> list[Clip]:
    """The clips of BVH files, and of all BVH files below folders, with their path in it as id: ``test/anna/dance``.

    A file below a folder that is named like a split belongs to that split, any other to ``split``. The folder that a file lies
    in names its subject, unless it is the top folder or a split. Hidden files are left out: other systems write them beside
    the recordings. Files that would have one id are told apart by the folder that was given, or by their suffix.

    Raises:
        UsageError: a file is given twice.
        MissingError: a folder holds no BVH file.
    """
    found: dict[Path, tuple[Path, Path]] = {}  # the file -> the path that was given, its name below that
    for path in paths:
        for file in _bvh_files(path) if path.is_dir() else [path]:
            if file.resolve() in found:
                raise UsageError(f"{file} is given twice", expected="each file once")
            found[file.resolve()] = (path, file.relative_to(path) if path.is_dir() else Path(file.name))
    clips = []
    for path, name in found.values():
        folders = name.parts[:-1]
        clip = load_bvh(
            path / name if path.is_dir() else path,
            mapping=mapping,
            unit_m=unit_m,
            stature_m=stature_m,
            up=up,
            subject=folders[-1] if folders and folders[-1] not in SPLITS else "own",
            split=next((folder for folder in folders if folder in SPLITS), split),
            fps=fps,
        )
        clips.append(replace(clip, id=name.with_suffix("").as_posix()))
    return _with_ids_of_their_own(clips, list(found))


def _bvh_files(folder: Path) -> list[Path]:
    """The BVH files below a folder, without hidden ones."""
    files = [file for file in folder.rglob("*") if file.suffix.lower() == ".bvh" and file.is_file()]
    files = sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))
    if not files:
        raise MissingError(f"there is no BVH file in {folder}", expected="names ending in .bvh")
    return files


def _with_ids_of_their_own(clips: list[Clip], files: list[Path]) -> list[Clip]:
    """The clips of files; those that share an id get that of their folder in front, and a number where that is not enough."""
    shared = Counter(clip.id for clip in clips)
    ids: set[str] = {name for name, count in shared.items() if count == 1}
    renamed = []
    for clip, file in zip(clips, files, strict=True):
        name = clip.id
        if shared[name] > 1:
            base = name = f"{file.parent.name}/{file.stem}"
            number = 1
            while name in ids:
                number += 1
                name = f"{base}-{number}"
            ids.add(name)
        renamed.append(replace(clip, id=name))
    return renamed


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


def _place_on_floor(joints_m: F64) -> F64:
    """Joints (T, 17, 3) shifted: the mean root is above the origin, the 3rd percentile of the lower ankle is 8 cm high.

    Where another joint is lower than the floor would be, as in a handstand, that joint is on it.
    """
    ankle = np.percentile(joints_m[:, [3, 6], 2].min(axis=1), 3)
    lowest = np.percentile(joints_m[..., 2].min(axis=1), 3)
    shifted: F64 = joints_m - np.array([*joints_m[:, 0, :2].mean(axis=0), min(ankle - ANKLE_M, lowest)])
    return shifted
