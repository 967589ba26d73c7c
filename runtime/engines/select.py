"""Which engine runs an artefact on this machine: TensorRT, else ONNX Runtime on the GPU, else on the CPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ..artefact.manifest import Graph, Manifest, read_graph
from ..artefact.precision import Precision, gpu_order
from ..errors import ArtefactError, MissingError, UsageError
from ..platform.nvidia import find_gpu
from . import check_engine
from .tensorrt.library import import_tensorrt, machine
from .tensorrt.plan import EngineName, Plan, find_plan, has_plans

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What to open: a graph of the artefact, with which engine, and TensorRT with which plan of it."""

    graph: Graph
    engine: str
    plan: Plan | None = None


def choose(folder: Path, manifest: Manifest, *, precision: Precision | None = None, engine: str | None = None) -> Choice:
    """The best that there is on this machine; the log says what, and why not the others.

    Nothing is imported and nobody asked of whom there is no plan, so that a machine without a GPU pays nothing.

    Args:
        folder: the artefact, or a lone ONNX file.
        precision: None is that of the plan, the preferred one and fp16 before others; without a plan the preferred one.
        engine: a name of ``ENGINES``, if it must be that one; None decides.

    Raises:
        MissingError, ArtefactError: the engine that was asked for is not here, or none of the plans fits.
    """
    check_engine(engine)
    usual = manifest.graph(precision)
    order = gpu_order(preferred=manifest.preferred)
    graphs = [usual] if precision else sorted(manifest.graphs, key=lambda graph: order.index(graph.precision))
    why_not = []
    for name in get_args(EngineName):
        if engine == name:
            return _planned(folder, manifest, graphs, usual, name)
        if engine is None:
            planned = [graph for graph in graphs if has_plans(folder, manifest, graph, name)]
            if not planned:
                why_not.append(f"{name}: no plan")
                continue
            try:
                choice = _planned(folder, manifest, planned, planned[0], name)
            except MissingError as error:
                why_not.append(f"{name}: {error.what}")
            except ArtefactError as error:
                log.warning("%s cannot be used: %s", name, error)
                why_not.append(f"{name}: {error.what}")
            else:
                log.info("%s", "; ".join([f"{name} is chosen, with {choice.plan and choice.plan.path}", *why_not]))
                return choice
    if engine is None:
        engine, reason = _onnxruntime()
        log.info("%s", "; ".join([f"{engine} is chosen", *why_not, *reason]))
    return Choice(usual, engine)


def plan_beside(path: Path | bytes, engine: EngineName) -> Plan:
    """The plan of a graph's file, by the manifest in its folder."""
    if isinstance(path, bytes):
        raise UsageError(f"bytes for {engine}", expected="a graph's file in an artefact: plans are found beside it")
    manifest, graph = read_graph(path)
    choice = _planned(path.parent, manifest, [graph], graph, engine)
    assert choice.plan is not None
    return choice.plan


def _planned(folder: Path, manifest: Manifest, graphs: list[Graph], usual: Graph, name: EngineName) -> Choice:
    """The first of the graphs that has a plan which fits here. If none has, what is said is said of the usual one."""
    gpu = find_gpu()  # first: without one there is no need to import anything
    here = machine(name, import_tensorrt(name), gpu.capability)
    for graph in graphs:
        try:
            return Choice(graph, name, find_plan(folder, manifest, graph, here=here))
        except (MissingError, ArtefactError) as error:
            log.debug("%s", error)
    return Choice(usual, name, find_plan(folder, manifest, usual, here=here))


def _onnxruntime() -> tuple[str, list[str]]:
    """On which processor ONNX Runtime runs, and why not on the GPU."""
    try:
        find_gpu()
        import onnxruntime
    except MissingError as error:
        return "onnxruntime", [f"onnxruntime-cuda: {error.what}"]
    except ImportError:  # whoever opens it says what to install
        return "onnxruntime", []
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "onnxruntime", ["onnxruntime-cuda: the package is onnxruntime, not onnxruntime-gpu"]
    return "onnxruntime-cuda", []
