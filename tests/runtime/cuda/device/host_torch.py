"""A stand-in for torch.cuda on ``host_driver.c``: streams, graphs and views of device memory.

The network and all of ``edge.torch_backend.engine`` are real, except ``TorchEngine.run``, which is enqueued as one host
function with the addresses of its tensors. This module is at least as strict as torch: ``MISUSE`` records what would crash
torch or change the state of other code in the process.

The tests therefore cover our part: order, addresses, parities, captures, contexts, lifetimes. They do not cover kernels,
torch's allocator and its pool, the lazy initialisation of libraries, nor whether torch can capture the network.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from posemoe_edge.edge.torch_backend.engine import TorchEngine

MISUSE: list[str] = []
REFUSE: set[str] = set()  # "a capture", "a launch"
MODES = {"global": 0, "thread_local": 1, "relaxed": 2}

POOLS = count(1)
CAPTURED: weakref.WeakSet[CUDAGraph] = weakref.WeakSet()

current: ExternalStream | None = None
_callbacks: list[Any] = []  # enqueued functions stay referenced: a captured graph may call them at any time
_launched: set[tuple[int, ...]] = set()  # the addresses of every launch outside a capture
_run, _as_tensor, _to = TorchEngine.run, torch.as_tensor, torch.nn.Module.to
_driver = ctypes.CDLL("libcuda.so.1")


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace torch.cuda by this module."""
    for name in ("ExternalStream", "CUDAGraph", "graph", "stream", "is_available", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, globals()[name])
    monkeypatch.setattr(torch, "as_tensor", as_tensor)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *to: self if torch.device("cuda", 0) in to else _to(self, *to))
    monkeypatch.setattr(TorchEngine, "run", enqueue)
    MISUSE.clear()
    REFUSE.clear()


def check(result: int) -> None:
    """Raise torch's error for a driver call that failed."""
    if result:
        raise RuntimeError(f"CUDA error: {result}\nCompile with TORCH_USE_CUDA_DSA to enable device-side assertions.")


def check_context() -> None:
    """Record a misuse if no context is current."""
    context = ctypes.c_void_p()
    _driver.cuCtxGetCurrent(ctypes.byref(context))
    if not context:
        MISUSE.append("no context is current: torch would make its own context current in this thread, permanently")


def is_available() -> bool:
    return True


def empty_cache() -> None:
    check_context()


class ExternalStream:
    def __init__(self, stream_ptr: int, device: torch.device) -> None:
        check_context()
        self.cuda_stream, self.device = stream_ptr, device


@contextmanager
def stream(external: ExternalStream) -> Iterator[None]:
    global current
    before, current = current, external
    try:
        yield
    finally:
        current = before


class CUDAGraph:
    """A graph that is destroyed with its last reference."""

    def __init__(self) -> None:
        self.executable = ctypes.c_void_p()
        self.id: tuple[int, int] | None = None
        CAPTURED.add(self)

    def pool(self) -> tuple[int, int]:
        assert self.id is not None
        return self.id

    def replay(self) -> None:
        check_context()
        assert self.executable and current
        check(_driver.cuGraphLaunch(self.executable, ctypes.c_void_p(current.cuda_stream)))

    def __del__(self) -> None:
        if self.executable:
            _driver.cuGraphExecDestroy(self.executable)


class graph:
    """As in torch, if the capture cannot be ended, the stream stays the current one."""

    def __init__(self, cuda_graph: CUDAGraph, pool: Any, stream: ExternalStream, capture_error_mode: str) -> None:
        self.graph, self.stream, self.mode = cuda_graph, stream, MODES[capture_error_mode]
        assert pool in {None, *(other.id for other in CAPTURED)}, "a pool is freed with the last graph in it"
        self.graph.id = pool or (0, next(POOLS))

    def __enter__(self) -> None:
        global current
        check_context()
        if torch.is_inference_mode_enabled():
            MISUSE.append(
                "a capture began in inference mode: tensors that torch makes for all graphs could not be changed outside it"
            )
        check(_driver.cuCtxSynchronize())
        self.before, current = current, self.stream
        check(_driver.cuStreamBeginCapture_v2(ctypes.c_void_p(self.stream.cuda_stream), self.mode))

    def __exit__(self, *error: object) -> None:
        global current
        raw = ctypes.c_void_p()
        check(_driver.cuStreamEndCapture(ctypes.c_void_p(self.stream.cuda_stream), ctypes.byref(raw)))
        instantiated = _driver.cuGraphInstantiateWithFlags(ctypes.byref(self.graph.executable), raw, ctypes.c_ulonglong(0))
        _driver.cuGraphDestroy(raw)
        check(instantiated)
        current = self.before


def as_tensor(data: Any, device: torch.device | None = None) -> torch.Tensor:
    """A view of device memory, which the host cannot read. It keeps its source alive."""
    interface = getattr(data, "__cuda_array_interface__", None)
    if interface is None or device is None:
        return _as_tensor(data, device=device)
    check_context()
    assert device == torch.device("cuda", 0)
    tensor = torch.from_numpy(view(interface["data"][0], interface["shape"], interface["typestr"]))
    tensor.source = data  # type: ignore[attr-defined]
    return tensor


def view(address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array at an address."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory: NDArray[Any] = np.ctypeslib.as_array((ctypes.c_byte * size).from_address(address))
    array: NDArray[Any] = memory.view(dtype).reshape(shape)
    return array


def enqueue(engine: TorchEngine, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> None:
    """Enqueue ``TorchEngine.run`` in the current stream. It crashes if the memory is freed before it runs."""
    check_context()
    assert current is not None
    stream, status = ctypes.c_void_p(current.cuda_stream), ctypes.c_int()
    _driver.cuStreamIsCapturing(stream, ctypes.byref(status))
    layouts = [
        {name: (x.data_ptr(), tuple(x.shape), np.dtype(str(x.dtype).removeprefix("torch."))) for name, x in side.items()}
        for side in (inputs, outputs)
    ]
    addresses = tuple(layout[0] for side in layouts for layout in side.values())
    if status.value and addresses not in _launched:
        MISUSE.append("captured before it was launched: libraries would initialise during the capture")
    if ("a capture" if status.value else "a launch") in REFUSE:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with TORCH_USE_CUDA_DSA ...")
    _launched.add(addresses)
    alive = weakref.ref(engine)

    def work(_: Any) -> None:
        try:
            live_engine = alive()
            if live_engine is None:
                MISUSE.append("the engine was destroyed before its work was done")
                return
            tensors_in, tensors_out = (
                {name: torch.from_numpy(view(*layout)) for name, layout in side.items()} for side in layouts
            )
            for tensor in tensors_out.values():
                tensor.fill_(torch.nan)  # a network that reads its output reads NaN
            _run(live_engine, tensors_in, tensors_out)
        except Exception as error:  # the driver called this function and cannot handle an exception
            MISUSE.append(repr(error))

    _callbacks.append(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work))
    check(_driver.cuLaunchHostFunc(stream, _callbacks[-1], None))
