"""Runners: a graph, ready to run by polygraphy on ONNX Runtime or on TensorRT, with any of its tensors as outputs.

A runner stays open from frame to frame, so that a state can be carried between its calls: polygraphy's own Comparator takes
all inputs in advance, and opens each side anew for every call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from ...runtime.cuda.gc_pause import gc_paused
from ...runtime.engines.tensorrt.library import import_tensorrt
from ...runtime.engines.tensorrt.plan import EngineName
from ...runtime.errors import ArtefactError, MissingError, UsageError, missing_extra
from ...runtime.platform.nvidia import find_gpu

Feed = dict[str, NDArray[Any]]
Run = Callable[[Feed], Feed]


def check_ready(engine: EngineName | None) -> None:
    """Whether graphs can be compared here; if not, a MissingError, before any work.

    Args:
        engine: that of one side; None is ONNX Runtime on the CPU.
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
    with _silently():
        try:
            cuda.wrapper()
        except OSError as error:
            raise MissingError(
                f"polygraphy finds no CUDA runtime ({error})",
                expected="libcudart on LD_LIBRARY_PATH, or the package nvidia-cuda-runtime",
                run="posemoe-edge doctor",
            ) from None
    take_tensorrt(config, engine)


def take_tensorrt(config: Any, engine: EngineName) -> None:
    """Tell polygraphy which TensorRT it is to import; it does so once in a process."""
    rtx = engine == "tensorrt-rtx"
    if "polygraphy.backend.trt" in sys.modules and rtx != config.USE_TENSORRT_RTX:
        raise UsageError(f"polygraphy runs the other TensorRT in this process, not {engine}", expected="one of the two")
    config.USE_TENSORRT_RTX = rtx


@contextmanager
def open_runner(model: onnx.ModelProto, outputs: Sequence[str], *, engine: EngineName | None = None) -> Iterator[Run]:
    """The graph, ready to run: inputs by name to outputs by name, which the next call may overwrite.

    Args:
        model: with fixed shapes (``places.of_one_stream``).
        outputs: tensors to answer with.
        engine: after ``check_ready``; None is ONNX Runtime on the CPU.
    """
    from polygraphy.backend.onnx import ModifyOutputs
    from polygraphy.exception import PolygraphyException

    def failed(error: Exception) -> ArtefactError:
        return ArtefactError(
            f"polygraphy did not run the graph on {engine or 'onnxruntime'}: {error}",
            expected="a graph that this engine takes",
            run="posemoe-edge inspect --layers" if engine else None,
        )

    def run(feed: Feed) -> Feed:
        given = {name: np.asarray(x, types[name]) for name, x in feed.items()}
        try:
            with gc_paused():
                return runner.infer(given, check_inputs=False)  # type: ignore[no-any-return]
        except PolygraphyException as error:
            raise failed(error) from error

    types = {x.name: helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type) for x in model.graph.input}
    with _silently():
        try:
            data = ModifyOutputs(model, outputs=list(outputs), copy=True)().SerializeToString()
            runner = _on_onnxruntime(data) if engine is None else _on_tensorrt(data, engine)
            with gc_paused():
                runner.activate()
        except (PolygraphyException, TypeError) as error:  # TensorRT's library may answer with a null pointer: a TypeError
            raise failed(error) from error
        try:
            yield run
        finally:
            with gc_paused():
                runner.deactivate()


def _on_onnxruntime(model: bytes) -> Any:
    """As written, operation by operation: each of its tensors is looked at, and none may be optimised away."""
    import onnxruntime
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx

    return OnnxrtRunner(SessionFromOnnx(model, graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL))


def _on_tensorrt(model: bytes, engine: EngineName) -> Any:
    from polygraphy.backend.trt import EngineFromNetwork, TrtRunner

    return TrtRunner(EngineFromNetwork(read_network(model), config=make_config(engine)))


def read_network(model: bytes) -> Any:
    """polygraphy's loader of the network: strongly typed, as build's, with the outputs that the graph has."""
    from polygraphy.backend.trt import NetworkFromOnnxBytes

    return NetworkFromOnnxBytes(model, strongly_typed=True)


def make_config(engine: EngineName) -> Any:
    """polygraphy's loader of the builder's settings: for the GPU that is here, and without TF32, as build's."""
    from polygraphy.backend.trt import CreateConfig, PostprocessConfig

    if engine == "tensorrt":
        return CreateConfig()
    from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

    tf32 = import_tensorrt(engine).BuilderFlag.TF32

    def clear(builder: Any, network: Any, config: Any) -> None:
        config.clear_flag(tf32)  # polygraphy does so for the other TensorRT alone

    return PostprocessConfig(CreateConfigRTX(use_gpu=True), clear)


def _silently() -> Any:
    """polygraphy would speak on stdout, where the JSON object goes."""
    from polygraphy.logger import G_LOGGER

    return G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1)
