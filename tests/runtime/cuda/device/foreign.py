"""GPU arrays as other libraries present them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from posemoe_edge.runtime.cuda.array import DeviceArray
from posemoe_edge.runtime.cuda.interop import DLTensor


class CudaInterfaceArray:
    """A GPU array as CuPy and Numba present it."""

    def __init__(self, x: DeviceArray, **changes: Any) -> None:
        self.x = x
        self.__cuda_array_interface__ = x.__cuda_array_interface__ | changes


class DlpackArray:
    """A GPU array as torch presents it: numpy's DLPack capsule with the device and the address replaced."""

    def __init__(self, x: DeviceArray, device_type: int = 2, device_id: int = 0) -> None:
        self.x, self.device, self.streams = x, (device_type, device_id), list[int]()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: int) -> Any:
        self.streams.append(stream)
        with self.x.device as owner:  # its work must run first; the test driver orders streams only by waiting
            owner.synchronize()
        capsule = np.zeros(self.x.shape, self.x.dtype).__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        tensor = DLTensor.from_address(pointer(capsule, b"dltensor"))
        tensor.device_type, tensor.device_id = self.device
        tensor.data, tensor.byte_offset = self.x.address - 8, 8
        return capsule


class GradientTensor(DlpackArray):
    """A torch tensor that requires a gradient: torch does not export it."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad")

    def __dlpack__(self, *, stream: int) -> Any:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
