"""DeviceIO: keypoints that already lie on the GPU, and poses that stay there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import F32
from ..artefact.manifest import Graph
from ..cuda.array import DeviceArray, MirroredArray, mirror
from ..cuda.device import Device


class DeviceIO:
    """One row of keypoints and one row of a pose on the GPU for each slot.

    If one slot's frame lies on the GPU, the launch reads the frames of all its slots there. The keypoints that it read and
    the poses that it computed are copied to the host by the same launch. So a frame is checked after the launch, and a launch
    that read a bad frame is not committed.
    """

    def __init__(self, device: Device, graph: Graph) -> None:
        self.device = device
        self._shapes = {t.name: tuple(map(int, t.shape[1:])) for t in (*graph.inputs, *graph.outputs)}
        self._on_device: set[int] = set()  # slots whose next frame lies on the GPU
        self.keypoints: MirroredArray  # (rows, J, channels)
        self.pose: MirroredArray  # (rows, J, 3)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """(J, channels), joints in the model's order: the shape of a frame that ``put`` takes."""
        return self._shapes["keypoints"]

    def resize(self, rows: int) -> None:
        """Allocate memory for that many slots."""
        self.keypoints, self.pose = (
            mirror(self.device, (rows, *self._shapes[name]), "float32") for name in ("keypoints", "pose")
        )
        self._on_device.clear()

    def put(self, slot: int, keypoints: DeviceArray | F32) -> None:
        """Set the next frame of a slot. A frame on the host is copied to the GPU only if a launch needs it there."""
        if isinstance(keypoints, DeviceArray):
            self.keypoints.on_device[slot] = keypoints
            self._on_device.add(slot)
        else:
            self._on_device.discard(slot)

    def gather(self, slots: Sequence[int], keypoints: F32) -> bool:
        """Bring the frames of all these slots to the GPU if one of them is there; whether that is so.

        Args:
            keypoints: (rows, J, channels) the frames on the host, indexed by slot.
        """
        if self._on_device.isdisjoint(slots):
            return False
        for slot in slots:
            if slot not in self._on_device:
                self.keypoints.on_device[slot] = keypoints[slot]
        return True

    def keypoints_read(self, slot: int) -> F32:
        """(J, channels): a copy on the host of the frame that the last launch read."""
        return np.array(self.keypoints.on_host[slot])

    def pose_on_device(self, slot: int) -> DeviceArray:
        """(J, 3): the pose of the last launch, on the GPU. The next launch overwrites it."""
        return self.pose.on_device[slot]
