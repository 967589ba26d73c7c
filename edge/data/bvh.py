"""A user's own motion: BVH files as clips of 17 joints in metres.

The reader is this project's own: what is on PyPI either refuses position channels below the root, which Xsens, Noitom and
Blender write, or goes through the frames one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import ArtefactError, MissingError, UsageError
from ...runtime.pose.skeleton import H36M17
from .mocap import SPLITS, Clip
from .resample import resample
from .skeleton_mappings import SkeletonMapping, custom_mapping, find_mapping, plain_name

Doubles = NDArray[np.float64]

FPS = 50.0
STATURE = 1.10  # of the chain ankle to head centre, by the adults of the CMU data base
STATURES_M = (0.6, 2.5)  # from toddlers to giants: outside, the unit is wrong
ANKLE_M = 0.08  # height of a standing ankle above the floor
_ROUNDED = 5e-4  # a frame time of few digits: 0.00833 is 120 Hz, while 29.97 Hz stays
_LENGTHS = tuple((a, b) for a, b in H36M17.bones if H36M17.joints[b] in ("spine", "thorax", "nose", "head"))
_LEGS = tuple((a, b) for a, b in H36M17.bones if H36M17.joints[b].endswith(("knee", "ankle")))


@dataclass(frozen=True)
class BvhJoint:
    """A joint of a BVH and the way to it.

    Args:
        name: as in the file; an end site is called after its parent, ``Head end``.
        parent: its index, -1 for the root.
        offset: from the parent, in the file's unit.
        channels: (is a position, axis) in the file's order.
    """

    name: str
    parent: int
    offset: tuple[float, float, float]
    channels: tuple[tuple[bool, int], ...]


@dataclass(frozen=True)
class BvhMotion:
    """A BVH as it stands: bones, values (T, C) of all their channels in order, degrees and units, and the frame rate."""

    bones: tuple[BvhJoint, ...]
    values: Doubles
    fps: float


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
    """A BVH as a clip, z up, its mean place at x = y = 0 and its feet on the floor.

    Args:
        path: the file; its stem is the clip's id.
        mapping: Human3.6M joint -> joint of the file, or joints with weights; None knows the rigs of ``RIGS``.
        unit_m: length of the file's unit; None is the rig's own (a centimetre but for CMU's).
        stature_m: scale to a person of this height instead.
        up: the file's vertical axis; None takes the axis along which the head is above the hip.
        subject, action, split: what the clip says of itself.
        fps: its frames per second; the file's are resampled.
    """
    if split not in SPLITS:
        raise UsageError(f"there is no split {split!r}", expected="one of " + ", ".join(SPLITS))
    if unit_m is not None and stature_m is not None:
        raise UsageError("both a unit and a stature", expected="one of them: each is a scale")
    if not (fps > 0 and np.isfinite(fps)):
        raise UsageError(f"{fps} frames per second", expected="a positive rate")
    for what, scale in (("unit", unit_m), ("stature", stature_m)):
        if scale is not None and not 0 < scale < np.inf:
            raise UsageError(f"a {what} of {scale} m", expected="a positive length")
    motion = read_bvh(path)
    names = [bone.name for bone in motion.bones]
    try:
        rig = find_mapping(names) if mapping is None else custom_mapping(mapping, names)
    except UsageError as error:
        raise UsageError(f"{path}: {error.what}", expected=error.expected) from None
    joints = joints_of(motion, rig)  # (T, 17, 3) units
    if up is None:
        up = "y" if np.abs((joints[:, 10] - joints[:, 0]).mean(axis=0)).argmax() == 1 else "z"
    if up == "y":
        joints = np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], axis=-1)
    if stature_m is not None:
        joints = joints * (stature_m / stature(joints))
    else:
        joints = joints * (rig.unit_m if unit_m is None else unit_m)
        if not STATURES_M[0] <= stature(joints) <= STATURES_M[1]:
            raise UsageError(
                f"the person of {path} would be {stature(joints):.3g} m tall", expected="another unit_m, or a stature_m"
            )
    joints = _on_floor(resample(joints, fps=motion.fps, to_fps=fps))
    return Clip(path.stem, subject, action, split, native=True, fps=fps, joints_m=joints.astype(np.float32))


def load_all(
    path: Path,
    *,
    unit_m: float | None = None,
    stature_m: float | None = None,
    split: str = "train",
    fps: float = FPS,
) -> list[Clip]:
    """A BVH, or every one below a folder, called by its path there: ``test/anna/dance``.

    Files below a folder named for a split are of that split, the others of ``split``. The folder that a file lies in is its
    subject, unless it is the top one or a split.
    """
    if not path.is_dir():
        return [load_bvh(path, unit_m=unit_m, stature_m=stature_m, split=split, fps=fps)]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".bvh" and file.is_file())
    if not files:
        raise MissingError(f"there is no BVH file in {path}", expected="names ending in .bvh")
    clips = []
    for file in files:
        name = file.relative_to(path).with_suffix("")
        above = name.parts[:-1]
        clip = load_bvh(
            file,
            unit_m=unit_m,
            stature_m=stature_m,
            subject=above[-1] if above and above[-1] not in SPLITS else "own",
            split=next((part for part in above if part in SPLITS), split),
            fps=fps,
        )
        clips.append(replace(clip, id=name.as_posix()))
    return clips


def read_bvh(path: Path) -> BvhMotion:
    """The bones and values of a BVH."""
    if not path.is_file():
        raise MissingError(f"there is no BVH file {path}")
    text = path.read_bytes().decode("utf-8", errors="replace").lstrip("\ufeff")
    header, mark, rest = text.partition("MOTION")
    if not mark or "HIERARCHY" not in header:
        raise _odd(path, "is no BVH", "HIERARCHY, then MOTION")
    bones = _bones(path, header)
    words = rest.replace(":", ": ", 2).split()
    try:
        if words[0] != "Frames:" or words[2:4] != ["Frame", "Time:"]:
            raise ValueError(f"MOTION starts with {' '.join(words[:5])}")
        frames, step_s = int(words[1]), float(words[4])
        values = np.array(words[5:], np.float64)
    except (ValueError, IndexError) as error:
        raise _odd(path, f"cannot be read: {error}", "Frames: N, Frame Time: seconds, then numbers") from None
    channels = sum(len(bone.channels) for bone in bones)
    if frames < 1 or len(values) != frames * channels:
        raise _odd(path, f"has {len(values)} values", f"{frames} frames of {channels} channels")
    if not (0 < step_s < np.inf and np.isfinite(values).all()):
        raise _odd(path, "has values or a frame time that are not finite", "degrees and lengths, a positive time")
    rate = 1 / step_s  # written with 6 or 7 digits: 0.0083333 is 120 Hz
    return BvhMotion(
        bones, values.reshape(frames, channels), float(round(rate)) if abs(rate - round(rate)) < 2e-3 * rate else rate
    )


def _bones(path: Path, header: str) -> tuple[BvhJoint, ...]:
    lines = [line.strip() for line in header.replace("{", "\n{\n").replace("}", "\n}\n").splitlines() if line.strip()]
    bones: list[BvhJoint] = []
    above: list[int] = []  # the bones whose braces are open
    for line in lines[lines.index("HIERARCHY") + 1 :] if "HIERARCHY" in lines else lines:
        word, *rest = line.split()
        try:
            if word in ("ROOT", "JOINT", "End"):
                name = f"{bones[above[-1]].name} end" if word == "End" else " ".join(rest)
                bones.append(BvhJoint(name, above[-1] if above else -1, (0.0, 0.0, 0.0), ()))
            elif word == "{":
                above.append(len(bones) - 1)
            elif word == "}":
                above.pop()
            elif word == "OFFSET":
                x, y, z = map(float, rest)
                bones[above[-1]] = replace(bones[above[-1]], offset=(x, y, z))
            elif word == "CHANNELS":
                if int(rest[0]) != len(rest) - 1:
                    raise ValueError(f"{len(rest) - 1} channels where {rest[0]} are announced")
                bones[above[-1]] = replace(bones[above[-1]], channels=tuple(map(_channel, rest[1:])))
            else:
                raise ValueError(f"unknown word {word}")
        except (ValueError, IndexError) as error:
            raise _odd(path, f"cannot be read at {line!r}: {error}", "ROOT, JOINT, End Site, OFFSET, CHANNELS") from None
    if above or not bones or sum(bone.parent < 0 for bone in bones) != 1:
        raise _odd(path, "has a hierarchy that does not close", "one ROOT and a brace for each brace")
    if not all(np.isfinite(bone.offset).all() for bone in bones):
        raise _odd(path, "has offsets that are not finite", "lengths")
    return tuple(bones)


def _channel(word: str) -> tuple[bool, int]:
    kinds = {"position": True, "rotation": False}
    axis, kind = word[:1].upper(), word[1:].lower()
    if axis not in ("X", "Y", "Z") or kind not in kinds:
        raise ValueError(f"unknown channel {word}")
    return kinds[kind], "XYZ".index(axis)


def place_bones(motion: BvhMotion) -> Doubles:
    """Forward kinematics: where every bone's joint is, (T, B, 3) in the file's unit and axes."""
    frames = len(motion.values)
    places = np.zeros((frames, len(motion.bones), 3))
    turns = np.zeros((len(motion.bones), frames, 3, 3))
    on_top, column = _on_top(motion), 0
    for n, bone in enumerate(motion.bones):
        way = np.tile(np.asarray(bone.offset), (frames, 1))
        turn = np.tile(np.eye(3), (frames, 1, 1))
        for position, axis in bone.channels:
            value = motion.values[:, column]
            column += 1
            if not position:
                turn = turn @ _rotation(np.radians(value), axis)
            else:
                way[:, axis] = value + (bone.offset[axis] if on_top and bone.parent >= 0 else 0)
        if bone.parent >= 0:
            way = places[:, bone.parent] + (turns[bone.parent] @ way[..., None])[..., 0]
            turn = turns[bone.parent] @ turn
        places[:, n], turns[n] = way, turn
    return places


def _on_top(motion: BvhMotion) -> bool:
    """Whether positions below the root come on top of the offset. Both habits exist; the other one is in its place.

    Bones hardly change their length, so such positions are about zero, or about the offset.
    """
    column, added, replaced = 0, 0.0, 0.0
    for bone in motion.bones:
        places = [(column + n, axis) for n, (position, axis) in enumerate(bone.channels) if position]
        column += len(bone.channels)
        if places and bone.parent >= 0:
            columns, axes = map(list, zip(*places, strict=True))
            values, offset = motion.values[:, columns], np.asarray(bone.offset)[axes]
            added += np.linalg.norm(values, axis=1).mean()
            replaced += np.linalg.norm(values - offset, axis=1).mean()
    return added < replaced


def joints_of(motion: BvhMotion, rig: SkeletonMapping) -> Doubles:
    """Human3.6M's joints (T, 17, 3) in the file's unit and axes."""
    place = {plain_name(bone.name): n for n, bone in reversed(list(enumerate(motion.bones)))}
    bones = list(motion.bones)
    for joint, (source, factor) in rig.lost.items():
        n, like = place[plain_name(joint)], motion.bones[place[plain_name(source)]]
        if not np.any(bones[n].offset):
            x, y, z = like.offset
            bones[n] = replace(bones[n], offset=(factor * x, factor * y, factor * z))
    recipe = np.zeros((len(H36M17), len(bones)))
    for joint, row in rig.recipe.items():
        for name, weight in row.items():
            recipe[H36M17.joints.index(joint), place[plain_name(name)]] += weight
    return np.asarray(recipe @ place_bones(replace(motion, bones=tuple(bones))))


def stature(joints: Doubles) -> float:
    """About how tall a person (T, 17, 3) is, standing up: from the lengths of legs, trunk and head."""
    mean = {pair: np.linalg.norm(joints[:, pair[1]] - joints[:, pair[0]], axis=-1).mean() for pair in (*_LENGTHS, *_LEGS)}
    return STATURE * float(sum(mean[pair] for pair in _LENGTHS) + sum(mean[pair] for pair in _LEGS) / 2)


def _on_floor(joints_m: Doubles) -> Doubles:
    """Shifted as the project's own clips are: mean root above the origin, the lower ankle's 3rd percentile 8 cm high."""
    low = np.percentile(joints_m[:, [3, 6], 2].min(axis=1), 3)
    moved: Doubles = joints_m - np.array([*joints_m[:, 0, :2].mean(axis=0), low - ANKLE_M])
    return moved


def _rotation(angle: Doubles, axis: int) -> Doubles:
    """(T, 3, 3) right-handed rotations by (T,) radians about one axis."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    made = np.zeros((len(angle), 3, 3))
    made[:, axis, axis] = 1
    made[:, a, a] = made[:, b, b] = np.cos(angle)
    made[:, b, a] = np.sin(angle)
    made[:, a, b] = -made[:, b, a]
    return made


def _odd(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"BVH file {path} {what}", expected=expected)
