"""What stays float32 when the rest of a network runs in half precision."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_fp32(x: Tensor) -> Tensor:
    """``x`` in at least float32.

    A no-op on float32 and float64; on half precision it becomes an explicit Cast in the exported graph. Norms, softmax,
    decay, accumulation and state are kept in FP32 by it: a 16-bit state drifts by percents within a thousand frames.
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
