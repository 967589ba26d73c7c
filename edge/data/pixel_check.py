"""Whether the 2D keypoints of a data set are pixels of the picture that they are said to be in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import PoseEdgeError

_NORMALISED = 4.0  # a person in pixels is wider than this; normalised keypoints lie within a picture of -1 to 1, or near it
_MOST_OUTSIDE = 0.5  # of the joints; a person at the edge has fewer


def check_pixels(
    points: NDArray[Any], *, width_px: float, height_px: float, place: str, expected: str, error: type[PoseEdgeError]
) -> None:
    """Raise an error where keypoints (..., 2) are normalised, or mostly outside the picture.

    Args:
        place: the file, and what in it, for the message.
        expected: what the file should hold.
        error: the class of the error.
    """
    known = points[np.isfinite(points).all(axis=-1)]  # (N, 2)
    if not len(known):
        return
    reach = float(np.abs(known).max())
    if reach <= _NORMALISED:
        raise error(f"{place} holds 2D keypoints that are normalised: none is larger than {reach:.2g}", expected=expected)
    size = np.array([width_px, height_px])
    outside = float((~((known >= 0) & (known <= size)).all(axis=-1)).mean())
    if outside > _MOST_OUTSIDE:
        swapped = float((~((known >= 0) & (known <= size[::-1])).all(axis=-1)).mean())
        hint = ", and inside one of that size turned on its side" if swapped < outside / 2 else ""
        raise error(
            f"{outside:.0%} of the keypoints of {place} are outside of its picture of {width_px:g} x {height_px:g}{hint}",
            expected=expected,
        )
