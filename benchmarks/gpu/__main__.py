"""All measurements of docs/results/performance.md that need an NVIDIA GPU, in one command.

    step        posemoe-retention-s frame by frame: each engine that opens here, PyTorch, a window for each frame, and floors
    streams     1 to 1024 people in one launch: the runtime's step_batch, the launch alone, a floor
    mixers      the training form of retention and dssm against attention, bare and in whole networks: time and memory
    hummuss     a window of MotionBERT lifted for each frame against a step of HumMUSS, as in HumMUSS's figure 8
    updates     an update of each lifter's training, operation by operation and replayed as a CUDA graph

Each table is measured in its own process, and an engine is measured only if it has run a few frames in another process, so that
a crash or a hang loses no other figure. A row is in the JSON file as soon as it is measured. --here measures in this process,
for a profiler.

Run: python benchmarks/gpu [--tables step,streams,mixers,hummuss,updates] [--device cuda|cpu] [--model ARTEFACT] [--frames 1000]
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
from experiment import check_outputs, exit_on_error, format_table
from posemoe_edge.runtime.artefact.locate import find_artefact
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.engines import ENGINES
from posemoe_edge.runtime.errors import MissingError, UsageError
from posemoe_edge.runtime.platform.nvidia import ask_nvidia_smi, find_gpu

from gpu.figure import draw
from gpu.streaming import step, streams
from gpu.table import Report, Table, WarningNotes
from gpu.training import hummuss, mixers
from gpu.updates import updates

TABLES: dict[str, Callable[[Table, argparse.Namespace], None]] = {
    "step": step,
    "streams": streams,
    "mixers": mixers,
    "hummuss": hummuss,
    "updates": updates,
}
PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13", "cuda-bindings", "pycuda", "numpy")
DEFAULTS = {
    "frames": 1000,
    "rounds": 50,
    "people": 32,
    "streams": [2**i for i in range(11)],
    "lengths": [81, 243, 729, 2048, 4096],
}
QUICK = {"frames": 5, "rounds": 2, "people": 2, "streams": [1, 2, 4], "lengths": [9, 27]}
TRIAL_TIMEOUT_S = 60  # limit for the trial of an engine
GRACE_S = 30  # after --seconds, a table's process is ended
MAX_MEMORY_SHARE = 0.8  # of the machine's memory, which a table may allocate on a CPU

TRIAL = """
import sys
model, engine, precision, device = sys.argv[1:]
if device == "cuda":  # as in the measurement, PyTorch uses the GPU in the same process
    import torch
    torch.zeros(1, device="cuda")
import numpy as np
from posemoe_edge import load
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
    options = parse_arguments()
    if options.device == "cpu":
        torch.set_num_threads(1)
    if options.part:
        if options.device == "cpu":  # running out of memory must raise, not end the process
            limit = int(MAX_MEMORY_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        measure_table(options.tables[0], Report(options.part), options)
        return
    report = Report(options.json)
    report.tables["machine"] = machine(options)
    report.save()
    if {"step", "streams"} & set(options.tables):
        report.tables["engines"] = engines(options)
        report.save()
    for name in options.tables:
        if options.here:
            measure_table(name, report, options)
        else:
            report.tables[name] = measure_apart(name, options)
            report.save()
        print(f"\n{name}")
        if report.tables[name]["rows"]:
            print(format_table(report.tables[name]["rows"]))
        for note in report.tables[name]["notes"]:
            print(f"Note: {note}")
    if options.plot:
        draw(options.plot, report.tables)
    if empty := [name for name in options.tables if not report.tables[name]["rows"]]:
        sys.exit(f"Error: nothing was measured for {', '.join(empty)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=lambda text: text.split(","), default=list(TABLES), help=f"some of {','.join(TABLES)}")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="PyTorch's device; an engine has its own")
    parser.add_argument("--model", default="posemoe-retention-s", help="an artefact of mode step, with its reference")
    parser.add_argument(
        "--precision",
        type=lambda text: text.split(","),
        default=["fp32", "fp16"],
        help="precisions of engines on a GPU; default: fp32,fp16",
    )
    parser.add_argument("--frames", type=int, help="frames of step; default: 1000")
    parser.add_argument("--rounds", type=int, help="rounds of the other tables; default: 50")
    parser.add_argument("--streams", type=numbers, help="numbers of people of streams; default: 1,2,4 ... 1024")
    parser.add_argument("--lengths", type=numbers, help="T of mixers and hummuss; default: 81,243,729,2048,4096")
    parser.add_argument("--people", type=int, help="people of hummuss; default: 32")
    parser.add_argument(
        "--seconds", type=float, default=100.0, help="time limit of each table; measurements not started by then are left out"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to test that everything runs")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)  # one table's file, for the parent process
    parser.add_argument(
        "--engines", type=lambda text: [tuple(e.split(":")) for e in text.split(",") if e], help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    for name, default in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, QUICK[name] if options.quick else default)
    for name in ("frames", "rounds", "people", "streams", "lengths"):
        value = getattr(options, name)
        if min(value if isinstance(value, list) else [value]) < 1:
            parser.error(f"--{name}: expected at least 1")
    if unknown := [name for name in options.tables if name not in TABLES]:
        parser.error(f"--tables {','.join(unknown)}: expected some of {','.join(TABLES)}")
    check_outputs(parser, options)
    options.each_s = options.seconds / 15  # time limit of one contestant of step
    return check_feasible(options)


def numbers(text: str) -> list[int]:
    """The list of a text like 1,2,4."""
    return [int(number) for number in text.split(",")]


def check_feasible(options: argparse.Namespace) -> argparse.Namespace:
    """Refuse options that cannot be measured before the first measurement."""
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


def measure_table(name: str, report: Report, options: argparse.Namespace) -> None:
    """Measure one table."""
    table = Table(name, report, seconds=options.seconds)
    with WarningNotes(table), table.errors_as_notes(name):
        TABLES[name](table, options)
    table.set_facts(nvidia_smi_after=ask_nvidia_smi())


# Isolation: each table and each trial of an engine runs in its own process.


def measure_apart(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a table in its own process; if that process fails, return the rows that it had.

    The process writes beside --json, so that its rows also survive a crash of this process.
    """
    beside = options.json or Path(tempfile.gettempdir()) / f"gpu-{os.getpid()}.json"
    part = beside.with_suffix(f".{name}.json")
    part.unlink(missing_ok=True)
    pairs = [f"{engine}:{precision}" for engine, precision in options.engines or []]
    command = [sys.executable, __file__, *sys.argv[1:], "--tables", name, "--part", str(part), f"--engines={','.join(pairs)}"]
    failure = failure_of(command, options.seconds + GRACE_S)
    content: dict[str, Any] = json.loads(part.read_text())[name] if part.is_file() else {"rows": [], "notes": []}
    part.unlink(missing_ok=True)
    if failure:
        content["notes"].append(f"the table broke off: {failure}")
    return content


def engines(options: argparse.Namespace) -> dict[str, str]:
    """Engine and precision -> "runs", or the reason why it does not. Sets ``options.engines`` to the pairs that run."""
    if options.here:
        options.engines = candidates(options)
        return {" ".join(pair): "not tried" for pair in options.engines}
    outcomes = {}
    options.engines = []
    for pair in candidates(options):
        folder = str(find_artefact(options.model))
        failure = failure_of([sys.executable, "-c", TRIAL, folder, *pair, options.device], TRIAL_TIMEOUT_S)
        outcomes[" ".join(pair)] = failure or "runs"
        print(f"{' '.join(pair)}: {failure or 'runs'}")
        if not failure:
            options.engines.append(pair)
    return outcomes


def candidates(options: argparse.Namespace) -> list[tuple[str, str]]:
    """(engine, precision) pairs; on a CPU only fp32, since ONNX Runtime computes the other precisions in FP32 there."""
    available = {graph.precision for graph in read_manifest(find_artefact(options.model)).graphs}
    precisions = [precision for precision in options.precision if precision in available]
    return [(name, p) for name in ENGINES for p in (["fp32"] if name == "onnxruntime" or options.quick else precisions)]


def failure_of(command: Sequence[str], seconds: float) -> str | None:
    """Run a command: its error in one line, or None if it succeeded."""
    try:
        process = subprocess.run(
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
    if process.returncode < 0:
        return f"ended by signal {-process.returncode} ({signal.strsignal(-process.returncode)})"
    last = [line.strip() for line in process.stderr.splitlines() if line.strip()][-1:]
    return "".join(last) or f"exit code {process.returncode}" if process.returncode else None


# The record of the machine.


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """The machine, its software and the command, for the JSON file."""
    try:
        gpu, reason = asdict(find_gpu()), None
    except MissingError as error:
        gpu, reason = None, error.what
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": ["benchmarks/gpu", *sys.argv[1:]],
        "device": options.device,
        "gpu": gpu or reason,
        "nvidia_smi": ask_nvidia_smi(),
        "cuda_of_torch": torch.version.cuda,
        "float32_products": torch.get_float32_matmul_precision(),
        "processor": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "threads_of_torch": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": {name: number for name in PACKAGES if (number := installed_version(name))},
    }


def installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    exit_on_error(main)
