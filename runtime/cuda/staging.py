"""Copies a launch's inputs from the host to the device, and its outputs back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .array import DeviceArray, MirroredArray, zeros
from .device import Device

ALIGNMENT = 256  # bytes; TensorRT requires it of every address


class IOStaging:
    """The device addresses of a launch's tensors, all aligned, and the copies before and after the launch.

    Host arrays are packed into one pinned block per direction, so that each direction is one copy. Device arrays are used in
    place, so a state never moves; only one that is not aligned, a row of a slab for example, is copied on the device into an
    aligned buffer. The host copies of mirrored arrays are downloaded together with the outputs.
    """

    def __init__(self, device: Device, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        self.device = device
        self._inputs, self._outputs = _StagedBuffers(device, inputs), _StagedBuffers(device, outputs)
        self.addresses = self._inputs.addresses | self._outputs.addresses

    def stage_inputs(self) -> None:
        """Copy the host's inputs into the pinned block."""
        for array, staged in self._inputs.packed:
            np.copyto(staged, array)

    def enqueue(self, work: Callable[[], None]) -> None:
        """Enqueue the copies to the device, ``work``, and the copies back, on the device's stream."""
        device, inputs, outputs = self.device, self._inputs, self._outputs
        if inputs.host_block is not None:
            device.upload(inputs.device_block.address, inputs.host_block)
        for array, aligned in inputs.realigned:
            device.copy(aligned.address, array.address, aligned.nbytes)
        work()
        for array, aligned in outputs.realigned:
            device.copy(array.address, aligned.address, aligned.nbytes)
        for mirrored in (*inputs.mirrored, *outputs.mirrored):
            device.download(mirrored.on_host, mirrored.on_device.address)
        if outputs.host_block is not None:
            device.download(outputs.host_block, outputs.device_block.address)

    def collect_outputs(self) -> None:
        """Copy the outputs from the pinned block into the host's arrays. The stream must be synchronised before."""
        for array, staged in self._outputs.packed:
            np.copyto(array, staged)


class _StagedBuffers:
    """One direction: the inputs, or the outputs."""

    def __init__(self, device: Device, buffers: Mapping[str, Any]) -> None:
        self.addresses: dict[str, int] = {}
        self.packed: list[tuple[NDArray[Any], NDArray[Any]]] = []  # the caller's array, its view of the pinned block
        self.realigned: list[tuple[DeviceArray, DeviceArray]] = []  # an array that is not aligned, its aligned buffer
        self.mirrored: list[MirroredArray] = []
        self.host_block: NDArray[np.uint8] | None = None
        offsets, size = {}, 0
        for name, array in buffers.items():
            if isinstance(array, MirroredArray):
                self.mirrored.append(array)
                array = array.on_device
            if isinstance(array, DeviceArray):
                if array.address % ALIGNMENT:
                    self.realigned.append((array, zeros(device, array.shape, array.dtype)))
                    array = self.realigned[-1][1]
                self.addresses[name] = array.address
            else:
                offsets[name] = size
                size += -(-max(1, array.nbytes) // ALIGNMENT) * ALIGNMENT
        if not size:
            return
        self.host_block, self.device_block = block, _ = device.pinned(size), zeros(device, size, np.uint8)
        block[:] = 0
        for name, offset in offsets.items():
            array = buffers[name]
            staged = block[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
            self.packed.append((array, staged))
            self.addresses[name] = self.device_block.address + offset
