"""BVH files: the hierarchy of joints, the values of their channels, and forward kinematics.

The reader is this project's own: the packages on PyPI either refuse position channels below the root, which Xsens, Noitom and
Blender write, or process the frames one by one.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...runtime.arrays import F64
from ...runtime.bounds import check_bytes
from ...runtime.errors import ArtefactError, MissingError
from ...runtime.file_kind import check_stand_in
from .frame_rate import frame_rate

_BYTES_A_CHARACTER = 10  # while it is read: the text, its words and their numbers
_ENCODINGS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_BLANKS = dict.fromkeys((0x00, 0x1A, 0xFEFF), " ")  # padding, the end mark of DOS, the byte order mark
_COMMENT = re.compile(r"(?m)(^|(?<=\s))(#|//).*$")
_HIERARCHY = re.compile(r"(?im)^\s*HIERARCHY\b")
_MOTION = re.compile(r"(?im)(^|\})[ \t]*(?P<word>MOTION)[ \t]*(?=$|\r|Frames)")
_MOTION_HEAD = re.compile(r"(?i)\s*Frames\s*:?\s*(?P<frames>\S+)\s+Frame\s*Time\s*:?\s*(?P<step>\S+)")


@dataclass(frozen=True)
class BvhJoint:
    """A joint of a BVH and its offset from the parent joint.

    Args:
        name: as in the file; an end site is named after its parent, ``Head end``.
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
    """The content of a BVH file.

    Args:
        joints: parents before their children.
        values: (T, C) all channels of all joints, in order; degrees, and lengths in the file's unit.
        fps: frames per second.
    """

    joints: tuple[BvhJoint, ...]
    values: F64
    fps: float


def read_bvh(path: Path) -> BvhMotion:
    """The joints and values of a BVH file.

    Raises:
        MissingError: there is no such file.
        ArtefactError: it is not a BVH, or its values are not finite.
    """
    if not path.is_file():
        raise MissingError(f"there is no BVH file {path}")
    check_bytes(str(path), _BYTES_A_CHARACTER * path.stat().st_size)
    check_stand_in(path, expected="a BVH: HIERARCHY, then MOTION", text=True)
    text = _plain_text(path.read_bytes())
    header, marker, rest = _split_sections(text)
    if not marker or not _HIERARCHY.search(header):
        raise _format_error(path, "is no BVH", "HIERARCHY, then MOTION")
    joints = _parse_hierarchy(path, header)
    start = _MOTION_HEAD.match(rest)
    try:
        if start is None:
            raise ValueError(f"MOTION starts with {' '.join(rest.split()[:5])}")
        frames, values = int(start["frames"]), np.array(rest[start.end() :].split(), np.float64)
        fps = frame_rate(start["step"])
    except (ValueError, ArithmeticError) as error:
        raise _format_error(path, f"cannot be read: {error}", "Frames: N, Frame Time: seconds, then numbers") from None
    channels = sum(len(joint.channels) for joint in joints)
    if frames < 1 or len(values) != frames * channels:
        raise _format_error(path, f"has {len(values)} values", f"{frames} frames of {channels} channels")
    if not np.isfinite(values).all():
        raise _format_error(path, "has values that are not finite", "degrees and lengths")
    return BvhMotion(joints, values.reshape(frames, channels), fps)


def _plain_text(data: bytes) -> str:
    """The text of a file in UTF-8 or UTF-16, without comments, zeros and the end mark of DOS."""
    encoding = next((encoding for mark, encoding in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data[:2]:  # UTF-16 without its mark: a letter of HIERARCHY and a zero
        encoding = "utf-16-le" if data[:1] != b"\0" else "utf-16-be"
    text = data.decode(encoding, errors="replace").translate(_BLANKS)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _COMMENT.sub("", text) if "#" in text or "//" in text else text


def _split_sections(text: str) -> tuple[str, str, str]:
    """What is before the line MOTION, the word, and what follows. A joint's name may contain the word."""
    found = _MOTION.search(text)
    return (text[: found.start("word")], found["word"], text[found.end("word") :]) if found else (text, "", "")


def joint_positions(motion: BvhMotion) -> F64:
    """Forward kinematics: the position of every joint, (T, B, 3) in the file's unit and axes."""
    frames = len(motion.values)
    positions = np.zeros((frames, len(motion.joints), 3))
    rotations = np.zeros((len(motion.joints), frames, 3, 3))
    added, column = _positions_are_added(motion), 0
    for n, joint in enumerate(motion.joints):
        offset = np.tile(np.asarray(joint.offset), (frames, 1))
        rotation = np.tile(np.eye(3), (frames, 1, 1))
        for is_position, axis in joint.channels:
            value = motion.values[:, column]
            column += 1
            if is_position:
                offset[:, axis] = value + (joint.offset[axis] if added and joint.parent >= 0 else 0)
            else:
                rotation = rotation @ _axis_rotation(np.radians(value), axis)
        if joint.parent >= 0:
            offset = positions[:, joint.parent] + (rotations[joint.parent] @ offset[..., None])[..., 0]
            rotation = rotations[joint.parent] @ rotation
        positions[:, n], rotations[n] = offset, rotation
    return positions


def rest_pose(motion: BvhMotion) -> BvhMotion:
    """One frame without rotations, in which each joint is at its offset."""
    row = [joint.offset[axis] if is_position else 0.0 for joint in motion.joints for is_position, axis in joint.channels]
    return replace(motion, values=np.array([row], np.float64))


def _positions_are_added(motion: BvhMotion) -> bool:
    """Whether position channels below the root are added to the offset; otherwise they replace it. Writers do either.

    Bones hardly change their length, so such positions are near zero if they are added, and near the offset if not.
    """
    column, added, replaced = 0, 0.0, 0.0
    for joint in motion.joints:
        channels = [(column + n, axis) for n, (is_position, axis) in enumerate(joint.channels) if is_position]
        column += len(joint.channels)
        if channels and joint.parent >= 0:
            columns, axes = map(list, zip(*channels, strict=True))
            values, offset = motion.values[:, columns], np.asarray(joint.offset)[axes]
            added += float(np.linalg.norm(values, axis=1).mean())
            replaced += float(np.linalg.norm(values - offset, axis=1).mean())
    return added < replaced


def _axis_rotation(angle: F64, axis: int) -> F64:
    """(T, 3, 3) right-handed rotations by (T,) radians about one axis."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.zeros((len(angle), 3, 3))
    rotation[:, axis, axis] = 1
    rotation[:, a, a] = rotation[:, b, b] = np.cos(angle)
    rotation[:, b, a] = np.sin(angle)
    rotation[:, a, b] = -rotation[:, b, a]
    return rotation


def _parse_hierarchy(path: Path, header: str) -> tuple[BvhJoint, ...]:
    lines = [line.strip() for line in header.replace("{", "\n{\n").replace("}", "\n}\n").splitlines() if line.strip()]
    first = next(n for n, line in enumerate(lines) if _HIERARCHY.match(line))
    lines[first] = lines[first][len("HIERARCHY") :].strip()
    joints: list[BvhJoint] = []
    open_joints: list[int] = []  # those whose closing brace has not come yet
    for line in filter(None, lines[first:]):
        word, *rest = line.split()
        word = word.upper()
        try:
            if word in ("ROOT", "JOINT", "END"):
                name = f"{joints[open_joints[-1]].name} end" if word == "END" else " ".join(rest)
                joints.append(BvhJoint(name, open_joints[-1] if open_joints else -1, (0.0, 0.0, 0.0), ()))
            elif word == "{":
                open_joints.append(len(joints) - 1)
            elif word == "}":
                open_joints.pop()
            elif word == "OFFSET":
                x, y, z = map(float, rest)
                joints[open_joints[-1]] = replace(joints[open_joints[-1]], offset=(x, y, z))
            elif word == "CHANNELS":
                if int(rest[0]) != len(rest) - 1:
                    raise ValueError(f"{len(rest) - 1} channels where {rest[0]} are announced")
                joints[open_joints[-1]] = replace(joints[open_joints[-1]], channels=tuple(map(_parse_channel, rest[1:])))
            else:
                raise ValueError(f"unknown word {word}")
        except (ValueError, IndexError) as error:
            expected = "ROOT, JOINT, End Site, OFFSET, CHANNELS"
            raise _format_error(path, f"cannot be read at {line!r}: {error}", expected) from None
    if open_joints or not joints or sum(joint.parent < 0 for joint in joints) != 1:
        raise _format_error(path, "has a hierarchy that does not close", "one ROOT and a brace for each brace")
    if not all(np.isfinite(joint.offset).all() for joint in joints):
        raise _format_error(path, "has offsets that are not finite", "lengths")
    return tuple(joints)


def _parse_channel(word: str) -> tuple[bool, int]:
    is_position = {"position": True, "rotation": False}
    axis, kind = word[:1].upper(), word[1:].lower()
    if axis not in ("X", "Y", "Z") or kind not in is_position:
        raise ValueError(f"unknown channel {word}")
    return is_position[kind], "XYZ".index(axis)


def _format_error(path: Path, what: str, expected: str) -> ArtefactError:
    return ArtefactError(f"BVH file {path} {what}", expected=expected)
