"""Memory on a GPU that is spoken to as if it were numpy's, so that slots need not know where their states live."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Buffers, Interface
from ..errors import UsageError

if TYPE_CHECKING:
    from .device import Device

CUDA = 2  # kDLCUDA
KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}  # of DLPack
DEFAULT_STREAM = 1  # CU_STREAM_LEGACY


class CudaArray(Protocol):
    """Memory of pycuda, CuPy, Numba."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


class DlpackArray(Protocol):
    """Memory of torch, CuPy, JAX."""

    def __dlpack__(self, *, stream: Any) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


DeviceInput = CudaArray | DlpackArray


class DeviceArray:
    """Dense memory on a device. Rows are read, written and sliced along the first axis, as of a numpy array:

    ``x[3] = 0`` and ``x[3] = y[5]`` are enqueued, ``x[3] = array`` copies from the host, ``np.array(x)`` to it. Torch, CuPy,
    Numba and pycuda see it through ``__cuda_array_interface__``; its memory lives as long as it or a part of it.
    """

    def __init__(self, device: Device, address: int, shape: tuple[int, ...], dtype: Any, owner: Any) -> None:
        self.device, self.address, self.shape, self.dtype = device, address, shape, np.dtype(dtype)
        self.nbytes = int(np.prod(shape)) * self.dtype.itemsize
        self._owner = owner

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[DeviceArray]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: int | slice) -> DeviceArray:
        """One row, or those from here to there: always a view."""
        row_bytes = self.nbytes // max(1, len(self))
        if isinstance(rows, slice):
            first, last, stride = rows.indices(len(self))
            assert stride == 1, "rows that lie apart are no dense memory"
            shape = (max(0, last - first), *self.shape[1:])
        else:
            first, shape = range(len(self))[rows], self.shape[1:]
        return DeviceArray(self.device, self.address + first * row_bytes, shape, self.dtype, self._owner)

    def __setitem__(self, rows: int | slice, value: DeviceArray | NDArray[Any] | float) -> None:
        there, device = self[rows], self.device
        if not there.nbytes:
            return
        with device:
            if isinstance(value, DeviceArray):
                assert (value.shape, value.dtype) == (there.shape, there.dtype), "a copy on the device converts nothing"
                device.move(there.address, value.address, there.nbytes)
            elif np.isscalar(value) and not value:
                device.clear(there.address, there.nbytes)
            else:
                device.upload(there.address, np.ascontiguousarray(np.broadcast_to(value, there.shape), self.dtype))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        made = np.empty(self.shape, self.dtype)
        if self.nbytes:
            with self.device as device:
                device.download(made, self.address)
                device.wait()
        return made if dtype is None else made.astype(dtype)

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
    """An array on a device with its image on the host: what a launch finds or leaves there, the ferry brings here too.

    Args:
        far: the array.
        near: of the same shape and type, page-locked. It is as ``far`` was when the last launch of it was done.
    """

    def __init__(self, far: DeviceArray, near: NDArray[Any]) -> None:
        self.far, self.near = far, near
        self.shape, self.dtype, self.nbytes = far.shape, far.dtype, far.nbytes

    def __len__(self) -> int:
        return len(self.far)

    def __getitem__(self, rows: int | slice) -> MirroredArray:
        return MirroredArray(self.far[rows], self.near[rows])


def on_device(x: object) -> bool:
    """Whether it is memory of a GPU: of DLPack with a GPU's, or anything with ``__cuda_array_interface__``."""
    if isinstance(x, np.ndarray):
        return False
    if hasattr(x, "__dlpack_device__"):  # first: torch answers the other question with an error if gradients are wanted
        return int(x.__dlpack_device__()[0]) == CUDA
    return hasattr(x, "__cuda_array_interface__")


def as_device_array(device: Device, x: Any) -> DeviceArray:
    """Somebody else's memory on the same GPU, as it is: nothing is copied, and the host waits for nothing.

    What was enqueued for it comes before what we enqueue from now on. It is theirs to write again once we have waited.
    """
    if isinstance(x, DeviceArray) and x.device is device:
        return x
    with device:
        if hasattr(x, "__dlpack__"):  # first: with it the owner puts its own stream before ours
            try:
                return _from_dlpack(device, x.__dlpack__(stream=device.stream))
            except (BufferError, RuntimeError) as error:
                raise UsageError(f"memory that its owner does not lend: {error}", expected="e.g. x.detach()") from error
        told = x.__cuda_array_interface__
        shape, dtype = tuple(told["shape"]), np.dtype(told["typestr"])
        strides = told.get("strides")
        _check_dense(shape, strides and tuple(stride // dtype.itemsize for stride in strides))
        # Before version 3 nothing was said of streams: then, as most do, it works on the default one.
        stream = told.get("stream") if told["version"] >= 3 else DEFAULT_STREAM
        if stream is not None:
            device.after(stream)
        return DeviceArray(device, told["data"][0], shape, dtype, x)


def as_device_arrays(device: Device, buffers: Buffers) -> Buffers:
    """What to bind, with other people's memory on the GPU borrowed."""
    return {name: as_device_array(device, x) if on_device(x) else x for name, x in buffers.items()}


def overlap(x: DeviceArray | MirroredArray | NDArray[Any], y: DeviceArray | MirroredArray | NDArray[Any]) -> bool:
    """Whether two arrays share memory, of the device or else of the host."""
    x, y = (each.far if isinstance(each, MirroredArray) else each for each in (x, y))
    if isinstance(x, DeviceArray) and isinstance(y, DeviceArray):
        return bool(x.address < y.address + y.nbytes and y.address < x.address + x.nbytes)
    return not isinstance(x, DeviceArray) and not isinstance(y, DeviceArray) and np.may_share_memory(x, y)


def check_buffers(inputs: Buffers, takes: Interface, outputs: Buffers, answers: Interface) -> int:
    """Every tensor has its memory, of its type and shape and none of it twice; how many rows there are.

    Wrong memory is not an error to a GPU's engine, but a crash.
    """
    rows = max((len(x) for x in inputs.values()), default=0)
    for buffers, interface in ((inputs, takes), (outputs, answers)):
        if set(buffers) != set(interface):
            raise UsageError(f"memory for {', '.join(sorted(buffers))}", expected=", ".join(sorted(interface)))
        for name, (dtype, shape) in interface.items():
            found = buffers[name]
            if np.dtype(found.dtype).name != dtype or tuple(found.shape) != (rows, *shape[1:]):
                raise UsageError(f"{name} of {np.dtype(found.dtype).name} {tuple(found.shape)}", expected=f"{dtype} {shape}")
    for x in inputs.values():
        for y in outputs.values():
            assert not overlap(x, y), "a state bound as both input and output is wrong silently"
    return rows


class _Tensor(ctypes.Structure):
    """DLPack's DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def _from_dlpack(device: Device, capsule: Any) -> DeviceArray:
    """What a capsule holds. It stays the capsule's, which gives it back to its owner when it is gone itself."""
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = _Tensor.from_address(pointer_of(capsule, b"dltensor"))
    if (tensor.device_type, tensor.device_id) != (CUDA, 0) or tensor.code not in KINDS or tensor.lanes != 1:
        raise UsageError(
            f"DLPack memory of device {tensor.device_type}:{tensor.device_id}, type {tensor.code}",
            expected=f"a dense array of numbers on the first GPU, {CUDA}:0",
        )
    shape = tuple(tensor.shape[: tensor.ndim])
    _check_dense(shape, tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None)
    dtype = np.dtype(f"{KINDS[tensor.code]}{tensor.bits // 8}")
    return DeviceArray(device, (tensor.data or 0) + tensor.byte_offset, shape, dtype, capsule)


def _check_dense(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> None:
    """``strides`` in elements; None means dense."""
    expected = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    if strides is not None and any(n > 1 and a != b for n, a, b in zip(shape, strides, expected, strict=True)):
        raise UsageError(f"strides of {strides} elements", expected=f"{expected}: dense memory, e.g. x.contiguous()")
