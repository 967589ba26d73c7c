"""The device on NVIDIA's cuda-bindings, which comes as wheels."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ..errors import MissingError
from ..platform.jetson import read_platform
from .device import NON_BLOCKING, Device, Free
from .driver import CudaError


class CudaBindings(Device):
    """The driver's functions; every result is checked."""

    package = "cuda-bindings"

    def __init__(self) -> None:
        super().__init__()
        try:
            from cuda.bindings import driver
        except ImportError:
            raise MissingError(
                "running on a GPU needs the package cuda-bindings, which is not installed",
                run=read_platform().install_cuda,
            ) from None
        self._cuda = driver
        self._check(driver.cuInit(0))
        self._gpu = self._check(driver.cuDeviceGet(0))
        self.name = self._check(driver.cuDeviceGetName(128, self._gpu)).split(b"\0")[0].decode()
        self._context = self._check(driver.cuDevicePrimaryCtxRetain(self._gpu))
        with self:
            self.stream = int(self._check(driver.cuStreamCreate(NON_BLOCKING)))

    def _check(self, result: tuple[Any, ...]) -> Any:
        """The value of (CUresult, value), or None of (CUresult,)."""
        if int(result[0]):
            raise CudaError(f"CUDA answered {result[0].name}", run="posemoe-edge doctor")
        return result[1] if len(result) > 1 else None

    def _push_context(self) -> None:
        self._check(self._cuda.cuCtxPushCurrent(self._context))

    def _pop_context(self) -> None:
        self._check(self._cuda.cuCtxPopCurrent())

    def _allocate_device(self, size: int) -> tuple[int, Free]:
        address = self._check(self._cuda.cuMemAlloc(size))
        return int(address), lambda: self._check(self._cuda.cuMemFree(address))

    def _allocate_pinned(self, size: int) -> tuple[int, Free]:
        address = self._check(self._cuda.cuMemHostAlloc(size, 0))
        return int(address), lambda: self._check(self._cuda.cuMemFreeHost(address))

    def _destroy(self) -> None:
        self._check(self._cuda.cuStreamDestroy(self.stream))
        self._check(self._cuda.cuDevicePrimaryCtxRelease(self._gpu))

    def upload(self, to: int, array: NDArray[Any]) -> None:
        self._check(self._cuda.cuMemcpyHtoDAsync(to, array.ctypes.data, array.nbytes, self.stream))

    def download(self, array: NDArray[Any], address: int) -> None:
        self._check(self._cuda.cuMemcpyDtoHAsync(array.ctypes.data, address, array.nbytes, self.stream))

    def copy(self, to: int, address: int, size: int) -> None:
        self._check(self._cuda.cuMemcpyDtoDAsync(to, address, size, self.stream))

    def clear(self, address: int, size: int) -> None:
        self._check(self._cuda.cuMemsetD8Async(address, 0, size, self.stream))

    def synchronize(self) -> None:
        self._check(self._cuda.cuStreamSynchronize(self.stream))
