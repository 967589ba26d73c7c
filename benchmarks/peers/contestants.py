"""Who takes part: ours, the same network in other software, windows that are lifted anew for each frame, a picture network."""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from gpu.streaming import eager_step, walk
from gpu.table import Run
from gpu.training import hummuss_step, motionbert_window
from posemoe_edge import load
from posemoe_edge.edge.checkpoints import load_checkpoint
from posemoe_edge.edge.models.attention import AttentionConfig
from posemoe_edge.edge.models.config import LifterConfig
from posemoe_edge.edge.models.lifter import Lifter
from posemoe_edge.edge.models.topology import build
from posemoe_edge.edge.presets import find_preset
from posemoe_edge.export.trace import trace
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact.certificate import REFERENCE
from posemoe_edge.runtime.artefact.locate import find_artefact
from posemoe_edge.runtime.artefact.manifest import read_manifest
from posemoe_edge.runtime.bench import BareLaunch
from posemoe_edge.runtime.detectors.litert import LiteRtNetwork
from posemoe_edge.runtime.detectors.models import POSE_LANDMARKS, get_command
from posemoe_edge.runtime.engines import open_engine, resolve
from posemoe_edge.runtime.engines.onnxruntime import open_cpu_session

from peers.ring import Ring, RingStep, trace_ring

OURS, EAGER, COMPILED = "ours", "same network, PyTorch eager", "same network, torch.compile"
WARM_UP = 1  # rounds
CPU = torch.device("cpu")
ORT, TORCH = "ONNX Runtime", "PyTorch"
STEPS = ("poseretnet-h36m-243", "hummuss-causal")  # published systems that stream
WINDOWS = (
    "posemoe-h36m-81", "posemoe-h36m-243", "mixste-243", "mixste-h2ot-243", "motionbert-lite-243", "motionbert-lite-h2ot-243",
)  # fmt: skip
SHORT = ("mixste-243", "motionbert-lite-243")  # also with a window of 81

# With ONNX Runtime's own optimizers, as anybody opens one.
open_session = partial(open_cpu_session, threads=1, purpose="a peer", expected="a graph that was exported here")


@dataclass(frozen=True)
class Peer:
    """A contestant.

    Args:
        name, engine: as the table prints them.
        make: builds it; what it returns takes the next frame of a stream and waits for its pose.
        params: of its network.
        state_bytes: what it keeps of a stream between two frames; None where it keeps nothing of its own.
        memory: whether its memory can be measured in a copy of the process.
    """

    name: str
    engine: str
    make: Callable[[], Run]
    params: int | None = None
    state_bytes: int | None = None
    memory: bool = True


def peers(options: Namespace, folder: Path, note: Callable[[str], None]) -> Iterator[Peer]:
    """All that can run here. Ours is not at either end, where a contestant runs twice in a row: rounds go to and fro.

    Args:
        folder: for graphs.
        note: is told what cannot run, and why.
    """
    path, keypoints = find_artefact(options.model), walk(options.frames + WARM_UP)
    model = load_checkpoint(path / REFERENCE)[0].eval().requires_grad_(False)
    same = partial(Peer, params=count(model), state_bytes=read_manifest(path).state_bytes)
    yield same(EAGER, TORCH, eager_step(path, keypoints, CPU))
    yield same(OURS, "the runtime", partial(runtime_step, path, keypoints))
    yield same("ours, the launch alone", ORT, partial(bare_step, path, keypoints))
    yield same(f"{ORT}, session.run with numpy", ORT, partial(plain_step, path, keypoints))
    if options.compile:
        yield same(COMPILED, TORCH, partial(compiled_step, path, keypoints), memory=False)
    for frames in options.windows:
        yield from rings(model, frames, keypoints, folder)
    config = model.config
    for frames in options.windows:  # the same sizes, with attention over a window
        equal = replace(config, mixer=AttentionConfig(), window=frames, lookahead=False)
        yield window(f"window of {frames}, same size", equal, folder, keypoints)
    for name in STEPS if options.large else ():
        yield step(name, folder, keypoints)
    for name in WINDOWS if options.large else ():
        config = find_preset(name).config
        yield window(name, config, folder, keypoints)
        if name in SHORT:
            yield window(name.replace("243", "81"), replace(config, window=81), folder, keypoints)
    if options.large:
        yield Peer("motionbert-lite-243, PyTorch", TORCH, partial(motionbert_window, 243, 1, CPU))
        yield Peer("hummuss-causal, PyTorch", TORCH, partial(hummuss_step, 1, CPU))
    for variant, file in POSE_LANDMARKS.items():
        if file.path.is_file():
            yield Peer(f"MediaPipe's landmarks, {variant}", "LiteRT", partial(landmarks, variant))
        else:
            note(f"MediaPipe's landmarks, {variant}: not in the cache; {get_command(f'blazepose:{variant}')} fetches it")


def count(model: torch.nn.Module) -> int:
    """Parameters of a network."""
    return sum(weight.numel() for weight in model.parameters())


# The network itself, in several kinds of software.


def runtime_step(path: Path, keypoints: Sequence[F32]) -> Run:
    """Ours: a stream of the runtime, with all its checks."""
    stream = load(path, precision="fp32").stream()
    return lambda i: stream.step(keypoints[i % len(keypoints)])


def bare_step(path: Path, keypoints: Sequence[F32]) -> Run:
    """The graph by the runtime's engine, without the runtime around it."""
    selection = resolve(path, precision="fp32", engine="onnxruntime")
    engine = open_engine(selection.source, engine=selection.engine)
    launch = BareLaunch(engine, selection.graph, 1, keypoints=keypoints[0][None])
    return lambda i: launch()


def plain_step(path: Path, keypoints: Sequence[F32]) -> Run:
    """The same graph as one would run it without the runtime: the state is fed back as a numpy array."""
    graph = next(graph for graph in read_manifest(path).graphs if graph.precision == "fp32")
    session, state = open_session(path / graph.file), graph.states[0]
    shape = (1, *(int(axis) for axis in next(t for t in graph.inputs if t.name == state.input).shape[1:]))
    feeds: dict[str, Any] = {"dt": np.full(1, 0.02, np.float32), "reset": np.zeros(1, bool)}
    feeds[state.input] = np.zeros(shape, np.float32)

    def run(i: int) -> None:
        feeds["keypoints"] = keypoints[i % len(keypoints)][None]
        _, feeds[state.input] = session.run(["pose", state.output], feeds)

    return run


def compiled_step(path: Path, keypoints: Sequence[F32]) -> Run:
    """PyTorch's compiler. The first call compiles, before anything is timed."""
    model = load_checkpoint(path / REFERENCE)[0].eval().requires_grad_(False)
    next_pose = torch.compile(model.step, dynamic=False)
    dt, reset, state = torch.full((1,), 0.02), torch.zeros(1, dtype=torch.bool), model.initial_state(1)

    def run(i: int) -> None:
        nonlocal state
        with torch.no_grad():
            _, state = next_pose(torch.from_numpy(keypoints[i % len(keypoints)][None]), state, dt, reset)

    run(0)
    return run


# Attention with a ring of keys and values.


def rings(model: Lifter, frames: int, keypoints: Sequence[F32], folder: Path) -> Iterator[Peer]:
    """Once in each kind of software."""
    peer = partial(Peer, params=count(model), state_bytes=Ring(model, frames).values.nbytes)
    path = folder / f"ring-{frames}.onnx"
    with warnings.catch_warnings():  # the exporter's warnings are for its own developers
        warnings.simplefilter("ignore")
        trace_ring(model, frames, path)
    name = f"ring of {frames} keys and values"
    yield peer(name, ORT, partial(ring_session, model, frames, path, keypoints))
    yield peer(f"{name}, PyTorch", TORCH, partial(ring_eager, model, frames, keypoints))


def ring_session(model: Lifter, frames: int, path: Path, keypoints: Sequence[F32]) -> Run:
    session, ring = open_session(path), Ring(model, frames)
    channels = model.config.channels

    def run(i: int) -> None:
        x = keypoints[i % len(keypoints)][None, :, :channels]
        _, rows = session.run(["pose", "rows"], {"keypoints": x, "ring": ring.values, "hidden": ring.hidden})
        ring.add(rows)

    return run


def ring_eager(model: Lifter, frames: int, keypoints: Sequence[F32]) -> Run:
    step, ring = RingStep(model), Ring(model, frames)
    values, hidden = torch.from_numpy(ring.values), torch.from_numpy(ring.hidden)  # they share their memory

    def run(i: int) -> None:
        with torch.inference_mode():
            x = torch.from_numpy(keypoints[i % len(keypoints)][None, :, : model.config.channels])
            ring.add(step(x, values, hidden)[1].numpy())

    return run


# Published systems, with random weights: only their cost is measured.


def window(name: str, config: LifterConfig, folder: Path, keypoints: Sequence[F32]) -> Peer:
    """A window network that lifts the last frames again for each new one."""
    model, path = build(config).eval().requires_grad_(False), folder / f"{name}.onnx"
    onnx.save(trace(model), path)
    assert config.window is not None
    kept = 4 * config.window * config.joints * config.channels
    return Peer(name, ORT, partial(window_session, config, path, keypoints), count(model), kept)


def window_session(config: LifterConfig, path: Path, keypoints: Sequence[F32]) -> Run:
    session, frames = open_session(path), config.window or 1
    seen: F32 = np.zeros((1, frames, config.joints, config.channels), np.float32)

    def run(i: int) -> None:
        seen[:, :-1] = seen[:, 1:].copy()
        seen[:, -1] = keypoints[i % len(keypoints)][:, : config.channels]
        session.run(["pose"], {"keypoints": seen})

    return run


def step(name: str, folder: Path, keypoints: Sequence[F32]) -> Peer:
    """A published system that streams, step by step."""
    model, path = find_preset(name).build().eval().requires_grad_(False), folder / f"{name}.onnx"
    onnx.save(trace(model), path)
    nbytes = model.initial_state(1).numel() * 4
    return Peer(f"{name}, step", ORT, partial(step_session, model.config, tuple(model.initial_state(1).shape), path, keypoints),
                count(model), nbytes)  # fmt: skip


def step_session(config: LifterConfig, state_shape: tuple[int, ...], path: Path, keypoints: Sequence[F32]) -> Run:
    """Two states that take turns, bound once, as the runtime does it."""
    session, value = open_session(path), onnxruntime.OrtValue.ortvalue_from_numpy
    x: F32 = np.zeros((1, config.joints, config.channels), np.float32)
    pose: F32 = np.zeros((1, config.joints, 3), np.float32)
    fixed = {"dt": np.full(1, 0.02, np.float32), "reset": np.zeros(1, bool), "keypoints": x}
    states = [np.zeros(state_shape, np.float32) for _ in range(2)]
    bindings = []
    for side in range(2):
        binding = session.io_binding()
        for name, array in (*fixed.items(), ("state", states[side])):
            binding.bind_ortvalue_input(name, value(array))
        for name, array in (("pose", pose), ("next_state", states[1 - side])):
            binding.bind_ortvalue_output(name, value(array))
        bindings.append(binding)

    def run(i: int) -> None:
        x[0] = keypoints[i % len(keypoints)][:, : config.channels]
        session.run_with_iobinding(bindings[i % 2])

    return run


def landmarks(variant: str) -> Run:
    """MediaPipe's network for the landmarks of one person in a picture, without its tracking: for the scale alone."""
    file = POSE_LANDMARKS[variant]
    content = file.read(run=get_command(f"blazepose:{variant}"))
    network = LiteRtNetwork(content, name=file.name, expected="BlazePose's landmarks", purpose="MediaPipe's landmark step")
    picture = np.random.default_rng(0).random(network.input_shape, np.float32)
    return lambda i: network.run(picture)
