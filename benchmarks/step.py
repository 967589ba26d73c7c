"""The cost of a step on one processor thread, and its lower bound.

All contestants run interleaved in one process, frame by frame, so that a busy machine disturbs all of them equally. The result
is the ratios of their medians.

    runtime     stream.step of the shipped posemoe-retention-s, with all its checks
    bare        the same graph by session.run_with_iobinding alone
    eager       PyTorch's model.step
    window      posemoe-attention-s: the window of 81 frames, computed again for each frame (random weights: cost only)
    floor       the model's linear layers as bare matrix products, each shape at the rate that it reaches on this machine

Run: python benchmarks/step.py [--frames 300] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
import torch
from posemoe_edge import load
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.presets import find_preset
from posemoe_edge.export.artefact import export
from posemoe_edge.runtime.artefact.certificate import REFERENCE
from posemoe_edge.runtime.artefact.locate import ZOO
from posemoe_edge.runtime.artefact.manifest import Graph
from posemoe_edge.runtime.engines.onnxruntime import DISABLED_OPTIMIZERS, open_cpu_session
from posemoe_edge.runtime.sources import SyntheticSource

MODEL = ZOO / "posemoe-retention-s"


def bare_step(path: Path, graph: Graph, keypoints: list[np.ndarray]) -> Callable[[int], None]:
    """Two bindings that swap the state, without the runtime."""
    bare = open_cpu_session(
        path,
        threads=1,
        purpose="a bare session",
        expected="a graph that export wrote",
        disabled_optimizers=DISABLED_OPTIMIZERS,  # as the runtime's own
    )
    state_shape = tuple(int(n) for n in graph.states[0].shape[1:])
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    x, dt, reset = np.zeros((1, *keypoints[0].shape), np.float32), np.full(1, 0.02, np.float32), np.zeros(1, bool)
    pose, slabs = np.zeros((1, 17, 3), np.float32), [np.zeros((1, *state_shape), np.float32) for _ in range(2)]
    bindings = []
    for side in (0, 1):
        binding = bare.io_binding()
        for name, array in (("keypoints", x), ("state", slabs[side]), ("dt", dt), ("reset", reset)):
            binding.bind_ortvalue_input(name, value(array))
        binding.bind_ortvalue_output("pose", value(pose))
        binding.bind_ortvalue_output("next_state", value(slabs[1 - side]))
        bindings.append(binding)

    def step(i: int) -> None:
        x[0] = keypoints[i]
        bare.run_with_iobinding(bindings[i & 1])

    return step


def eager_step(model: Lifter, keypoints: list[np.ndarray]) -> Callable[[int], None]:
    frames = [torch.from_numpy(k[None]) for k in keypoints]
    dt, reset = torch.full((1,), 0.02), torch.zeros(1, dtype=torch.bool)
    state = model.initial_state(1)

    def step(i: int) -> None:
        nonlocal state
        with torch.inference_mode():
            _, state = model.step(frames[i], state, dt, reset)

    return step


def window_step(folder: Path, keypoints: list[np.ndarray]) -> Callable[[int], None]:
    preset = find_preset("posemoe-attention-s")
    export(preset.build().eval(), folder, preset=preset.name)
    stream = load(folder).stream()
    return lambda i: discard(stream.step(keypoints[i]))


def floor_step(model: Lifter) -> Callable[[int], None]:
    """Every linear layer of a step as one bare product of (17, in) by (in, out)."""
    shapes = Counter((m.in_features, m.out_features) for m in model.modules() if isinstance(m, torch.nn.Linear))
    work = [
        (torch.randn(17, a), [torch.randn(a, b) for _ in range(count)], torch.empty(17, b)) for (a, b), count in shapes.items()
    ]

    def step(i: int) -> None:
        with torch.inference_mode():
            for x, weights, y in work:
                for w in weights:
                    torch.mm(x, w, out=y)

    return step


def discard(_: object) -> None:
    """Discard a result, since a contestant returns None."""


def cold_start() -> dict[str, Any]:
    """Seconds to import the runtime, and from there to the first pose, in a new process."""
    code = (
        "import time; a = time.perf_counter()\n"
        "import posemoe_edge.runtime as r; b = time.perf_counter()\n"
        "import numpy as np; r.load().stream().step(np.zeros((17, 3), np.float32)); c = time.perf_counter()\n"
        "import json, sys; print(json.dumps({'import_s': b - a, 'load_and_first_pose_s': c - b,"
        " 'heavy': [m for m in ('torch', 'onnx', 'cv2') if m in sys.modules]}))"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(output)
    return figures


def measure(frames: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    warm_up = 30
    with SyntheticSource(noise_px=2, frames=frames + warm_up) as source:
        keypoints = [frame.keypoints[0].normalised() for frame in source]
    lifter = load(MODEL)
    stream = lifter.stream()
    model, _ = load_checkpoint(MODEL / REFERENCE)
    with tempfile.TemporaryDirectory() as folder:
        contestants = {
            "runtime": lambda i: discard(stream.step(keypoints[i])),
            "bare": bare_step(MODEL / lifter.graph.file, lifter.graph, keypoints),
            "eager": eager_step(model, keypoints),
            "window": window_step(Path(folder) / "window", keypoints),
            "floor": floor_step(model),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for i in range(frames + warm_up):
            order = list(contestants.items())
            for name, step in order if i % 2 else order[::-1]:
                began = time.perf_counter()
                step(i)
                if i >= warm_up:
                    seconds[name].append(time.perf_counter() - began)
    ms = {name: 1000 * float(np.median(values)) for name, values in seconds.items()}
    pairs = np.array(seconds["runtime"]) / np.array(seconds["bare"])
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread",
        "versions": {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "frames": frames,
        "median_ms": {name: round(value, 4) for name, value in ms.items()},
        "p99_ms": {name: round(1000 * float(np.percentile(values, 99)), 4) for name, values in seconds.items()},
        "runtime_over_bare": round(float(np.median(pairs)), 4),
        "eager_over_runtime": round(ms["eager"] / ms["runtime"], 2),
        "window_over_runtime": round(ms["window"] / ms["runtime"], 1),
        "runtime_over_floor": round(ms["runtime"] / ms["floor"], 2),
        "floor_gflops": round(2 * parameters * 17 / ms["floor"] / 1e6, 1),
        "state_bytes_per_stream": lifter.state_bytes,
        "cold_start": cold_start(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = measure(options.frames)
    print(f"{result['machine']}; {result['frames']} frames, interleaved")
    for name, value in result["median_ms"].items():
        print(f"  {name:<10}{value:9.3f} ms (median){result['p99_ms'][name]:9.3f} ms (p99)")
    print(f"runtime / bare binding  {result['runtime_over_bare']:.3f}  (target: at most 1.05)")
    print(f"PyTorch eager / runtime {result['eager_over_runtime']:.2f}")
    print(f"window of 81 / runtime  {result['window_over_runtime']:.1f}")
    print(f"runtime / product floor {result['runtime_over_floor']:.2f}  (floor at {result['floor_gflops']} GFLOP/s)")
    print(f"state {result['state_bytes_per_stream']} bytes a stream; cold start {result['cold_start']}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
