"""Types of numpy arrays by element type. Shapes are documented where an array is used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
