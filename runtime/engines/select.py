"""Selects what runs an artefact on this machine: TensorRT, otherwise ONNX Runtime on the GPU, otherwise on the CPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from ..artefact.certificate import Certificate, read_certificate
from ..artefact.external_data import refuse_external_data
from ..artefact.locate import find_artefact
from ..artefact.manifest import Graph, Manifest, read_graph_file, read_manifest
from ..artefact.metadata import read_embedded_manifest
from ..artefact.precision import Precision, gpu_order
from ..errors import ArtefactError, MissingError, UsageError
from ..file_kind import check_stand_in
from ..platform.nvidia import find_gpu
from .open import BESIDE, ENGINES
from .tensorrt.library import this_machine
from .tensorrt.plan import EngineName, Plan, find_plan, has_plans

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """What runs: one graph of an artefact, with one engine. Nothing is opened yet.

    Args:
        artefact: the artefact's folder, or a standalone ONNX file.
        path: the graph's file.
        content: what the file held when its size and hash were compared with the manifest.
        engine: a name in ``ENGINES``.
        plan: the plan that TensorRT runs; None for other engines.
        certificate: the artefact's drift certificate, if it has one.
    """

    artefact: Path
    manifest: Manifest
    graph: Graph
    path: Path
    content: bytes = field(repr=False)
    engine: str
    plan: Plan | None = None
    certificate: Certificate | None = None

    @property
    def source(self) -> Path | bytes:
        """What the engine opens: the bytes that were checked; or the path, if it needs what lies beside and checks that."""
        return self.path if self.engine in BESIDE else self.content


def resolve(
    artefact: str | Path | None = None,
    *,
    precision: Precision | None = None,
    engine: str | None = None,
    require_signature: Path | None = None,
) -> Selection:
    """Select the graph and the engine that run an artefact on this machine.

    Args:
        artefact: an artefact's folder, a standalone ONNX file, or the name of a shipped artefact; None is the default one.
        precision: None selects it: see ``select_engine``.
        engine: a name in ``ENGINES``; None selects it.
        require_signature: the file of a public key that must have signed the artefact. Then an engine runs the graph itself,
            because a plan is in no manifest.

    Raises:
        UsageError: there is no such engine, or one that runs what is not signed.
        CheckFailedError: the artefact is not signed by that key.
        MissingError: there is no such artefact, or the requested engine is not installed.
        ArtefactError: the artefact is incomplete, was changed, or does not fit.
    """
    location = find_artefact(artefact)
    if require_signature is not None:
        if location.is_file():
            raise UsageError(f"{location} is a standalone graph, which cannot be signed", expected="a signed artefact's folder")
        if engine in BESIDE:
            raise UsageError(f"{engine} runs what is not signed", expected="onnxruntime or onnxruntime-cuda")
        engine = engine or _select_onnxruntime()[0]
    if location.is_file():
        content = location.read_bytes()
        check_stand_in(location, expected="a graph that export wrote")
        refuse_external_data(content, str(location))
        manifest = read_embedded_manifest(location, content)
        precision = manifest.graph(precision).precision  # the file is one graph: there is no other precision to select
        graph, engine, plan = select_engine(location, manifest, precision=precision, engine=engine)
        return Selection(location, manifest, graph, location, content, engine, plan)
    manifest = read_manifest(location, signed_by=require_signature)
    while True:
        try:
            graph, engine_name, plan = select_engine(location, manifest, precision=precision, engine=engine)
            content = read_graph_file(location, manifest, graph)
            certificate = read_certificate(location, manifest)
        except ArtefactError:
            read, manifest = manifest, read_manifest(location, signed_by=require_signature)
            if manifest == read:
                raise
            continue  # it was replaced while it was read
        return Selection(location, manifest, graph, location / graph.file, content, engine_name, plan, certificate)


def select_engine(
    artefact: Path, manifest: Manifest, *, precision: Precision | None = None, engine: str | None = None
) -> tuple[Graph, str, Plan | None]:
    """The graph, the engine's name and, for TensorRT, the plan. The log names the reason for each engine not selected.

    An engine without plans is neither imported nor initialised, so that a machine without a GPU pays nothing.

    Args:
        artefact: the folder, or a standalone ONNX file.
        precision: None is the preferred precision, or that of a plan: the preferred one first, then fp16 before others.
        engine: a name in ``ENGINES`` that is required; None selects one.

    Raises:
        UsageError: there is no such engine.
        MissingError, ArtefactError: the required engine is not installed, or no plan fits this machine.
    """
    if engine is not None:
        ENGINES.check(engine)
    preferred = manifest.graph(precision)
    order = gpu_order(preferred=manifest.preferred)
    graphs = [preferred] if precision else sorted(manifest.graphs, key=lambda graph: order.index(graph.precision))
    rejected = []
    for name in get_args(EngineName):
        if engine == name:
            return _select_plan(artefact, manifest, graphs, preferred, name)
        if engine is None:
            with_plans = [graph for graph in graphs if has_plans(artefact, manifest, graph, name)]
            if not with_plans:
                rejected.append(f"{name}: no plan")
                continue
            try:
                graph, _, plan = _select_plan(artefact, manifest, with_plans, with_plans[0], name)
            except MissingError as error:
                rejected.append(f"{name}: {error.what}")
            except ArtefactError as error:
                log.warning("%s cannot be used: %s", name, error)
                rejected.append(f"{name}: {error.what}")
            else:
                log.info("%s", "; ".join([f"{name} is chosen, with {plan.path}", *rejected]))
                return graph, name, plan
    if engine is None:
        engine, reasons = _select_onnxruntime()
        log.info("%s", "; ".join([f"{engine} is chosen", *rejected, *reasons]))
    return preferred, engine, None


def _select_plan(
    artefact: Path, manifest: Manifest, graphs: list[Graph], preferred: Graph, engine: EngineName
) -> tuple[Graph, str, Plan]:
    """The first of the graphs with a plan that fits this machine. If none has one, the error is about the preferred graph."""
    machine = this_machine(engine)
    for graph in graphs:
        try:
            return graph, engine, find_plan(artefact, manifest, graph, machine=machine)
        except (MissingError, ArtefactError) as error:
            log.debug("%s", error)
    return preferred, engine, find_plan(artefact, manifest, preferred, machine=machine)


def _select_onnxruntime() -> tuple[str, list[str]]:
    """ONNX Runtime's engine on the GPU or on the CPU, and the reasons against the GPU."""
    try:
        find_gpu()
        import onnxruntime
    except MissingError as error:
        return "onnxruntime", [f"onnxruntime-cuda: {error.what}"]
    except ImportError:  # opening the engine raises the error that names what to install
        return "onnxruntime", []
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "onnxruntime", ["onnxruntime-cuda: the package is onnxruntime, not onnxruntime-gpu"]
    return "onnxruntime-cuda", []
