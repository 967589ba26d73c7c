"""PyTorch as an engine: runs an artefact's reference weights with the trained network's own modules, on the CPU or a GPU.

So the reference that other engines drift from can be run and certified like any engine, and CUDA graphs can be tried without
TensorRT. The modules are those that export traces; the only file read is the weights'. ``runtime`` finds this module by its
entry point alone.

On a GPU, memory and stream are the runtime's, and torch uses both: its context is the primary context too. ``GraphedLaunch``
executes the first launch of a binding eagerly, because torch and its libraries initialise lazily then, and captures the second
together with the copies to the device and back. The capture is torch's own, so that memory which its allocator hands out during
the capture stays reserved for the graph. The graphs of an engine share one memory pool for as long as one of them exists: no
memory of the pool is used from one launch to the next, since every result is copied into bound memory.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor, nn

from ...export.lifter import ExportableLifter
from ...export.precision import to_fp16
from ...export.trace import ChunkGraph, StepGraph, WindowGraph, interface
from ...runtime.artefact.certificate import find_reference
from ...runtime.artefact.graph_parts import Tensor as TensorSpec
from ...runtime.artefact.manifest import MANIFEST, Graph, read_graph
from ...runtime.artefact.precision import TRACED
from ...runtime.cuda.array import DeviceArray, zeros
from ...runtime.cuda.device import Device
from ...runtime.cuda.driver import CudaError
from ...runtime.cuda.gc_pause import gc_paused
from ...runtime.cuda.graph import GraphedLaunch
from ...runtime.cuda.interop import as_device_arrays
from ...runtime.cuda.open import open_device
from ...runtime.cuda.staging import IOStaging
from ...runtime.engines.base import BoundInference
from ...runtime.engines.buffers import Buffers, Interface, Rows, check_buffers
from ...runtime.errors import ArtefactError, UsageError
from ..checkpoints import load_reference

log = logging.getLogger(__name__)

EXPORT = "posemoe-edge export"
GPU = torch.device("cuda", 0)  # the first that CUDA lists, which ``Device`` opens too


class TorchEngine:
    """The reference network of one graph of an artefact, in that graph's precision. Use it from one thread at a time.

    Args:
        graph: the graph's file in an artefact; the weights are those of its folder.
        threads: PyTorch's CPU threads, for the whole process from now on; unused on a GPU.
        device: the GPU, which the engine closes; None opens it if torch sees one, and is the CPU otherwise.
        graphs: replay CUDA graphs; otherwise each launch is enqueued operation by operation.
    """

    def __init__(self, graph: Path | bytes, *, threads: int = 1, device: Device | None = None, graphs: bool = True) -> None:
        record, self._network = open_network(graph)
        self.metadata: dict[str, str] = {}
        self.inputs: Interface = {tensor.name: (tensor.dtype, tensor.shape) for tensor in record.inputs}
        self.outputs: Interface = {tensor.name: (tensor.dtype, tensor.shape) for tensor in record.outputs}
        self.device = device or (open_device() if torch.cuda.is_available() else None)
        self.name = "torch-cpu" if self.device is None else "torch-cuda"
        self.graphs = graphs
        self._launches: weakref.WeakSet[_TorchLaunch] = weakref.WeakSet()
        if self.device is None:
            torch.set_num_threads(threads)
            return
        with ExitStack() as on_error:
            on_error.callback(self.device.close)
            with self.device:
                self.stream = torch.cuda.ExternalStream(self.device.stream, device=GPU)
            with self.current_stream():
                self._network.to(GPU)
                self.device.synchronize()
            on_error.pop_all()

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> Rows:
        """See ``Engine.zeros``."""
        return np.zeros(shape, dtype) if self.device is None else zeros(self.device, shape, dtype)

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """See ``Engine.bind``. On a GPU, arrays of other libraries are bound in place (see ``as_device_array``)."""
        device = self.device
        if device is None:
            return self._bind_host(inputs, outputs)
        inputs, outputs = as_device_arrays(device, inputs), as_device_arrays(device, outputs)
        check_buffers(inputs, self.inputs, outputs, self.outputs)
        launch = _TorchLaunch(self, device, inputs, outputs)
        self._launches.add(launch)
        return launch

    def close(self) -> None:
        """See ``Engine.close``."""
        if self.device is not None and not self.device.closed:
            with self.current_stream():
                for launch in list(self._launches):
                    launch.close()
                del self._network
                torch.cuda.empty_cache()
            self.device.close()

    def run(self, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        """Run the network on these tensors and copy its results into ``outputs``; on a GPU both are enqueued."""
        with torch.inference_mode():
            results = self._network(**inputs)
            for name, result in zip(self.outputs, results if isinstance(results, tuple) else (results,), strict=True):
                outputs[name].copy_(result)

    @contextmanager
    def current_stream(self) -> Iterator[None]:
        """Makes the GPU's context and torch's stream current. An error of torch becomes a CudaError."""
        assert self.device is not None
        with self.device, torch.cuda.stream(self.stream), torch.inference_mode():
            try:
                yield
            except RuntimeError as error:
                raise CudaError(f"PyTorch on the GPU: {_first_line(error)}", run="posemoe-edge doctor") from error

    def _bind_host(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """Tensors that are views of the caller's arrays: only the results are copied."""
        check_buffers(inputs, self.inputs, outputs, self.outputs)
        input_tensors, output_tensors = (
            {name: torch.from_numpy(array) for name, array in buffers.items()} for buffers in (inputs, outputs)
        )

        def launch() -> None:
            self.run(input_tensors, output_tensors)

        return launch


class _TorchLaunch(GraphedLaunch[torch.cuda.CUDAGraph]):
    """One binding on the GPU, and the CUDA graph captured of it."""

    def __init__(self, owner: TorchEngine, device: Device, inputs: Buffers, outputs: Buffers) -> None:
        self._owner = owner
        with owner.current_stream():
            super().__init__(owner, IOStaging(device, inputs, outputs))
            self._inputs, self._outputs = (
                {name: self._tensor(name, x) for name, x in buffers.items()} for buffers in (inputs, outputs)
            )

    def current(self) -> AbstractContextManager[None]:
        """See ``GraphedLaunch.current``: torch's stream too."""
        return self._owner.current_stream()

    def execute(self) -> None:
        """See ``GraphedLaunch.execute``."""
        with exact_fp32():
            self._owner.run(self._inputs, self._outputs)

    def capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """See ``GraphedLaunch.capture``."""
        owner, graph = self._owner, torch.cuda.CUDAGraph()
        pool = next((launch.graph.pool() for launch in owner._launches if launch.graph is not None), None)
        try:
            # gc_paused: freed garbage may own device memory, and freeing it during a capture invalidates the capture.
            # inference_mode(False): when a capture begins, torch may create tensors that serve all graphs of the process.
            # Tensors of inference mode could not be written to outside of it.
            with (
                gc_paused(),
                torch.inference_mode(False),
                torch.cuda.graph(graph, pool=pool, stream=owner.stream, capture_error_mode="thread_local"),
            ):
                work()
        except RuntimeError as error:
            raise CudaError(_first_line(error), run="posemoe-edge doctor") from error
        return graph

    def close(self) -> None:
        """Release the graph and the tensors, which must be destroyed before the stream."""
        self.graph = None
        self._inputs.clear()
        self._outputs.clear()

    def _tensor(self, name: str, x: Any) -> Tensor:
        """The staged memory of ``x`` as a torch tensor."""
        owner = (x, self.staging)
        staged = DeviceArray(self.device, self.staging.addresses[name], tuple(x.shape), x.dtype, owner)
        return torch.as_tensor(staged, device=GPU)


def open_network(path: Path | bytes) -> tuple[Graph, nn.Module]:
    """The manifest's record of a graph's file, and the module with that graph's inputs and outputs, in eval mode.

    Raises:
        UsageError: PyTorch cannot run the graph: it is given as bytes, or its precision is a quantised one.
        MissingError: there is no artefact.
        ArtefactError: the file belongs to no artefact, or the artefact holds no weights, or weights of another network.
    """
    if isinstance(path, bytes):
        raise UsageError("bytes for torch", expected="a graph's file in an artefact: its weights are found beside it")
    folder = path.parent
    if path.is_file() and not (folder / MANIFEST).is_file():
        raise ArtefactError(
            f"{path} is a standalone graph, without reference weights", expected="a graph of an artefact", run=EXPORT
        )
    manifest, graph = read_graph(path)
    if graph.precision not in TRACED:
        expected = f"precision {' or '.join(TRACED)}: --precision fp32"
        raise UsageError(f"PyTorch has no {graph.precision} graph", expected=expected)
    model: ExportableLifter = load_reference(find_reference(folder, manifest))
    of_weights = interface(model, graph.frames if graph.mode == "chunk" else None)[:2]
    if [list(map(_signature, side)) for side in of_weights] != [
        list(map(_signature, side)) for side in (graph.inputs, graph.outputs)
    ]:
        raise ArtefactError(
            f"the weights of {folder} are of another network than {graph.file}",
            expected="those that it was exported from",
            run=f"{EXPORT} {manifest.preset}",
        )
    if graph.precision == "fp16":
        model = to_fp16(model)
    module: nn.Module = {"step": StepGraph, "chunk": ChunkGraph, "window": WindowGraph}[graph.mode](model)
    return graph, module.eval().requires_grad_(False)


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Matrix products and convolutions on the GPU in IEEE float32, not TF32, whatever the process has configured."""
    backends = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def _signature(tensor: TensorSpec) -> tuple[object, ...]:
    return tensor.name, tensor.dtype, tensor.shape


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
