"""TensorRT: a plan runs on the GPU, states stay in device memory, and a launch replays one CUDA graph.

Slots bind once: device addresses, shapes and an execution context. ``GraphedLaunch`` executes the first launch of a binding
eagerly, because TensorRT initialises lazily then, and captures the second. A slot reads one slab and writes the other, so a
stream has two bindings and two CUDA graphs, one per parity.

A CUDA graph keeps the addresses, shapes and context that it was captured with. Each binding therefore has a context of its own
that nothing else uses; when slabs grow, bindings and graphs are made again. Contexts are cheap because they share their scratch
memory, which is the large part: a stream executes one launch at a time.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...cuda.array import DeviceArray, zeros
from ...cuda.device import Device
from ...cuda.gc_pause import gc_paused
from ...cuda.graph import CudaGraph, GraphedLaunch
from ...cuda.interop import as_device_arrays
from ...cuda.open import open_device
from ...cuda.staging import ALIGNMENT, IOStaging
from ...errors import ArtefactError, MissingError
from ..base import BoundInference
from ..buffers import Buffers, Interface, check_buffers
from .library import import_tensorrt, last_errors, open_logger
from .plan import EngineName

log = logging.getLogger(__name__)


class TensorRtEngine:
    """A deserialised plan, in the GPU's primary context. Use it from one thread at a time.

    Args:
        plan: the bytes that the builder wrote for this version and GPU.
        engine: which of the two libraries runs it.
        device: the GPU, which the engine closes; None opens it.
        graphs: replay CUDA graphs; otherwise each launch is enqueued operation by operation.
    """

    def __init__(
        self, plan: bytes, *, engine: EngineName = "tensorrt", device: Device | None = None, graphs: bool = True
    ) -> None:
        self._trt = trt = import_tensorrt(engine)
        self.name: str = engine
        self.metadata: dict[str, str] = {}
        self.graphs = graphs
        self.device = device or open_device()
        self._launches: weakref.WeakSet[_TensorRtLaunch] = weakref.WeakSet()
        self._logger = open_logger(trt)  # must outlive all that follows
        self._runtime: Any = None
        self._engine: Any = None  # ICudaEngine
        with ExitStack() as on_error:
            on_error.callback(self.close)
            with self.device, gc_paused():
                self._deserialise(plan)
            on_error.pop_all()

    def _deserialise(self, plan: bytes) -> None:
        trt = self._trt
        try:
            self._runtime = trt.Runtime(self._logger)
        except TypeError:  # the library returned a null pointer
            raise MissingError(
                f"TensorRT {trt.__version__} is installed and does not start ({self.last_errors()})",
                expected="an NVIDIA driver and a GPU that it supports",
                run="posemoe-edge doctor",
            ) from None
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise ArtefactError(
                f"TensorRT {trt.__version__} cannot read the plan: {self.last_errors()}",
                expected=f"a whole plan that this version built for {self.device.name}",
                run=f"posemoe-edge build --engine {self.name} --force",
            )
        self.inputs, self.outputs = self._interface(trt.TensorIOMode.INPUT), self._interface(trt.TensorIOMode.OUTPUT)
        self._min_rows, self._max_rows = self._profile_rows()
        self._scratch = zeros(self.device, max(ALIGNMENT, self._engine.device_memory_size_v2), np.uint8)

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """See ``Engine.zeros``."""
        return zeros(self.device, shape, dtype)

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """See ``Engine.bind``. GPU arrays of other libraries are bound in place (see ``as_device_array``).

        More rows than the plan supports become several launches, one after the other.
        """
        inputs, outputs = as_device_arrays(self.device, inputs), as_device_arrays(self.device, outputs)
        rows = check_buffers(inputs, self.inputs, outputs, self.outputs)
        if rows <= self._max_rows:
            return self._bind_rows(inputs, outputs, rows)
        parts = [slice(first, min(first + self._max_rows, rows)) for first in range(0, rows, self._max_rows)]
        launches = [
            self._bind_rows(
                {name: x[part] for name, x in inputs.items()},
                {name: x[part] for name, x in outputs.items()},
                len(range(rows)[part]),
            )
            for part in parts
        ]

        def launch_parts() -> None:
            for launch in launches:
                launch()

        return launch_parts

    @gc_paused()
    def close(self) -> None:
        """See ``Engine.close``."""
        for launch in list(self._launches):
            launch.close()
        self._engine = self._runtime = None
        self.device.close()

    def last_errors(self) -> str:
        """Return the last errors that TensorRT logged, and clear them."""
        errors, self._logger.errors = self._logger.errors, []
        return last_errors(errors)

    @gc_paused()
    def open_context(self) -> Any:
        """A new execution context, on the scratch memory that all contexts share."""
        context = self._engine.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise ArtefactError(
                f"TensorRT made no execution context: {self.last_errors()}",
                expected="a plan for this GPU, and memory to spare",
                run="posemoe-edge doctor",
            )
        context.set_device_memory(self._scratch.address, self._scratch.nbytes)
        self.check_call(context.set_optimization_profile_async(0, self.device.stream), "take its first profile")
        return context

    def check_call(self, succeeded: bool, action: str) -> None:
        """Raise an error for a TensorRT call that returned False, which TensorRT itself does not."""
        if not succeeded:
            raise ArtefactError(
                f"TensorRT did not {action}: {self.last_errors()}",
                expected="a plan for this GPU and this graph",
                run=f"posemoe-edge build --engine {self.name} --force",
            )

    def _bind_rows(self, inputs: Buffers, outputs: Buffers, rows: int) -> BoundInference:
        if rows < self._min_rows:
            raise ArtefactError(
                f"a launch of {rows} rows of a plan for {self._min_rows} to {self._max_rows}",
                expected="a plan that takes one row",
                run=f"posemoe-edge build --engine {self.name} --streams 1,1,{self._max_rows}",
            )
        launch = _TensorRtLaunch(self, inputs, outputs)
        self._launches.add(launch)
        return launch

    def _interface(self, mode: Any) -> Interface:
        names = map(self._engine.get_tensor_name, range(self._engine.num_io_tensors))
        of_mode = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        return {name: (self._dtype(name), self._shape(name)) for name in of_mode}

    def _dtype(self, name: str) -> str:
        return str(np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name))).name)

    def _shape(self, name: str) -> tuple[int | str, ...]:
        """With "B" for the first axis even if the plan is for a fixed number of rows: ``bind`` splits rows into launches."""
        return ("B", *map(int, tuple(self._engine.get_tensor_shape(name))[1:]))

    def _profile_rows(self) -> tuple[int, int]:
        """The smallest and the largest number of rows of one launch."""
        smallest, _, largest = map(tuple, self._engine.get_tensor_profile_shape(next(iter(self.inputs)), 0))
        return int(smallest[0]), int(largest[0])


class _TensorRtLaunch(GraphedLaunch[CudaGraph]):
    """One binding: an execution context of its own, and the CUDA graph captured with it."""

    @gc_paused()
    def __init__(self, owner: TensorRtEngine, inputs: Buffers, outputs: Buffers) -> None:
        with owner.device:
            super().__init__(owner, IOStaging(owner.device, inputs, outputs))
            self._owner, self._bound = owner, (inputs, outputs)  # a context holds addresses, not references
            self._context = owner.open_context()
            for name, x in inputs.items():
                owner.check_call(self._context.set_input_shape(name, tuple(x.shape)), f"take {name} of shape {tuple(x.shape)}")
            for name, address in self.staging.addresses.items():
                owner.check_call(self._context.set_tensor_address(name, address), f"take an address for {name}")
            unknown = self._context.infer_shapes()
            owner.check_call(not unknown, f"know all its shapes ({', '.join(unknown)})")

    @gc_paused()
    def execute(self) -> None:
        """See ``GraphedLaunch.execute``."""
        self._owner.check_call(self._context.execute_async_v3(self.device.stream), "run the plan")

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """See ``GraphedLaunch.capture``."""
        return CudaGraph.capture(self.device, work)

    @gc_paused()
    def close(self) -> None:
        """Release the graph and the context, which must be destroyed before the engine."""
        self.graph = self._context = None

    def __del__(self) -> None:
        self.close()
