"""A model: an opened artefact, shared by its streams."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from numpy.typing import ArrayLike

from .any_model import AnyModel
from .artefact.certificate import REFERENCE, failed_certificate
from .artefact.manifest import Graph, Manifest
from .artefact.precision import Precision
from .cuda.interop import DeviceInput
from .engines import Engine, Selection, open_engine, resolve
from .errors import ArtefactError, FrameError, UsageError
from .gaps import GapPolicy
from .model_lock import ModelLock
from .pose.types import Pose
from .shadow import Shadow
from .state import ChunkSlots, Slots, StepSlots, WindowSlots
from .step_batch import BatchStep
from .stream import Stream

log = logging.getLogger(__name__)


class Model:
    """A lifter that is ready to run: immutable, and shared by all its streams. Made by ``load``.

    ``engine`` is the opened engine's name, ``drift`` the certificate's entry for this graph on this engine, otherwise on any
    engine; None if there is none. ``identity`` is the graph's sha256, or the path of a standalone file.

    As a context manager it is closed at the end.

    Use each stream from one thread at a time; launches of different streams take turns, whichever threads they come from.
    """

    def __init__(
        self,
        selection: Selection,
        engine: Engine,
        *,
        gaps: GapPolicy,
        latency_frames: int,
        shadow: Shadow | None,
    ) -> None:
        self.manifest, self.graph, self.path = selection.manifest, selection.graph, selection.path
        self.certificate = selection.certificate
        _check_interface(engine, self.graph)
        self._engine, self.engine = engine, engine.name
        self.drift = self.certificate.drift_for(self.graph.precision, self.engine) if self.certificate else None
        self.latency_frames = latency_frames
        self._slots = _open_slots(engine, self.graph, latency_frames)
        files = self.manifest.files
        self.identity = files[self.graph.file].sha256 if files else str(self.path)
        self.gaps = gaps
        self._shadow = shadow
        self._lock = ModelLock()
        self._abandoned: deque[int] = deque()  # slots of streams that were garbage collected without a close
        self._step_batch = BatchStep(self._slots, self._lock)

    @classmethod
    def open(
        cls,
        selection: Selection,
        *,
        threads: int = 1,
        gaps: GapPolicy | None = None,
        latency_frames: int | None = None,
        allow_failed: bool = False,
        shadow: Shadow | None = None,
    ) -> Model:
        """Open what ``resolve`` selected. After an error nothing stays open. See ``load`` for arguments and errors."""
        manifest, graph = selection.manifest, selection.graph
        if shadow is not None and graph.mode != "step":
            raise UsageError(
                f"a shadow cannot follow {manifest.preset}, whose mode is {graph.mode}", expected="an artefact of mode step"
            )
        latency_frames = _check_latency(manifest, graph, latency_frames)
        engine = open_engine(selection.source, engine=selection.engine, threads=threads, plan=selection.plan)
        with ExitStack() as on_error:
            on_error.callback(engine.close)
            model = cls(selection, engine, gaps=gaps or GapPolicy(), latency_frames=latency_frames, shadow=shadow)
            if model.drift and not model.drift.passed and not allow_failed:
                raise failed_certificate(selection.artefact, manifest.preset, model.drift)
            on_error.pop_all()
        log.info("%s runs on %s", model, model.engine)
        if not manifest.metric:
            log.warning("%s answers in %s, not in metres", model, manifest.units)
        return model

    def __repr__(self) -> str:
        return f"Model(preset={self.manifest.preset!r}, precision={self.graph.precision!r}, engine={self.engine!r})"

    def __str__(self) -> str:
        return f"{self.manifest.preset} {self.graph.precision} {self.graph.mode}"

    @property
    def state_bytes(self) -> int:
        """The state that one stream carries from frame to frame, in bytes."""
        return self.manifest.state_bytes

    def shares_states_with(self, other: AnyModel) -> bool:
        """Whether a stream's state means the same in both: they are graphs of the same weights and mode, in any precision, and
        both run in this process."""
        if not isinstance(other, Model):
            return False
        weights = [model.manifest.files.get(REFERENCE) for model in (self, other)]
        if weights[0] is None or weights[1] is None:
            same_weights = self.identity == other.identity
        else:
            same_weights = weights[0].sha256 == weights[1].sha256
        frames = (self.graph.mode, self.graph.frames) == (other.graph.mode, other.graph.frames)
        return same_weights and frames and self.graph.states == other.graph.states

    def stream(self, *, person: int = 0) -> Stream:
        """A new stream with an initial state, whose poses have that person's id. A model has room for any number of streams."""
        with self._lock:
            while self._abandoned:
                self._slots.release(self._abandoned.popleft())
            return Stream(
                self.manifest,
                self.graph,
                engine=self.engine,
                identity=self.identity,
                slots=self._slots,
                lock=self._lock,
                abandoned=self._abandoned,
                gaps=self.gaps,
                latency_frames=self.latency_frames,
                step_batch=self._step_batch,
                sampler=None if self._shadow is None else self._shadow.stream_sampler(),
                person=person,
            )

    def close(self) -> None:
        """Release the engine, and a GPU's memory, now instead of at garbage collection; a second call does nothing.

        Afterwards the model makes no streams, and its streams accept no frames: both are a ``UsageError``.
        """
        if not self._lock.closed:
            with self._lock:
                self._lock.closed = True
                self._engine.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError(
            f"{self} cannot be pickled or copied: it holds an engine",
            expected="load(...) of the same artefact in each process that uses it",
        )

    def step_batch(self, frames: Mapping[Stream, ArrayLike | DeviceInput], *, t: float | None = None) -> dict[Stream, Pose]:
        """One frame for each of these streams, in one launch: see ``Stream.step``. If one is refused, none is accepted."""
        self._check_own(frames)
        return self._step_batch(frames, t)

    def step_each(
        self, frames: Mapping[Stream, ArrayLike | DeviceInput], *, t: float | Mapping[Stream, float] | None = None
    ) -> dict[Stream, Pose | FrameError]:
        """As ``step_batch``, but a refused frame costs only its own stream a frame: it gets the error in place of a pose.

        Args:
            t: the capture time of all frames, or that of each stream's.
        """
        self._check_own(frames)
        return self._step_batch.each(frames, t)

    def _check_own(self, streams: Iterable[Stream]) -> None:
        for stream in streams:
            if stream._slots is not self._slots:
                raise UsageError("the stream belongs to another model", expected="streams of this model")


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
    require_signature: str | Path | None = None,
) -> Model:
    """Open an artefact and make it ready to run.

    Args:
        artefact: a folder that ``export`` wrote, a standalone .onnx of one, or the name of a shipped one; None is the default.
        precision: None selects it: on a GPU that of a plan; otherwise what the artefact prefers, usually fp32, because a CPU
            computes fp16 graphs in fp32 too, only slower.
        engine: a name in ``ENGINES``; None selects TensorRT, otherwise CUDA, otherwise the CPU. ``Model.engine`` names it.
        threads: CPU threads for one launch.
        gaps: what to do about time without frames; None is ``GapPolicy()``.
        latency_frames: for a window model, how many frames a pose lies behind the newest frame; None is the manifest's.
        allow_failed: run a graph whose drift certificate failed.
        shadow: compares a sample of the frames of all streams with a reference; for graphs of mode step.
        require_signature: the file of the public key that must have signed the artefact; see ``posemoe-edge sign``.

    Raises:
        UsageError: there is no such engine, or the latency or the shadow does not fit the graph.
        MissingError: there is no such artefact, or no engine is installed.
        ArtefactError: the artefact is incomplete, was changed, or does not fit.
        CheckFailedError: its certificate failed: the graph drifts beyond its budget; or it is not signed by that key.
    """
    signed_by = None if require_signature is None else Path(require_signature)
    selection = resolve(artefact, precision=precision, engine=engine, require_signature=signed_by)
    return Model.open(
        selection, threads=threads, gaps=gaps, latency_frames=latency_frames, allow_failed=allow_failed, shadow=shadow
    )


def _open_slots(engine: Engine, graph: Graph, latency_frames: int) -> Slots:
    if graph.mode == "step":
        return StepSlots(engine, graph)
    if graph.mode == "chunk":
        return ChunkSlots(engine, graph)
    return WindowSlots(engine, graph, latency_frames=latency_frames)


def _check_latency(manifest: Manifest, graph: Graph, latency_frames: int | None) -> int:
    """How many frames a pose lies behind the newest frame; None is the manifest's."""
    frames = manifest.latency_frames if latency_frames is None else latency_frames
    allowed = _latencies(manifest, graph)
    if frames not in allowed:
        raise UsageError(f"a latency of {frames} frames", expected=f"{allowed[0]} to {allowed[-1]} in mode {graph.mode}")
    return frames


def _latencies(manifest: Manifest, graph: Graph) -> range:
    """How many frames a pose of this graph may lie behind the newest frame."""
    if graph.mode == "window" and graph.outputs[0].shape[1] == graph.frames:
        return range(graph.frames)
    latency = graph.frames - 1 if graph.mode == "chunk" else manifest.latency_frames
    return range(latency, latency + 1)


def _check_interface(engine: Engine, graph: Graph) -> None:
    """Raise an error unless the opened graph has the inputs, outputs and states that the manifest describes."""
    for kind, interface, tensors in (("inputs", engine.inputs, graph.inputs), ("outputs", engine.outputs, graph.outputs)):
        expected = {tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors}
        if interface != expected:
            raise ArtefactError(f"the {kind} of {graph.file} are {interface}", expected=f"{expected}, as the manifest says")
    for state in graph.states:
        memory = (state.dtype, state.shape)
        if engine.inputs.get(state.input) != memory or engine.outputs.get(state.output) != memory:
            raise ArtefactError(
                f"{graph.file} has no state {state.input} -> {state.output} {memory}", expected="the states of the manifest"
            )
