"""Arrays in device memory with numpy's row access, so that slots need not know where their states are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .device import Device


class DeviceArray:
    """Dense memory on a device. Rows along the first axis are read, written and sliced as those of a numpy array.

    ``x[3] = 0`` and ``x[3] = y[5]`` are enqueued; ``x[3] = array`` copies from the host, ``np.array(x)`` to it. Torch, CuPy,
    Numba and pycuda read it through ``__cuda_array_interface__``. The memory lives as long as the array or a view of it.

    Args:
        address: of the first byte.
        owner: the object that keeps the memory allocated.
    """

    def __init__(self, device: Device, address: int, shape: tuple[int, ...], dtype: DTypeLike, owner: object) -> None:
        self.device, self.address, self.shape, self.dtype = device, address, shape, np.dtype(dtype)
        self.nbytes = int(np.prod(shape)) * self.dtype.itemsize
        self._owner = owner

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[DeviceArray]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: int | slice) -> DeviceArray:
        """A view of one row, or of consecutive rows."""
        row_bytes = self.nbytes // max(1, len(self))
        if isinstance(rows, slice):
            first, last, stride = rows.indices(len(self))
            assert stride == 1, "rows with a stride are not dense memory"
            shape = (max(0, last - first), *self.shape[1:])
        else:
            first, shape = range(len(self))[rows], self.shape[1:]
        return DeviceArray(self.device, self.address + first * row_bytes, shape, self.dtype, self._owner)

    def __setitem__(self, rows: int | slice, value: DeviceArray | NDArray[Any] | float) -> None:
        target, device = self[rows], self.device
        if not target.nbytes:
            return
        with device:
            if isinstance(value, DeviceArray):
                assert (value.shape, value.dtype) == (target.shape, target.dtype), "a copy on the device converts nothing"
                device.copy(target.address, value.address, target.nbytes)
            elif np.isscalar(value) and not value:
                device.clear(target.address, target.nbytes)
            else:
                device.upload(target.address, np.ascontiguousarray(np.broadcast_to(value, target.shape), self.dtype))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        array = np.empty(self.shape, self.dtype)
        if self.nbytes:
            with self.device as device:
                device.download(array, self.address)
                device.synchronize()
        return array if dtype is None else array.astype(dtype)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "stream": self.device.stream,
        }


class MirroredArray:
    """An array on the device with a copy on the host. ``IOStaging`` downloads it after every launch that reads or writes it.

    Args:
        on_device: the array.
        on_host: page-locked, of the same shape and type: the contents of ``on_device`` when its last launch had finished.
    """

    def __init__(self, on_device: DeviceArray, on_host: NDArray[Any]) -> None:
        self.on_device, self.on_host = on_device, on_host
        self.shape, self.dtype, self.nbytes = on_device.shape, on_device.dtype, on_device.nbytes

    def __len__(self) -> int:
        return len(self.on_device)

    def __getitem__(self, rows: int | slice) -> MirroredArray:
        return MirroredArray(self.on_device[rows], self.on_host[rows])


AnyArray = DeviceArray | MirroredArray | NDArray[Any]


def zeros(device: Device, shape: Sequence[int] | int, dtype: DTypeLike = np.float32) -> DeviceArray:
    """An array of zeros on the device. Its memory is freed with the last view of it."""
    shape, dtype = (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype)
    size = max(1, int(np.prod(shape)) * dtype.itemsize)
    with device:
        address, allocation = device.allocate(size)
        device.clear(address, size)
    return DeviceArray(device, address, shape, dtype, allocation)


def mirror(device: Device, shape: Sequence[int], dtype: DTypeLike) -> MirroredArray:
    """An array of zeros on the device, of at least one element, and its copy on the host."""
    on_device = zeros(device, shape, dtype)
    on_host = device.pinned(on_device.nbytes).view(on_device.dtype).reshape(on_device.shape)
    on_host[:] = 0
    return MirroredArray(on_device, on_host)


def share_memory(x: AnyArray, y: AnyArray) -> bool:
    """Whether two arrays overlap, on the device or on the host."""
    x, y = (array.on_device if isinstance(array, MirroredArray) else array for array in (x, y))
    if isinstance(x, DeviceArray) and isinstance(y, DeviceArray):
        return bool(x.address < y.address + y.nbytes and y.address < x.address + x.nbytes)
    return not isinstance(x, DeviceArray) and not isinstance(y, DeviceArray) and np.may_share_memory(x, y)
