"""PyTorch to ONNX: a lifter as one graph per mode, with its state as plain inputs and outputs."""

from __future__ import annotations

import logging
import warnings
from typing import Literal

import onnx
import onnx_ir as ir
import onnxscript.optimizer
import torch
from onnx_ir.passes import common
from torch import Tensor, nn

from ..runtime.artefact.graph_parts import State
from ..runtime.artefact.graph_parts import Tensor as TensorSpec
from ..runtime.artefact.manifest import POSE_WITH_SIGMA
from ..runtime.errors import ArtefactError, UsageError
from .batch_axis import free_batch, streams_to_trace
from .lifter import ExportableLifter

OPSET = 20  # the newest that TensorRT 10.3 reads
UNITS = {"metres": "metres", "image": "half the picture's width, times a factor of each clip,"}
NORMALISED = {"image": "normalised by the picture's size", "person": "normalised by the camera"}
SIGMA = "; then the standard deviation, the root mean square of the joint's distance from the truth"
DTYPES = {"float32": torch.float32, "bool": torch.bool}


class StepGraph(nn.Module):
    """(keypoints, state, dt, reset) -> (pose, next_state), one frame of B streams."""

    def __init__(self, model: ExportableLifter) -> None:
        super().__init__()
        self.model = model

    def forward(self, keypoints: Tensor, state: Tensor, dt: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.step(keypoints, state, dt, reset)


class ChunkGraph(nn.Module):
    """(keypoints, state, dt, reset) -> (pose, next_state), T_s frames of B streams.

    ``reset`` (B,) clears a stream's state before the chunk's first frame. It is computed here; the network's own ``reset``,
    which may come before any frame of a chunk, stays out of the graph.
    """

    def __init__(self, model: ExportableLifter) -> None:
        super().__init__()
        self.model = model
        self.nominal_s = 1 / model.config.fps

    def forward(self, keypoints: Tensor, state: Tensor, dt: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.where(reset[(..., *[None] * (state.ndim - 1))], 0.0, state)
        first = torch.where(reset, self.nominal_s, dt[:, 0])
        return self.model.chunk(keypoints, state, torch.cat([first[:, None], dt[:, 1:]], dim=1), None)


class WindowGraph(nn.Module):
    """keypoints -> pose, T frames of B streams; one pose if the lifter predicts a single frame of the window."""

    def __init__(self, model: ExportableLifter) -> None:
        super().__init__()
        self.model = model

    def forward(self, keypoints: Tensor) -> Tensor:
        return self.model(keypoints)


def trace(model: ExportableLifter, chunk: int | None = None) -> onnx.ModelProto:
    """The model's graph at opset 20, with a dynamic batch axis.

    Args:
        chunk: frames of a chunk graph; None for a step graph, or for a window graph if the model carries no state.
    """
    config = model.config
    inputs, outputs, _ = interface(model, chunk)
    if model.state_shape is None:
        graph: nn.Module = WindowGraph(model)
    else:
        graph = StepGraph(model) if chunk is None else ChunkGraph(model)
    of_tensors = [length for tensor in (*graph.parameters(), *graph.buffers()) for length in tensor.shape]
    streams = streams_to_trace([*of_tensors, *(int(axis) for spec in (*inputs, *outputs) for axis in spec.shape[1:])])
    example: tuple[Tensor, ...] = tuple(
        torch.full((streams, *map(int, t.shape[1:])), 1 / config.fps if t.name == "dt" else 0, dtype=DTYPES[t.dtype])
        for t in inputs
    )
    with warnings.catch_warnings():  # the exporter's warnings are for its own developers
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            graph.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=[t.name for t in inputs],
            output_names=[t.name for t in outputs],
            external_data=False,
            optimize=False,
            verbose=False,
        )
    if program is None:
        raise ArtefactError("the exporter made no graph", expected="an ONNX program")
    _fold(program.model)
    free_batch(program.model, streams)
    return program.model_proto


def _fold(model: ir.Model) -> None:
    """Inline functions, fold constants and sequences, and remove what is not used or there twice.

    The exporter's own optimisation does the same and tries rules of rewriting at each node besides. They find nothing that
    onnxsim does not find in our graphs, and took a quarter of the time of an export.
    """
    common.InlinePass()(model)
    for _ in range(2):  # what is folded leaves more to fold
        onnxscript.optimizer.fold_constants(model)
        common.RemoveUnusedNodesPass()(model)
    for tidy in (
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.NameFixPass(),
    ):
        tidy(model)


def interface(
    model: ExportableLifter, chunk: int | None = None
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], tuple[State, ...]]:
    """Inputs, outputs and states of the model's graph, as the manifest records them.

    Raises:
        UsageError: a chunk is too short, or the model carries no state, or does not name each axis of its state.
    """
    config = model.config
    if chunk is not None and (model.state_shape is None or chunk < 2):
        raise UsageError(
            f"chunks of {chunk} frames of a lifter that sees {'a window' if model.state_shape is None else 'a stream'}",
            expected="at least 2 frames, and a lifter that carries a state",
        )
    frames: tuple[int, ...] = () if chunk is None else (chunk,)
    if model.state_shape is None:
        assert config.window is not None
        frames = (config.window,)
    frame_axis = ("frame",) if frames else ()
    pose_frames = (1,) if model.state_shape is None and model.latency_frames else frames
    keypoints = _tensor(
        "keypoints",
        ("B", *frames, config.joints, config.channels),
        ("stream", *frame_axis, "joint", "channel"),
        f"{'x, y, confidence' if config.channels == 3 else 'x, y'}, {NORMALISED[config.view]}",
    )
    pose = _tensor(
        "pose",
        ("B", *pose_frames, config.joints, POSE_WITH_SIGMA if config.sigma else 3),
        ("stream", *frame_axis, "joint", "xyz_sigma" if config.sigma else "xyz"),
        f"{UNITS[config.units]} from the hip, camera axes{SIGMA if config.sigma else ''}",
    )
    if model.state_shape is None:
        return (keypoints,), (pose,), ()
    when = "frame" if chunk is None else "chunk"
    state_shape: tuple[int | str, ...] = ("B", *model.state_shape)
    axes = ("stream", *model.state_axes)
    if len(axes) != len(state_shape):
        raise UsageError(
            f"the mixer {config.mixer_kind} names {len(axes) - 2} of the {len(state_shape) - 2} axes of its state",
            expected="Mixer.state_axes with a name for each axis of Mixer.state_shape",
        )
    inputs = (
        keypoints,
        _tensor("state", state_shape, axes, f"memories of {config.mixer_kind}, in the order of use"),
        _tensor("dt", ("B", *frames), ("stream", *frame_axis), "seconds since the frame before"),
        _tensor("reset", ("B",), ("stream",), f"true: the state is cleared before the {when}", dtype="bool"),
    )
    state = State(
        input="state",
        output="next_state",
        dtype="float32",
        shape=state_shape,
        axes=axes,
        initial="zeros",
        reset="in the graph, where the input reset is true",
    )
    return inputs, (pose, _tensor("next_state", state_shape, axes, f"the state after the {when}")), (state,)


def _tensor(
    name: str,
    shape: tuple[int | str, ...],
    axes: tuple[str, ...],
    meaning: str,
    *,
    dtype: Literal["float32", "bool"] = "float32",
) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape, axes=axes, meaning=meaning)
