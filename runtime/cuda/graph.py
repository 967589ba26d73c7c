"""CUDA graphs: work that is captured once and replayed, and the launch that does so."""

from __future__ import annotations

import ctypes
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

from ..errors import PoseEdgeError
from .device import Device
from .gc_pause import gc_paused
from .staging import IOStaging

log = logging.getLogger(__name__)

# CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: CUDA calls of other threads, torch's for example, do not spoil a capture.
THREAD_LOCAL = 1


class CudaGraph:
    """A captured and instantiated CUDA graph; destroyed when the last reference is gone."""

    def __init__(self, device: Device, executable: ctypes.c_void_p) -> None:
        self._launch = device.driver.function("cuGraphLaunch")
        self._device, self._stream, self._executable = device, ctypes.c_void_p(device.stream), executable
        device.free_with(self, executable.value or 0, lambda: device.driver.call("cuGraphExecDestroy", executable))

    @classmethod
    def capture(cls, device: Device, work: Callable[[], None]) -> CudaGraph:
        """The graph of what ``work`` enqueues. Nothing is executed, and the capture is ended even if ``work`` raises."""
        stream, call = ctypes.c_void_p(device.stream), device.driver
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        with device, gc_paused():
            call("cuStreamBeginCapture_v2", stream, THREAD_LOCAL)
            try:
                work()
            except BaseException:
                call.call("cuStreamEndCapture", stream, ctypes.byref(graph))
                if graph:
                    call.call("cuGraphDestroy", graph)
                raise
            call("cuStreamEndCapture", stream, ctypes.byref(graph))
            try:
                call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
            finally:
                call("cuGraphDestroy", graph)
            return cls(device, executable)

    def replay(self) -> None:
        """Enqueue all of the captured work with one call. The device's context must be current."""
        result = self._launch(self._executable, self._stream)
        if result:
            raise self._device.driver.error("cuGraphLaunch", result)


class ReplayableGraph(Protocol):
    """A captured graph: ours, or ``torch.cuda.CUDAGraph``."""

    def replay(self) -> Any: ...


class CapturingEngine(Protocol):
    """An engine whose launches are captured: ``graphs`` is whether they still may be."""

    graphs: bool


G = TypeVar("G", bound=ReplayableGraph)


class GraphedLaunch(ABC, Generic[G]):
    """One binding on a device: the first call executes eagerly and is captured then, every later call is a replay.

    The first call is not captured itself: libraries still initialise then, which a capture would not survive. If the capture
    fails, ``engine.graphs`` becomes False: no launch of this engine is captured any more, and all are enqueued eagerly.

    Args:
        engine: whose launch it is.
        staging: the bound inputs and outputs.
    """

    def __init__(self, engine: CapturingEngine, staging: IOStaging) -> None:
        self._capturing, self.staging, self.device = engine, staging, staging.device
        self.graph: G | None = None

    def __call__(self) -> None:
        with self.current():
            self.staging.stage_inputs()
            if self.graph is not None:
                self.graph.replay()
                self.device.synchronize()
            else:
                self._enqueue()
                self.device.synchronize()
                if self._capturing.graphs:
                    self._capture()
            self.staging.collect_outputs()

    @abstractmethod
    def execute(self) -> None:
        """Enqueue the network itself, on the staged addresses."""

    @abstractmethod
    def capture(self, work: Callable[[], None]) -> G:
        """The graph of what ``work`` enqueues; a failure is a ``PoseEdgeError``."""

    def current(self) -> AbstractContextManager[Any]:
        """What makes the device's context current for a call."""
        return self.device

    def close(self) -> None:
        """Release the captured graph. The device is closed right after."""
        self.graph = None

    def _enqueue(self) -> None:
        self.staging.enqueue(self.execute)

    def _capture(self) -> None:
        try:
            self.graph = self.capture(self._enqueue)
        except PoseEdgeError as error:
            self._capturing.graphs = False
            log.warning("no CUDA graph could be captured (%s): each launch is enqueued anew", error.what)
