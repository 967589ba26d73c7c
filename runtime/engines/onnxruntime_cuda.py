"""ONNX Runtime on the GPU, for graphs without a TensorRT plan. States stay in our device memory, and work is on our stream.

ONNX Runtime captures CUDA graphs itself, one for each binding, identified by a number. It can do so only if every operation
runs on the GPU; if a session cannot be opened with capture, launches are enqueued operation by operation.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..cuda.array import DeviceArray, zeros
from ..cuda.device import Device
from ..cuda.interop import as_device_arrays
from ..cuda.open import open_device
from ..cuda.staging import IOStaging
from ..errors import ArtefactError, missing_extra
from .base import BoundInference
from .buffers import Buffers, Interface, check_buffers
from .onnxruntime import read_interface, session_source

log = logging.getLogger(__name__)

PROVIDER = "CUDAExecutionProvider"


class OnnxRuntimeCudaEngine:
    """A session on the GPU, in its primary context. Use it from one thread at a time.

    Args:
        graph: the ONNX file, or its bytes.
        threads: unused; operations run on the GPU.
        device: the GPU, which the engine closes; None opens it.
    """

    name = "onnxruntime-cuda"

    def __init__(self, graph: Path | bytes, *, threads: int = 1, device: Device | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise missing_extra("onnxruntime-gpu", "cuda", "running a model on the GPU without TensorRT") from None
        if PROVIDER not in onnxruntime.get_available_providers():
            raise missing_extra("onnxruntime-gpu", "cuda", "running a model on the GPU without TensorRT")
        self._ort = onnxruntime
        self.device = device or open_device()
        self.graphs = True
        self._session: Any = None
        with ExitStack() as on_error:
            on_error.callback(self.close)
            try:
                self._session = self._open(graph)
            except ArtefactError as error:
                self.graphs = False
                self._session = self._open(graph)
                log.warning("no CUDA graph can be captured (%s): each launch is enqueued anew", error.what)
            self._graph_ids = count(1)
            self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
            self.inputs: Interface = read_interface(self._session.get_inputs())
            self.outputs: Interface = read_interface(self._session.get_outputs())
            on_error.pop_all()

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """See ``Engine.zeros``."""
        return zeros(self.device, shape, dtype)

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """See ``Engine.bind``. GPU arrays of other libraries are bound in place."""
        inputs, outputs = as_device_arrays(self.device, inputs), as_device_arrays(self.device, outputs)
        check_buffers(inputs, self.inputs, outputs, self.outputs)
        device, session = self.device, self._session
        with device:
            staging = IOStaging(device, inputs, outputs)
        binding = session.io_binding()
        for bind, buffers in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, x in buffers.items():
                bind(name, "cuda", 0, np.dtype(x.dtype), tuple(x.shape), staging.addresses[name])
        options = self._ort.RunOptions()
        if self.graphs:
            options.add_run_config_entry("gpu_graph_id", str(next(self._graph_ids)))

        def launch(bound: tuple[Buffers, Buffers] = (inputs, outputs)) -> None:  # a binding holds addresses, not references
            with device:
                staging.stage_inputs()
                staging.enqueue(run)
                device.synchronize()
                staging.collect_outputs()

        def run() -> None:
            session.run_with_iobinding(binding, options)

        return launch

    def close(self) -> None:
        """See ``Engine.close``."""
        self._session = None
        self.device.close()

    def _open(self, graph: Path | bytes) -> Any:
        options = self._ort.SessionOptions()
        options.log_severity_level = 3
        provider_options = {
            "user_compute_stream": str(self.device.stream),
            "enable_cuda_graph": str(int(self.graphs)),
            "use_tf32": "0",  # it would round the operands of the products that stay FP32 to 10 bits
        }
        source, name = session_source(graph)
        try:
            with self.device:
                session = self._ort.InferenceSession(source, options, providers=[(PROVIDER, provider_options)])
        except Exception as error:  # ONNX Runtime raises a dozen classes of its own for a file that it cannot use
            raise ArtefactError(
                f"ONNX Runtime cannot open {name} on the GPU: {error}",
                expected="a graph that export wrote, and the CUDA that onnxruntime-gpu was built for",
                run="posemoe-edge doctor",
            ) from error
        if session.get_providers()[0] != PROVIDER:
            raise ArtefactError(
                f"ONNX Runtime opened {name} on the CPU: its CUDA libraries cannot be loaded",
                expected="the CUDA and cuDNN that onnxruntime-gpu was built for",
                run="posemoe-edge doctor",
            )
        return session
