"""The manifest inside an ONNX file, so that a standalone file can be run."""

from __future__ import annotations

METADATA = "posemoe.manifest"
"""The key of the manifest in an ONNX file's metadata."""
