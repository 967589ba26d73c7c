"""A model: an opened artefact, shared by its streams."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from numpy.typing import ArrayLike

from .artefact.certificate import Certificate, read_certificate
from .artefact.locate import find_artefact
from .artefact.manifest import Graph, Manifest, check_file, parse_manifest, read_manifest
from .artefact.metadata import METADATA
from .artefact.precision import Precision
from .cuda.interop import DeviceInput
from .engines import Engine, open_engine
from .engines.select import choose
from .engines.tensorrt.plan import Plan
from .errors import ArtefactError, CheckFailedError, UsageError
from .gaps import GapPolicy
from .pose.types import Pose
from .shadow import Shadow
from .state import ChunkSlots, Slots, StepSlots, WindowSlots
from .step_batch import BatchStep
from .stream import Stream

log = logging.getLogger(__name__)


class Model:
    """A lifter that is ready to run: immutable, and shared by all its streams. Made by ``load``.

    ``drift`` is what its certificate says of this graph, on this engine or else on any other; None if it says nothing.

    Each stream is for one thread at a time; launches of different streams take turns, whichever threads they come from.
    """

    def __init__(
        self,
        manifest: Manifest,
        graph: Graph,
        path: Path,
        *,
        certificate: Certificate | None,
        engine: str | None,
        plan: Plan | None,
        threads: int,
        gaps: GapPolicy,
        latency_frames: int | None,
        shadow: Shadow | None,
    ) -> None:
        self.manifest, self.graph, self.certificate, self.path = manifest, graph, certificate, path
        self._opened = opened = open_engine(path, engine=engine, threads=threads, plan=plan)
        _check_interface(opened, graph)
        self.engine = opened.name
        self.drift = certificate.drift_for(graph.precision, self.engine) if certificate else None
        self.latency_frames = manifest.latency_frames if latency_frames is None else latency_frames
        allowed = _latencies(manifest, graph)
        if self.latency_frames not in allowed:
            raise UsageError(
                f"a latency of {self.latency_frames} frames", expected=f"{allowed[0]} to {allowed[-1]} in mode {graph.mode}"
            )
        self._slots = self._make_slots(opened)
        self._identity = manifest.files[graph.file].sha256 if manifest.files else str(path)
        self.gaps = gaps
        self._shadow = shadow
        self._lock = Lock()
        self._step_batch = BatchStep(self._slots, self._lock)
        log.info("%s runs on %s", self, self.engine)
        if not manifest.metric:
            log.warning("%s answers in %s, not in metres", self, manifest.units)

    def _make_slots(self, engine: Engine) -> Slots:
        if self.graph.mode == "step":
            return StepSlots(engine, self.graph)
        if self.graph.mode == "chunk":
            return ChunkSlots(engine, self.graph)
        return WindowSlots(engine, self.graph, latency_frames=self.latency_frames)

    def __str__(self) -> str:
        return f"{self.manifest.preset} {self.graph.precision} {self.graph.mode}"

    @property
    def state_bytes(self) -> int:
        """What one stream carries from frame to frame, in bytes."""
        return self.manifest.state_bytes

    def stream(self) -> Stream:
        """A new stream with an empty memory. There is room for any number of them."""
        with self._lock:
            return Stream(
                self.manifest,
                self.graph,
                engine=self.engine,
                identity=self._identity,
                slots=self._slots,
                lock=self._lock,
                gaps=self.gaps,
                latency_frames=self.latency_frames,
                step_batch=self._step_batch,
                sampler=None if self._shadow is None else self._shadow.stream_sampler(),
            )

    def close(self) -> None:
        """Free what it holds of a GPU at once, not when it is forgotten. Its streams take no frames any more."""
        with self._lock:
            self._opened.close()

    def step_batch(self, frames: Mapping[Stream, ArrayLike | DeviceInput], *, t: float | None = None) -> dict[Stream, Pose]:
        """One frame for each of these streams, in one launch: see ``Stream.step``. If one is refused, none is taken."""
        for stream in frames:
            if stream._slots is not self._slots:
                raise UsageError("a stream of another model", expected="streams that this model made")
        return self._step_batch(frames, t)


def load(
    artefact: str | Path | None = None,
    *,
    precision: Precision | None = None,
    engine: str | None = None,
    threads: int = 1,
    gaps: GapPolicy | None = None,
    latency_frames: int | None = None,
    allow_failed: bool = False,
    shadow: Shadow | None = None,
) -> Model:
    """Open an artefact and make it ready to run.

    Args:
        artefact: a folder that ``export`` wrote, a single .onnx of one, or the name of a shipped one; None is the default.
        precision: None decides: what the artefact prefers, else fp32 on a CPU, which computes fp16 in fp32 too, only slower;
            a plan's on a GPU.
        engine: a name of ``ENGINES``; None decides, TensorRT > CUDA > CPU, and ``Model.engine`` says what.
        threads: processor threads for one launch.
        gaps: what to do about time without frames; None is ``GapPolicy()``.
        latency_frames: for a window model, how far behind the newest frame its answer lies; None is the manifest's.
        allow_failed: run a graph whose drift certificate failed.
        shadow: compares a sample of the frames of all streams with a reference; for graphs of mode step.

    Raises:
        MissingError: no such artefact, or no engine installed.
        ArtefactError: the artefact is incomplete, was changed, or does not fit.
        CheckFailedError: its certificate says that it drifts beyond its budget.
    """
    path = find_artefact(artefact)
    certificate = None
    if path.is_file():
        manifest = _manifest_inside(path)
        choice = choose(path, manifest, precision=manifest.graph(precision).precision, engine=engine)
        graph, graph_path = choice.graph, path
    else:
        manifest = read_manifest(path)
        choice = choose(path, manifest, precision=precision, engine=engine)
        graph = choice.graph
        graph_path = check_file(path, manifest, graph.file)
        certificate = read_certificate(path, manifest)
    if shadow is not None and graph.mode != "step":
        raise UsageError(f"a shadow of {manifest.preset}, whose mode is {graph.mode}", expected="an artefact of mode step")
    model = Model(
        manifest,
        graph,
        graph_path,
        certificate=certificate,
        engine=choice.engine,
        plan=choice.plan,
        threads=threads,
        gaps=gaps or GapPolicy(),
        latency_frames=latency_frames,
        shadow=shadow,
    )
    if model.drift and not model.drift.passed and not allow_failed:
        model.close()
        raise CheckFailedError(
            f"{manifest.preset} {graph.precision} failed its drift certificate: {', '.join(model.drift.exceeded)}",
            expected="an artefact within its budget",
            run=f"posemoe-edge verify {path}, or use --allow-failed",
        )
    return model


def _latencies(manifest: Manifest, graph: Graph) -> range:
    """How many frames behind the newest one a pose of this graph may lie."""
    if graph.mode == "window" and graph.outputs[0].shape[1] == graph.frames:
        return range(graph.frames)
    latency = graph.frames - 1 if graph.mode == "chunk" else manifest.latency_frames
    return range(latency, latency + 1)


def _check_interface(engine: Engine, graph: Graph) -> None:
    """The graph's inputs and outputs are those of which the manifest speaks."""
    for kind, found, told in (("inputs", engine.inputs, graph.inputs), ("outputs", engine.outputs, graph.outputs)):
        expected = {tensor.name: (tensor.dtype, tensor.shape) for tensor in told}
        if found != expected:
            raise ArtefactError(f"the {kind} of {graph.file} are {found}", expected=f"{expected}, as the manifest says")
    for state in graph.states:
        memory = (state.dtype, state.shape)
        if engine.inputs.get(state.input) != memory or engine.outputs.get(state.output) != memory:
            raise ArtefactError(f"{graph.file} carries no state {state.input} -> {state.output} {memory}", expected="one")


def _manifest_inside(path: Path) -> Manifest:
    """The manifest that a lone ONNX file carries."""
    metadata = open_engine(path).metadata
    if METADATA not in metadata:
        raise ArtefactError(
            f"{path} carries no manifest", expected="an ONNX file that posemoe-edge wrote", run="posemoe-edge export"
        )
    return parse_manifest(metadata[METADATA], f"{path} ({METADATA})")
