"""A stand-in for TensorRT's Python module, on ONNX Runtime: a plan is a graph, a launch is a host function in a stream.

It follows TensorRT's header files: it returns False or None where TensorRT refuses a call, and records in ``MISUSE`` what would
make TensorRT crash or compute wrong numbers. Only for the tests of the engine, on ``host_driver.c``.
"""

from __future__ import annotations

import ctypes
import enum
import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

__version__ = "10.3.0"
MAGIC = b"host plan "
ALIGNMENT = 256
SCRATCH = 4096

MISUSE: list[str] = []
REFUSE: dict[str, int] = {}  # method -> how many more calls succeed before one is refused
ALIVE: weakref.WeakSet[Any] = weakref.WeakSet()
_CALLBACKS: list[Any] = []  # enqueued functions stay referenced: a captured graph may call them at any time
_driver = ctypes.CDLL("libcuda.so.1")


class Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    Severity: TypeAlias = Severity

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class TensorIOMode(enum.Enum):
    NONE, INPUT, OUTPUT = range(3)


class DataType(enum.Enum):
    FLOAT, HALF, BOOL = "float", "float16", "bool"


class ExecutionContextAllocationStrategy(enum.Enum):
    STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)


def nptype(dtype: DataType) -> type:
    return {DataType.FLOAT: np.float32, DataType.HALF: np.float16, DataType.BOOL: np.bool_}[dtype]


def make_plan(graph: bytes, *, min_rows: int = 1, max_rows: int = 8, version: str = __version__) -> bytes:
    """The plan of an ONNX file: a header and the file itself."""
    header = json.dumps({"version": version, "min_rows": min_rows, "max_rows": max_rows, "bytes": len(graph)}).encode()
    return MAGIC + len(header).to_bytes(4, "little") + header + graph


def refused(method: str) -> bool:
    """Whether this call of a method is to fail, as ``REFUSE`` says."""
    if method not in REFUSE:
        return False
    REFUSE[method] -= 1
    if REFUSE[method] >= 0:
        return False
    del REFUSE[method]
    return True


def check_gc_paused() -> None:
    """TensorRT may now call the logger while it holds a lock. Objects that Python collects meanwhile may wait for that lock."""
    if gc.isenabled():
        MISUSE.append("garbage collection is enabled while the library may call back")


class Runtime:
    """IRuntime."""

    def __init__(self, logger: ILogger) -> None:
        check_gc_paused()
        if refused("Runtime"):
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.logger = weakref.ref(logger)  # TensorRT keeps a pointer and no reference

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        check_gc_paused()
        try:
            assert plan.startswith(MAGIC), "the plan's magic tag is wrong"
            start = len(MAGIC) + 4 + int.from_bytes(plan[len(MAGIC) :][:4], "little")
            header = json.loads(plan[len(MAGIC) + 4 : start])
            assert header["version"] == __version__, f"the plan is of version {header['version']}"
            assert len(plan) - start == header["bytes"], "the plan ends early"
        except (AssertionError, ValueError) as error:
            log_error(self, f"deserialisation failed: {error}")
            return None
        return Engine(self, plan[start:], header["min_rows"], header["max_rows"])


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a plan; ``shape`` is without the batch axis."""

    mode: TensorIOMode
    shape: tuple[int, ...]
    dtype: DataType


class Engine:
    """ICudaEngine."""

    device_memory_size_v2 = SCRATCH

    def __init__(self, runtime: Runtime, graph: bytes, min_rows: int, max_rows: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.runtime, self.min_rows, self.max_rows = runtime, min_rows, max_rows
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        sides = (TensorIOMode.INPUT, self.session.get_inputs()), (TensorIOMode.OUTPUT, self.session.get_outputs())
        self.tensors: dict[str, TensorInfo] = {
            x.name: TensorInfo(mode=mode, shape=tuple(x.shape[1:]), dtype=DataType(x.type[7:-1]))
            for mode, tensors in sides
            for x in tensors
        }
        self.num_io_tensors = len(self.tensors)
        ALIVE.add(self)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self.tensors[name].mode

    def get_tensor_dtype(self, name: str) -> DataType:
        return self.tensors[name].dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *self.tensors[name].shape)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return [(rows, *self.tensors[name].shape) for rows in (self.min_rows, self.min_rows, self.max_rows)]

    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy) -> Context | None:
        check_gc_paused()
        return None if refused("create_execution_context") else Context(self, strategy)


class Context:
    """IExecutionContext."""

    def __init__(self, engine: Engine, strategy: ExecutionContextAllocationStrategy) -> None:
        self.engine, self.strategy = engine, strategy
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scratch: tuple[int, int] | None = None
        self.initialised = False  # whether it was enqueued with these shapes outside a capture
        ALIVE.add(self)

    def set_device_memory(self, memory: int, size: int) -> None:
        if memory % ALIGNMENT or size < SCRATCH:
            MISUSE.append("scratch memory is too small or not aligned")
        self.scratch = memory, size

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        check_gc_paused()
        return profile_index == 0 and stream_handle != 0 and not refused("set_optimization_profile_async")

    def set_tensor_address(self, name: str, memory: int) -> bool:
        check_gc_paused()
        if refused("set_tensor_address") or name not in self.engine.tensors or memory % ALIGNMENT:
            return log_error(self.engine.runtime, f"{name} cannot lie at {memory:#x}")
        self.addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        check_gc_paused()
        engine, self.initialised = self.engine, False
        if shape[1:] != engine.tensors[name].shape or not engine.min_rows <= shape[0] <= engine.max_rows:
            return log_error(engine.runtime, f"{name} cannot have shape {shape}")
        self.shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        check_gc_paused()
        return [name for name, x in self.engine.tensors.items() if x.mode == TensorIOMode.INPUT and name not in self.shapes]

    def execute_async_v3(self, stream_handle: int) -> bool:
        check_gc_paused()
        status = ctypes.c_int()
        _driver.cuStreamIsCapturing(ctypes.c_void_p(stream_handle), ctypes.byref(status))
        runtime = self.engine.runtime
        if refused("execute_async_v3"):
            return log_error(runtime, "enqueueV3 was refused")
        if not stream_handle:
            return log_error(runtime, "the default stream")
        if len(self.addresses) < len(self.engine.tensors) or self.infer_shapes():
            return log_error(runtime, "not all addresses and shapes are set")
        if self.strategy == ExecutionContextAllocationStrategy.USER_MANAGED and self.scratch is None:
            return log_error(runtime, "no scratch memory was set")
        if status.value and not self.initialised:
            return log_error(runtime, "deferred initialisation during a capture")
        self.initialised = True
        work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(deferred_run(self))
        _CALLBACKS.append(work)
        return not _driver.cuLaunchHostFunc(ctypes.c_void_p(stream_handle), work, None)


def deferred_run(context: Context) -> Callable[[Any], None]:
    """A run with the present addresses and shapes. A later change of the context is recorded as misuse."""
    addresses, shapes, scratch, session = dict(context.addresses), dict(context.shapes), context.scratch, context.engine.session
    tensors, alive, logger = context.engine.tensors, weakref.ref(context), context.engine.runtime.logger
    rows = {shape[0] for shape in shapes.values()}
    del context

    def run(_: Any) -> None:
        try:
            current = alive()
            if current is None or (current.addresses, current.shapes) != (addresses, shapes):
                MISUSE.append("a context was changed or destroyed before its work was done")
            if logger() is None:
                MISUSE.append("the logger was destroyed")
            assert len(rows) == 1
            arrays: dict[str, NDArray[Any]] = {
                name: np.ctypeslib.as_array(
                    (ctypes.c_byte * (int(np.prod(shape)) * np.dtype(nptype(x.dtype)).itemsize)).from_address(addresses[name])
                )
                .view(nptype(x.dtype))
                .reshape(shape)
                for name, x in tensors.items()
                for shape in [(*rows, *x.shape)]
            }
            if scratch:
                ctypes.memset(scratch[0], 0xFF, scratch[1])
            outputs = {name: arrays[name] for name, x in tensors.items() if x.mode == TensorIOMode.OUTPUT}
            for output in outputs.values():
                output.fill(np.nan)  # a graph that reads its output reads NaN
            results = session.run(list(outputs), {name: arrays[name] for name in shapes})
            for output, value in zip(outputs.values(), results, strict=True):
                output[:] = value
        except Exception as error:  # the driver called this function and cannot handle an exception
            MISUSE.append(repr(error))

    return run


def log_error(runtime: Runtime, msg: str) -> bool:
    """Log an error and return False, as TensorRT's methods do."""
    logger = runtime.logger()
    if logger is None:
        MISUSE.append("the logger was destroyed")
    else:
        logger.log(Severity.ERROR, msg)
    return False
