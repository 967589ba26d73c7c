"""Triton's messages of a frame and of a pose: see ``wire`` for what is in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import F32
from ..pose.types import Pose
from . import wire
from .server_url import bindings

Frame = tuple[F32, float]  # (17, 3) normalised x, y, score; capture time in seconds


def frame_request(
    model: str, sequence: int, frame: Frame | None, *, start: bool = False, end: bool = False, reset: bool = False
) -> Any:
    """The ``ModelInferRequest`` of a frame of a sequence; with ``frame`` None its goodbye."""
    _, messages, _ = bindings()
    request = messages.ModelInferRequest(model_name=model)
    request.parameters["sequence_id"].int64_param = sequence
    request.parameters["sequence_start"].bool_param = start
    request.parameters["sequence_end"].bool_param = end
    arrays: dict[str, tuple[str, Any]] = {}
    if frame is not None:
        arrays = {wire.KEYPOINTS: ("FP32", frame[0][None]), wire.TIME: ("FP64", np.array([[frame[1]]]))}
    if reset or frame is None:  # a request has at least one input
        arrays[wire.RESET] = ("BOOL", np.array([[reset]]))
    for name, (datatype, array) in arrays.items():
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


def pose_of_response(response: Any, person: int, latency_frames: int) -> Pose:
    """The pose of a ``ModelInferResponse``."""
    arrays = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        dtype, shape = wire.OUTPUTS[output.name]
        arrays[output.name] = np.frombuffer(raw, dtype).reshape(shape).copy()
    return wire.pose_of_arrays(arrays, person=person, latency_frames=latency_frames)
