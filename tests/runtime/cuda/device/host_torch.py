"""torch.cuda on the host's driver: streams, graphs, views of device memory; a network's work is a host function in the stream.

The network and all of ``edge.torch_backend.engine`` are real, except ``TorchEngine.run``, which is enqueued as one host
function with the addresses of its tensors. This module is at least as strict as torch: ``FOUL`` records what would be a crash
there, or a trap for other code in the process.

So the tests cover our part: order, addresses, parities, captures, contexts, lifetimes. They do not cover kernels, torch's
allocator and its pool, the lazy initialisation of libraries, nor whether torch can capture the network.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import torch
from posemoe_edge.edge.torch_backend.engine import TorchEngine

FOUL: list[str] = []
REFUSE: set[str] = set()  # "a capture", "a launch"
MODES = {"global": 0, "thread_local": 1, "relaxed": 2}

POOLS = count(1)
CAPTURED: weakref.WeakSet[CUDAGraph] = weakref.WeakSet()

current: ExternalStream | None = None
_calls: list[Any] = []  # what was enqueued may be called for as long as the process lives
_launched: set[tuple[int, ...]] = set()  # what was launched outside of a capture
_run, _as_tensor, _to = TorchEngine.run, torch.as_tensor, torch.nn.Module.to
_driver = ctypes.CDLL("libcuda.so.1")


def install(monkeypatch: Any) -> None:
    """This module in the place of torch.cuda."""
    for name in ("ExternalStream", "CUDAGraph", "graph", "stream", "is_available", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, globals()[name])
    monkeypatch.setattr(torch, "as_tensor", as_tensor)
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *to: self if torch.device("cuda", 0) in to else _to(self, *to))
    monkeypatch.setattr(TorchEngine, "run", enqueue)
    FOUL.clear()
    REFUSE.clear()


def check(answer: int) -> None:
    if answer:
        raise RuntimeError(f"CUDA error: {answer}\nCompile with TORCH_USE_CUDA_DSA to enable device-side assertions.")


def needs_context() -> None:
    context = ctypes.c_void_p()
    _driver.cuCtxGetCurrent(ctypes.byref(context))
    if not context:
        FOUL.append("no context is current: torch would make its own so, in this thread and for good")


def is_available() -> bool:
    return True


def empty_cache() -> None:
    needs_context()


class ExternalStream:
    def __init__(self, stream_ptr: int, device: torch.device) -> None:
        needs_context()
        self.cuda_stream, self.device = stream_ptr, device


@contextmanager
def stream(of: ExternalStream) -> Iterator[None]:
    global current
    before, current = current, of
    try:
        yield
    finally:
        current = before


class CUDAGraph:
    """A graph that is gone when nobody has it any more."""

    def __init__(self) -> None:
        self.made = ctypes.c_void_p()
        self.id: tuple[int, int] | None = None
        CAPTURED.add(self)

    def pool(self) -> tuple[int, int]:
        assert self.id is not None
        return self.id

    def replay(self) -> None:
        needs_context()
        assert self.made and current
        check(_driver.cuGraphLaunch(self.made, ctypes.c_void_p(current.cuda_stream)))

    def __del__(self) -> None:
        if self.made:
            _driver.cuGraphExecDestroy(self.made)


class graph:
    """As torch's: if the capture cannot be ended, the stream stays the current one."""

    def __init__(self, cuda_graph: CUDAGraph, pool: Any, stream: ExternalStream, capture_error_mode: str) -> None:
        self.graph, self.stream, self.mode = cuda_graph, stream, MODES[capture_error_mode]
        assert pool in {None, *(other.id for other in CAPTURED)}, "a pool is gone with the last graph in it"
        self.graph.id = pool or (0, next(POOLS))

    def __enter__(self) -> None:
        global current
        needs_context()
        if torch.is_inference_mode_enabled():
            FOUL.append("begun in inference mode: what torch then makes for all graphs cannot be changed outside of it")
        check(_driver.cuCtxSynchronize())
        self.before, current = current, self.stream
        check(_driver.cuStreamBeginCapture_v2(ctypes.c_void_p(self.stream.cuda_stream), self.mode))

    def __exit__(self, *error: object) -> None:
        global current
        raw = ctypes.c_void_p()
        check(_driver.cuStreamEndCapture(ctypes.c_void_p(self.stream.cuda_stream), ctypes.byref(raw)))
        instantiated = _driver.cuGraphInstantiateWithFlags(ctypes.byref(self.graph.made), raw, ctypes.c_ulonglong(0))
        _driver.cuGraphDestroy(raw)
        check(instantiated)
        current = self.before


def as_tensor(data: Any, device: torch.device | None = None) -> torch.Tensor:
    """A view of device memory, which the host cannot read; it keeps what it was made of."""
    told = getattr(data, "__cuda_array_interface__", None)
    if told is None or device is None:
        return _as_tensor(data, device=device)
    needs_context()
    assert device == torch.device("cuda", 0)
    made = torch.from_numpy(view(told["data"][0], told["shape"], told["typestr"]))
    made.made_of = data  # type: ignore[attr-defined]
    return made


def view(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ctypeslib.as_array((ctypes.c_byte * size).from_address(address)).view(dtype).reshape(shape)


def enqueue(engine: TorchEngine, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> None:
    """``TorchEngine.run`` in the current stream. Who does not keep the engine and the memory until then is found out."""
    needs_context()
    assert current is not None
    stream, status = ctypes.c_void_p(current.cuda_stream), ctypes.c_int()
    _driver.cuStreamIsCapturing(stream, ctypes.byref(status))
    places = [
        {name: (x.data_ptr(), tuple(x.shape), np.dtype(str(x.dtype).removeprefix("torch."))) for name, x in side.items()}
        for side in (inputs, outputs)
    ]
    addresses = tuple(place[0] for side in places for place in side.values())
    if status.value and addresses not in _launched:
        FOUL.append("captured before it was launched: libraries would set themselves up in the capture")
    if ("a capture" if status.value else "a launch") in REFUSE:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with TORCH_USE_CUDA_DSA ...")
    _launched.add(addresses)
    alive = weakref.ref(engine)

    def work(_: Any) -> None:
        try:
            now = alive()
            if now is None:
                FOUL.append("the engine was gone before its work was done")
                return
            given, made = ({name: torch.from_numpy(view(*place)) for name, place in side.items()} for side in places)
            for y in made.values():
                y.fill_(torch.nan)  # who reads what is written sees it
            _run(now, given, made)
        except Exception as error:  # nobody is above to catch it
            FOUL.append(repr(error))

    _calls.append(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work))
    check(_driver.cuLaunchHostFunc(stream, _calls[-1], None))
