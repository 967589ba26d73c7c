"""What a client and the model of people say to each other: the tensors of a frame and of a pose, and the words of an error.

The model takes one frame of one person in a request: keypoints as ``Stream.step`` takes them, with their capture time. The
person is the request's correlation id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..gaps import GapPolicy
from ..pose.skeleton import H36M17
from ..pose.types import GapAction, Pose

PROTOCOL = "1"
"""It grows when a tensor or a parameter is renamed or removed."""

JOINTS = len(H36M17)

KEYPOINTS, TIME, RESET = "keypoints", "time_s", "reset"
POSE, SIGMA, SCORE, TIMES, GAP = "pose", "sigma", "score", "times_s", "gap"

INPUTS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    KEYPOINTS: (np.float32, (JOINTS, 3)),  # normalised x, y, score in Human3.6M order
    TIME: (np.float64, (1,)),  # capture time in seconds
    RESET: (np.bool_, (1,)),  # the stream begins anew with this frame
}
"""A frame; ``RESET`` may be left out. A request that ends a sequence without the others says goodbye and gets no pose."""

OUTPUTS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    POSE: (np.float32, (JOINTS, 3)),  # metres, in Human3.6M order
    SIGMA: (np.float32, (JOINTS,)),  # metres; only of a model that gives them
    SCORE: (np.float32, (JOINTS,)),
    TIMES: (np.float64, (2,)),  # of the frame that the pose belongs to: capture time and seconds since the one before
    GAP: (np.int32, (1,)),  # index in GAPS
}

GAPS: tuple[GapAction, ...] = get_args(GapAction)

REFUSED = "frame refused: "
"""Begins the error of a frame that the stream refused: its state is unchanged."""

UNKNOWN = "must specify the START flag on the first request of the sequence"
"""In the error of a request for a sequence that nobody holds any more, in Triton's own words."""


def pose_arrays(pose: Pose) -> dict[str, NDArray[Any]]:
    """A pose as the arrays of ``OUTPUTS``."""
    arrays: dict[str, NDArray[Any]] = {
        POSE: pose.xyz_m,
        SCORE: pose.score,
        TIMES: np.array([pose.t_s, pose.dt_s]),
        GAP: np.array([GAPS.index(pose.gap)], np.int32),
    }
    return arrays if pose.sigma_m is None else arrays | {SIGMA: pose.sigma_m}


def pose_of_arrays(arrays: Mapping[str, NDArray[Any]], *, person: int, latency_frames: int) -> Pose:
    """The pose of ``pose_arrays``, as that of a person."""
    t_s, dt_s = arrays[TIMES].tolist()
    return Pose(
        xyz_m=arrays[POSE],
        sigma_m=arrays.get(SIGMA),
        score=arrays[SCORE],
        t_s=t_s,
        dt_s=dt_s,
        latency_frames=latency_frames,
        gap=GAPS[int(arrays[GAP][0])],
        person=person,
    )


def gap_parameters(gaps: GapPolicy) -> dict[str, str]:
    """A gap policy as parameters of the model of people."""
    return {field.name: repr(getattr(gaps, field.name)) for field in fields(gaps)}


def gap_policy(parameters: Mapping[str, str]) -> GapPolicy:
    """The gap policy in the parameters of a model of people."""
    return GapPolicy(**{field.name: float(parameters[field.name]) for field in fields(GapPolicy)})
