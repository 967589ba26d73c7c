"""Stream: one person in one camera, lifted from 2D keypoints to 3D poses frame by frame, for any length of time."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import ArrayLike

from .arrays import F32
from .artefact.manifest import POSE_WITH_SIGMA, Graph, Manifest
from .cuda.array import DeviceArray
from .cuda.interop import DeviceInput, as_device_array
from .errors import FrameError, UsageError
from .gaps import GapPolicy
from .model_lock import ModelLock
from .pose.keypoints import check_keypoints
from .pose.skeleton import H36M_ORDERS
from .pose.types import Pose
from .shadow import StreamSampler
from .snapshot import AcceptedFrame, History, Snapshot
from .state import Slots


class LiftTogether(Protocol):
    """Lifts one frame for each of several streams of a model in one launch: its ``BatchStep``."""

    def __call__(self, frames: Mapping[Stream, ArrayLike | DeviceInput], t: float | None) -> dict[Stream, Pose]: ...


class Stream:
    """One person in one camera. ``Model.stream`` makes it; it owns one slot of the model until it is closed or collected.

    A frame is either taken or refused with a ``FrameError``; a refused frame leaves everything as it was.
    """

    def __init__(
        self,
        manifest: Manifest,
        graph: Graph,
        *,
        engine: str,
        identity: str,
        slots: Slots,
        lock: ModelLock,
        abandoned: deque[int],
        gaps: GapPolicy,
        latency_frames: int,
        step_batch: LiftTogether,
        sampler: StreamSampler | None = None,
        person: int = 0,
    ) -> None:
        self._manifest, self._precision, self._engine, self._identity = manifest, graph.precision, engine, identity
        self._slots, self._lock, self._step_batch = slots, lock, step_batch
        self._gaps, self._latency, self._sampler, self._person = gaps, latency_frames, sampler, person
        self._order = np.array(H36M_ORDERS[manifest.skeleton])  # index i: the Human3.6M joint at index i of the model's order
        self._slot: int | None = slots.allocate()
        # The garbage collector may run in a thread that holds the lock, so it only notes the slot; the model releases it.
        self._abandon = weakref.finalize(self, abandoned.append, self._slot)
        self._abandon.atexit = False
        self._history = History()

    def __repr__(self) -> str:
        model = f"preset={self._manifest.preset!r}, precision={self._precision!r}, engine={self._engine!r}"
        return f"Stream({model}, slot={self._slot})"  # a closed stream has slot None

    def step(self, keypoints: ArrayLike | DeviceInput, *, t: float | None = None) -> Pose:
        """Lift one frame.

        Args:
            keypoints: (17, 3) normalised x, y, score in Human3.6M order, or (17, 2) with every joint seen, as
                ``Keypoints.normalised`` gives them for the model's view. If the model runs
                on a GPU in mode step, they may be in its memory: float32, with the model's number of channels, of any library
                with DLPack or ``__cuda_array_interface__``. Then the pose stays there too, as ``Pose.xyz_m_device``.
            t: capture time in seconds, later than the frame before; None is one nominal frame later.

        Raises:
            FrameError: wrong shape, not finite, a score outside [0, 1], or time that does not go forward.
        """
        return self._step_batch({self: keypoints}, t)[self]

    def reset(self) -> None:
        """Clear the state: the next frame is treated as the first one."""
        self._history = History()

    def snapshot(self) -> Snapshot:
        """A copy of the stream's state and history."""
        with self._lock:
            return Snapshot(self._identity, self._slots.state_copy(self._check_open()), self._history)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this stream or of another stream of the same graph.

        Raises:
            UsageError: the snapshot is of another graph, or the stream is closed.
        """
        if snapshot.graph != self._identity:
            raise UsageError(
                "the snapshot is of another model", expected=f"a snapshot of {self._manifest.preset} and the same graph"
            )
        with self._lock:
            self._slots.load_state(self._check_open(), snapshot.state)
            self._history = snapshot.history
        if self._sampler is not None:
            self._sampler.interrupt()

    def close(self) -> None:
        """Release the slot; a second call does nothing."""
        if self._slot is not None:
            self._abandon.detach()
            if not self._lock.closed:
                with self._lock:
                    self._slots.release(self._slot)
            self._slot = None
            if self._sampler is not None:
                self._sampler.interrupt()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise UsageError("a stream cannot be pickled or copied: its state is the model's", expected="stream.snapshot()")

    # What BatchStep calls. The first four change nothing.

    def _check_open(self) -> int:
        """The stream's slot; a closed stream has none, which is a ``UsageError``."""
        if self._slot is None:
            raise UsageError("the stream is closed", expected="a new stream from model.stream()")
        return self._slot

    def _device_keypoints(self, keypoints: DeviceInput) -> DeviceArray:
        """A frame on the GPU, not copied, if the model can read it there."""
        device_io = self._slots.device_io
        if device_io is None:
            raise UsageError(
                "keypoints on a GPU, for a model that reads keypoints on the host only",
                expected="keypoints in host memory, e.g. keypoints.cpu(), or a graph of mode step that runs on the GPU",
                run="posemoe-edge doctor",
            )
        if self._order.tolist() != list(range(len(self._order))):
            raise UsageError(
                f"the keypoints are on a GPU, and the model has the joints of {self._manifest.skeleton}",
                expected="keypoints in host memory, where these joints are reordered",
            )
        array = as_device_array(device_io.device, keypoints)
        if array.shape != device_io.frame_shape or array.dtype != np.float32:
            expected = f"float32 {device_io.frame_shape}"
            raise FrameError(f"the keypoints on the GPU are {array.dtype} {array.shape}", expected=expected)
        return array

    def _accept(self, keypoints: ArrayLike, t: float | None) -> AcceptedFrame:
        """Check a frame, and decide what to do about the time since the frame before."""
        self._check_open()
        if self._sampler is not None:
            self._sampler.check()
        checked = check_keypoints(keypoints)
        checked[checked[:, 2] == 0] = 0  # the coordinates of a joint that was not seen mean nothing
        nominal_s, last_s = 1 / self._manifest.fps, self._history.last_s
        if t is None:
            t = 0.0 if last_s is None else last_s + nominal_s
        if not math.isfinite(t):
            raise FrameError(f"the frame's time is {t}", expected="seconds")
        if last_s is not None and t <= last_s:
            raise FrameError(f"time went from {last_s:.6f} s to {t:.6f} s", expected="each frame later than the one before")
        if self._history.fed_s is None:
            return AcceptedFrame(checked, t, nominal_s, "reset")
        dt_s = t - self._history.fed_s
        gap = self._gaps.decide(dt_s, seen=bool(checked[:, 2].any()))
        if gap != "hold" and self._sampler is not None and self._sampler.reset_pending:
            gap = "reset"
        return AcceptedFrame(checked, t, dt_s, gap)

    def _model_inputs(self, frame: AcceptedFrame) -> tuple[F32, float, bool]:
        """What the model is fed of a frame: keypoints (J, channels) in the model's joint order, dt in seconds, reset."""
        reset = frame.gap == "reset"
        keypoints = frame.keypoints[self._order, : self._manifest.channels]
        return keypoints, 1 / self._manifest.fps if reset else frame.dt_s, reset

    def _from_model(self, lifted: F32) -> F32:
        """What the model gives, (J, 3) or with sigma (J, 4), in Human3.6M order; always a copy."""
        ordered = np.empty_like(lifted)
        ordered[self._order] = lifted
        return ordered

    def _commit(self, frame: AcceptedFrame, lifted: F32 | None, xyz_m_device: DeviceArray | None) -> Pose:
        """Add a frame to the history; its pose.

        Args:
            lifted: (J, 3 or 4) in Human3.6M order, of this frame or of one ``latency_frames`` before; None repeats the last
                pose.
        """
        if lifted is None:
            assert self._history.lifted is not None, "a stream that was never fed cannot hold a pose"
            lifted, posed = self._history.lifted.copy(), frame
            self._history = replace(self._history, last_s=frame.t_s)
        else:
            before = () if frame.gap == "reset" else self._history.fed
            fed = (*before, frame)[-1 - self._latency :]
            posed = fed[0]
            self._history = History(frame.t_s, frame.t_s, lifted.copy(), fed)
        return Pose(
            xyz_m=np.ascontiguousarray(lifted[:, :3]),
            sigma_m=np.ascontiguousarray(lifted[:, 3]) if lifted.shape[1] == POSE_WITH_SIGMA else None,
            score=posed.score,
            t_s=posed.t_s,
            dt_s=posed.dt_s,
            latency_frames=self._latency,
            gap=frame.gap,
            person=self._person,
            xyz_m_device=xyz_m_device,
        )
