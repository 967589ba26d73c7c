"""BatchStep: one frame for each of several streams, in one launch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .arrays import F32
from .cuda.array import DeviceArray
from .cuda.interop import DeviceInput, is_on_device
from .errors import FrameError
from .model_lock import ModelLock
from .pose.skeleton import H36M17
from .pose.types import Pose
from .snapshot import AcceptedFrame
from .state import Slots
from .stream import Stream

PLACEHOLDER_KEYPOINTS: F32 = np.ones((len(H36M17), 3), np.float32)
"""Placeholder keypoints used for validation while the real frame is still on the device."""


Times = float | Mapping[Stream, float] | None
"""Capture time in seconds of all frames, or of each stream's; None is one nominal frame after each stream's last one."""


@dataclass(frozen=True, eq=False)
class LiftedFrame:
    """A frame after the launch. Both poses are None if it was not fed."""

    frame: AcceptedFrame
    lifted: F32 | None = None  # (J, 3), with sigma (J, 4), in Human3.6M order
    xyz_m_device: DeviceArray | None = None  # the same numbers on the GPU


class BatchStep:
    """One frame for each of some streams of a model, in one launch. If one frame is refused, none is taken.

    If all frames lie on the host, they are checked first, and then launched. A frame on the GPU is launched before it is
    checked, so that the host waits only once: the launch copies it to the host together with the poses.

    Args:
        slots: the model's slots.
        lock: held while buffers and states are in use; the model's streams share it.
    """

    def __init__(self, slots: Slots, lock: ModelLock) -> None:
        self._slots, self._lock = slots, lock

    def __call__(self, frames: Mapping[Stream, ArrayLike | DeviceInput], t: Times = None) -> dict[Stream, Pose]:
        """The pose of each stream; frames and errors are those of ``Stream.step``."""
        with self._lock:
            # Under the lock, since as_device_array makes the model's CUDA stream wait for the owner of the frame.
            on_gpu = {stream: stream._device_keypoints(x) for stream, x in frames.items() if is_on_device(x)}
            lifted = self._device_path(frames, on_gpu, t) if on_gpu else self._host_path(frames, t)
            # Also under the lock, so that a snapshot in another thread has state and history of the same frame.
            return {stream: stream._commit(x.frame, x.lifted, x.xyz_m_device) for stream, x in lifted.items()}

    def each(self, frames: Mapping[Stream, ArrayLike | DeviceInput], t: Times = None) -> dict[Stream, Pose | FrameError]:
        """The pose of each stream, or why its frame was refused: a refused frame costs the others nothing.

        If one is refused, those that no longer fit are found by their checks, and the others launched again together. What only
        the launch refuses, a pose that is not finite, is found by launching one at a time.
        """
        try:
            return dict(self(frames, t))
        except FrameError:
            refused = {stream: error for stream, x in frames.items() if (error := self._check(stream, x, t)) is not None}
        lifted: dict[Stream, Pose | FrameError] = {**refused}
        rest = {stream: x for stream, x in frames.items() if stream not in refused}
        for frames_together in [rest, *({stream: x} for stream, x in rest.items())]:
            remaining = {stream: x for stream, x in frames_together.items() if stream not in lifted}
            try:
                lifted |= self(remaining, t) if remaining else {}
            except FrameError as error:
                if len(remaining) == 1:
                    lifted |= dict.fromkeys(remaining, error)
        return lifted

    def _check(self, stream: Stream, keypoints: Any, t: Times) -> FrameError | None:
        """Why a frame on the host is refused before any launch; None of one on the GPU."""
        try:
            with self._lock:
                stream._accept(PLACEHOLDER_KEYPOINTS if is_on_device(keypoints) else keypoints, _time_of(stream, t))
        except FrameError as error:
            return error
        return None

    def _host_path(
        self, frames: Mapping[Stream, Any], t: Times, *, upload_to: Collection[Stream] = ()
    ) -> dict[Stream, LiftedFrame]:
        """Check the frames, launch them from the host, and commit the states.

        Args:
            frames: keypoints on the host.
            upload_to: streams whose poses are copied to the GPU.
        """
        accepted = {stream: stream._accept(x, _time_of(stream, t)) for stream, x in frames.items()}
        slots = self._put(accepted, {})
        if not slots:
            return {stream: LiftedFrame(frame) for stream, frame in accepted.items()}
        poses = self._slots.launch(list(slots.values()))
        lifted = self._finish(accepted, slots, poses, upload_to)
        for stream in upload_to:
            device_pose = lifted[stream].xyz_m_device
            if device_pose is not None:
                device_pose[:] = poses[slots[stream]]
        return lifted

    def _device_path(
        self, frames: Mapping[Stream, Any], on_gpu: Mapping[Stream, DeviceArray], t: Times
    ) -> dict[Stream, LiftedFrame]:
        """Launch the frames on the GPU as if nothing were wrong with them, check them afterwards, and commit the states.

        If a frame on the GPU needed a change, a joint to mask, a reset or nobody seen, the launch is not committed, and all
        frames are launched again from the host.

        Args:
            frames: keypoints on either side.
            on_gpu: those on the GPU.
        """
        device_io = self._slots.device_io
        assert device_io is not None, "_device_keypoints refuses frames on the GPU without it"
        placeholders = dict.fromkeys(on_gpu, PLACEHOLDER_KEYPOINTS)
        assumed = {stream: stream._accept(x, _time_of(stream, t)) for stream, x in {**frames, **placeholders}.items()}
        slots = self._put(assumed, on_gpu)
        poses = self._slots.launch(list(slots.values()))
        read = {stream: device_io.keypoints_read(slots[stream]) for stream in on_gpu}
        accepted = assumed | {stream: stream._accept(x, _time_of(stream, t)) for stream, x in read.items()}
        for stream, x in read.items():
            fed_as_is = np.array_equal(stream._model_inputs(accepted[stream])[0], x)
            if not fed_as_is or accepted[stream].gap != assumed[stream].gap:
                return self._host_path({**frames, **read}, t, upload_to=on_gpu)
        return self._finish(accepted, slots, poses, on_gpu)

    def _put(self, accepted: Mapping[Stream, AcceptedFrame], on_gpu: Mapping[Stream, DeviceArray]) -> dict[Stream, int]:
        """Put the frames that are to be fed into their slots; the slot of each of these streams."""
        slots = {stream: stream._check_open() for stream, frame in accepted.items() if frame.fed}
        for stream, slot in slots.items():
            keypoints, dt_s, reset = stream._model_inputs(accepted[stream])
            self._slots.put(slot, on_gpu.get(stream, keypoints), dt_s, reset)
        return slots

    def _finish(
        self,
        accepted: Mapping[Stream, AcceptedFrame],
        slots: Mapping[Stream, int],
        poses: F32,
        on_gpu: Collection[Stream],
    ) -> dict[Stream, LiftedFrame]:
        """Check the poses (rows, J, 3 or 4) of a launch, let the shadow sample the frames, and commit the states.

        Args:
            on_gpu: streams that get their pose on the GPU too.
        """
        by_stream = {stream: stream._from_model(poses[slot]) for stream, slot in slots.items()}
        if not np.isfinite(poses[list(slots.values())]).all():
            raise FrameError(
                "the model returned values that are not finite; the state is unchanged",
                expected="finite poses from finite keypoints (posemoe-edge verify; stream.reset())",
            )
        for stream, slot in slots.items():
            if stream._sampler is not None:  # before the commit: a span begins with the state from before its first frame
                inputs, t_s = stream._model_inputs(accepted[stream]), accepted[stream].t_s
                stream._sampler.record(self._slots, slot, *inputs, t_s=t_s, xyz_m=poses[slot, :, :3])
        device_io = self._slots.device_io
        device_poses = (
            {stream: device_io.pose_on_device(slots[stream]) for stream in on_gpu if stream in slots} if device_io else {}
        )
        self._slots.commit(list(slots.values()))
        return {
            stream: LiftedFrame(frame, by_stream.get(stream), device_poses.get(stream)) for stream, frame in accepted.items()
        }


def _time_of(stream: Stream, t: Times) -> float | None:
    return t[stream] if isinstance(t, Mapping) else t
