"""Runners: polygraphy runs a graph on ONNX Runtime or on TensorRT, with any of its tensors as outputs.

A runner stays open from frame to frame, so that a state can be carried between its calls. polygraphy's own Comparator does not
fit: it takes all inputs in advance and opens both sides anew for every call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ...runtime.cuda.gc_pause import gc_paused
from ...runtime.engines.tensorrt.library import import_tensorrt
from ...runtime.engines.tensorrt.plan import EngineName
from ...runtime.errors import ArtefactError, MissingError, UsageError, missing_extra
from ...runtime.platform.nvidia import find_gpu
from ..measure.launch import Tensors

Run = Callable[[Tensors], Tensors]  # inputs by name -> outputs by name


def check_ready(engine: EngineName | None) -> None:
    """Check, before any work, that graphs can be compared on this machine.

    Args:
        engine: that runs one of the graphs; None is ONNX Runtime on the CPU.

    Raises:
        MissingError: polygraphy, the engine, a GPU or the CUDA runtime is missing.
    """
    try:
        from polygraphy import config, cuda
    except ImportError:
        raise missing_extra("polygraphy", "inspect", "comparing graphs layer by layer") from None
    if engine is None:
        return
    import_tensorrt(engine)
    try:
        find_gpu()
    except MissingError as error:
        raise MissingError(
            f"{engine} computes nothing here: {error.what}", expected=error.expected, run="posemoe-edge doctor"
        ) from None
    with _quiet():
        try:
            cuda.wrapper()
        except OSError as error:
            raise MissingError(
                f"polygraphy finds no CUDA runtime ({error})",
                expected="libcudart on LD_LIBRARY_PATH, or the package nvidia-cuda-runtime",
                run="posemoe-edge doctor",
            ) from None
    select_tensorrt(config, engine)


def select_tensorrt(config: Any, engine: EngineName) -> None:
    """Set which TensorRT polygraphy imports; it imports one, once in a process."""
    rtx = engine == "tensorrt-rtx"
    if "polygraphy.backend.trt" in sys.modules and rtx != config.USE_TENSORRT_RTX:
        raise UsageError(f"polygraphy runs the other TensorRT in this process, not {engine}", expected="one of the two")
    config.USE_TENSORRT_RTX = rtx


@contextmanager
def open_runner(model: onnx.ModelProto, outputs: Sequence[str], *, engine: EngineName | None = None) -> Iterator[Run]:
    """A function that runs the graph: inputs by name -> outputs by name, which the next call may overwrite.

    Args:
        model: with fixed shapes (``matches.for_one_stream``).
        outputs: names of the tensors to return.
        engine: one that ``check_ready`` accepted; None is ONNX Runtime on the CPU.

    Raises:
        ArtefactError: the engine does not take the graph, or fails while it runs.
    """
    from polygraphy.backend.onnx import ModifyOutputs
    from polygraphy.exception import PolygraphyException

    def failed(error: Exception) -> ArtefactError:
        return ArtefactError(
            f"polygraphy did not run the graph on {engine or 'onnxruntime'}: {error}",
            expected="a graph that this engine takes",
            run="posemoe-edge inspect --layers" if engine else None,
        )

    def run(inputs: Tensors) -> Tensors:
        typed = {name: np.asarray(x, types[name]) for name, x in inputs.items()}
        try:
            with gc_paused():
                return runner.infer(typed, check_inputs=False)  # type: ignore[no-any-return]
        except PolygraphyException as error:
            raise failed(error) from error

    types = {x.name: helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type) for x in model.graph.input}
    with _quiet():
        try:
            data = ModifyOutputs(model, outputs=list(outputs), copy=True)().SerializeToString()
            runner = _on_onnxruntime(data) if engine is None else _on_tensorrt(data, engine)
            with gc_paused():
                runner.activate()
        except (PolygraphyException, TypeError) as error:  # a TypeError: TensorRT may return a null pointer
            raise failed(error) from error
        try:
            yield run
        finally:
            with gc_paused():
                runner.deactivate()


def _on_onnxruntime(model: bytes) -> Any:
    """Without optimisations: every tensor may be an output, so none may be fused away."""
    import onnxruntime
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx

    return OnnxrtRunner(SessionFromOnnx(model, graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL))


def _on_tensorrt(model: bytes, engine: EngineName) -> Any:
    from polygraphy.backend.trt import EngineFromNetwork, TrtRunner

    return TrtRunner(EngineFromNetwork(read_network(model), config=make_config(engine)))


def read_network(model: bytes) -> Any:
    """polygraphy's loader of the network: strongly typed as in ``build``, with the graph's outputs."""
    from polygraphy.backend.trt import NetworkFromOnnxBytes

    return NetworkFromOnnxBytes(model, strongly_typed=True)


def make_config(engine: EngineName) -> Any:
    """polygraphy's loader of the builder's settings: for this machine's GPU and without TF32, as in ``build``."""
    from polygraphy.backend.trt import CreateConfig, PostprocessConfig

    if engine == "tensorrt":
        return CreateConfig()
    from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

    tf32 = import_tensorrt(engine).BuilderFlag.TF32

    def clear(builder: Any, network: Any, config: Any) -> None:
        config.clear_flag(tf32)  # polygraphy clears it for the other TensorRT only

    return PostprocessConfig(CreateConfigRTX(use_gpu=True), clear)


def _quiet() -> Any:
    """Keep polygraphy's messages off stdout, where the JSON object goes."""
    from polygraphy.logger import G_LOGGER

    return G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1)
