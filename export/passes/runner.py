"""The runner of passes: applies them in order, checks each, and records what was applied."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

import onnx

from ...runtime.artefact.graph_parts import AppliedPass
from ...runtime.errors import ArtefactError
from .graph_pass import GraphPass


def run_passes(model: onnx.ModelProto, passes: Iterable[GraphPass]) -> tuple[onnx.ModelProto, tuple[AppliedPass, ...]]:
    """The graph after all passes, and the record of each for the manifest.

    Raises:
        ArtefactError: after a pass the graph no longer computes what it did before.
    """
    applied = []
    for graph_pass in passes:
        changed, tolerance = graph_pass.apply(model), graph_pass.tolerance_of(model)
        only_checks = changed is model
        if not only_checks and not graph_pass.agree(model, changed, tolerance):
            raise ArtefactError(
                f"the pass {graph_pass.name} changed what the graph computes",
                expected=f"the same outputs, within {tolerance:g}" if tolerance else "the same outputs",
            )
        applied.append(_record(graph_pass, tolerance))
        model = changed
    return model, tuple(applied)


def _record(graph_pass: GraphPass, tolerance: float) -> AppliedPass:
    package = graph_pass.package
    return AppliedPass(
        name=graph_pass.name,
        tolerance=tolerance,
        package=package,
        version=version(package) if package else None,
    )
