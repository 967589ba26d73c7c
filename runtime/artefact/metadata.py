"""The manifest inside an ONNX file, so that a file alone can be run."""

from __future__ import annotations

METADATA = "posemoe.manifest"
"""The key of the ONNX file's metadata under which its manifest stands."""
