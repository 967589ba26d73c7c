"""What every 2D detector looks like: a picture in, people out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Detector(Protocol):
    """Finds people in a picture."""

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Everybody in the picture.

        Args:
            image_bgr: (H, W, 3) uint8, blue first, as OpenCV reads it.

        Returns:
            for each person (17, 3): x and y in pixels, score in [0, 1], COCO-17; a joint not seen has score 0.
        """
        ...
