"""TensorRT: a plan runs on the GPU, its states never leave it, and a launch is the replay of one CUDA graph.

What a slot binds is bound once: addresses in device memory, shapes, an execution context. The first launch of a binding is
enqueued plainly and waited for, since TensorRT still sets things up then, which a capture would not survive. It is captured
right after, so that the next one is a replay. A slot reads one slab and writes the other, so a stream has two bindings and
two graphs, one per parity.

A graph keeps the addresses, the shapes and the context that it was captured with. So each binding has a context of its own,
which nothing else touches: bindings are made anew when slabs grow, and graphs with them. Contexts are cheap because they
share their scratch memory, the large part: one stream does one launch at a time.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...cuda.array import DeviceArray, as_device_arrays, check_buffers
from ...cuda.device import CudaGraph, Device, open_device
from ...cuda.gc_pause import gc_paused
from ...cuda.staging import ALIGNMENT, IOStaging
from ...errors import ArtefactError, MissingError, PoseEdgeError
from ..base import BoundInference, Buffers, Interface
from .library import import_tensorrt, last_errors, open_logger
from .plan import EngineName

log = logging.getLogger(__name__)


class TensorRtEngine:
    """A plan that is ready to run, in the GPU's primary context. One thread at a time.

    Args:
        plan: what build made, for this version and GPU.
        engine: which of the two libraries runs it.
        device: the GPU, which becomes the engine's; None opens it.
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
        self._launches: weakref.WeakSet[_Launch] = weakref.WeakSet()
        self._logger = open_logger(trt)  # must outlive all that follows
        with self.device, gc_paused():
            try:
                self._runtime = trt.Runtime(self._logger)
            except TypeError:  # the library answered with a null pointer
                raise MissingError(
                    f"TensorRT {trt.__version__} is installed and does not start ({self.last_errors()})",
                    expected="an NVIDIA driver and a GPU that it supports",
                    run="posemoe-edge doctor",
                ) from None
            self._plan = self._runtime.deserialize_cuda_engine(plan)
            if self._plan is None:
                raise ArtefactError(
                    f"TensorRT {trt.__version__} cannot read the plan: {self.last_errors()}",
                    expected=f"a whole plan that this version built for {self.device.name}",
                    run=f"posemoe-edge build --engine {engine} --force",
                )
            self.inputs, self.outputs = self._interface(trt.TensorIOMode.INPUT), self._interface(trt.TensorIOMode.OUTPUT)
            self._least, self._most = self._rows()
            self._scratch = self.device.zeros(max(ALIGNMENT, self._plan.device_memory_size_v2), np.uint8)

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """See ``Engine.zeros``."""
        return self.device.zeros(shape, dtype)

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """See ``Engine.bind``. Besides, other libraries' memory on the GPU is bound as it is (see ``memory.as_device_array``).

        More rows than the plan takes become several launches, one after the other.
        """
        inputs, outputs = as_device_arrays(self.device, inputs), as_device_arrays(self.device, outputs)
        rows = check_buffers(inputs, self.inputs, outputs, self.outputs)
        if rows <= self._most:
            return self._launch(inputs, outputs, rows)
        parts = [slice(first, min(first + self._most, rows)) for first in range(0, rows, self._most)]
        launches = [
            self._launch(
                {name: x[part] for name, x in inputs.items()},
                {name: x[part] for name, x in outputs.items()},
                len(range(rows)[part]),
            )
            for part in parts
        ]

        def launch() -> None:
            for each in launches:
                each()

        return launch

    @gc_paused()
    def close(self) -> None:
        """See ``Engine.close``."""
        for launch in list(self._launches):
            launch.close()
        self._plan = self._runtime = None
        self.device.close()

    def last_errors(self) -> str:
        """The last of what TensorRT said before it gave up."""
        told, self._logger.errors = self._logger.errors, []
        return last_errors(told)

    @gc_paused()
    def open_context(self) -> Any:
        """A new execution context, in the scratch memory that all of them share."""
        context = self._plan.create_execution_context(self._trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise ArtefactError(
                f"TensorRT made no execution context: {self.last_errors()}",
                expected="a plan for this GPU, and memory to spare",
                run="posemoe-edge doctor",
            )
        context.set_device_memory(self._scratch.address, self._scratch.nbytes)
        self.check_call(context.set_optimization_profile_async(0, self.device.stream), "take its first profile")
        return context

    def check_call(self, granted: bool, what: str) -> None:
        """TensorRT answers False and goes on; we do not."""
        if not granted:
            raise ArtefactError(
                f"TensorRT did not {what}: {self.last_errors()}",
                expected="a plan for this GPU and this graph",
                run=f"posemoe-edge build --engine {self.name} --force",
            )

    def _launch(self, inputs: Buffers, outputs: Buffers, rows: int) -> BoundInference:
        if rows < self._least:
            raise ArtefactError(
                f"a launch of {rows} rows of a plan for {self._least} to {self._most}",
                expected="a plan that takes one row",
                run=f"posemoe-edge build --engine {self.name} --streams 1,1,{self._most}",
            )
        launch = _Launch(self, inputs, outputs)
        self._launches.add(launch)
        return launch

    def _interface(self, mode: Any) -> Interface:
        names = map(self._plan.get_tensor_name, range(self._plan.num_io_tensors))
        found = [name for name in names if self._plan.get_tensor_mode(name) == mode]
        return {name: (self._dtype(name), self._shape(name)) for name in found}

    def _dtype(self, name: str) -> str:
        return str(np.dtype(self._trt.nptype(self._plan.get_tensor_dtype(name))).name)

    def _shape(self, name: str) -> tuple[int | str, ...]:
        """With "B" for the first axis also if the plan is for a fixed number of rows: its launches are what they are."""
        return ("B", *map(int, tuple(self._plan.get_tensor_shape(name))[1:]))

    def _rows(self) -> tuple[int, int]:
        """The least and the most rows of one launch."""
        least, _, most = map(tuple, self._plan.get_tensor_profile_shape(next(iter(self.inputs)), 0))
        return int(least[0]), int(most[0])


class _Launch:
    """One binding: a context of its own, and the graph that was captured of it."""

    @gc_paused()
    def __init__(self, engine: TensorRtEngine, inputs: Buffers, outputs: Buffers) -> None:
        self._engine, self._device = engine, engine.device
        self._graph: CudaGraph | None = None
        with self._device:
            self._ferry = IOStaging(self._device, inputs, outputs)
            self._context = engine.open_context()
            for name, x in inputs.items():
                engine.check_call(self._context.set_input_shape(name, tuple(x.shape)), f"take {name} of shape {tuple(x.shape)}")
            for name, address in self._ferry.addresses.items():
                engine.check_call(self._context.set_tensor_address(name, address), f"take an address for {name}")
            unknown = self._context.infer_shapes()
            engine.check_call(not unknown, f"know all its shapes ({', '.join(unknown)})")

    def __call__(self) -> None:
        with self._device as device:
            self._ferry.load()
            if self._graph is not None:
                self._graph()
                device.wait()
            else:
                self._enqueue()
                device.wait()
                if self._engine.graphs:
                    self._capture()
            self._ferry.unload()

    @gc_paused()
    def close(self) -> None:
        """Let go of what must be gone before the plan is."""
        self._graph = self._context = None

    def __del__(self) -> None:
        self.close()

    def _enqueue(self) -> None:
        self._ferry.enqueue(self._execute)

    @gc_paused()
    def _execute(self) -> None:
        self._engine.check_call(self._context.execute_async_v3(self._device.stream), "run the plan")

    def _capture(self) -> None:
        """After a launch that went well. If it cannot be captured, all launches go on being enqueued plainly."""
        try:
            self._graph = self._device.capture(self._enqueue)
        except PoseEdgeError as error:
            self._engine.graphs = False
            log.warning("no CUDA graph could be captured (%s): each launch is enqueued anew", error.what)
