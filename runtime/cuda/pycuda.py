"""The device on pycuda, for processes whose pipeline holds its arrays with pycuda already."""

from __future__ import annotations

import atexit
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingError, missing_extra
from .device import NON_BLOCKING, Device, Free
from .driver import CudaError


class PyCuda(Device):
    """pycuda's stream, memory and copies, in the primary context."""

    package = "pycuda"

    def __init__(self) -> None:
        super().__init__()
        self._cuda = _pycuda()
        self.package_errors = (self._cuda.Error,)
        self._context = _pycuda_context()
        self.name = self._cuda.Device(0).name()
        with self:
            self._stream = self._cuda.Stream(NON_BLOCKING)
        self.stream = self._stream.handle

    def _push_context(self) -> None:
        self._context.push()

    def _pop_context(self) -> None:
        self._cuda.Context.pop()

    def _allocate_device(self, size: int) -> tuple[int, Free]:
        allocation = self._cuda.mem_alloc(size)
        return int(allocation), allocation.free

    def _allocate_pinned(self, size: int) -> tuple[int, Free]:
        array = self._cuda.pagelocked_empty(size, np.uint8)
        return array.ctypes.data, array.base.free

    def _destroy(self) -> None:
        with self:
            del self._stream

    def upload(self, to: int, array: NDArray[Any]) -> None:
        self._cuda.memcpy_htod_async(to, array, self._stream)

    def download(self, array: NDArray[Any], address: int) -> None:
        self._cuda.memcpy_dtoh_async(array, address, self._stream)

    def copy(self, to: int, address: int, size: int) -> None:
        self._cuda.memcpy_dtod_async(to, address, size, self._stream)

    def clear(self, address: int, size: int) -> None:
        self._cuda.memset_d8_async(address, 0, size, self._stream)

    def synchronize(self) -> None:
        self._stream.synchronize()


@cache
def _pycuda() -> Any:
    """pycuda.driver, initialised."""
    try:
        import pycuda.driver
    except ModuleNotFoundError:
        raise missing_extra("pycuda", "pycuda", "running on a GPU with pycuda's memory") from None
    except ImportError as error:
        raise MissingError(
            f"pycuda cannot be loaded: {error}", expected="an NVIDIA driver", run="posemoe-edge doctor"
        ) from None
    try:
        pycuda.driver.init()
    except pycuda.driver.Error as error:
        raise CudaError(f"CUDA: {error}", run="posemoe-edge doctor") from error
    return pycuda.driver


@cache
def _pycuda_context() -> Any:
    """The primary context, kept until the process ends: when pycuda releases a context, it leaves that context current."""
    context = _pycuda().Device(0).retain_primary_context()

    def detach() -> None:  # pycuda's destructor would detach it as if it were not a device's primary context
        context.push()
        context.detach()

    atexit.register(detach)
    return context
