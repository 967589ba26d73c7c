"""posemoe-edge doctor"""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

import click

from ... import __version__
from ...runtime.artefact.locate import find_artefact
from ...runtime.artefact.manifest import Graph, Manifest, check_file, read_manifest
from ...runtime.engines import open_engine
from ...runtime.engines.tensorrt.library import import_tensorrt, machine
from ...runtime.engines.tensorrt.plan import EngineName, Machine, Plan, find_plan
from ...runtime.errors import MissingError, PoseEdgeError
from ...runtime.platform.jetson import PlatformInfo, read_platform
from ...runtime.platform.nvidia import ask_nvidia_smi, find_gpu
from ...runtime.sources import list_cameras
from .output import Output, Result, verb

# extra -> the packages it needs here: (what is imported, what is installed), and what it is for
EXTRAS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "cpu": ("running on any CPU", (("onnxruntime", "onnxruntime"),)),
    "camera": ("cameras, videos, MoveNet", (("cv2", "opencv-python-headless"), ("ai_edge_litert", "ai-edge-litert"))),
    "plot": ("pictures", (("matplotlib", "matplotlib"),)),
    "export": (
        "export and verify",
        (
            ("torch", "torch"),
            ("onnx", "onnx"),
            ("onnxscript", "onnxscript"),
            ("onnxsim", "onnxsim"),
            ("safetensors", "safetensors"),
            ("matplotlib", "matplotlib"),
        ),
    ),
    "inspect": ("comparing layer by layer", (("polygraphy", "polygraphy"), ("onnx", "onnx"), ("onnxruntime", "onnxruntime"))),
}


# What holds the GPU's memory for TensorRT: one of them.
DEVICE = (("cuda.bindings", "cuda-bindings"), ("pycuda", "pycuda"))


@click.command("doctor")
@verb
def command(out: Output) -> Result:
    """What is installed here and what is missing, with the command that mends it. Exit code 3 if nothing can run."""
    out.print(f"posemoe-edge {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    board, gpu = read_platform(), _gpu()
    _tell_machine(out, board, gpu)
    extras = {}
    for extra, (purpose, packages) in EXTRAS.items():
        found = {installed: _version(imported, installed) for imported, installed in packages}
        missing = [name for name, have in found.items() if have is None]
        extras[extra] = {"for": purpose, "packages": found, "ok": not missing}
        have = ", ".join(f"{name} {number}" for name, number in found.items() if number)
        out.print(f"  {'ok     ' if not missing else 'missing'} {extra:<8}{purpose:<26}{have}")
        if missing:
            out.print(f'          no {", ".join(missing)}; run: pip install "posemoe-edge[{extra}]"')
    cameras = list_cameras()
    seen = ", ".join(cameras) or "posemoe-edge run synthetic://walk needs none"
    out.print(f"  {'ok     ' if cameras else 'none   '} cameras {seen}")
    artefact, engine = _default_artefact()
    state, trouble = ("broken ", f": {artefact['error']}") if artefact["error"] else ("ok     ", "")
    out.print(f"  {state} model   {artefact['path']}{trouble}")
    engines = {name: look_at(name, gpu["capability"], board) for name in get_args(EngineName)}
    planned = next((name for name, found in engines.items() if found["ok"]), None)
    if planned and not artefact["error"]:  # what a run takes first; a board may do without ONNX Runtime
        engine = {"ok": True, "name": planned, "error": None}
    for name, found_engine in engines.items():
        out.print(f"  {'ok     ' if found_engine['ok'] else 'no     '} {name}: {found_engine['why']}")
        if found_engine["run"]:
            out.print(f"          run: {found_engine['run']}")
    out.print(f"  {'ok     ' if engine['ok'] else 'missing'} engine  {engine['name'] or engine['error']}")
    ready = bool(engine["ok"])
    data = {
        "version": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "board": asdict(board) | {"clocks": [asdict(clock) | {"held": clock.held} for clock in board.clocks]},
        "gpu": gpu,
        "extras": extras,
        "cameras": cameras,
        "default_artefact": artefact,
        "tensorrt": engines,
        "engine": engine,
        "ready": ready,
    }
    return Result(
        data, exit_code=0 if ready else 3, next_command="posemoe-edge run synthetic://walk --frames 200" if ready else None
    )


def _gpu() -> dict[str, Any]:
    """The GPU as its driver tells it, or why there is none; on a desktop, what nvidia-smi adds."""
    try:
        return asdict(find_gpu()) | {"error": None, "nvidia_smi": ask_nvidia_smi()}
    except MissingError as error:
        return {"name": None, "capability": None, "error": error.what, "nvidia_smi": ask_nvidia_smi()}


def _tell_machine(out: Output, board: PlatformInfo, gpu: dict[str, Any]) -> None:
    """PlatformInfo, GPU, power mode and clocks, and how to hold them for a measurement."""
    if board.jetson:
        mode = board.power_mode or "unknown"
        out.print(f"  {board.model or 'Jetson'}: JetPack {board.jetpack} (L4T {board.l4t}), power mode {mode}")
        if board.too_old:
            out.print(
                f"          JetPack {board.jetpack} brings TensorRT {board.jetpack_tensorrt}; {board.install('tensorrt')}"
            )
    if gpu["error"]:
        out.print(f"  none    GPU     {gpu['error']}")
        if board.jetson:
            out.print(
                "          who is not in its groups sees none; run: sudo usermod -aG video,render $USER, and log in again"
            )
    else:
        memory = f"{gpu['memory_bytes'] / 2**30:.1f} GiB{' shared with the processor' if gpu['integrated'] else ''}"
        driver = board.driver or (gpu["nvidia_smi"] or {}).get("driver", "unknown")
        out.print(f"  ok      GPU     {gpu['name']}, {gpu['capability']}, {memory}, driver {driver}, CUDA {gpu['cuda']}")
    for clock in board.clocks if board.jetson else ():
        held = "held" if clock.held else f"moves between {clock.least_mhz:.0f} and {clock.most_mhz:.0f}"
        out.print(f"          {clock.name} clock {clock.now_mhz:.0f} MHz, {held}")
    if board.jetson and not all(clock.held for clock in board.clocks):
        out.print(f"          for a measurement: {board.hold_clocks}")
    smi = gpu["nvidia_smi"]
    if smi and not board.jetson:
        out.print(f"          clock {smi['clock_mhz']} of {smi['most_mhz']} MHz, power limit {smi['power_limit_w']} W")
        out.print(f"          for a measurement: sudo nvidia-smi -lgc {smi['most_mhz']}")


def look_at(engine: EngineName, capability: str | None, board: PlatformInfo) -> dict[str, Any]:
    """Whether TensorRT would be chosen for the shipped artefact; if not, the first reason and the command that mends it."""
    found: dict[str, Any] = {"ok": False, "version": None, "why": None, "run": None}
    try:
        trt = import_tensorrt(engine)
    except MissingError as error:
        why = error.what
        if engine == "tensorrt" and "python3-libnvinfer" in board.packages and _version("tensorrt", "tensorrt") is None:
            have = board.packages["python3-libnvinfer"]
            why = f"JetPack's TensorRT {have} belongs to the system's Python, and this environment does not see it"
        return found | {"why": why, "run": error.run}
    found["version"] = trt.__version__
    if capability is None:
        why = f"{trt.__version__} is installed, and there is no GPU to run on"
        if engine == "tensorrt":
            return found | {"why": why}
        return found | {"why": f"{why}; it builds plans for other machines", "run": "posemoe-edge build --engine tensorrt-rtx"}
    if not any(_version(name, package) for name, package in DEVICE):
        why = f"{trt.__version__} is installed, and neither cuda-bindings nor pycuda is, which hold its memory"
        return found | {"why": why, "run": board.install_cuda}
    try:
        folder = find_artefact(None)
        manifest = read_manifest(folder)
        here = machine(engine, trt, capability)
        plans = [plan for graph in manifest.graphs if (plan := _plan(folder, manifest, graph, here))]
        if not plans:
            graph = next((graph for graph in manifest.graphs if graph.precision == "fp16"), manifest.graph())
            plans = [find_plan(folder, manifest, graph, here=here)]
    except PoseEdgeError as error:
        return found | {"why": f"{trt.__version__} is installed; {error.what}", "run": error.run}
    return found | {"ok": True, "why": f"{trt.__version__}, {plans[0].path.name}"}


def _plan(folder: Path, manifest: Manifest, graph: Graph, here: Machine) -> Plan | None:
    try:
        return find_plan(folder, manifest, graph, here=here)
    except PoseEdgeError:
        return None


def _default_artefact() -> tuple[dict[str, object], dict[str, object]]:
    """Whether the shipped artefact is whole, and which engine opens it."""
    folder = find_artefact(None)
    try:
        manifest = read_manifest(folder)
        paths = {name: check_file(folder, manifest, name) for name in manifest.files}
    except PoseEdgeError as error:
        return {"path": str(folder), "error": str(error)}, {"ok": False, "name": None, "error": "no model to open"}
    found: dict[str, object] = {"path": str(folder), "error": None}
    try:
        return found, {"ok": True, "name": open_engine(paths[manifest.graph().file]).name, "error": None}
    except PoseEdgeError as error:
        return found, {"ok": False, "name": None, "error": str(error)}


def _version(imported: str, installed: str) -> str | None:
    try:
        if importlib.util.find_spec(imported) is None:
            return None
    except ModuleNotFoundError:  # of a.b, there is no a
        return None
    try:
        return version(installed)
    except PackageNotFoundError:
        return "present"
