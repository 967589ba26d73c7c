"""Skeletons are consistent, and the recipes compute Human3.6M's joints from COCO's."""

from __future__ import annotations

import numpy as np
import pytest
from posemoe_edge.runtime.pose.skeleton import (
    COCO17,
    COCO_TO_H36M,
    H36M17,
    H36M_ORDERS,
    MPI3DHP17,
    SKELETONS,
    Skeleton,
    coco_to_h36m,
)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_mirroring_twice_changes_nothing(skeleton: Skeleton) -> None:
    order = np.array(skeleton.mirrored)
    assert order[order].tolist() == list(range(17))
    for i, j in enumerate(order):
        assert skeleton.joints[j] == skeleton.joints[i].replace("left_", "#").replace("right_", "left_").replace("#", "right_")


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_every_joint_descends_from_the_root(skeleton: Skeleton) -> None:
    assert len(skeleton.bones) == 16
    (root,) = (joint for joint in range(17) if skeleton.parents[joint] < 0)
    for joint in range(17):
        for _ in range(17):
            joint = skeleton.parents[joint] if joint != root else root
        assert joint == root


@pytest.mark.parametrize("name", H36M_ORDERS)
def test_an_order_of_joints_has_each_of_them_once(name: str) -> None:
    assert sorted(H36M_ORDERS[name]) == list(range(17)) and len(SKELETONS[name]) == 17


def test_the_joints_of_3dhp_are_those_of_h36m_by_other_names_in_another_order() -> None:
    assert H36M_ORDERS["h36m17"] == tuple(range(17))
    order = H36M_ORDERS["3dhp17"]
    h36m_names = dict(zip(MPI3DHP17.joints, (H36M17.joints[joint] for joint in order), strict=True))
    other = {ours: theirs for ours, theirs in h36m_names.items() if ours != theirs}
    assert other == {"head_top": "head", "neck": "thorax", "head": "nose", "pelvis": "hip"}
    bones = {(order[parent], order[child]) for parent, child in MPI3DHP17.bones}
    assert bones == set(H36M17.bones)  # the same body
    for ours, theirs in ((MPI3DHP17.left, H36M17.left), (MPI3DHP17.right, H36M17.right)):
        assert {order[joint] for joint in ours} == set(theirs)


@pytest.mark.parametrize("recipe", COCO_TO_H36M)
def test_every_row_of_a_recipe_is_a_mean(recipe: str) -> None:
    np.testing.assert_allclose(COCO_TO_H36M[recipe].sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("recipe", COCO_TO_H36M)
def test_a_mirrored_person_gives_a_mirrored_skeleton(recipe: str) -> None:
    coco = np.random.default_rng(0).uniform(0.1, 1, (4, 17, 3)).astype(np.float32)
    mirrored = coco_to_h36m(coco[:, list(COCO17.mirrored)], recipe)
    np.testing.assert_allclose(mirrored, coco_to_h36m(coco, recipe)[:, list(H36M17.mirrored)], rtol=1e-5)


def test_limbs_are_copied_and_the_hip_is_the_middle_of_the_hips() -> None:
    coco = np.random.default_rng(1).uniform(0, 1, (17, 3)).astype(np.float32)
    h36m = coco_to_h36m(coco)
    np.testing.assert_array_equal(h36m[H36M17.joints.index("left_wrist")], coco[COCO17.joints.index("left_wrist")])
    hips = coco[[COCO17.joints.index(name) for name in ("left_hip", "right_hip")]]
    np.testing.assert_allclose(h36m[0, :2], hips[:, :2].mean(0), rtol=1e-6)
    assert h36m[0, 2] == hips[:, 2].min()


def test_a_computed_joint_is_missing_if_one_of_its_sources_is() -> None:
    coco = np.ones((17, 3), np.float32)
    coco[COCO17.joints.index("left_shoulder"), 2] = 0
    missing = {H36M17.joints[j] for j in np.flatnonzero(coco_to_h36m(coco)[:, 2] == 0)}
    assert missing == {"left_shoulder", "thorax", "spine"}
