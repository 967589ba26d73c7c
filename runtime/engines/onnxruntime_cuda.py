"""ONNX Runtime on the GPU: where TensorRT has no plan. States stay on the device, in our memory and on our stream.

ONNX Runtime captures its CUDA graphs itself, one for each binding, told apart by a number. It only can if every operation
runs on the GPU; if it says that one does not, launches are enqueued operation by operation.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..cuda.array import DeviceArray, as_device_arrays, check_buffers
from ..cuda.device import Device, open_device
from ..cuda.staging import IOStaging
from ..errors import ArtefactError, missing_extra
from .base import BoundInference, Buffers, Interface
from .onnxruntime import read_interface

log = logging.getLogger(__name__)

PROVIDER = "CUDAExecutionProvider"


class OnnxRuntimeCudaEngine:
    """A session on the GPU, in its primary context. One thread at a time.

    Args:
        path: the ONNX file, or its bytes.
        device: the GPU, which becomes the engine's; None opens it.
    """

    name = "onnxruntime-cuda"

    def __init__(self, path: Path | bytes, *, device: Device | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise missing_extra("onnxruntime-gpu", "cuda", "running a model on the GPU without TensorRT") from None
        if PROVIDER not in onnxruntime.get_available_providers():
            raise missing_extra("onnxruntime-gpu", "cuda", "running a model on the GPU without TensorRT")
        self._ort = onnxruntime
        self.device = device or open_device()
        self.graphs = True
        try:
            self._session = self._open(path)
        except ArtefactError as error:
            self.graphs = False
            self._session = self._open(path)
            log.warning("no CUDA graph can be captured (%s): each launch is enqueued anew", error.what)
        self._numbers = count(1)
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inputs: Interface = read_interface(self._session.get_inputs())
        self.outputs: Interface = read_interface(self._session.get_outputs())

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> DeviceArray:
        """See ``Engine.zeros``."""
        return self.device.zeros(shape, dtype)

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """See ``Engine.bind``. Other libraries' memory on the GPU is bound as it is."""
        inputs, outputs = as_device_arrays(self.device, inputs), as_device_arrays(self.device, outputs)
        check_buffers(inputs, self.inputs, outputs, self.outputs)
        device, session = self.device, self._session
        with device:
            ferry = IOStaging(device, inputs, outputs)
        binding = session.io_binding()
        for bind, buffers in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, x in buffers.items():
                bind(name, "cuda", 0, np.dtype(x.dtype), tuple(x.shape), ferry.addresses[name])
        options = self._ort.RunOptions()
        if self.graphs:
            options.add_run_config_entry("gpu_graph_id", str(next(self._numbers)))

        def launch(keep: tuple[Buffers, Buffers] = (inputs, outputs)) -> None:  # a binding holds addresses, not references
            with device:
                ferry.load()
                ferry.enqueue(run)
                device.wait()
                ferry.unload()

        def run() -> None:
            session.run_with_iobinding(binding, options)

        return launch

    def close(self) -> None:
        """See ``Engine.close``."""
        self._session = None
        self.device.close()

    def _open(self, path: Path | bytes) -> Any:
        options = self._ort.SessionOptions()
        options.log_severity_level = 3
        given = {"user_compute_stream": str(self.device.stream), "enable_cuda_graph": str(int(self.graphs))}
        source, name = (path, "the graph") if isinstance(path, bytes) else (str(path), str(path))
        try:
            with self.device:
                session = self._ort.InferenceSession(source, options, providers=[(PROVIDER, given)])
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
