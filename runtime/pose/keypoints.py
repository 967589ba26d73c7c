"""2D keypoints as the networks take them: normalised per frame, checked before anything is fed.

Normalised means x from -1 at the left edge to 1 at the right edge, and y on the same scale around the image's middle:
``x / w * 2 - 1`` and ``y / w * 2 - h / w``. Each frame is normalised by itself, never by a whole clip: that cannot stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FrameError


def normalise_screen(keypoints_px: NDArray[Any], *, width_px: float, height_px: float) -> NDArray[np.float32]:
    """Pixels to normalised screen coordinates.

    Args:
        keypoints_px: (..., J, 3) x and y in pixels, score in [0, 1].
        width_px, height_px: size of the image.

    Returns:
        (..., J, 3) float32 x, y, score; a joint of score 0 becomes exactly (0, 0, 0).
    """
    points = np.asarray(keypoints_px, np.float64)
    _check_size(width_px, height_px)
    made = np.empty(points.shape, np.float32)
    made[..., 0] = points[..., 0] / width_px * 2 - 1
    made[..., 1] = points[..., 1] / width_px * 2 - height_px / width_px
    made[..., 2] = points[..., 2]
    made[points[..., 2] == 0] = 0
    return made


def to_pixels(keypoints: NDArray[Any], *, width_px: float, height_px: float) -> NDArray[np.float32]:
    """Normalised screen coordinates back to pixels: the inverse of ``normalise_screen``.

    Args:
        keypoints: (..., J, 3) normalised x, y and score.
        width_px, height_px: size of the image.

    Returns:
        (..., J, 3) float32 x and y in pixels, score; a joint of score 0 stays (0, 0, 0): where it was is not known.
    """
    points = np.asarray(keypoints, np.float64)
    _check_size(width_px, height_px)
    made = np.empty(points.shape, np.float32)
    made[..., 0] = (points[..., 0] + 1) * width_px / 2
    made[..., 1] = (points[..., 1] + height_px / width_px) * width_px / 2
    made[..., 2] = points[..., 2]
    made[points[..., 2] == 0] = 0
    return made


def check_keypoints(keypoints: ArrayLike, joints: int = 17) -> NDArray[np.float32]:
    """One person's keypoints in one frame, or a ``FrameError`` that names what is wrong with them.

    Args:
        keypoints: (J, 3) normalised x, y, score; or (J, 2), which means score 1 everywhere.
        joints: the number of joints J.

    Returns:
        (J, 3) float32, always a copy: the caller may reuse its buffer.
    """
    expected = f"({joints}, 3) x, y, score or ({joints}, 2) x, y"
    try:
        given = np.asarray(keypoints, np.float32)
    except (TypeError, ValueError) as error:
        raise FrameError(f"the keypoints are not an array of numbers ({error})", expected=expected) from None
    if given.shape not in ((joints, 2), (joints, 3)):
        raise FrameError(f"the keypoints have shape {given.shape}", expected=expected)
    made = np.ones((joints, 3), np.float32)
    made[:, : given.shape[1]] = given
    finite = np.isfinite(made).all(axis=1)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise FrameError(
            f"joint {bad} of the keypoints is not finite: {made[bad].tolist()}",
            expected="finite numbers; a missing joint is (0, 0, 0)",
        )
    inside = (made[:, 2] >= 0) & (made[:, 2] <= 1)
    if not inside.all():
        bad = int(np.argmin(inside))
        raise FrameError(f"joint {bad} of the keypoints has score {made[bad, 2]:g}", expected="scores in [0, 1]")
    return made


def _check_size(width_px: float, height_px: float) -> None:
    if not (width_px > 0 and height_px > 0):
        raise FrameError(f"the image size is {width_px} x {height_px} px", expected="a positive width and height")
