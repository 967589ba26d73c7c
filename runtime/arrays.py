"""Types of arrays. Shapes are documented where an array is used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
ImageBgr = NDArray[np.uint8]
"""(H, W, 3) uint8, blue first, as OpenCV reads it."""
