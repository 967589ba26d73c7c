"""posemoe-edge doctor"""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from typing import Any, get_args

import click

from ... import __version__
from ...runtime.engines.tensorrt.plan import EngineName
from ...runtime.errors import cpu_torch_hint
from ...runtime.platform.jetson import PlatformInfo, read_platform
from ...runtime.sources import list_cameras
from ..environment import EXTRAS, default_artefact_status, extra_versions, gpu_info, tensorrt_status
from .output import Output, Result, verb


@click.command("doctor")
@verb
def command(out: Output) -> Result:
    """What is installed on this machine and what is missing, with the commands to install it.

    Exit code 3 if nothing can run.
    """
    out.print(f"posemoe-edge {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    board, gpu = read_platform(), gpu_info()
    _print_platform(out, board, gpu)
    extras = _check_extras(out)
    cameras = list_cameras()
    camera_names = ", ".join(cameras) or "posemoe-edge run synthetic://walk needs none"
    out.print(f"  {'ok     ' if cameras else 'none   '} cameras {camera_names}")
    artefact, engine = default_artefact_status()
    state, reason = ("broken ", f": {artefact['error']}") if artefact["error"] else ("ok     ", "")
    out.print(f"  {state} model   {artefact['path']}{reason}")
    tensorrt = {name: tensorrt_status(name, gpu["capability"], board) for name in get_args(EngineName)}
    usable = next((name for name, status in tensorrt.items() if status["ok"]), None)
    if usable and not artefact["error"]:  # run prefers TensorRT, and then needs no ONNX Runtime
        engine = {"ok": True, "name": usable, "error": None}
    for name, status in tensorrt.items():
        out.print(f"  {'ok     ' if status['ok'] else 'no     '} {name}: {status['why']}")
        if status["run"]:
            out.print(f"          run: {status['run']}")
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
        "tensorrt": tensorrt,
        "engine": engine,
        "ready": ready,
    }
    return Result(
        data, exit_code=0 if ready else 3, next_command="posemoe-edge run synthetic://walk --frames 200" if ready else None
    )


def _check_extras(out: Output) -> dict[str, dict[str, Any]]:
    """Print which extras are complete; return what the JSON contains of them."""
    record = {}
    for name, extra in EXTRAS.items():
        versions = extra_versions(extra)
        missing = [package for package, number in versions.items() if number is None]
        record[name] = {"for": extra.purpose, "packages": versions, "ok": not missing}
        installed = ", ".join(f"{package} {number}" for package, number in versions.items() if number)
        out.print(f"  {'ok     ' if not missing else 'missing'} {name:<8}{extra.purpose:<28}{installed}")
        if missing:
            out.print(f'          no {", ".join(missing)}; run: pip install "posemoe-edge[{name}]"')
            if "torch" in missing and (hint := cpu_torch_hint()):
                out.print(f"          {hint}")
    return record


def _print_platform(out: Output, board: PlatformInfo, gpu: dict[str, Any]) -> None:
    """Print the machine, its GPU, power mode and clocks, and the command that fixes the clocks for a measurement."""
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
            out.print("          the GPU is visible to members of its groups only;")
            out.print("          run: sudo usermod -aG video,render $USER, and log in again")
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
