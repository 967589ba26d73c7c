"""Pictures of ROS: ``sensor_msgs/Image`` and ``CompressedImage`` as (H, W, 3) uint8, blue first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import ImageBgr
from ..errors import FrameError
from ..sources.opencv_capture import import_cv2, silenced

# Encoding -> bytes of a pixel, and OpenCV's code of the conversion, if there is one to do. ROS names a Bayer pattern by its
# first row, OpenCV by the second one.
_ENCODINGS: dict[str, tuple[int, str | None]] = {
    "bgr8": (3, None),
    "8UC3": (3, None),
    "rgb8": (3, "COLOR_RGB2BGR"),
    "bgra8": (4, "COLOR_BGRA2BGR"),
    "8UC4": (4, "COLOR_BGRA2BGR"),
    "rgba8": (4, "COLOR_RGBA2BGR"),
    "mono8": (1, "COLOR_GRAY2BGR"),
    "8UC1": (1, "COLOR_GRAY2BGR"),
    "yuv422_yuy2": (2, "COLOR_YUV2BGR_YUY2"),
    "yuv422": (2, "COLOR_YUV2BGR_UYVY"),
    "bayer_rggb8": (1, "COLOR_BayerBG2BGR"),
    "bayer_bggr8": (1, "COLOR_BayerRG2BGR"),
    "bayer_gbrg8": (1, "COLOR_BayerGR2BGR"),
    "bayer_grbg8": (1, "COLOR_BayerGB2BGR"),
}


def image_bgr(message: Any) -> ImageBgr:
    """The picture of an ``Image``.

    Raises:
        FrameError: an encoding that is none of 8-bit pictures, or fewer bytes than its size says.
    """
    if message.encoding not in _ENCODINGS:
        raise FrameError(f"a picture of the encoding {message.encoding!r}", expected=f"one of {', '.join(_ENCODINGS)}")
    pixel_bytes, code = _ENCODINGS[message.encoding]
    height, width, row_bytes = message.height, message.width, message.step
    data = np.asarray(message.data, np.uint8)
    if not (height and width and row_bytes >= width * pixel_bytes and len(data) >= height * row_bytes):
        raise FrameError(f"a picture of {width} x {height} px in {len(data)} bytes", expected="rows of whole pixels")
    rows = data[: height * row_bytes].reshape(height, row_bytes)[:, : width * pixel_bytes]
    pixels = np.ascontiguousarray(rows.reshape(height, width, pixel_bytes) if pixel_bytes > 1 else rows)
    if code is None:
        return np.asarray(pixels, np.uint8)
    cv2 = import_cv2()
    try:
        converted: ImageBgr = cv2.cvtColor(pixels, getattr(cv2, code))
    except cv2.error:
        raise FrameError(f"a picture of {width} x {height} px and {message.encoding}", expected="even sides") from None
    return converted


def compressed_image_bgr(message: Any) -> ImageBgr:
    """The picture of a ``CompressedImage``: JPEG, PNG and whatever else OpenCV decodes.

    Raises:
        FrameError: it cannot be decoded.
    """
    cv2 = import_cv2()
    data = np.asarray(message.data, np.uint8)
    image: Any = None
    with silenced(cv2):
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        except cv2.error:  # more pixels than OpenCV accepts
            image = None
    if image is None:
        raise FrameError(f"a picture of the format {message.format!r} cannot be decoded", expected="JPEG or PNG")
    return np.asarray(image, np.uint8)
