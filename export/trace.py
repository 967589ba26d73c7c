"""PyTorch to ONNX: a lifter as one graph per mode, with its state as plain inputs and outputs."""

from __future__ import annotations

import logging
import warnings
from typing import Literal

import onnx
import torch
from torch import Tensor, nn

from ..runtime.errors import ArtefactError
from ..runtime.manifest import State
from ..runtime.manifest import Tensor as TensorSpec
from .lifter import Lifter

OPSET = 20  # the newest that TensorRT 10.3 reads
MOST_STREAMS = 1024


class StepGraph(nn.Module):
    """(keypoints, state, dt, reset) -> (pose, next_state), one frame of B streams."""

    def __init__(self, model: Lifter) -> None:
        super().__init__()
        self.model = model

    def forward(self, keypoints: Tensor, state: Tensor, dt: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.step(keypoints, state, dt, reset)


class WindowGraph(nn.Module):
    """keypoints -> pose, T frames of B streams."""

    def __init__(self, model: Lifter) -> None:
        super().__init__()
        self.model = model

    def forward(self, keypoints: Tensor) -> Tensor:
        return self.model(keypoints)


def trace(model: Lifter) -> onnx.ModelProto:
    """The model's graph at opset 20: a step graph if it streams, else a window graph. The batch axis is free."""
    config = model.config
    batch = torch.export.Dim("B", min=1, max=MOST_STREAMS)
    if model.state_shape is not None:
        graph: nn.Module = StepGraph(model)
        names, outputs = ["keypoints", "state", "dt", "reset"], ["pose", "next_state"]
        inputs = (
            torch.zeros(2, config.joints, config.channels),
            model.initial_state(2).float(),
            torch.full((2,), 1 / config.fps),
            torch.zeros(2, dtype=torch.bool),
        )
    else:
        assert config.window is not None
        graph, names, outputs = WindowGraph(model), ["keypoints"], ["pose"]
        inputs = (torch.zeros(2, config.window, config.joints, config.channels),)  # type: ignore[assignment]
    with warnings.catch_warnings():  # the exporter's warnings speak to its own developers
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            graph.eval(),
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ArtefactError("the exporter made no graph", expected="an ONNX program")
    return program.model_proto


def interface(model: Lifter) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], tuple[State, ...]]:
    """Inputs, outputs and states of the model's graph, as the manifest tells them."""
    config = model.config
    joints, channels = config.joints, config.channels
    channel_names = "x, y, confidence" if channels == 3 else "x, y"
    if model.state_shape is None:
        assert config.window is not None
        frames = config.window
        return (
            (
                _tensor(
                    "keypoints",
                    ("B", frames, joints, channels),
                    ("stream", "frame", "joint", "channel"),
                    f"normalised {channel_names}",
                ),
            ),
            (
                _tensor(
                    "pose", ("B", frames, joints, 3), ("stream", "frame", "joint", "xyz"), "metres from the hip, camera axes"
                ),
            ),
            (),
        )
    memory: tuple[int | str, ...] = ("B", *model.state_shape)
    axes = (
        "stream",
        "memory",
        *{"retention": ("key", "value", "joint", "head"), "dssm": ("joint", "channel", "mode")}[config.mixer],
    )
    inputs = (
        _tensor("keypoints", ("B", joints, channels), ("stream", "joint", "channel"), f"normalised {channel_names}"),
        _tensor("state", memory, axes, f"memories of {config.mixer}, in the order of use"),
        _tensor("dt", ("B",), ("stream",), "seconds since the frame before"),
        _tensor("reset", ("B",), ("stream",), "true: the state is cleared before the frame", dtype="bool"),
    )
    outputs = (
        _tensor("pose", ("B", joints, 3), ("stream", "joint", "xyz"), "metres from the hip, camera axes"),
        _tensor("next_state", memory, axes, "the state after the frame"),
    )
    state = State(
        input="state",
        output="next_state",
        dtype="float32",
        shape=memory,
        axes=axes,
        initial="zeros",
        reset="in the graph, where the input reset is true",
    )
    return inputs, outputs, (state,)


def _tensor(
    name: str,
    shape: tuple[int | str, ...],
    axes: tuple[str, ...],
    meaning: str,
    *,
    dtype: Literal["float32", "bool"] = "float32",
) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape, axes=axes, meaning=meaning)
