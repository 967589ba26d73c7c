"""ONNX models in files or as bytes, with their weights inside."""

from __future__ import annotations

from pathlib import Path

import onnx


def read_model(source: Path | bytes) -> onnx.ModelProto:
    """The model; bytes are those that were compared with a hash, and are read as they are."""
    return onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(str(source))
