"""All that docs/performance.md asks of a machine with an NVIDIA GPU, in one command.

    step        posemoe-retention-s frame by frame: every engine that opens here, PyTorch, windows lifted anew, and the floors
    streams     1 to 1024 people in one launch: the runtime's step_batch, the launch alone, the floor
    mixers      the training form of retention and dssm against attention, bare and in whole networks: time and memory
    hummuss     a window of MotionBERT lifted for each frame against a step of HumMUSS, as in HumMUSS's figure 8

Each table is measured in a process of its own, and an engine that has not run a few frames in another one does not enter: what
crashes or hangs takes nothing with it. A row is in the JSON file as soon as it is measured. --here does all in this process,
for a profiler.

Run: python benchmarks/gpu [--tables step,streams,mixers,hummuss] [--device cuda|cpu] [--model ARTEFACT] [--frames 1000]
     [--streams 1,2,4 ...] [--lengths 81,243 ...] [--seconds 100] [--quick] [--here] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))  # so that the folder is the package ``gpu``, beside experiment.py

import torch
from experiment import check_outputs, table, told
from posemoe_edge.runtime.artefact.locate import DEFAULT_MODEL, find_artefact
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.engines import ENGINES
from posemoe_edge.runtime.errors import MissingError, UsageError
from posemoe_edge.runtime.platform.nvidia import ask_nvidia_smi, find_gpu

from gpu.figure import draw
from gpu.streaming import step, streams
from gpu.table import Report, Sheet, Warned
from gpu.training import hummuss, mixers

TABLES: dict[str, Callable[[Sheet, argparse.Namespace], None]] = {
    "step": step,
    "streams": streams,
    "mixers": mixers,
    "hummuss": hummuss,
}
PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13", "cuda-bindings", "pycuda", "numpy")
USUAL = {
    "frames": 1000,
    "rounds": 50,
    "people": 32,
    "streams": [2**i for i in range(11)],
    "lengths": [81, 243, 729, 2048, 4096],
}
QUICK = {"frames": 5, "rounds": 2, "people": 2, "streams": [1, 2, 4], "lengths": [9, 27]}
TRIED_S = 60  # until an engine must have answered
LENIENT_S = 30  # beyond --seconds, until a table's process is ended
MEMORY = 0.8  # of the machine's, that a table may take where the processor computes

TRIAL = """
import sys
model, engine, precision, device = sys.argv[1:]
if device == "cuda":  # as where it is measured: both in one process
    import torch
    torch.zeros(1, device="cuda")
import numpy as np
from posemoe_edge.runtime import load
from posemoe_edge.runtime.errors import PoseEdgeError
try:
    opened = load(model, engine=engine, precision=precision)
    streams = [opened.stream() for _ in range(3)]
    for _ in range(4):
        opened.step_batch({stream: np.ones((17, 3), np.float32) for stream in streams})
        streams[0].step(np.ones((17, 3), np.float32))
except PoseEdgeError as error:
    sys.exit(str(error))
"""


# The command.


def main() -> None:
    options = parsed()
    if options.device == "cpu":
        torch.set_num_threads(1)
    if options.part:
        if options.device == "cpu":  # too much must be an error there, not the end of the process
            most = int(MEMORY * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
            resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        fill(options.tables[0], Report(options.part), options)
        return
    report = Report(options.json)
    report.made["machine"] = machine(options)
    report.save()
    if {"step", "streams"} & set(options.tables):
        report.made["engines"] = engines(options)
        report.save()
    for name in options.tables:
        if options.here:
            fill(name, report, options)
        else:
            report.made[name] = apart(name, options)
            report.save()
        print(f"\n{name}")
        if report.made[name]["rows"]:
            print(table(report.made[name]["rows"]))
        for note in report.made[name]["notes"]:
            print(f"Note: {note}")
    if options.plot:
        draw(options.plot, report.made)
    if empty := [name for name in options.tables if not report.made[name]["rows"]]:
        sys.exit(f"Error: nothing was measured of {', '.join(empty)}")


def parsed() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--tables", type=lambda text: text.split(","), default=list(TABLES), help=f"of {','.join(TABLES)}")
    made.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="of PyTorch; engines are where they are")
    made.add_argument("--model", default=DEFAULT_MODEL, help="an artefact of mode step, with its reference")
    made.add_argument("--precision", type=lambda text: text.split(","), default=["fp32", "fp16"], help="of engines on a GPU")
    made.add_argument("--frames", type=int, help="of step; default: 1000")
    made.add_argument("--rounds", type=int, help="of the other tables; default: 50")
    made.add_argument("--streams", type=numbers, help="default: 1,2,4 ... 1024")
    made.add_argument("--lengths", type=numbers, help="T of mixers and hummuss; default: 81,243,729,2048,4096")
    made.add_argument("--people", type=int, help="of hummuss; default: 32")
    made.add_argument("--seconds", type=float, default=100.0, help="of each table; what is not begun by then is left out")
    made.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    made.add_argument("--here", action="store_true", help="no other processes")
    made.add_argument("--json", type=Path)
    made.add_argument("--plot", type=Path)
    made.add_argument("--part", type=Path, help=argparse.SUPPRESS)  # one table, for the process that started this one
    made.add_argument(
        "--engines", type=lambda text: [tuple(e.split(":")) for e in text.split(",") if e], help=argparse.SUPPRESS
    )
    options = made.parse_args()
    for name, usual in USUAL.items():
        if getattr(options, name) is None:
            setattr(options, name, QUICK[name] if options.quick else usual)
    for name in ("frames", "rounds", "people", "streams", "lengths"):
        given = getattr(options, name)
        if min(given if isinstance(given, list) else [given]) < 1:
            made.error(f"--{name}: at least 1 is expected")
    if unknown := [name for name in options.tables if name not in TABLES]:
        made.error(f"--tables {','.join(unknown)}: some of {','.join(TABLES)} are expected")
    check_outputs(made, options)
    options.each_s = options.seconds / 15  # of a contestant of step
    return check(options)


def numbers(text: str) -> list[int]:
    """1,2,4"""
    return [int(number) for number in text.split(",")]


def check(options: argparse.Namespace) -> argparse.Namespace:
    """What can be known before hours of work."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            f"PyTorch {torch.__version__} finds no GPU",
            expected="an NVIDIA GPU and a PyTorch for CUDA",
            run="python benchmarks/gpu --device cpu --quick, which tries the command without one",
        )
    if {"step", "streams"} & set(options.tables):
        manifest = read_manifest(find_artefact(options.model))
        if manifest.mode != "step":
            raise UsageError(f"{options.model}, whose mode is {manifest.mode}", expected="an artefact of mode step")
    return options


def fill(name: str, report: Report, options: argparse.Namespace) -> None:
    """Measure one table."""
    sheet = Sheet(name, report, seconds=options.seconds)
    with Warned(sheet), sheet.trying(name):
        TABLES[name](sheet, options)
    sheet.tell(nvidia_smi_after=ask_nvidia_smi())


# In processes of their own.


def apart(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """A table, from a process of its own. If that breaks off, what it had measured; it writes beside --json, so that its rows
    are left also if this process is ended."""
    beside = options.json or Path(tempfile.gettempdir()) / f"gpu-{os.getpid()}.json"
    part = beside.with_suffix(f".{name}.json")
    part.unlink(missing_ok=True)
    given = [f"{engine}:{precision}" for engine, precision in options.engines or []]
    command = [sys.executable, __file__, *sys.argv[1:], "--tables", name, "--part", str(part), f"--engines={','.join(given)}"]
    why = trouble(command, options.seconds + LENIENT_S)
    made: dict[str, Any] = json.loads(part.read_text())[name] if part.is_file() else {"rows": [], "notes": []}
    part.unlink(missing_ok=True)
    if why:
        made["notes"].append(f"the table broke off: {why}")
    return made


def engines(options: argparse.Namespace) -> dict[str, str]:
    """Which engines are measured, each at which precision -> "runs", or why not. Into ``options`` come those that run."""
    if options.here:
        options.engines = candidates(options)
        return {" ".join(one): "not tried before" for one in options.engines}
    found = {}
    options.engines = []
    for one in candidates(options):
        folder = str(find_artefact(options.model))
        why = trouble([sys.executable, "-c", TRIAL, folder, *one, options.device], TRIED_S)
        found[" ".join(one)] = why or "runs"
        print(f"{' '.join(one)}: {why or 'runs'}")
        if not why:
            options.engines.append(one)
    return found


def candidates(options: argparse.Namespace) -> list[tuple[str, str]]:
    """(engine, precision); on the processor fp32 alone, since it computes the others in it too."""
    there = {graph.precision for graph in read_manifest(find_artefact(options.model)).graphs}
    wanted = [precision for precision in options.precision if precision in there]
    return [(name, p) for name in ENGINES for p in (["fp32"] if name == "onnxruntime" or options.quick else wanted)]


def trouble(command: Sequence[str], seconds: float) -> str | None:
    """Run it to its end: what went wrong, in a line."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {seconds:.0f} s"
    if done.returncode < 0:
        return f"ended by signal {-done.returncode} ({signal.strsignal(-done.returncode)})"
    last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
    return "".join(last) or f"exit code {done.returncode}" if done.returncode else None


# What is kept.


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """Where it was measured, and how."""
    try:
        gpu, why = asdict(find_gpu()), None
    except MissingError as error:
        gpu, why = None, error.what
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": ["benchmarks/gpu", *sys.argv[1:]],
        "device": options.device,
        "gpu": gpu or why,
        "nvidia_smi": ask_nvidia_smi(),
        "cuda_of_torch": torch.version.cuda,
        "float32_products": torch.get_float32_matmul_precision(),
        "processor": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "threads_of_torch": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
    }


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    told(main)
