"""Arrays of other libraries on the same GPU, used in place: DLPack and ``__cuda_array_interface__``."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

import numpy as np

from ..errors import UsageError
from .array import DeviceArray
from .device import Device

DLPACK_CUDA = 2  # kDLCUDA
DLPACK_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}  # DLDataTypeCode -> numpy's kind
LEGACY_STREAM = 1  # CU_STREAM_LEGACY, the default stream


class CudaArray(Protocol):
    """An array of pycuda, CuPy or Numba."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


class DlpackArray(Protocol):
    """An array of torch, CuPy or JAX."""

    def __dlpack__(self, *, stream: Any) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


DeviceInput = CudaArray | DlpackArray


def is_on_device(x: object) -> TypeGuard[DeviceInput]:
    """Whether ``x`` is an array in GPU memory: by DLPack's device, otherwise by ``__cuda_array_interface__``."""
    if isinstance(x, np.ndarray):
        return False
    # DLPack first: a torch tensor that requires a gradient raises an error for __cuda_array_interface__.
    if hasattr(x, "__dlpack_device__"):
        return int(x.__dlpack_device__()[0]) == DLPACK_CUDA
    return hasattr(x, "__cuda_array_interface__")


def as_device_array(device: Device, x: Any) -> DeviceArray:
    """An array of another library on the same GPU, without a copy; the host does not wait.

    Work that is pending on its owner's stream runs before the work that we enqueue from now on. The owner may write to the
    array again once ``device.synchronize`` has returned.

    Raises:
        UsageError: its memory is not dense, is on another device, or its library does not export it.
    """
    if isinstance(x, DeviceArray) and x.device is device:
        return x
    with device:
        if hasattr(x, "__dlpack__"):  # first: with DLPack the owner orders its own stream before ours
            try:
                return _from_dlpack(device, x.__dlpack__(stream=device.stream))
            except (BufferError, RuntimeError) as error:
                raise UsageError(f"an array that its library does not export: {error}", expected="e.g. x.detach()") from error
        interface = x.__cuda_array_interface__
        shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
        strides = interface.get("strides")
        _check_dense(shape, strides and tuple(stride // dtype.itemsize for stride in strides))
        # Versions before 3 do not name the stream. We assume the default stream, which most libraries use.
        stream = interface.get("stream") if interface["version"] >= 3 else LEGACY_STREAM
        if stream is not None:
            device.wait_for_stream(stream)
        return DeviceArray(device, interface["data"][0], shape, dtype, x)


def as_device_arrays(device: Device, buffers: Mapping[str, Any]) -> dict[str, Any]:
    """Buffers to bind, with arrays of other libraries on the GPU as ``DeviceArray``."""
    return {name: as_device_array(device, x) if is_on_device(x) else x for name, x in buffers.items()}


class DLTensor(ctypes.Structure):
    """DLPack's struct of that name."""

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
    """The array in a capsule. The capsule keeps it and, when destroyed, releases it to its library."""
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = DLTensor.from_address(pointer_of(capsule, b"dltensor"))
    if (tensor.device_type, tensor.device_id) != (DLPACK_CUDA, 0) or tensor.code not in DLPACK_KINDS or tensor.lanes != 1:
        raise UsageError(
            f"DLPack memory of device {tensor.device_type}:{tensor.device_id}, type {tensor.code}",
            expected=f"a dense array of numbers on the first GPU, {DLPACK_CUDA}:0",
        )
    shape = tuple(tensor.shape[: tensor.ndim])
    _check_dense(shape, tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None)
    dtype = np.dtype(f"{DLPACK_KINDS[tensor.code]}{tensor.bits // 8}")
    return DeviceArray(device, (tensor.data or 0) + tensor.byte_offset, shape, dtype, capsule)


def _check_dense(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> None:
    """``strides`` are in elements; None means dense."""
    expected = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    if strides is not None and any(n > 1 and a != b for n, a, b in zip(shape, strides, expected, strict=True)):
        raise UsageError(f"strides of {strides} elements", expected=f"{expected}: dense memory, e.g. x.contiguous()")
