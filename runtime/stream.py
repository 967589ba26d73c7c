"""A stream: one person in one camera, from 2D keypoints to 3D poses, frame by frame, for as long as it takes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .artefact.manifest import Manifest
from .cuda.array import DeviceArray, DeviceInput, as_device_array, on_device
from .errors import ArtefactError, FrameError, UsageError
from .gaps import GapPolicy
from .pose.keypoints import check_keypoints
from .pose.skeleton import H36M17, H36M_ORDERS
from .pose.types import GapAction, Pose
from .shadow import Watch
from .state import Memory, Slots

Floats = NDArray[np.float32]

# What a frame on the GPU is taken for until it is here: one that there is nothing wrong with.
PLACEHOLDER_KEYPOINTS: Floats = np.ones((len(H36M17), 3), np.float32)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a stream remembers, to go back to with ``Stream.restore``."""

    graph: str
    memory: Memory
    time: _Time


@dataclass(frozen=True, eq=False)
class _Time:
    """When a stream was last fed, and what came of it."""

    last_s: float | None = None  # capture time of the last frame, fed or not
    fed_s: float | None = None  # capture time of the last frame that was fed
    xyz_m: Floats | None = None
    fed: tuple[AcceptedFrame, ...] = ()  # the frames between the one that the last pose belongs to and the last one fed


@dataclass(frozen=True, eq=False)
class AcceptedFrame:
    """A frame that was accepted, with what to do about it."""

    keypoints: Floats
    t_s: float
    dt_s: float
    gap: GapAction

    @property
    def score(self) -> Floats:
        return self.keypoints[:, 2]


class Stream:
    """One person in one camera. Made by ``Model.stream``; owns one slot until it is closed.

    A frame is either taken or refused with a ``FrameError``; a refused frame leaves everything as it was.
    """

    def __init__(
        self,
        manifest: Manifest,
        graph: str,
        slots: Slots,
        lock: Lock,
        gaps: GapPolicy,
        latency_frames: int,
        watch: Watch | None = None,
    ) -> None:
        self._manifest, self._graph, self._watch = manifest, graph, watch
        self._slots, self._lock = slots, lock
        self._gaps, self._latency = gaps, latency_frames
        self._order = np.array(H36M_ORDERS[manifest.skeleton])  # index i: the Human3.6M joint that the model has in place i
        self._slot: int | None = slots.join()
        self._time = _Time()

    def step(self, keypoints: ArrayLike | DeviceInput, *, t: float | None = None) -> Pose:
        """Lift one frame.

        Args:
            keypoints: (17, 3) normalised x, y, score in Human3.6M order, or (17, 2), everything seen. Where the model runs on
                a GPU in mode step, they may lie there: float32, as many channels as the model takes, of torch or of anyone
                with DLPack or ``__cuda_array_interface__``. Then the pose is there too, as ``Pose.xyz_m_device``.
            t: capture time in seconds, later than the frame before; None is one nominal frame later.

        Raises:
            FrameError: wrong shape, not finite, a score outside [0, 1], or time that does not go forward.
        """
        return step_all({self: keypoints}, t=t)[self]

    def reset(self) -> None:
        """Forget everything: the next frame is a first one."""
        self._time = _Time()

    def snapshot(self) -> Snapshot:
        """A copy of all that the stream remembers."""
        with self._lock:
            return Snapshot(self._graph, self._slots.copy(self._seat), self._time)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot, of this stream or of another one of the same model."""
        if snapshot.graph != self._graph:
            raise UsageError("the snapshot is of another model", expected=f"one of {self._manifest.preset}, same graph")
        with self._lock:
            self._slots.paste(self._seat, snapshot.memory)
        if self._watch is not None:
            self._watch.cut()
        self._time = snapshot.time

    def close(self) -> None:
        """Give the slot back; a second call does nothing."""
        if self._slot is not None:
            with self._lock:
                self._slots.leave(self._slot)
            self._slot = None
            if self._watch is not None:
                self._watch.cut()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def _seat(self) -> int:
        if self._slot is None:
            raise UsageError("the stream is closed", expected="a new one from model.stream()")
        return self._slot

    def _borrow(self, keypoints: DeviceInput) -> DeviceArray:
        """A frame that lies on the GPU, where it is."""
        far = self._slots.far
        if far is None:
            raise UsageError(
                "keypoints on a GPU, for a model that takes none from there",
                expected="keypoints of the host, e.g. keypoints.cpu(), or a graph of mode step that runs on the GPU",
                run="posemoe-edge doctor",
            )
        if self._order.tolist() != list(range(len(self._order))):
            raise UsageError(
                f"keypoints on a GPU, for a model with the joints of {self._manifest.skeleton}",
                expected="keypoints of the host: these joints are put into another order there",
            )
        found = as_device_array(far.device, keypoints)
        if (found.shape, found.dtype) != (far.frame, np.float32):
            raise FrameError(f"the keypoints on the GPU are {found.dtype} {found.shape}", expected=f"float32 {far.frame}")
        return found

    def _to_model(self, keypoints: Floats) -> Floats:
        """(17, 3) in Human3.6M order to what the model takes, in its own order."""
        return keypoints[self._order, : self._manifest.channels]

    def _from_model(self, xyz_m: Floats) -> Floats:
        """The model's pose in Human3.6M order, always a copy."""
        made = np.empty_like(xyz_m)
        made[self._order] = xyz_m
        return made

    def _accept(self, keypoints: ArrayLike, t: float | None) -> AcceptedFrame:
        """Check a frame and decide what to do about the time before it. Changes nothing."""
        self._seat  # noqa: B018  (a closed stream takes no frames)
        if self._watch is not None:
            self._watch.check()
        checked = check_keypoints(keypoints)
        checked[checked[:, 2] == 0] = 0  # a joint that was not seen has no place
        nominal, last = 1 / self._manifest.fps, self._time.last_s
        if t is None:
            t = 0.0 if last is None else last + nominal
        if not math.isfinite(t):
            raise FrameError(f"the frame's time is {t}", expected="seconds")
        if last is not None and t <= last:
            raise FrameError(f"time went from {last:.6f} s to {t:.6f} s", expected="each frame later than the one before")
        seen = bool(checked[:, 2].any())
        if self._time.fed_s is None:
            return AcceptedFrame(checked, t, nominal, "reset")
        dt = t - self._time.fed_s
        gap = self._gaps.decide(dt, seen=seen)
        if self._watch is not None and self._watch.forget and gap != "hold":
            gap = "reset"
        return AcceptedFrame(checked, t, dt, gap)

    def _given(self, due: AcceptedFrame) -> tuple[Floats, float, bool]:
        """What the slot is given of a frame: keypoints as the model takes them, dt, reset."""
        reset = due.gap == "reset"
        return self._to_model(due.keypoints), 1 / self._manifest.fps if reset else due.dt_s, reset

    def _keep(self, due: AcceptedFrame, xyz_m: Floats, xyz_m_device: DeviceArray | None) -> Pose:
        """Take note of a frame, and make the pose that follows from it: of this frame, or of one ``latency_frames`` before."""
        if due.gap == "hold":
            self._time = replace(self._time, last_s=due.t_s)
            of = due
        else:
            before = () if due.gap == "reset" else self._time.fed
            fed = (*before, due)[-1 - self._latency :]
            self._time = _Time(due.t_s, due.t_s, xyz_m.copy(), fed)
            of = fed[0]
        return Pose(
            xyz_m=xyz_m,
            score=of.score,
            t_s=of.t_s,
            dt_s=of.dt_s,
            latency_frames=self._latency,
            gap=due.gap,
            xyz_m_device=xyz_m_device,
        )


def step_all(
    frames: Mapping[Stream, ArrayLike | DeviceInput], *, t: float | None = None, far: Collection[Stream] = ()
) -> dict[Stream, Pose]:
    """One frame for each of these streams of one model, in one launch. If one frame is refused, none is taken.

    A frame on the GPU is fed unseen, taken for a plain one, and comes to the host together with what was made of it. If it
    was not plain, a joint to mask, nobody to be seen, that launch is not kept, and it is done once more with what is known now.

    Args:
        far: whose poses are wanted on the GPU, beside those whose frames lie there.
    """
    if not frames:
        return {}
    first = next(iter(frames))
    slots, lifted, answered = first._slots, dict[Stream, Floats](), dict[Stream, DeviceArray]()
    again: dict[Stream, Floats] = {}
    with first._lock:  # also for borrowing, which has the model's own stream of work wait
        lent = {stream: stream._borrow(x) for stream, x in frames.items() if on_device(x)}  # type: ignore[arg-type]
        due = {stream: stream._accept(PLACEHOLDER_KEYPOINTS if stream in lent else x, t) for stream, x in frames.items()}  # type: ignore[arg-type]
        seats = {stream: stream._seat for stream, frame in due.items() if frame.gap != "hold"}
        if seats:
            for stream, seat in seats.items():
                keypoints, dt_s, reset = stream._given(due[stream])
                slots.put(seat, lent.get(stream, keypoints), dt_s, reset)
            poses = slots.launch(list(seats.values()))
            if lent and slots.far is not None:
                taken = {stream: slots.far.taken(seats[stream]) for stream in lent}
                supposed, due = due, due | {stream: stream._accept(x, t) for stream, x in taken.items()}
                if any(
                    due[stream].gap != supposed[stream].gap or not np.array_equal(stream._given(due[stream])[0], x)
                    for stream, x in taken.items()
                ):
                    again = taken
            if not again:
                lifted = {stream: stream._from_model(poses[seat]) for stream, seat in seats.items()}
                _check_poses(lifted)
                for stream, seat in seats.items():
                    if stream._watch is not None:
                        stream._watch.saw(slots, seat, *stream._given(due[stream]), t_s=due[stream].t_s, xyz_m=poses[seat])
                    if slots.far is not None and (stream in lent or stream in far):
                        answered[stream] = slots.far.answered(seat)
                        if not lent:  # this launch answered on the host
                            answered[stream][:] = poses[seat]
                slots.commit(list(seats.values()))
    if again:
        return step_all({**frames, **again}, t=t, far={*lent, *far})
    made = {}
    for stream, frame in due.items():
        last = stream._time.xyz_m
        if stream not in lifted:
            assert last is not None  # a stream that was never fed is not held
            lifted[stream] = last.copy()
        made[stream] = stream._keep(frame, lifted[stream], answered.get(stream))
    return made


def _check_poses(lifted: Mapping[Stream, Floats]) -> None:
    if not all(np.isfinite(xyz_m).all() for xyz_m in lifted.values()):
        raise ArtefactError(
            "the model answered with numbers that are not finite; the state is as it was",
            expected="finite poses from finite keypoints",
            run="posemoe-edge verify, and stream.reset()",
        )
