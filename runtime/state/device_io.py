"""The far side of slots: frames that lie on the GPU already, and poses that stay there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..artefact.manifest import Graph
from ..cuda.array import DeviceArray, MirroredArray

if TYPE_CHECKING:
    from ..cuda.device import Device

Floats = NDArray[np.float32]


class DeviceIO:
    """A row of keypoints and one of a pose on the GPU for each slot.

    A launch that reads one frame there reads them all there. What it read and what it answered comes to the host with it, in
    the same turn: so a frame is judged after the launch, and a launch of a bad one is not committed.
    """

    def __init__(self, device: Device, graph: Graph) -> None:
        self.device = device
        self._shapes = {t.name: tuple(map(int, t.shape[1:])) for t in (*graph.inputs, *graph.outputs)}
        self._here: set[int] = set()  # whose next frame lies on the GPU
        self.keypoints: MirroredArray  # (rows, J, channels)
        self.pose: MirroredArray  # (rows, J, 3)

    @property
    def frame(self) -> tuple[int, ...]:
        """(J, channels), in the model's own order: what ``put`` takes."""
        return self._shapes["keypoints"]

    def allocate(self, rows: int) -> None:
        self.keypoints, self.pose = (
            self.device.mirror((rows, *self._shapes[name]), "float32") for name in ("keypoints", "pose")
        )
        self._here.clear()

    def put(self, slot: int, keypoints: DeviceArray | Floats) -> None:
        """The next frame of a slot. One of the host stays there, unless a launch needs it here."""
        if isinstance(keypoints, DeviceArray):
            self.keypoints.far[slot] = keypoints
            self._here.add(slot)
        else:
            self._here.discard(slot)

    def gather(self, slots: Sequence[int], keypoints: Floats) -> bool:
        """Bring all these slots' frames here if one of them is; (rows, J, channels) are those of the host."""
        if self._here.isdisjoint(slots):
            return False
        for slot in slots:
            if slot not in self._here:
                self.keypoints.far[slot] = keypoints[slot]
        return True

    def taken(self, slot: int) -> Floats:
        """A copy of the frame that the last launch read."""
        return np.array(self.keypoints.near[slot])

    def answered(self, slot: int) -> DeviceArray:
        """(J, 3): the pose that the last launch made, where it made it. The next one overwrites it."""
        return self.pose.far[slot]
