"""Pictures as JPEG, for viewers."""

from __future__ import annotations

from ..arrays import ImageBgr
from ..errors import FrameError
from ..sources.opencv_capture import import_cv2

QUALITY = 80
"""At which a picture of full HD takes some 200 kB, and a viewer's reader sees no difference."""


def jpeg(image_bgr: ImageBgr) -> bytes:
    """A picture (H, W, 3) as the bytes of a JPEG file.

    Raises:
        FrameError: JPEG cannot hold it: a side is longer than 65,535 pixels.
    """
    cv2 = import_cv2()
    try:
        encoded, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    except cv2.error:
        encoded = False
    if not encoded:
        height, width = image_bgr.shape[:2]
        raise FrameError(f"a picture of {width} x {height} px cannot be JPEG", expected="sides of 1 to 65,535 px")
    return bytes(data)
