"""The pass that folds constants and removes redundant nodes, by onnxsim."""

from __future__ import annotations

import onnx
import onnxsim

from .agreement import outputs_agree
from .graph_pass import GraphPass

TOLERANCE = 1e-3  # folding may reorder a sum; FP16 graphs round each of its terms
# Each Gemm would come with a Reshape before and after it, and without the layer's name: ``tokens_as_rows`` makes them.
SKIPPED_OPTIMIZERS = ("fuse_matmul_add_bias_into_gemm", "fuse_matmul_add_bias_into_gemm_batched")


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as onnxsim simplifies it."""
    # The second value is onnxsim's own check: it needs fixed shapes and reports success where it checked nothing.
    simplified, _ = onnxsim.simplify(model, skipped_optimizers=list(SKIPPED_OPTIMIZERS))
    return simplified  # type: ignore[no-any-return]


SIMPLIFY = GraphPass("simplify", simplify, outputs_agree, tolerance=TOLERANCE, package="onnxsim")
