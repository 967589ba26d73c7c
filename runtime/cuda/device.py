"""A GPU: its memory and one stream of work. All that engines need of CUDA, on cuda-bindings or on pycuda.

Both speak to the GPU's primary context, the one that torch and TensorRT use too; a context of its own, as pycuda.autoinit
makes it, would see none of their memory. pycuda knows no graphs, so that graphs and waiting for other streams ask the driver
itself, whichever package does the rest.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import MissingError, PoseEdgeError, UsageError
from ..platform.nvidia import DRIVER
from .array import DeviceArray, MirroredArray
from .gc_pause import gc_paused

log = logging.getLogger(__name__)

OWN_THREAD = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile, a torch of theirs say, spoils nothing
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: it does not wait for the default stream, nor the default stream for it
UNTIMED = 2  # CU_EVENT_DISABLE_TIMING


class CudaError(PoseEdgeError):
    """The driver refused a call: no memory, a kernel that broke off."""


class Device(ABC):
    """The first GPU that CUDA shows, with a stream of its own; made by ``open_device``.

    Work is enqueued and done in order; only ``wait`` waits for it. The context is current within ``with device`` alone, in
    any thread, so that the one which the caller works in is current again afterwards. One thread at a time.
    """

    package: str
    name: str
    stream: int
    refusals: tuple[type[Exception], ...] = ()  # the package's own exceptions

    def __init__(self) -> None:
        self.driver = find_driver()
        self._live: dict[int, Callable[[], Any]] = {}  # address -> what frees it
        self.closed = False

    def __enter__(self) -> Device:
        if self.closed:
            raise UsageError("the model is closed", expected="a model that load opened")
        self._push()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pop()
        if isinstance(error, self.refusals):
            raise CudaError(f"CUDA: {error}", run="posemoe-edge doctor") from error

    @abstractmethod
    def _push(self) -> None: ...

    @abstractmethod
    def _pop(self) -> None: ...

    @abstractmethod
    def _allocate(self, size: int) -> tuple[int, Callable[[], Any]]:
        """Memory on the device: its address, and what frees it."""

    @abstractmethod
    def _pin(self, size: int) -> tuple[int, Callable[[], Any]]:
        """Page-locked memory of the host: its address, and what frees it."""

    @abstractmethod
    def _end(self) -> None:
        """Destroy the stream and let go of the context."""

    @abstractmethod
    def upload(self, to: int, array: NDArray[Any]) -> None:
        """Enqueue a copy of a contiguous array; one that is not pinned may change as soon as this returns."""

    @abstractmethod
    def download(self, array: NDArray[Any], address: int) -> None:
        """Enqueue a copy into a contiguous array."""

    @abstractmethod
    def move(self, to: int, address: int, size: int) -> None:
        """Enqueue a copy on the device."""

    @abstractmethod
    def clear(self, address: int, size: int) -> None:
        """Enqueue zeros."""

    @abstractmethod
    def wait(self) -> None:
        """Until all that was enqueued is done."""

    def zeros(self, shape: Sequence[int] | int, dtype: DTypeLike = np.float32) -> DeviceArray:
        """An array on the device. Its memory is freed when nobody has it any more."""
        shape, dtype = (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype)
        size = max(1, int(np.prod(shape)) * dtype.itemsize)
        with self:
            address, free = self._allocate(size)
            owner = self._keep(_Owner(), address, free)
            self.clear(address, size)
        return DeviceArray(self, address, shape, dtype, owner)

    def pinned(self, size: int) -> NDArray[np.uint8]:
        """Page-locked bytes of the host, which copies need not stage. Freed when nobody has them any more."""
        with self:
            address, free = self._pin(size)
        memory = (ctypes.c_ubyte * size).from_address(address)
        return np.frombuffer(self._keep(memory, address, free), np.uint8)

    def mirror(self, shape: Sequence[int], dtype: DTypeLike) -> MirroredArray:
        """An array on the device, of at least one element, with its image on the host."""
        far = self.zeros(shape, dtype)
        near = self.pinned(far.nbytes).view(far.dtype).reshape(far.shape)
        near[:] = 0
        return MirroredArray(far, near)

    def after(self, stream: int) -> None:
        """What is enqueued from now on comes after what another stream has to do already. The host does not wait."""
        event, call = ctypes.c_void_p(), self.driver
        call("cuEventCreate", ctypes.byref(event), UNTIMED)
        try:
            call("cuEventRecord", event, ctypes.c_void_p(stream))
            call("cuStreamWaitEvent", ctypes.c_void_p(self.stream), event, 0)
        finally:
            call("cuEventDestroy_v2", event)

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """Make a graph of what ``work`` enqueues, which is not done now; whatever happens, the capture is ended."""
        stream, graph, made, call = ctypes.c_void_p(self.stream), ctypes.c_void_p(), ctypes.c_void_p(), self.driver
        with self, gc_paused():
            call("cuStreamBeginCapture_v2", stream, OWN_THREAD)
            try:
                work()
            except BaseException:
                call.answer("cuStreamEndCapture", stream, ctypes.byref(graph))
                if graph:
                    call.answer("cuGraphDestroy", graph)
                raise
            call("cuStreamEndCapture", stream, ctypes.byref(graph))
            try:
                call("cuGraphInstantiateWithFlags", ctypes.byref(made), graph, ctypes.c_ulonglong(0))
            finally:
                call("cuGraphDestroy", graph)
            return CudaGraph(self, made)

    def __del__(self) -> None:
        if hasattr(self, "stream") and not sys.is_finalizing():
            self.close()

    def close(self) -> None:
        """Free everything that is still there. What was made here must not be used any more; a second call does nothing."""
        if not self.closed:
            with self:
                for address in list(self._live):
                    self._live.pop(address)()
            self._end()
            self.closed = True

    def _keep(self, owner: Any, address: int, free: Callable[[], Any]) -> Any:
        """Free it when its owner is gone; not as Python ends, when the driver may be gone already."""
        self._live[address] = free
        weakref.finalize(owner, self._release, address).atexit = False
        return owner

    def _release(self, address: int) -> None:
        if not self.closed and address in self._live:
            with self:
                self._live.pop(address)()


class _Owner:
    """Whoever has it keeps device memory from being freed."""


class CudaGraph:
    """A captured graph: call it to enqueue all of it at once."""

    def __init__(self, device: Device, made: ctypes.c_void_p) -> None:
        self._launch = device.driver.function("cuGraphLaunch")
        self._device, self._stream, self._made = device, ctypes.c_void_p(device.stream), made
        device._keep(self, made.value or 0, lambda: device.driver.answer("cuGraphExecDestroy", made))

    def __call__(self) -> None:
        answer = self._launch(self._made, self._stream)
        if answer:
            raise self._device.driver.error("cuGraphLaunch", answer)


class Driver:
    """libcuda's functions by name; an answer that is not 0 is an error."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(DRIVER)
        except OSError:
            raise MissingError(
                f"no NVIDIA driver is installed ({DRIVER} is not there)",
                expected="a machine with a GPU, or the engine onnxruntime",
                run="posemoe-edge doctor",
            ) from None

    def function(self, name: str) -> Any:
        return getattr(self._library, name)

    def answer(self, name: str, *given: Any) -> int:
        return int(self.function(name)(*given))

    def __call__(self, name: str, *given: Any) -> None:
        answer = self.answer(name, *given)
        if answer:
            raise self.error(name, answer)

    def error(self, name: str, answer: int) -> CudaError:
        word = ctypes.c_char_p()
        self._library.cuGetErrorName(answer, ctypes.byref(word))
        return CudaError(f"CUDA: {name} answered {(word.value or b'').decode() or answer}", run="posemoe-edge doctor")


@cache
def find_driver() -> Driver:
    return Driver()


def open_device(package: str | None = None) -> Device:
    """The GPU, through cuda-bindings or pycuda; None decides: pycuda where the process uses it already, else what is installed.

    Raises:
        MissingError: there is no driver, or neither package.
    """
    find_driver()
    if package is None:
        other = _installed("pycuda") and not _installed("cuda.bindings")
        package = "pycuda" if other or "pycuda.driver" in sys.modules else "cuda-bindings"
    device: Device
    if package == "pycuda":
        from .pycuda import PyCuda

        device = PyCuda()
    else:
        from .cuda_bindings import CudaBindings

        device = CudaBindings()
    log.info("%s, memory by %s", device.name, package)
    return device


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False
