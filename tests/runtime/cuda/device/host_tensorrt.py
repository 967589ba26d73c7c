"""TensorRT's Python module on ONNX Runtime: a plan is a graph, a launch is a host function in the driver's stream.

As strict as the header files are: it answers False or None to what TensorRT would refuse, and notes in ``FOUL`` what TensorRT
would punish with a crash or with wrong numbers. Only for the tests of the engine, on ``host_driver.c``.
"""

from __future__ import annotations

import ctypes
import enum
import gc
import json
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

__version__ = "10.3.0"
MAGIC = b"host plan "
ALIGNMENT = 256
SCRATCH = 4096

FOUL: list[str] = []
REFUSE: dict[str, int] = {}  # method -> how many more calls are granted before one is refused
ALIVE: weakref.WeakSet[Any] = weakref.WeakSet()
_CALLS: list[Any] = []  # what was enqueued may be called for as long as the process lives
_driver = ctypes.CDLL("libcuda.so.1")


class Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    Severity = Severity

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


def make_plan(graph: bytes, *, least: int = 1, most: int = 8, version: str = __version__) -> bytes:
    """What a builder would make of an ONNX file."""
    header = json.dumps({"version": version, "least": least, "most": most, "bytes": len(graph)}).encode()
    return MAGIC + len(header).to_bytes(4, "little") + header + graph


def refused(method: str) -> bool:
    if method not in REFUSE:
        return False
    REFUSE[method] -= 1
    if REFUSE[method] >= 0:
        return False
    del REFUSE[method]
    return True


def may_speak() -> None:
    """TensorRT may call the logger now, under a lock of its own, for which what Python collects there may wait."""
    if gc.isenabled():
        FOUL.append("the library may call back, and Python may collect its objects there")


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        may_speak()
        if refused("Runtime"):
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.logger = weakref.ref(logger)  # TensorRT keeps a pointer, and no reference

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        may_speak()
        try:
            assert plan.startswith(MAGIC), "the plan's magic tag is wrong"
            start = len(MAGIC) + 4 + int.from_bytes(plan[len(MAGIC) :][:4], "little")
            header = json.loads(plan[len(MAGIC) + 4 : start])
            assert header["version"] == __version__, f"the plan is of version {header['version']}"
            assert len(plan) - start == header["bytes"], "the plan ends early"
        except (AssertionError, ValueError) as error:
            say(self, f"deserialisation failed: {error}")
            return None
        return Engine(self, plan[start:], header["least"], header["most"])


class Engine:
    """ICudaEngine."""

    device_memory_size_v2 = SCRATCH

    def __init__(self, runtime: Runtime, graph: bytes, least: int, most: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.runtime, self.least, self.most = runtime, least, most
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        sides = (TensorIOMode.INPUT, self.session.get_inputs()), (TensorIOMode.OUTPUT, self.session.get_outputs())
        self.tensors = {
            x.name: SimpleNamespace(mode=mode, shape=tuple(x.shape[1:]), dtype=DataType(x.type[7:-1]))
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
        return [(rows, *self.tensors[name].shape) for rows in (self.least, self.least, self.most)]

    def create_execution_context(self, strategy: ExecutionContextAllocationStrategy) -> Context | None:
        may_speak()
        return None if refused("create_execution_context") else Context(self, strategy)


class Context:
    """IExecutionContext."""

    def __init__(self, engine: Engine, strategy: ExecutionContextAllocationStrategy) -> None:
        self.engine, self.strategy = engine, strategy
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scratch: tuple[int, int] | None = None
        self.ready = False  # whether it was enqueued with these shapes outside a capture
        ALIVE.add(self)

    def set_device_memory(self, memory: int, size: int) -> None:
        if memory % ALIGNMENT or size < SCRATCH:
            FOUL.append("scratch memory is too small or not aligned")
        self.scratch = memory, size

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        may_speak()
        return profile_index == 0 and stream_handle != 0 and not refused("set_optimization_profile_async")

    def set_tensor_address(self, name: str, memory: int) -> bool:
        may_speak()
        if refused("set_tensor_address") or name not in self.engine.tensors or memory % ALIGNMENT:
            return say(self.engine.runtime, f"{name} cannot lie at {memory:#x}")
        self.addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        may_speak()
        engine, self.ready = self.engine, False
        if shape[1:] != engine.tensors[name].shape or not engine.least <= shape[0] <= engine.most:
            return say(engine.runtime, f"{name} cannot have shape {shape}")
        self.shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        may_speak()
        return [name for name, x in self.engine.tensors.items() if x.mode == TensorIOMode.INPUT and name not in self.shapes]

    def execute_async_v3(self, stream_handle: int) -> bool:
        may_speak()
        status = ctypes.c_int()
        _driver.cuStreamIsCapturing(ctypes.c_void_p(stream_handle), ctypes.byref(status))
        runtime = self.engine.runtime
        if refused("execute_async_v3"):
            return say(runtime, "enqueueV3 was refused")
        if not stream_handle:
            return say(runtime, "the default stream")
        if len(self.addresses) < len(self.engine.tensors) or self.infer_shapes():
            return say(runtime, "not all addresses and shapes are set")
        if self.strategy == ExecutionContextAllocationStrategy.USER_MANAGED and self.scratch is None:
            return say(runtime, "there is no scratch memory")
        if status.value and not self.ready:
            return say(runtime, "deferred initialisation during a capture")
        self.ready = True
        work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(frozen(self))
        _CALLS.append(work)
        return not _driver.cuLaunchHostFunc(ctypes.c_void_p(stream_handle), work, None)


def frozen(context: Context) -> Any:
    """One run, with addresses and shapes as they are now; what touches the context later is foul."""
    addresses, shapes, scratch, session = dict(context.addresses), dict(context.shapes), context.scratch, context.engine.session
    tensors, alive, logger = context.engine.tensors, weakref.ref(context), context.engine.runtime.logger
    rows = {shape[0] for shape in shapes.values()}
    del context

    def run(_: Any) -> None:
        try:
            now = alive()
            if now is None or (now.addresses, now.shapes) != (addresses, shapes):
                FOUL.append("a context was touched or destroyed before its work was done")
            if logger() is None:
                FOUL.append("the logger is gone")
            assert len(rows) == 1
            there = {
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
            outputs = {name: there[name] for name, x in tensors.items() if x.mode == TensorIOMode.OUTPUT}
            for output in outputs.values():
                output.fill(np.nan)  # who reads what is written sees it
            made = session.run(list(outputs), {name: there[name] for name in shapes})
            for output, value in zip(outputs.values(), made, strict=True):
                output[:] = value
        except Exception as error:  # nobody is above to catch it
            FOUL.append(repr(error))

    return run


def say(runtime: Runtime, msg: str) -> bool:
    logger = runtime.logger()
    if logger is None:
        FOUL.append("the logger is gone")
    else:
        logger.log(Severity.ERROR, msg)
    return False
