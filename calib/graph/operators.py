"""Kinds of ONNX operators that the rewriting of graphs tells apart."""

from __future__ import annotations

# Operators that move numbers without changing them: what was rounded stays rounded.
DATA_MOVEMENT = frozenset(
    {"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Split", "Slice", "Gather", "Concat", "Identity", "Expand", "Flatten"}
)
MATRIX_PRODUCTS = frozenset({"MatMul", "Gemm"})
