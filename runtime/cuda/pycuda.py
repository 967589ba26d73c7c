"""A GPU on pycuda, beside a pipeline of the user's that has its arrays there."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingError, missing_extra
from .device import NON_BLOCKING, CudaError, Device


class PyCuda(Device):
    """pycuda's stream, memory and copies, in the primary context."""

    package = "pycuda"

    def __init__(self) -> None:
        super().__init__()
        self._cuda = _pycuda()
        self.refusals = (self._cuda.Error,)
        self._context = _pycuda_context()
        self.name = self._cuda.Device(0).name()
        with self:
            self._stream = self._cuda.Stream(NON_BLOCKING)
        self.stream = self._stream.handle

    def _push(self) -> None:
        self._context.push()

    def _pop(self) -> None:
        self._cuda.Context.pop()

    def _allocate(self, size: int) -> tuple[int, Callable[[], Any]]:
        allocation = self._cuda.mem_alloc(size)
        return int(allocation), allocation.free

    def _pin(self, size: int) -> tuple[int, Callable[[], Any]]:
        array = self._cuda.pagelocked_empty(size, np.uint8)
        return array.ctypes.data, array.base.free

    def _end(self) -> None:
        with self:
            del self._stream

    def upload(self, to: int, array: NDArray[Any]) -> None:
        self._cuda.memcpy_htod_async(to, array, self._stream)

    def download(self, array: NDArray[Any], address: int) -> None:
        self._cuda.memcpy_dtoh_async(array, address, self._stream)

    def move(self, to: int, address: int, size: int) -> None:
        self._cuda.memcpy_dtod_async(to, address, size, self._stream)

    def clear(self, address: int, size: int) -> None:
        self._cuda.memset_d8_async(address, 0, size, self._stream)

    def wait(self) -> None:
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
    """The primary context, for as long as the process lives: pycuda, letting go of one, leaves it current."""
    context = _pycuda().Device(0).retain_primary_context()

    def end() -> None:  # left to its destructor, pycuda would detach it as if it were none of a device's own
        context.push()
        context.detach()

    atexit.register(end)
    return context
