"""PyTorch as an engine: an artefact's own weights run by the network that was trained, on the processor or on a GPU.

What another engine drifts from can so be run and certified like it, and CUDA graphs tried where TensorRT is not. The modules
are those that export traced; there is no file to read but the weights. ``runtime`` knows this module by an entry point alone.

On a GPU memory and stream are the runtime's, and torch works on both: the primary context is torch's too. The first launch of
a binding is enqueued operation by operation and waited for, since torch and its libraries still set things up then, which a
capture would not survive. It is captured right after, with the copies to the device and back, and the next ones are replays.
Torch captures itself: what its allocator gives out meanwhile must stay the graph's. Graphs of an engine share that pool
for as long as there is one of them, since nothing in it lives from one launch to the next: what a launch leaves it leaves in
what was bound.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from ...runtime.artefact.manifest import MANIFEST, Graph, read_graph
from ...runtime.artefact.manifest import Tensor as TensorSpec
from ...runtime.artefact.precision import TRACED
from ...runtime.cuda.array import DeviceArray, as_device_arrays, check_buffers
from ...runtime.cuda.device import CudaError, Device, open_device
from ...runtime.cuda.gc_pause import gc_paused
from ...runtime.cuda.staging import IOStaging
from ...runtime.engines.base import BoundInference, Buffers, Interface, Rows
from ...runtime.errors import ArtefactError, PoseEdgeError, UsageError
from ..checkpoints import load_reference

log = logging.getLogger(__name__)

AGAIN = "posemoe-edge export"
GPU = torch.device("cuda", 0)  # the first that CUDA shows, as ``Device`` opens it


class TorchEngine:
    """The reference of one graph of an artefact, in the precision of that graph. One thread at a time.

    Args:
        path: the graph's file in an artefact; the weights are those of its folder.
        threads: processor threads of PyTorch where launches are the processor's; in all of the process, from now on.
        device: the GPU, which becomes the engine's; None opens it if torch sees one, else launches are the processor's.
        graphs: replay CUDA graphs; otherwise each launch is enqueued operation by operation.
    """

    def __init__(self, path: Path | bytes, *, threads: int = 1, device: Device | None = None, graphs: bool = True) -> None:
        graph, self._network = open_network(path)
        self.metadata: dict[str, str] = {}
        self.inputs: Interface = {t.name: (t.dtype, t.shape) for t in graph.inputs}
        self.outputs: Interface = {t.name: (t.dtype, t.shape) for t in graph.outputs}
        self.device = device or (open_device() if torch.cuda.is_available() else None)
        self.name = "torch-cpu" if self.device is None else "torch-cuda"
        self.graphs = graphs
        self._launches: weakref.WeakSet[_Launch] = weakref.WeakSet()
        if self.device is None:
            torch.set_num_threads(threads)
        else:
            with self.device:
                self.stream = torch.cuda.ExternalStream(self.device.stream, device=GPU)
            with self.working():
                self._network.to(GPU)
                self.device.wait()

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> Rows:
        """See ``Engine.zeros``."""
        return np.zeros(shape, dtype) if self.device is None else self.device.zeros(shape, dtype)

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """See ``Engine.bind``. On a GPU other libraries' memory is bound as it is (see ``memory.as_device_array``)."""
        device = self.device
        if device is None:
            return self._bind_host(inputs, outputs)
        inputs, outputs = as_device_arrays(device, inputs), as_device_arrays(device, outputs)
        check_buffers(inputs, self.inputs, outputs, self.outputs)
        launch = _Launch(self, device, inputs, outputs)
        self._launches.add(launch)
        return launch

    def close(self) -> None:
        """See ``Engine.close``."""
        if self.device is not None and not self.device.closed:
            with self.working():
                for launch in list(self._launches):
                    launch.close()
                del self._network
                torch.cuda.empty_cache()
            self.device.close()

    def run(self, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        """One launch on these tensors; on a GPU it is enqueued."""
        with torch.inference_mode():
            made = self._network(**inputs)
            for name, y in zip(self.outputs, made if isinstance(made, tuple) else (made,), strict=True):
                outputs[name].copy_(y)

    @contextmanager
    def working(self) -> Iterator[None]:
        """The GPU's context is current, and its stream torch's. What torch refuses there is a CudaError."""
        assert self.device is not None
        with self.device, torch.cuda.stream(self.stream), torch.inference_mode():
            try:
                yield
            except RuntimeError as error:
                said = str(error).partition("\n")[0]
                raise CudaError(f"PyTorch on the GPU: {said}", run="posemoe-edge doctor") from error

    def _bind_host(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """Views of the caller's arrays: nothing is copied but the results."""
        check_buffers(inputs, self.inputs, outputs, self.outputs)
        given, made = ({name: torch.from_numpy(x) for name, x in side.items()} for side in (inputs, outputs))

        def launch() -> None:
            self.run(given, made)

        return launch


class _Launch:
    """One binding on the GPU, and the graph that was captured of it."""

    def __init__(self, engine: TorchEngine, device: Device, inputs: Buffers, outputs: Buffers) -> None:
        self._engine, self._device = engine, device
        self._graph: torch.cuda.CUDAGraph | None = None
        with engine.working():
            self._ferry = IOStaging(device, inputs, outputs)
            self._inputs, self._outputs = (
                {name: self._tensor(name, x) for name, x in side.items()} for side in (inputs, outputs)
            )

    def __call__(self) -> None:
        with self._engine.working():
            self._ferry.load()
            if self._graph is not None:
                self._graph.replay()
                self._device.wait()
            else:
                with exactly():
                    self._enqueue()
                    self._device.wait()
                    if self._engine.graphs:
                        self._capture()
            self._ferry.unload()

    def close(self) -> None:
        """Let go of what must be gone before the stream is."""
        self._graph = None
        self._inputs.clear()
        self._outputs.clear()

    def _tensor(self, name: str, x: Any) -> Tensor:
        """Where the ferry has put it, as torch sees memory."""
        place = DeviceArray(self._device, self._ferry.addresses[name], tuple(x.shape), x.dtype, (x, self._ferry))
        return torch.as_tensor(place, device=GPU)

    def _enqueue(self) -> None:
        self._ferry.enqueue(lambda: self._engine.run(self._inputs, self._outputs))

    def _capture(self) -> None:
        """After a launch that went well. If it cannot be captured, all launches go on being enqueued anew."""
        engine, graph = self._engine, torch.cuda.CUDAGraph()
        pool = next((launch._graph.pool() for launch in engine._launches if launch._graph is not None), None)
        try:
            # Garbage may hold memory of the GPU, and to free that in the middle spoils a capture. As one begins torch may make
            # tensors that serve all graphs of the process: of inference mode's nobody could write them outside of it.
            with (
                gc_paused(),
                torch.inference_mode(False),
                torch.cuda.graph(graph, pool=pool, stream=engine.stream, capture_error_mode="thread_local"),
            ):
                self._enqueue()
        except (RuntimeError, PoseEdgeError) as error:
            engine.graphs = False
            log.warning("no CUDA graph could be captured (%s): each launch is enqueued anew", str(error).partition("\n")[0])
        else:
            self._graph = graph


def open_network(path: Path | bytes) -> tuple[Graph, nn.Module]:
    """The manifest's record of a graph's file, and the module with that graph's inputs and outputs, in eval mode.

    Raises:
        UsageError: PyTorch has no such graph.
        MissingError: there is no artefact.
        ArtefactError: the file is in none, it holds no weights, or weights of another network.
    """
    if isinstance(path, bytes):
        raise UsageError("bytes for torch", expected="a graph's file in an artefact: its weights are found beside it")
    folder = path.parent
    if path.is_file() and not (folder / MANIFEST).is_file():
        raise ArtefactError(f"{path} is a lone graph, without reference weights", expected="a graph of an artefact", run=AGAIN)
    manifest, graph = read_graph(path)
    if graph.precision not in TRACED:
        expected = f"precision {' or '.join(TRACED)}: --precision fp32"
        raise UsageError(f"PyTorch has no {graph.precision} graph", expected=expected)
    model: ExportableLifter = load_reference(find_reference(folder, manifest))
    told = interface(model, graph.frames if graph.mode == "chunk" else None)[:2]
    if [list(map(_memory, side)) for side in told] != [list(map(_memory, side)) for side in (graph.inputs, graph.outputs)]:
        raise ArtefactError(
            f"the weights of {folder} are of another network than {graph.file}",
            expected="those that it was exported from",
            run=f"{AGAIN} {manifest.preset}",
        )
    if graph.precision == "fp16":
        model = to_fp16(model)
    module: nn.Module = {"step": StepGraph, "chunk": ChunkGraph, "window": WindowGraph}[graph.mode](model)
    return graph, module.eval().requires_grad_(False)


def _memory(tensor: TensorSpec) -> tuple[object, ...]:
    return tensor.name, tensor.dtype, tensor.shape


@contextmanager
def exactly() -> Iterator[None]:
    """Products and convolutions on the GPU in true float32, whatever the process has chosen for its own."""
    switches = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.fp32_precision = was
