"""A GPU: its memory, its copies and one stream. Everything that the engines need of CUDA, on cuda-bindings or on pycuda.

Both packages use the GPU's primary context, which torch and TensorRT use too. A context of its own, as ``pycuda.autoinit``
creates one, could not access their memory. pycuda has no CUDA graphs; graphs and waiting for another stream therefore call the
driver directly, whichever package does the rest.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .driver import CudaError, find_driver

NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: our stream and the default stream do not wait for each other
DISABLE_TIMING = 2  # CU_EVENT_DISABLE_TIMING

Free = Callable[[], Any]
Owner = TypeVar("Owner")


class Allocation:
    """Keeps device memory allocated for as long as something references it."""


class Device(ABC):
    """The first GPU that CUDA lists, with a stream of its own; made by ``open_device``.

    Work is enqueued on the stream and executed in order; only ``synchronize`` waits for it. The context is current inside
    ``with device`` alone, in any thread; afterwards the caller's own context is current again. Use a device from
    one thread at a time.

    ``package`` and ``name`` are the Python package and the GPU's name; ``stream`` is the stream's handle.
    """

    package: str
    name: str
    stream: int
    package_errors: tuple[type[Exception], ...] = ()  # exceptions of the package, raised again as CudaError

    def __init__(self) -> None:
        self.driver = find_driver()
        self._allocated: dict[int, Free] = {}  # address or handle -> the call that frees it
        self.closed = False

    def __enter__(self) -> Device:
        if self.closed:
            raise UsageError("the model is closed", expected="a model that load opened")
        self._push_context()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pop_context()
        if isinstance(error, self.package_errors):
            raise CudaError(f"CUDA: {error}", run="posemoe-edge doctor") from error

    @abstractmethod
    def _push_context(self) -> None: ...

    @abstractmethod
    def _pop_context(self) -> None: ...

    @abstractmethod
    def _allocate_device(self, size: int) -> tuple[int, Free]:
        """Device memory of ``size`` bytes: its address, and the call that frees it."""

    @abstractmethod
    def _allocate_pinned(self, size: int) -> tuple[int, Free]:
        """Page-locked host memory of ``size`` bytes: its address, and the call that frees it."""

    @abstractmethod
    def _destroy(self) -> None:
        """Destroy the stream and release the context."""

    @abstractmethod
    def upload(self, to: int, array: NDArray[Any]) -> None:
        """Enqueue a copy of a contiguous host array; unless it is pinned, it may change as soon as this returns."""

    @abstractmethod
    def download(self, array: NDArray[Any], address: int) -> None:
        """Enqueue a copy into a contiguous host array."""

    @abstractmethod
    def copy(self, to: int, address: int, size: int) -> None:
        """Enqueue a copy within the device."""

    @abstractmethod
    def clear(self, address: int, size: int) -> None:
        """Enqueue setting bytes to zero."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the stream has executed everything that was enqueued."""

    def allocate(self, size: int) -> tuple[int, Allocation]:
        """Device memory of ``size`` bytes: its address, and the object whose lifetime is the memory's."""
        with self:
            address, free = self._allocate_device(size)
            return address, self.free_with(Allocation(), address, free)

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """Page-locked host memory of ``size`` bytes, which copies need not stage. Freed when the last view is gone."""
        with self:
            address, free = self._allocate_pinned(size)
        memory = (ctypes.c_ubyte * size).from_address(address)
        return np.frombuffer(memoryview(self.free_with(memory, address, free)), np.uint8)

    def wait_for_stream(self, stream: int) -> None:
        """Work enqueued from now on runs after what another stream has pending already. The host does not wait."""
        event, call = ctypes.c_void_p(), self.driver
        call("cuEventCreate", ctypes.byref(event), DISABLE_TIMING)
        try:
            call("cuEventRecord", event, ctypes.c_void_p(stream))
            call("cuStreamWaitEvent", ctypes.c_void_p(self.stream), event, 0)
        finally:
            call("cuEventDestroy_v2", event)

    def free_with(self, owner: Owner, address: int, free: Free) -> Owner:
        """Call ``free`` once ``owner`` or the device is gone; not at Python's exit, when the driver may be unloaded."""
        self._allocated[address] = free
        weakref.finalize(owner, self._free, address).atexit = False
        return owner

    def __del__(self) -> None:
        if hasattr(self, "stream") and not sys.is_finalizing():
            self.close()

    def close(self) -> None:
        """Free everything still allocated. Arrays and graphs of this device must not be used any more. Idempotent."""
        if not self.closed:
            with self:
                for address in list(self._allocated):
                    self._allocated.pop(address)()
            self._destroy()
            self.closed = True

    def _free(self, address: int) -> None:
        if not self.closed and address in self._allocated:
            with self:
                self._allocated.pop(address)()
