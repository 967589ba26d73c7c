"""How tall a person of 17 joints is, and whether that is a person: a wrong unit makes giants and dwarfs."""

from __future__ import annotations

import numpy as np

from ...runtime.arrays import F64
from ...runtime.errors import PoseEdgeError
from ...runtime.pose.skeleton import H36M17

STATURE_PER_CHAIN = 1.10  # stature by the length of the chain ankle to head centre, of the adults in the CMU data base
STATURES_M = (0.6, 2.5)  # from toddlers to giants: outside of it the unit is wrong
ADULT_M = 1.7
UNITS_M = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001, "inches": 0.0254}
_TRUNK = tuple((a, b) for a, b in H36M17.bones if H36M17.joints[b] in ("spine", "thorax", "nose", "head"))
_LEGS = tuple((a, b) for a, b in H36M17.bones if H36M17.joints[b].endswith(("knee", "ankle")))


def stature(joints: F64) -> float:
    """The approximate height of a person (T, 17, 3), from the lengths of legs, trunk and head; in the unit of the joints."""
    mean = {pair: np.linalg.norm(joints[:, pair[1]] - joints[:, pair[0]], axis=-1).mean() for pair in (*_TRUNK, *_LEGS)}
    return STATURE_PER_CHAIN * float(sum(mean[pair] for pair in _TRUNK) + sum(mean[pair] for pair in _LEGS) / 2)


def check_stature(joints: F64, *, unit_m: float, place: str, expected: str, error: type[PoseEdgeError]) -> None:
    """Raise an error where the person of joints (T, 17, 3), in a unit, has no person's height.

    Args:
        place: the file, and what in it, for the message.
        expected: the remedy.
        error: the class of the error.
    """
    height = stature(joints)
    if STATURES_M[0] <= height * unit_m <= STATURES_M[1]:
        return
    fitting = [name for name, length_m in UNITS_M.items() if STATURES_M[0] <= height * length_m <= STATURES_M[1]]
    fitting.sort(key=lambda name: abs(height * UNITS_M[name] - ADULT_M))
    hint = f"; it would be {height * UNITS_M[fitting[0]]:.3g} m in {fitting[0]}" if fitting else ""
    shown = f"{height * unit_m:,.0f}" if height * unit_m >= 100 else f"{height * unit_m:.3g}"
    raise error(f"the person of {place} would be {shown} m tall{hint}", expected=expected)
