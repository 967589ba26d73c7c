"""Skeleton mappings: the joint names of common motion-capture skeletons, and which joints make up Human3.6M's 17.

Names are compared in lower case without prefix (``mixamorig:``), blanks, dots and underscores. ``neck end`` is the end site of
``neck``. Joint centres differ between skeletons by centimetres, most at the hips and along the spine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...runtime.errors import UsageError
from ...runtime.pose.skeleton import H36M17

_END = " end"  # what the reader appends to a joint's name for its end site
_SEPARATOR = re.compile(r"[\s_.:|\-]+")

JointWeights = Mapping[str, Mapping[str, float]]
"""Human3.6M joint -> joints of the file with their weights, which sum to 1."""


@dataclass(frozen=True)
class SkeletonMapping:
    """How the joints of a family of skeletons become Human3.6M's.

    Args:
        name: of the family.
        joint_weights: each Human3.6M joint as a weighted mean of the family's joints.
        unit_m: length of one unit of its files, in metres.
        missing_offsets: joints whose offset is zero in the family's files: joint -> (the joint whose offset replaces it,
            factor).
    """

    name: str
    joint_weights: JointWeights
    unit_m: float = 0.01
    missing_offsets: Mapping[str, tuple[str, float]] = field(default_factory=dict)


def _limbs(**parts: str) -> dict[str, dict[str, float]]:
    """The limbs of both sides, from the name of each part without its side."""
    sides = ("left", "right")
    limbs = {f"{side}_{part}": {f"{side} {name}": 1.0} for side in sides for part, name in parts.items()}
    hips = {f"{side} {parts['hip']}": 0.5 for side in sides}
    return {"hip": hips, **limbs}


def _trunk(spine: dict[str, float], top: str) -> dict[str, dict[str, float]]:
    """Spine, neck and head of a skeleton whose head bone runs from the base of the skull to the joint ``top``."""
    return {
        "spine": spine,
        "thorax": {"neck": 1.0},
        "nose": {"head": 0.85, top: 0.15},
        "head": {"head": 0.3, top: 0.7},
    }


_GAME = {"hip": "up leg", "knee": "leg", "ankle": "foot", "shoulder": "arm", "elbow": "fore arm", "wrist": "hand"}
_BODY = {"hip": "hip", "knee": "knee", "ankle": "ankle", "shoulder": "shoulder", "elbow": "elbow", "wrist": "wrist"}
_SKULL = {"head end": ("head", 1.9)}  # files that store no length of the head: about twice the neck's

SKELETON_MAPPINGS = (
    # CMU's data base as converted by B. Hahne; its joints are those of the project's own motion-capture file. It stores no
    # length of the thorax (the upper back's replaces it) and of the wrist bone (half the fore arm's replaces it).
    SkeletonMapping(
        "cgspeed",
        _limbs(**{**_GAME, "wrist": "finger base"})
        | {
            "spine": {"spine": 1.0},
            "thorax": {"neck": 0.5, "neck1": 0.5},
            "nose": {"neck1": 0.25, "head": 0.75},
            "head": {"head end": 1.0},
        },
        unit_m=2.54 / 100 / 0.45,
        missing_offsets={
            "neck": ("spine1", 1.0),
            "left shoulder": ("spine1", 1.0),
            "right shoulder": ("spine1", 1.0),
            "left finger base": ("left hand", 0.5),
            "right finger base": ("right hand", 0.5),
        },
    ),
    SkeletonMapping("mixamo", _limbs(**_GAME) | _trunk({"spine": 0.5, "spine1": 0.5}, "head top end")),
    SkeletonMapping("xsens", _limbs(**_BODY) | _trunk({"chest2": 1.0}, "head end")),
    SkeletonMapping(
        "rokoko",
        _limbs(**{**_GAME, "hip": "thigh", "knee": "shin"}) | _trunk({"spine2": 1.0}, "head end"),
        missing_offsets=_SKULL,
    ),
    SkeletonMapping("plain", _limbs(**_GAME) | _trunk({"spine": 0.5, "spine1": 0.5}, "head end"), missing_offsets=_SKULL),
)


def normalise_name(name: str) -> str:
    """A joint's name in the form in which names are compared."""
    return re.sub(r"[\s_.\-|]", "", name.rsplit(":", 1)[-1].lower()).removeprefix("mixamorig")


def find_mapping(names: Sequence[str]) -> SkeletonMapping:
    """The first of ``SKELETON_MAPPINGS`` whose joints are all among the names.

    Raises:
        UsageError: there is none; the message names the nearest one and the joints that it lacks.
    """
    available = {normalise_name(name) for name in names}
    missing = {
        mapping.name: {normalise_name(name) for row in mapping.joint_weights.values() for name in row} - available
        for mapping in SKELETON_MAPPINGS
    }
    for mapping in SKELETON_MAPPINGS:
        if not missing[mapping.name]:
            return mapping
    nearest = min(missing, key=lambda name: len(missing[name]))
    known = ", ".join(mapping.name for mapping in SKELETON_MAPPINGS)
    raise UsageError(
        f"an unknown skeleton; {nearest} is nearest and lacks {', '.join(sorted(missing[nearest]))}",
        expected=f"{known}, or your own mapping of Human3.6M's joints",
    )


def match_skeleton(
    names: Sequence[str], mapping: Mapping[str, str | Mapping[str, float]] | None = None
) -> tuple[SkeletonMapping, list[str]]:
    """The mapping of a file's joints, and their names in the terms of the mapping: without what most of them share.

    Args:
        names: the file's joints.
        mapping: a user's own, None for one of ``SKELETON_MAPPINGS``.

    Raises:
        UsageError: as ``find_mapping`` and ``custom_mapping``, about the names as they are.
    """
    failed: UsageError | None = None
    for bare in _bare_names(names):
        try:
            return find_mapping(bare) if mapping is None else custom_mapping(mapping, bare), bare
        except UsageError as error:
            failed = failed or error
    assert failed is not None
    raise failed


def _bare_names(names: Sequence[str]) -> Iterator[list[str]]:
    """The names as they are, then without each prefix and suffix that most share: ``Character1_``, ``Bob ``, ``.001``."""
    bases = [name.removesuffix(_END) for name in names]
    joints = [base for base, name in zip(bases, names, strict=True) if base == name]
    prefixes = Counter(name[: cut.end()] for name in joints for cut in _SEPARATOR.finditer(name) if cut.end() < len(name))
    suffixes = Counter(name[cut.start() :] for name in joints for cut in _SEPARATOR.finditer(name) if cut.start())
    most = len(joints) / 2
    starts = ["", _shared_start(joints), *(text for text, count in prefixes.most_common() if count > most)]
    ends = ["", *(text for text, count in suffixes.most_common() if count > most)]
    for start in dict.fromkeys(starts):
        for end in ends:
            bare = [base.removeprefix(start).removesuffix(end) for base in bases]
            yield [f"{new}{_END}" if name.endswith(_END) else new for new, name in zip(bare, names, strict=True)]


def _shared_start(names: Sequence[str]) -> str:
    """The letters that all names start with."""
    first, last = min(names), max(names)
    return first[: next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def custom_mapping(mapping: Mapping[str, str | Mapping[str, float]], names: Sequence[str]) -> SkeletonMapping:
    """A user's mapping: each Human3.6M joint to a joint of the file, or to several with weights that sum to 1.

    Args:
        mapping: Human3.6M joint -> joint, or joints with weights.
        names: the file's joints.

    Raises:
        UsageError: a Human3.6M joint is missing or unknown, the file lacks a joint, or weights do not sum to 1.
    """
    if missing := [joint for joint in H36M17.joints if joint not in mapping]:
        raise UsageError(f"the mapping lacks {', '.join(missing)}", expected="all of " + ", ".join(H36M17.joints))
    if unknown := sorted(set(mapping) - set(H36M17.joints)):
        raise UsageError(f"the mapping has unknown joints {', '.join(unknown)}", expected=", ".join(H36M17.joints))
    joint_weights = {joint: {row: 1.0} if isinstance(row, str) else dict(row) for joint, row in mapping.items()}
    available = {normalise_name(name) for name in names}
    if absent := sorted({name for row in joint_weights.values() for name in row if normalise_name(name) not in available}):
        raise UsageError(f"the file has no joints {', '.join(absent)}", expected="some of " + ", ".join(names))
    if invalid := [joint for joint, row in joint_weights.items() if abs(sum(row.values()) - 1) > 1e-6]:
        raise UsageError(f"weights of {', '.join(invalid)} do not sum to 1", expected="a weighted mean")
    return SkeletonMapping("own", joint_weights)
