"""The model of people that Triton's Python backend loads: it keeps a stream for each correlation id.

Triton's stub process imports this through the repository's ``model.py``, and brings ``triton_python_backend_utils``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import F32
from ..errors import FrameError, PoseEdgeError
from ..model import load
from ..pose.types import Pose
from . import wire
from .held_streams import HeldStreams, SequenceFrame

_START, _END = 1, 2  # TRITONSERVER_REQUEST_FLAG_SEQUENCE_START and _END, which are bits

EXPIRE_LATER_S = 5.0
"""A stream is kept this much longer than Triton keeps the sequence, so that Triton, which tells the client, is always first."""


class TritonPythonModel:
    """What Triton calls. The name and the methods are those that it looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the artefact beside the model, and lift nobody once in each size of a launch, before Triton is ready."""
        import triton_python_backend_utils as utils

        self._utils = utils
        self._config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in self._config["parameters"].items()}
        self._outputs = {output["name"] for output in self._config["output"]}
        model = load(
            Path(args["model_repository"]) / args["model_version"] / parameters["artefact"],
            precision=parameters["precision"],
            gaps=wire.gap_policy(parameters),
            allow_failed=parameters["allow_failed"] == "true",
        )
        self._held = HeldStreams(model, idle_s=float(parameters["idle_s"]) + EXPIRE_LATER_S, most=int(parameters["people"]))
        self._warm_up(int(parameters["warm_up"]))
        utils.Logger.log_info(f"{args['model_name']}: {model} on {model.engine}")
        self._metrics = _Metrics(utils, args["model_name"], args["model_instance_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """A response for each request: see ``wire``."""
        frames = [self._frame(request) for request in requests]
        answers: list[Pose | PoseEdgeError | None] = [frame if isinstance(frame, FrameError) else None for frame in frames]
        good = {i: frame for i, frame in enumerate(frames) if isinstance(frame, SequenceFrame)}
        for i, answer in zip(good, self._held.answer(list(good.values())), strict=True):
            answers[i] = answer
        self._metrics.update(self._held)
        return [self._response(answer) for answer in answers]

    def finalize(self) -> None:
        """Forget everybody, and release the engine."""
        self._held.close()
        self._held.model.close()

    def _frame(self, request: Any) -> SequenceFrame | FrameError:
        arrays = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        for name, array in arrays.items():
            if array.shape[0] != 1:
                return FrameError(f"{name} of {array.shape[0]} frames", expected="one frame of one person in a request")
        flags, sequence = request.flags(), request.correlation_id()
        keypoints: F32 | None = arrays[wire.KEYPOINTS][0] if wire.KEYPOINTS in arrays else None
        end = bool(flags & _END)
        if keypoints is None and not end:
            return FrameError("a request without keypoints", expected="keypoints and time_s, or the end of the sequence")
        if keypoints is not None and wire.TIME not in arrays:
            return FrameError("keypoints without time_s", expected="the frame's capture time in seconds")
        return SequenceFrame(
            sequence,
            start=bool(flags & _START),
            end=end,
            keypoints=keypoints,
            t_s=float(arrays[wire.TIME][0, 0]) if wire.TIME in arrays else None,
            reset=bool(arrays[wire.RESET][0, 0]) if wire.RESET in arrays else False,
        )

    def _response(self, answer: Pose | PoseEdgeError | None) -> Any:
        if answer is None:
            return self._utils.InferenceResponse(output_tensors=[])
        if isinstance(answer, PoseEdgeError):
            return self._utils.InferenceResponse(error=self._utils.TritonError(f"{wire.REFUSED}{answer}"))
        tensors = [
            self._utils.Tensor(name, np.ascontiguousarray(array[None]))
            for name, array in wire.pose_arrays(answer).items()
            if name in self._outputs
        ]
        return self._utils.InferenceResponse(output_tensors=tensors)

    def _warm_up(self, most: int) -> None:
        """Launches of 1, 2, 4, ... people, so that what an engine prepares for a size is prepared."""
        sizes = {min(2**power, most) for power in range(most.bit_length() + 1)}
        seen = np.ones((wire.JOINTS, 3), np.float32)
        for size in sorted(sizes):
            streams = [self._held.model.stream() for _ in range(size)]
            self._held.model.step_batch(dict.fromkeys(streams, seen), t=0.0)
            for stream in streams:
                stream.close()


class _Metrics:
    """What Triton's metrics say of the people, beside its own numbers of requests and times."""

    def __init__(self, utils: Any, model: str, instance: str) -> None:
        family, labels = utils.MetricFamily, {"model": model, "instance": instance}
        self._families: list[Any] = []  # a metric whose family was collected is an error

        def metric(name: str, description: str, kind: Any) -> Any:
            self._families.append(family(name=f"posemoe_edge_{name}", description=description, kind=kind))
            return self._families[-1].Metric(labels=labels)

        self._people = metric("people", "Whose state is held", family.GAUGE)
        self._refused = metric("refused_frames", "Frames that were refused", family.COUNTER)
        self._expired = metric("expired_people", "Whose state was given up after idle time", family.COUNTER)
        self._counted = (0, 0)

    def update(self, held: HeldStreams) -> None:
        refused, expired = self._counted
        self._people.set(len(held))
        self._refused.increment(held.refused - refused)
        self._expired.increment(held.expired - expired)
        self._counted = (held.refused, held.expired)
