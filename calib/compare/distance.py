"""Distances between what two graphs computed: of tensors, of poses and of states."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import F32
from ...runtime.artefact.manifest import Graph
from ..measure.launch import Tensors

SMALLEST_RMS = 1e-12  # a tensor with a smaller root mean square is zero, and nothing is relative to it


def subtract(a: NDArray[Any], b: NDArray[Any]) -> F32:
    """a - b, and 0 where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0, np.float32(a) - b).astype(np.float32, copy=False)


def largest(difference: F32, exact: NDArray[Any]) -> tuple[float, float]:
    """The largest absolute difference of a tensor, as it is and relative to the exact tensor's root mean square."""
    size = nan_as_inf(np.abs(difference).max())
    return size, size / max(float(np.sqrt(np.mean(np.square(exact, dtype=np.float64)))), SMALLEST_RMS)


def pose_and_state(exact: Tensors, other: Tensors, graph: Graph, frames: int | None = None) -> tuple[float, float, float]:
    """Mean and largest distance of the joints in mm, and the largest relative difference of the states, of one launch.

    Args:
        frames: how many of the launch's frames count; None is all of them.
    """
    difference = subtract(other["pose"][..., :3], exact["pose"][..., :3])  # (1, J, 3) or (1, T, J, 3)
    mm = 1000 * np.linalg.norm(difference.reshape(-1, *difference.shape[-2:])[:frames], axis=-1)
    states = (largest(subtract(other[s.output], exact[s.output]), exact[s.output])[1] for s in graph.states)
    return nan_as_inf(mm.mean()), nan_as_inf(mm.max()), max(states, default=0.0)


def nan_as_inf(x: Any) -> float:
    """NaN as infinity: worse than every number."""
    return math.inf if math.isnan(x) else float(x)
