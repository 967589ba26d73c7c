"""Other people's arrays on the GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from posemoe_edge.runtime.cuda.interop import DLTensor


class Interface:
    """Somebody's array on the GPU, as CuPy or Numba would show it."""

    def __init__(self, x: Any, **more: Any) -> None:
        self.x = x
        self.__cuda_array_interface__ = x.__cuda_array_interface__ | more


class DLPack:
    """Somebody's array on the GPU, as torch would show it: numpy's capsule, with another device and address in it."""

    def __init__(self, x: Any, device_type: int = 2, device_id: int = 0) -> None:
        self.x, self.device, self.streams = x, (device_type, device_id), list[int]()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: int) -> Any:
        self.streams.append(stream)
        with self.x.device as theirs:  # its owner's work comes first: in the driver for tests a wait is how streams are ordered
            theirs.synchronize()
        capsule = np.zeros(self.x.shape, self.x.dtype).__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        tensor = DLTensor.from_address(pointer(capsule, b"dltensor"))
        tensor.device_type, tensor.device_id = self.device
        tensor.data, tensor.byte_offset = self.x.address - 8, 8
        return capsule
