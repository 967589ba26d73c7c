"""The streaming tables of ``benchmarks/gpu``: a step and its floors (lower bounds), and many streams in one launch."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from experiment import Row
from onnx import numpy_helper
from posemoe_edge import Model, load
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.topology import build
from posemoe_edge.edge.presets import find_preset
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact.certificate import REFERENCE
from posemoe_edge.runtime.artefact.locate import find_artefact
from posemoe_edge.runtime.artefact.manifest import Graph, read_manifest
from posemoe_edge.runtime.engines import Engine, open_engine
from posemoe_edge.runtime.sources import SyntheticSource
from torch import Tensor

from gpu.table import Run, Table, Times, median_ms, median_ratio, ratio, synchronize, with_peak_memory

WARM_UP = 8  # rounds: for each parity an engine first runs eagerly, then captures a graph
WINDOWS = (("posemoe-attention-s", 81), ("posemoe-attention-s", 243))
LARGE = (("posemoe-h36m-243", 243), ("mixste-243", 243), ("motionbert-lite-243", 243), ("hummuss-bi", 243))
VIEWS = {"Constant", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze"}
"""Operations that compute nothing: they return the same memory with another shape."""
COPY_BYTES_GPU = 1 << 30  # bytes of a copy that measures a GPU's bandwidth
COPY_BYTES_CPU = 1 << 26  # the same for a processor
COPIES = 8
FRAMES_PLAYED = 4  # different frames of each stream, repeated


# The time of a step.


def step(table: Table, options: Namespace) -> None:
    device, path = torch.device(options.device), find_artefact(options.model)
    sizes, keypoints = Sizes(path), walk(1 + options.frames + WARM_UP)
    table.set_facts(operations=sizes.operations, weight_bytes=sizes.weights, state_bytes=sizes.state)
    contestants: dict[str, Run] = {}
    rows: dict[str, Row] = {}

    def enter(name: str, make: Callable[[], Run], on: str, precision: str | None = None) -> None:
        with table.errors_as_notes(name):
            contestants[name], peak = with_peak_memory(make, device)
            rows[name] = {"contestant": name, "on": on, "precision": precision}
            rows[name]["torch_mb"] = peak if on == "PyTorch" else None  # PyTorch measures only its own memory

    for engine, precision in options.engines:
        enter(f"{engine} {precision}", runtime_step(path, engine, precision, keypoints), "runtime", precision)
    enter("eager", eager_step(path, keypoints, device), "PyTorch", "fp32")
    windows = WINDOWS[:1] if options.quick else WINDOWS + LARGE if device.type == "cuda" else WINDOWS
    for preset, frames in windows:
        enter(f"window {frames} {preset}", window_step(preset, frames, keypoints, device), "PyTorch", "fp32")
    launches = f"floor: {sizes.operations} launches"
    if device.type == "cuda":
        enter(launches, launch_floor(sizes.operations), "CUDA graph")
        enter("floor: 1 launch", launch_floor(1), "CUDA graph")
    else:
        table.add_note("no floor of launches: a processor launches no kernels")

    times = table.run_in_turns(contestants, rounds=options.frames, warm_up=WARM_UP, each_s=options.each_s)
    rate = copy_rate(table, device)
    floors = {} if rate is None else {precision: floor_ms(sizes.bytes(precision), rate) for precision in sizes.weights}
    for name, row in rows.items():
        ms = median_ms(times[name])
        row |= {"p50_ms": ms, "p99_ms": median_ms(times[name], 99), "frames": len(times[name])}
        row["over eager"] = median_ratio(times[name], times.get("eager", {}))
        row["over launches"] = median_ratio(times[name], times.get(launches, {}))
        row["over bytes"] = None if name.startswith(("window", "floor")) else ratio(ms, floors.get(row["precision"]))
        table.add_row(row)
    for precision, ms in floors.items():
        table.add_row({"contestant": f"floor: bytes {precision}", "on": "a copy's rate", "precision": precision, "p50_ms": ms})
    table.add_note("windows have random weights: only their time is meaningful")
    if device.type == "cuda":
        with table.errors_as_notes("kernels of the eager step"):  # last: a profiler may fail, or slow down what follows
            table.set_facts(eager_kernels=count_kernels(contestants["eager"]))


def runtime_step(path: Path, engine: str, precision: Any, keypoints: Sequence[F32]) -> Callable[[], Run]:
    """The whole runtime: keypoints and pose are on the host."""

    def make() -> Run:
        stream = load(path, engine=engine, precision=precision).stream()
        return lambda i: stream.step(keypoints[i])

    return make


def eager_step(path: Path, keypoints: Sequence[F32], device: torch.device) -> Callable[[], Run]:
    """PyTorch's step: keypoints and pose are on the host, the state stays on the device."""

    def make() -> Run:
        next_pose = step_function(load_checkpoint(path / REFERENCE)[0].to(device), 1, device)
        return lambda i: next_pose(torch.from_numpy(keypoints[i][None]).to(device)).cpu()

    return make


def step_function(model: Lifter, rows: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from the next frame (B, J, channels) to its pose (B, J, 3), which carries the state."""
    dt = torch.full((rows,), 1 / model.config.fps, device=device)
    reset = torch.zeros(rows, dtype=torch.bool, device=device)
    state = model.initial_state(rows)

    def next_pose(x: Tensor) -> Tensor:
        nonlocal state
        with torch.inference_mode():
            pose, state = model.step(x, state, dt, reset)
        return pose

    return next_pose


def window_step(preset: str, frames: int, keypoints: Sequence[F32], device: torch.device) -> Callable[[], Run]:
    """Lift the last ``frames`` frames, which stay on the device, again for each frame."""

    def make() -> Run:
        model = build(replace(find_preset(preset).config, window=frames)).eval().to(device)
        frame_inputs = [np.ascontiguousarray(k[None, None, :, : model.config.channels]) for k in keypoints]
        window = torch.from_numpy(frame_inputs[0]).to(device).repeat(1, frames, 1, 1)  # (1, T, J, C)

        def run(i: int) -> Tensor:
            nonlocal window
            with torch.inference_mode():
                window = torch.cat([window[:, 1:], torch.from_numpy(frame_inputs[i]).to(device)], dim=1)
                return model(window)[:, -1].cpu()  # type: ignore[no-any-return]

        return run

    return make


# Floors: lower bounds of the time.


class Sizes:
    """The bytes that a step of an artefact moves, and the operations that it launches, from its graphs."""

    def __init__(self, path: Path) -> None:
        manifest = read_manifest(path)
        graphs = {graph.precision: onnx.load(path / graph.file).graph for graph in manifest.graphs}
        self.state = manifest.state_bytes  # of one stream
        self.weights = {
            str(precision): sum(numpy_helper.to_array(weight).nbytes for weight in graph.initializer)
            for precision, graph in graphs.items()
        }
        self.operations = count_operations(graphs[manifest.graphs[0].precision])

    def bytes(self, precision: str, streams: int = 1) -> int:
        """Bytes of one launch: the weights are read once, each stream's state is read and written."""
        return self.weights[precision] + 2 * streams * self.state


def count_operations(graph: onnx.GraphProto) -> int:
    """Number of nodes that compute."""
    return sum(node.op_type not in VIEWS for node in graph.node)


def floor_ms(moved: int, rate: float) -> float:
    """Milliseconds to move ``moved`` bytes at ``rate`` bytes a second."""
    return round(1000 * moved / rate, 4)


def copy_rate(table: Table, device: torch.device) -> float | None:
    """Bytes a second of a large copy on the device, counting bytes read and bytes written."""
    ms, size = None, COPY_BYTES_GPU if device.type == "cuda" else COPY_BYTES_CPU
    with table.errors_as_notes("the copy"):
        source = torch.ones(size, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)

        def copy(i: int) -> None:
            for _ in range(COPIES):  # several, so that the time of the synchronization is negligible
                target.copy_(source)
            synchronize(device)

        ms = median_ms(table.run_in_turns({"the copy": copy}, rounds=10, warm_up=2, each_s=5.0)["the copy"])
    rate = COPIES * 2 * size / ms * 1000 if ms else None
    table.set_facts(copy_gb_s=rate and round(rate / 1e9, 1))
    return rate


def launch_floor(launches: int) -> Callable[[], Run]:
    """Replay a CUDA graph of ``launches`` minimal kernels, one after the other, and wait for it."""

    def make() -> Run:
        x = torch.zeros(1, device="cuda")
        graph = torch.cuda.CUDAGraph()
        x.add_(1)  # once before the capture: a capture fails if it loads a kernel
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            for _ in range(launches):
                x.add_(1)

        def run(i: int) -> None:
            graph.replay()
            torch.cuda.synchronize()

        return run

    return make


def count_kernels(run: Run) -> int | None:
    """How many kernels a round launches, by PyTorch's profiler; None if it sees none."""
    from torch.profiler import ProfilerActivity, profile

    run(0)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        run(1)
        torch.cuda.synchronize()
    copies = ("Memcpy", "Memset")
    return sum(e.device_type.name == "CUDA" and not e.name.startswith(copies) for e in profiled.events()) or None


# Many streams.


def streams(table: Table, options: Namespace) -> None:
    device, path = torch.device(options.device), find_artefact(options.model)
    sizes, keypoints = Sizes(path), walk(FRAMES_PLAYED)
    models: dict[tuple[str, str], tuple[Model, Engine]] = {}
    for engine, precision in options.engines:
        with table.errors_as_notes(f"{engine} {precision}"):
            model = load(path, engine=engine, precision=precision)
            models[engine, precision] = model, open_engine(model.path, engine=engine)
    eager = load_checkpoint(path / REFERENCE)[0].to(device)
    rate = copy_rate(table, device)
    people = {key: [] for key in models}  # type: ignore[var-annotated]
    for count in options.streams:
        if table.out_of_time:
            table.add_note(f"the time was up before {count} streams")
            break
        contestants: dict[str, Run] = {}
        for key, (model, bare) in models.items():
            name = " ".join(key)
            with table.errors_as_notes(f"{name}, step_batch of {count}"):
                people[key] += [model.stream() for _ in range(count - len(people[key]))]
                contestants[f"{name} batch"] = batch(model, people[key][:count], keypoints)
            with table.errors_as_notes(f"{name}, a launch of {count}"):
                contestants[f"{name} launch"] = bare_launch(bare, model.graph, count, keypoints)
        with table.errors_as_notes(f"eager, {count} streams"):
            contestants["eager fp32 launch"] = eager_launch(eager, count, keypoints, device)
        times = table.run_in_turns(contestants, rounds=options.rounds, warm_up=WARM_UP, each_s=options.each_s / 4)
        for key in (*models, ("eager", "fp32")):
            floor = floor_ms(sizes.bytes(key[1], count), rate) if rate and key[1] in sizes.weights else None
            table.add_row(
                {"streams": count, "engine": key[0], "precision": key[1], **launch_row(" ".join(key), count, times, floor)}
            )


def launch_row(name: str, count: int, times: Mapping[str, Times], floor: float | None) -> Row:
    """The times of a launch for ``count`` people."""
    batch_of, launch, eager = (times.get(key, {}) for key in (f"{name} batch", f"{name} launch", "eager fp32 launch"))
    return {
        "step_batch_ms": median_ms(batch_of),
        "launch_ms": median_ms(launch),
        "step_batch_us_each": each(median_ms(batch_of), count),
        "launch_us_each": each(median_ms(launch), count),
        "floor_us_each": each(floor, count),
        "launch over floor": ratio(median_ms(launch), floor),
        "launch over eager": median_ratio(launch, eager),
        "step_batch over launch": median_ratio(batch_of, launch),
    }


def each(ms: float | None, count: int) -> float | None:
    """Microseconds per person."""
    return None if ms is None else round(1000 * ms / count, 2)


def batch(model: Model, people: Sequence[Any], keypoints: Sequence[F32]) -> Run:
    """The runtime's ``step_batch``: keypoints and poses are on the host, and frames are checked."""
    frames = [{stream: keypoints[(i + k) % FRAMES_PLAYED] for k, stream in enumerate(people)} for i in range(FRAMES_PLAYED)]
    return lambda i: model.step_batch(frames[i % FRAMES_PLAYED])


def bare_launch(engine: Engine, graph: Graph, count: int, keypoints: Sequence[F32]) -> Run:
    """The launch alone: all arrays are in the engine's memory, and two bindings swap the states."""
    carried = {name for state in graph.states for name in (state.input, state.output)}
    inputs, outputs = (
        {t.name: engine.zeros((count, *map(int, t.shape[1:])), t.dtype) for t in tensors if t.name not in carried}
        for tensors in (graph.inputs, graph.outputs)
    )
    inputs["keypoints"][0:count] = np.stack([keypoints[k % FRAMES_PLAYED] for k in range(count)])
    inputs["dt"][0:count] = np.full(count, 0.02, np.float32)
    slabs = [[engine.zeros((count, *map(int, s.shape[1:])), s.dtype) for s in graph.states] for _ in range(2)]
    launches = []
    for current, following in (slabs, slabs[::-1]):
        state_inputs = {state.input: slab for state, slab in zip(graph.states, current, strict=True)}
        state_outputs = {state.output: slab for state, slab in zip(graph.states, following, strict=True)}
        launches.append(engine.bind(inputs | state_inputs, outputs | state_outputs))
    return lambda i: launches[i % 2]()


def eager_launch(model: Lifter, count: int, keypoints: Sequence[F32], device: torch.device) -> Run:
    """PyTorch's step alone, with its input on the device."""
    next_pose = step_function(model, count, device)
    x = torch.from_numpy(np.stack([keypoints[k % FRAMES_PLAYED] for k in range(count)])).to(device)

    def run(i: int) -> None:
        next_pose(x)
        synchronize(device)

    return run


def walk(frames: int) -> list[F32]:
    """Normalised keypoints (J, 3) per frame of a walking person, with a detector's noise."""
    with SyntheticSource(noise_px=2, frames=frames) as source:
        return [frame.keypoints[0].normalised() for frame in source]
