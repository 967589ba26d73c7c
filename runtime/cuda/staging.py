"""The ferry: takes a launch's inputs from the host to the device, and what it answers back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Buffers
from .array import DeviceArray, MirroredArray
from .device import Device

ALIGNMENT = 256  # of every address that TensorRT is given


class IOStaging:
    """Where the tensors of a launch lie on the device: ``addresses``, all aligned.

    Arrays of the host are packed into one pinned block, so that they travel in one copy each way. Memory of the device stays
    where it is, a state is read and written in place; only if that is not aligned, a row of a slab say, it is copied on the
    device into a place that is. The images of mirrors come back with what is answered.
    """

    def __init__(self, device: Device, inputs: Buffers, outputs: Buffers) -> None:
        self._device = device
        self._there, self._back = _Hold(device, inputs), _Hold(device, outputs)
        self.addresses = self._there.addresses | self._back.addresses

    def load(self) -> None:
        """Take what the inputs hold now on board."""
        for array, place in self._there.packed:
            np.copyto(place, array)

    def enqueue(self, work: Callable[[], None]) -> None:
        """Over, do it, and back: enqueued on the device's stream."""
        device, there, back = self._device, self._there, self._back
        if there.near is not None:
            device.upload(there.far.address, there.near)
        for theirs, ours in there.moved:
            device.move(ours.address, theirs.address, ours.nbytes)
        work()
        for theirs, ours in back.moved:
            device.move(theirs.address, ours.address, ours.nbytes)
        for mirror in (*there.mirrors, *back.mirrors):
            device.download(mirror.near, mirror.far.address)
        if back.near is not None:
            device.download(back.near, back.far.address)

    def unload(self) -> None:
        """Put what came back into the outputs. Everything must be done before."""
        for array, place in self._back.packed:
            np.copyto(array, place)


class _Hold:
    """Half a ferry: the inputs, or the outputs."""

    def __init__(self, device: Device, buffers: Buffers) -> None:
        self.addresses: dict[str, int] = {}
        self.packed: list[tuple[NDArray[Any], NDArray[Any]]] = []  # the caller's array, its place in the pinned block
        self.moved: list[tuple[DeviceArray, DeviceArray]] = []  # memory that is not aligned, a place that is
        self.mirrors: list[MirroredArray] = []
        self.near: NDArray[np.uint8] | None = None
        offsets, size = {}, 0
        for name, array in buffers.items():
            if isinstance(array, MirroredArray):
                self.mirrors.append(array)
                array = array.far
            if isinstance(array, DeviceArray):
                if array.address % ALIGNMENT:
                    self.moved.append((array, device.zeros(array.shape, array.dtype)))
                    array = self.moved[-1][1]
                self.addresses[name] = array.address
            else:
                offsets[name] = size
                size += -(-max(1, array.nbytes) // ALIGNMENT) * ALIGNMENT
        if not size:
            return
        self.near, self.far = near, _ = device.pinned(size), device.zeros(size, np.uint8)
        near[:] = 0
        for name, at in offsets.items():
            array = buffers[name]
            place = near[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
            self.packed.append((array, place))
            self.addresses[name] = self.far.address + at
