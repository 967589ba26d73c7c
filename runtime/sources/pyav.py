"""What the sources that read through PyAV (FFmpeg) share."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import ImageBgr
from ..errors import missing_extra


def import_av() -> Any:
    """The module ``av``, or a ``MissingError`` that names the extra."""
    try:
        import av
    except ImportError:
        raise missing_extra("av", "camera", "reading a stream") from None
    return av


def upright_bgr(frame: Any) -> ImageBgr:
    """(H, W, 3) of a decoded frame. FFmpeg names the rotation that a stream asks for, and leaves it to us."""
    image: ImageBgr = frame.to_ndarray(format="bgr24")
    quarters = round((frame.rotation or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def reason_of(error: Any) -> str:
    """What FFmpeg says about a failure, without the address, which its own message contains with the password."""
    if type(error).__name__ == "ExitError":  # by which it reports that a timeout interrupted it
        return "no data arrived in time"
    return str(error.strerror or type(error).__name__).lower()
