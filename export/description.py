"""The manifest of a lifter that is about to be exported."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..runtime.artefact.graph_parts import AppliedPass
from ..runtime.artefact.manifest import MANIFEST_SCHEMA, Graph, Manifest, Mode
from ..runtime.artefact.precision import PRECISIONS, Precision
from ..runtime.pose.keypoints import View
from .lifter import ExportableLifter
from .precision import FP32_NODES
from .trace import OPSET, UNITS, interface

PACKAGES = ("posemoe-edge", "torch", "onnx", "onnxscript", "onnxsim", "numpy")
NORMALISATION: dict[View, str] = {
    "image": "x / w * 2 - 1, y / w * 2 - h / w, per frame; a joint of confidence 0 is (0, 0, 0)",
    "person": "2 (x - cx) / fx, 2 (y - cy) / fy, with nominal intrinsics fx = fy = max(w, h), cx = w / 2, cy = h / 2; "
    "a joint of confidence 0 is (0, 0, 0)",
}


def describe(
    model: ExportableLifter,
    preset: str,
    passes: Mapping[Precision, tuple[AppliedPass, ...]],
    chunk: int | None,
    training: dict[str, Any],
) -> Manifest:
    """The manifest of a lifter, without its files.

    Args:
        passes: what was applied to the graph of each precision; the manifest has one graph per entry, in this order.
        chunk: frames of a chunk graph; None for a step or a window graph.
        training: how the weights were made.
    """
    config = model.config
    mode: Mode = "window" if model.state_shape is None else "step" if chunk is None else "chunk"
    frames = config.window if mode == "window" else chunk
    inputs, outputs, states = interface(model, chunk)
    return Manifest(
        schema_version=MANIFEST_SCHEMA,
        preset=preset,
        mixer=config.mixer_kind,
        mode=mode,
        config=json.loads(json.dumps(dataclasses.asdict(config))),  # as the JSON file will be read: lists, no tuples
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        skeleton=config.skeleton,
        keypoint_recipe="coco_eyes",
        view=config.view,
        channels=config.channels,
        normalisation=NORMALISATION[config.view],
        units=f"{UNITS[config.units]} from the hip, seconds",
        axes="camera: x right, y down, z forward",
        fps=config.fps,
        latency_frames=chunk - 1 if chunk else model.latency_frames,
        graphs=tuple(
            Graph(
                file=f"{mode}{frames or ''}{PRECISIONS[precision].suffix}",
                mode=mode,
                precision=precision,
                opset=OPSET,
                frames=frames or 1,
                inputs=inputs,
                outputs=outputs,
                states=states,
                fp32_nodes="everything" if precision == "fp32" else FP32_NODES,
                passes=applied,
            )
            for precision, applied in passes.items()
        ),
        files={},
        versions={package: _version(package) for package in PACKAGES},
        training=training,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
