"""Rigs: how common motion-capture skeletons call their joints, and which of them make Human3.6M's 17.

Names are compared in lower case without prefix (``mixamorig:``), blanks, dots and underscores. ``neck end`` is the end site
of ``neck``. Joint centres of rigs differ by centimetres, at the hips and along the spine the most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...runtime.errors import UsageError
from ...runtime.pose.skeleton import H36M17

Recipe = Mapping[str, Mapping[str, float]]
"""H36M joint -> joints of the rig and their weights, which sum to 1."""


@dataclass(frozen=True)
class SkeletonMapping:
    """A family of skeletons.

    Args:
        name: what it is called here.
        recipe: where Human3.6M's joints are.
        unit_m: length of one unit of its files, in metres.
        lost: bones that the family's files give no length: joint -> (the bone that has the missing offset, factor).
    """

    name: str
    recipe: Recipe
    unit_m: float = 0.01
    lost: Mapping[str, tuple[str, float]] = field(default_factory=dict)


def _limbs(**parts: str) -> dict[str, dict[str, float]]:
    """Both sides' limbs by the name of each part without its side."""
    made = {f"{side}_{part}": {f"{side} {name}": 1.0} for side in ("left", "right") for part, name in parts.items()}
    hips = {f"{side} {parts['hip']}": 0.5 for side in ("left", "right")}
    return {"hip": hips, **made}


def _trunk(spine: dict[str, float], top: str) -> dict[str, dict[str, float]]:
    """Spine, neck and head of a rig whose head bone runs from the skull's base to the joint ``top``."""
    return {
        "spine": spine,
        "thorax": {"neck": 1.0},
        "nose": {"head": 0.85, top: 0.15},
        "head": {"head": 0.3, top: 0.7},
    }


_GAME = {"hip": "up leg", "knee": "leg", "ankle": "foot", "shoulder": "arm", "elbow": "fore arm", "wrist": "hand"}
_BODY = {"hip": "hip", "knee": "knee", "ankle": "ankle", "shoulder": "shoulder", "elbow": "elbow", "wrist": "wrist"}
_SKULL = {"head end": ("head", 1.9)}  # files without a length of the head: about twice the neck's

SKELETON_MAPPINGS = (
    # CMU's data base as converted by B. Hahne; the same points as in the project's own motion-capture file. Its files have no
    # length for the thorax (here: once more the upper back) and for the wrist bone (half the fore arm's).
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
        lost={
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
        "rokoko", _limbs(**{**_GAME, "hip": "thigh", "knee": "shin"}) | _trunk({"spine2": 1.0}, "head end"), lost=_SKULL
    ),
    SkeletonMapping("plain", _limbs(**_GAME) | _trunk({"spine": 0.5, "spine1": 0.5}, "head end"), lost=_SKULL),
)


def plain_name(name: str) -> str:
    """A joint's name as names are compared."""
    return re.sub(r"[\s_.\-]", "", name.rsplit(":", 1)[-1].lower()).removeprefix("mixamorig")


def find_mapping(names: Sequence[str]) -> SkeletonMapping:
    """The first of ``RIGS`` that has all of its joints among the names."""
    there = {plain_name(name) for name in names}
    needed = {rig.name: {plain_name(name) for row in rig.recipe.values() for name in row} for rig in SKELETON_MAPPINGS}
    for rig in SKELETON_MAPPINGS:
        if needed[rig.name] <= there:
            return rig
    nearest = min(needed, key=lambda name: len(needed[name] - there))
    raise UsageError(
        f"a skeleton of an unknown kind; {nearest} is nearest and lacks {', '.join(sorted(needed[nearest] - there))}",
        expected=f"{', '.join(rig.name for rig in SKELETON_MAPPINGS)}, or your own mapping of Human3.6M's joints",
    )


def custom_mapping(mapping: Mapping[str, str | Mapping[str, float]], names: Sequence[str]) -> SkeletonMapping:
    """A rig by a user's mapping: each Human3.6M joint to a joint of the file, or to several with weights that sum to 1."""
    if missing := [joint for joint in H36M17.joints if joint not in mapping]:
        raise UsageError(f"the mapping lacks {', '.join(missing)}", expected="all of " + ", ".join(H36M17.joints))
    if odd := set(mapping) - set(H36M17.joints):
        raise UsageError(f"the mapping has unknown joints {', '.join(sorted(odd))}", expected=", ".join(H36M17.joints))
    recipe = {joint: {row: 1.0} if isinstance(row, str) else dict(row) for joint, row in mapping.items()}
    there = {plain_name(name) for name in names}
    if unknown := sorted({name for row in recipe.values() for name in row if plain_name(name) not in there}):
        raise UsageError(f"the file has no joints {', '.join(unknown)}", expected="some of " + ", ".join(names))
    if heavy := [joint for joint, row in recipe.items() if abs(sum(row.values()) - 1) > 1e-6]:
        raise UsageError(f"weights of {', '.join(heavy)} do not sum to 1", expected="a weighted mean")
    return SkeletonMapping("own", recipe)
