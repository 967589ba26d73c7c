"""Opens the TensorRT engines: a graph is run by the plan that was built from it for this machine."""

from __future__ import annotations

from pathlib import Path

from ...artefact.manifest import read_graph
from ...errors import UsageError
from .engine import TensorRtEngine
from .library import this_machine
from .plan import EngineName, Plan, find_plan


def open_tensorrt(graph: Path | bytes, *, threads: int = 1, plan: Plan | None = None) -> TensorRtEngine:
    """NVIDIA's TensorRT. ``threads`` is unused; a plan of None is found beside the graph."""
    return _open(graph, "tensorrt", plan)


def open_tensorrt_rtx(graph: Path | bytes, *, threads: int = 1, plan: Plan | None = None) -> TensorRtEngine:
    """TensorRT for RTX. ``threads`` is unused; a plan of None is found beside the graph."""
    return _open(graph, "tensorrt-rtx", plan)


def _open(graph: Path | bytes, engine: EngineName, plan: Plan | None) -> TensorRtEngine:
    plan = plan or _plan_beside(graph, engine)
    return TensorRtEngine(plan.read(), engine=plan.key.engine)


def _plan_beside(path: Path | bytes, engine: EngineName) -> Plan:
    """The plan for a graph's file, according to the manifest in its folder."""
    if isinstance(path, bytes):
        raise UsageError(f"bytes for {engine}", expected="a graph's file in an artefact: plans are found beside it")
    manifest, graph = read_graph(path)
    return find_plan(path.parent, manifest, graph, machine=this_machine(engine))
