"""What is installed on this machine, and which engine a run of the shipped artefact would use."""

from __future__ import annotations

import importlib.util
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..runtime.artefact.locate import find_artefact
from ..runtime.artefact.manifest import Graph, Manifest, check_file, read_graph_file, read_manifest
from ..runtime.engines import open_engine
from ..runtime.engines.tensorrt.library import describe_machine, import_tensorrt
from ..runtime.engines.tensorrt.plan import EngineName, Machine, Plan, find_plan
from ..runtime.errors import MissingError, PoseEdgeError
from ..runtime.platform.jetson import PlatformInfo
from ..runtime.platform.nvidia import ask_nvidia_smi, find_gpu


@dataclass(frozen=True)
class Extra:
    """An extra of posemoe-edge.

    Args:
        purpose: what it is for.
        packages: what the extra installs: (name to import, name to install).
    """

    purpose: str
    packages: tuple[tuple[str, str], ...]


EXTRAS = {
    "cpu": Extra("running on any CPU", (("onnxruntime", "onnxruntime"),)),
    "camera": Extra(
        "cameras, videos, detectors",
        (
            ("cv2", "opencv-python-headless"),
            ("ai_edge_litert", "ai-edge-litert"),
            ("av", "av"),
            ("yaml", "pyyaml"),
            ("scipy", "scipy"),
        ),
    ),
    "plot": Extra("pictures", (("matplotlib", "matplotlib"),)),
    "notebook": Extra("poses to turn in a notebook", (("plotly", "plotly"), ("matplotlib", "matplotlib"))),
    "export": Extra(
        "export and verify",
        (
            ("torch", "torch"),
            ("onnx", "onnx"),
            ("onnx_ir", "onnx-ir"),
            ("onnxscript", "onnxscript"),
            ("onnxsim", "onnxsim"),
            ("onnxruntime", "onnxruntime"),
            ("safetensors", "safetensors"),
            ("matplotlib", "matplotlib"),
        ),
    ),
    "inspect": Extra(
        "comparing layer by layer", (("polygraphy", "polygraphy"), ("onnx", "onnx"), ("onnxruntime", "onnxruntime"))
    ),
}

# TensorRT needs one of these packages to allocate the GPU's memory: (name to import, name to install).
CUDA_PACKAGES = (("cuda.bindings", "cuda-bindings"), ("pycuda", "pycuda"))


def package_version(imported: str, installed: str) -> str | None:
    """The version of a package, "present" if it has no metadata, None if it cannot be imported.

    Args:
        imported: its name in Python.
        installed: its name in the package index.
    """
    try:
        if importlib.util.find_spec(imported) is None:
            return None
    except ModuleNotFoundError:  # find_spec("a.b") raises this where there is no a
        return None
    return installed_version(installed) or "present"


def installed_version(package: str) -> str | None:
    """The version of a package by its name in the package index; None if it has no metadata here."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def extra_versions(extra: Extra) -> dict[str, str | None]:
    """Package to install -> its version, None if it is missing."""
    return {installed: package_version(imported, installed) for imported, installed in extra.packages}


def gpu_info() -> dict[str, Any]:
    """The GPU as its driver reports it, or the reason why there is none (``error``), and what nvidia-smi reports."""
    try:
        return asdict(find_gpu()) | {"error": None, "nvidia_smi": ask_nvidia_smi()}
    except MissingError as error:
        return {"name": None, "capability": None, "error": error.what, "nvidia_smi": ask_nvidia_smi()}


def tensorrt_status(engine: EngineName, capability: str | None, platform: PlatformInfo) -> dict[str, Any]:
    """Whether a run of the shipped artefact would use TensorRT; if not, the first reason and the command that changes it.

    Args:
        engine: ``tensorrt`` or ``tensorrt-rtx``.
        capability: of the GPU, None without one.
        platform: the machine.

    Returns:
        ``ok``, ``version``, ``why`` and ``run``.
    """
    status: dict[str, Any] = {"ok": False, "version": None, "why": None, "run": None}
    try:
        trt = import_tensorrt(engine)
    except MissingError as error:
        why = error.what
        if engine == "tensorrt" and "python3-libnvinfer" in platform.packages and not package_version("tensorrt", "tensorrt"):
            jetpack_version = platform.packages["python3-libnvinfer"]
            why = f"JetPack's TensorRT {jetpack_version} belongs to the system's Python, and this environment does not see it"
        return status | {"why": why, "run": error.run}
    status["version"] = trt.__version__
    if capability is None:
        why = f"{trt.__version__} is installed, and there is no GPU to run on"
        if engine == "tensorrt":
            return status | {"why": why}
        return status | {"why": f"{why}; it builds plans for other machines", "run": "posemoe-edge build --engine tensorrt-rtx"}
    if not any(package_version(imported, installed) for imported, installed in CUDA_PACKAGES):
        why = (
            f"{trt.__version__} is installed, but neither cuda-bindings nor pycuda is; one of them must allocate its GPU memory"
        )
        return status | {"why": why, "run": platform.install_cuda}
    try:
        folder = find_artefact(None)
        manifest = read_manifest(folder)
        machine = describe_machine(engine, trt, capability)
        plans = [plan for graph in manifest.graphs if (plan := _find_plan(folder, manifest, graph, machine))]
        if not plans:
            graph = next((graph for graph in manifest.graphs if graph.precision == "fp16"), manifest.graph())
            plans = [find_plan(folder, manifest, graph, machine=machine)]  # raises an error that gives the reason
    except PoseEdgeError as error:
        return status | {"why": f"{trt.__version__} is installed; {error.what}", "run": error.run}
    return status | {"ok": True, "why": f"{trt.__version__}, {plans[0].path.name}"}


def _find_plan(folder: Path, manifest: Manifest, graph: Graph, machine: Machine) -> Plan | None:
    try:
        return find_plan(folder, manifest, graph, machine=machine)
    except PoseEdgeError:
        return None


def default_artefact_status() -> tuple[dict[str, Any], dict[str, Any]]:
    """The shipped artefact (``path``, ``error``) after a check of its files, and the engine that opens it (``ok``, ``name``,
    ``error``)."""
    folder = find_artefact(None)
    try:
        manifest = read_manifest(folder)
        for name in manifest.files:
            check_file(folder, manifest, name)
        graph = read_graph_file(folder, manifest, manifest.graph())
    except PoseEdgeError as error:
        return {"path": str(folder), "error": str(error)}, {"ok": False, "name": None, "error": "no model to open"}
    artefact = {"path": str(folder), "error": None}
    try:
        with closing(open_engine(graph)) as engine:
            return artefact, {"ok": True, "name": engine.name, "error": None}
    except PoseEdgeError as error:
        return artefact, {"ok": False, "name": None, "error": str(error)}
