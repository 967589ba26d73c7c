"""Skeletons: joint names, parents, left and right, and the recipes that convert one skeleton into another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import F32


@dataclass(frozen=True)
class Skeleton:
    """A named, ordered set of joints.

    Args:
        name: as manifests and files spell it, e.g. ``h36m17``.
        joints: joint names in order.
        parents: index of each joint's parent, -1 for the root.
        left, right: indices of the mirrored pairs, in the same order.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) pairs."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)

    @property
    def mirrored(self) -> tuple[int, ...]:
        """The joint order of a mirrored pose: index i holds the joint that moves to place i."""
        order = list(range(len(self.joints)))
        for a, b in zip(self.left, self.right, strict=True):
            order[a], order[b] = b, a
        return tuple(order)


H36M17 = Skeleton(
    name="h36m17",
    joints=(
        "hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "thorax",
        "nose", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    left=(4, 5, 6, 11, 12, 13),
    right=(1, 2, 3, 14, 15, 16),
)  # fmt: skip

COCO17 = Skeleton(
    name="coco17",
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
        "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
        "right_ankle",
    ),
    parents=(-1, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    left=(1, 3, 5, 7, 9, 11, 13, 15),
    right=(2, 4, 6, 8, 10, 12, 14, 16),
)  # fmt: skip

MPI3DHP17 = Skeleton(
    name="3dhp17",
    joints=(
        "head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
        "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "head",
    ),
    parents=(16, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, -1, 14, 1),
    left=(5, 6, 7, 11, 12, 13),
    right=(2, 3, 4, 8, 9, 10),
)  # fmt: skip

SKELETONS: dict[str, Skeleton] = {s.name: s for s in (H36M17, COCO17, MPI3DHP17)}

_H36M_NAME = {"head_top": "head", "neck": "thorax", "pelvis": "hip", "head": "nose"}  # of 3dhp17's joints, if it differs

# The skeletons that a model may use, each as a permutation of Human3.6M's joints: index i holds the joint at place i. COCO-17
# is not one of them, since Human3.6M's joints cannot be converted to it.
H36M_ORDERS: dict[str, tuple[int, ...]] = {
    s.name: tuple(H36M17.joints.index(_H36M_NAME.get(name, name) if s is MPI3DHP17 else name) for name in s.joints)
    for s in (H36M17, MPI3DHP17)
}


def _recipe(rows: dict[str, dict[str, float]]) -> F32:
    """A recipe as a matrix (17 H36M joints, 17 COCO joints): each row a weighted mean of COCO joints."""
    matrix = np.zeros((len(H36M17), len(COCO17)), np.float32)
    for target, sources in rows.items():
        for source, weight in sources.items():
            matrix[H36M17.joints.index(target), COCO17.joints.index(source)] = weight
    return matrix


_LIMBS = {name: {name: 1.0} for name in H36M17.joints if name in COCO17.joints and name != "nose"}
_HIP = {"left_hip": 0.5, "right_hip": 0.5}
_NECK = {"left_shoulder": 0.5, "right_shoulder": 0.5}
_SPINE = {"left_hip": 0.25, "right_hip": 0.25, "left_shoulder": 0.25, "right_shoulder": 0.25}
_THORAX_TO_NOSE = {"left_shoulder": 1 / 3, "right_shoulder": 1 / 3, "nose": 1 / 3}

# Two recipes are in use. They differ by 6 to 12 % of the torso length on thorax, nose and head, so an artefact names the one
# that it was trained for (VideoPose3D issue 245 shows the cost of a third one).
COCO_TO_H36M: dict[str, F32] = {
    # MotionBERT's: thorax between the shoulders, head between the eyes.
    "coco_eyes": _recipe(
        _LIMBS
        | {"hip": _HIP, "thorax": _NECK, "spine": _SPINE, "nose": {"nose": 1.0}, "head": {"left_eye": 0.5, "right_eye": 0.5}}
    ),
    # P-STMO's and MotionAGFormer's: thorax pulled a third of the way to the nose, nose pulled back by a quarter.
    "coco_neck": _recipe(
        _LIMBS
        | {
            "hip": _HIP,
            "thorax": _THORAX_TO_NOSE,
            "spine": {k: v / 2 for k, v in (_HIP | _THORAX_TO_NOSE).items()},
            "nose": {"nose": 0.75 + 0.25 / 3, "left_shoulder": 0.25 / 3, "right_shoulder": 0.25 / 3},
            "head": {"left_eye": 0.25, "right_eye": 0.25, "left_ear": 0.25, "right_ear": 0.25},
        }
    ),
}


def coco_to_h36m(keypoints: F32, recipe: str = "coco_eyes") -> F32:
    """COCO-17 keypoints as Human3.6M-17.

    Args:
        keypoints: (..., 17, 3) x, y, score in COCO order.
        recipe: a name of ``COCO_TO_H36M``.

    Returns:
        (..., 17, 3) in Human3.6M order; the score of a computed joint is the lowest score of the joints that it is computed
        from, so that it is missing (score 0) if one of them is.
    """
    matrix = COCO_TO_H36M[recipe]
    h36m = np.empty_like(keypoints)
    h36m[..., :2] = matrix @ keypoints[..., :2]
    used = matrix > 0
    h36m[..., 2] = np.where(used, keypoints[..., None, :, 2], np.inf).min(axis=-1)
    return h36m
