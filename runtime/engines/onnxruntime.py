"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import ArtefactError, missing_extra
from .base import BoundInference
from .buffers import Buffers, Interface, check_disjoint

# They put one transpose after a product of keys and values instead of one before each, and so turn a whole state.
DISABLED_OPTIMIZERS = ("TransposeOptimizer", "TransposeOptimizer_CPUExecutionProvider")
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(bool)": "bool"}


class OnnxRuntimeEngine:
    """A session whose memory is bound once and belongs to the caller.

    Args:
        graph: the ONNX file, or its bytes.
        threads: CPU threads within one operation.
        profile: note each operator's time, in a file whose name begins so: see ``end_profile``.
    """

    name = "onnxruntime-cpu"
    device: None = None

    def __init__(self, graph: Path | bytes, *, threads: int = 1, profile: Path | None = None) -> None:
        self._session = open_cpu_session(
            graph,
            threads=threads,
            purpose="running a model on the CPU",
            expected="a graph that export wrote",
            profile=profile,
            disabled_optimizers=DISABLED_OPTIMIZERS,
        )
        import onnxruntime

        self._value = onnxruntime.OrtValue.ortvalue_from_numpy
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inputs: Interface = read_interface(self._session.get_inputs())
        self.outputs: Interface = read_interface(self._session.get_outputs())

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """See ``Engine.zeros``."""
        return np.zeros(shape, dtype)

    def close(self) -> None:
        """See ``Engine.close``: there is no GPU to release."""

    def end_profile(self) -> Path:
        """The file of an engine that was opened with ``profile``: ONNX Runtime's events, as JSON."""
        return Path(self._session.end_profiling())

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        """See ``Engine.bind``. The arrays are C-contiguous and stay at their addresses."""
        check_disjoint(inputs.values(), outputs.values())
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, self._value(array))  # a view: on the CPU nothing is copied
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, self._value(array))
        run = self._session.run_with_iobinding

        def launch(bound: tuple[Buffers, Buffers] = (inputs, outputs)) -> None:  # a binding holds addresses, not references
            run(binding)  # without RunOptions: an options object costs 180 us a call

        return launch


def open_cpu_session(
    graph: Path | bytes,
    *,
    threads: int,
    purpose: str,
    expected: str,
    profile: Path | None = None,
    disabled_optimizers: Sequence[str] = (),
) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Args:
        graph: the ONNX file, or its bytes.
        threads: CPU threads within one operation.
        purpose: what needs it, for the error message without ONNX Runtime.
        expected: what the file should be, for error messages.
        profile: how the name of a profile begins; None writes none.
        disabled_optimizers: of ONNX Runtime, by name.

    Raises:
        MissingError: ONNX Runtime is not installed.
        ArtefactError: it cannot open the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("onnxruntime", "cpu", purpose) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Waiting threads sleep instead of spinning: a robot needs its cores for other work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    source, name = session_source(graph)
    try:
        return onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled_optimizers)
        )
    except Exception as error:  # ONNX Runtime raises a dozen classes of its own for a file that it cannot use
        raise ArtefactError(f"ONNX Runtime cannot open {name}: {error}", expected=expected) from error


def session_source(graph: Path | bytes) -> tuple[str | bytes, str]:
    """What a session is opened with, and the graph's name for error messages."""
    return (graph, "the graph") if isinstance(graph, bytes) else (str(graph), str(graph))


def read_interface(tensors: Iterable[Any]) -> Interface:
    """A session's inputs or outputs as an ``Interface``."""
    return {
        tensor.name: (
            DTYPES.get(tensor.type, tensor.type),
            tuple(axis if isinstance(axis, int) else "B" for axis in tensor.shape),
        )
        for tensor in tensors
    }
