"""Device arrays: row access as in numpy, copies in order, memory freed with the last view."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from foreign import DLPack, Interface
from posemoe_edge.runtime import UsageError
from posemoe_edge.runtime.cuda.array import DeviceArray, zeros
from posemoe_edge.runtime.cuda.device import Device
from posemoe_edge.runtime.cuda.driver import CudaError
from posemoe_edge.runtime.cuda.graph import CudaGraph
from posemoe_edge.runtime.cuda.interop import as_device_array, is_on_device
from posemoe_edge.runtime.cuda.open import open_device

rng = np.random.default_rng(0)


def test_an_array_starts_as_zeros_and_keeps_its_values(device: Device) -> None:
    x = zeros(device, (4, 3, 2))
    np.testing.assert_array_equal(np.array(x), np.zeros((4, 3, 2), np.float32))
    given = rng.normal(size=(4, 3, 2)).astype(np.float32)
    x[:] = given
    np.testing.assert_array_equal(np.array(x), given)
    assert (len(x), x.shape, x.dtype, x.nbytes) == (4, (4, 3, 2), np.float32, 96)


def test_rows_are_views_and_are_copied_and_cleared_one_by_one(device: Device) -> None:
    given = rng.normal(size=(5, 7)).astype(np.float32)
    x, y = zeros(device, given.shape), zeros(device, given.shape)
    x[:] = given
    y[1:3] = x[3:5]
    y[0] = x[-1]
    x[3] = 0
    x[1:3][1][:] = 9  # rows of rows
    expected = given.copy()
    expected[3], expected[2] = 0, 9
    np.testing.assert_array_equal(np.array(x), expected)
    np.testing.assert_array_equal(np.array(y), np.stack([given[4], given[3], given[4], 0 * given[0], 0 * given[0]]))
    assert [row.address for row in x] == [x.address + 28 * i for i in range(5)]
    with pytest.raises(AssertionError, match="with a stride"):
        x[::2]
    with pytest.raises(IndexError):
        x[5]
    with pytest.raises(AssertionError, match="converts nothing"):
        y[0] = zeros(device, (7,), np.float16)


def test_a_host_array_may_change_right_after_its_upload(device: Device) -> None:
    x, given = zeros(device, (3,)), np.ones(3, np.float32)
    x[:] = given
    given[:] = 5
    np.testing.assert_array_equal(np.array(x), np.ones(3))


@pytest.mark.parametrize("dtype", ["float16", "bool", "int64"])
def test_an_array_has_any_type(device: Device, dtype: str) -> None:
    x, given = zeros(device, (3, 3), dtype), rng.integers(0, 2, (3, 3)).astype(dtype)
    x[1:] = given[1:]
    np.testing.assert_array_equal(np.array(x)[1:], given[1:])
    assert np.array(x).dtype == np.dtype(dtype)
    assert np.array(x, dtype=np.float32).dtype == np.float32


def test_an_array_without_elements_is_one(device: Device) -> None:
    x = zeros(device, (0, 3))
    x[:] = 0
    assert np.array(x).shape == (0, 3) and list(x) == []


def test_memory_is_freed_with_its_last_view(device: Device, driver: Any) -> None:
    before = driver["device"], driver["pinned"]
    x, pinned = zeros(device, (4, 4)), device.pinned(64)
    part, half = x[2], pinned[32:]
    del x, pinned
    gc.collect()
    assert (driver["device"], driver["pinned"]) == (before[0] + 1, before[1] + 1)
    half[:] = 7
    part[:] = 7
    np.testing.assert_array_equal(np.array(part), np.full(4, 7))
    del part, half
    gc.collect()
    assert (driver["device"], driver["pinned"]) == before


def test_closing_frees_everything_and_says_so_afterwards(device: Device, driver: Any) -> None:
    x, pinned, graph = zeros(device, 8), device.pinned(8), CudaGraph.capture(device, lambda: None)
    assert driver["executables"] == 1 and driver["streams"] == 1
    device.close()
    assert not any(driver[what] for what in ("device", "pinned", "streams", "executables", "graphs"))
    with pytest.raises(UsageError, match="the model is closed"):
        np.array(x)
    device.close()
    del x, pinned, graph


def test_a_device_that_is_garbage_closes_itself(driver: Any) -> None:
    x = zeros(open_device(), 3)
    assert driver["streams"] == 1
    del x
    gc.collect()
    assert driver["streams"] == 0


def test_the_callers_own_context_is_current_again_afterwards(device: Device) -> None:
    cuda, current, mine = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_void_p(0x1234)
    cuda.cuCtxPushCurrent_v2(mine)
    try:
        zeros(device, 4)[:] = 1
        cuda.cuCtxGetCurrent(ctypes.byref(current))
        assert current.value == mine.value
    finally:
        cuda.cuCtxPopCurrent_v2(ctypes.byref(current))


def test_arrays_are_read_and_freed_in_other_threads(device: Device) -> None:
    x = zeros(device, (2, 2))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(x.__setitem__, 0, np.ones(2)).result()
        np.testing.assert_array_equal(pool.submit(np.array, x).result(), [[1, 1], [0, 0]])
        arrays = [x]
        del x
        pool.submit(arrays.clear).result()


def test_out_of_memory_is_an_error_that_names_it_and_leaks_nothing(device: Device, driver: Any) -> None:
    before = driver["device"]
    driver.fail("cuMemAlloc_v2", times=2, result=2)  # pycuda collects garbage and tries again
    with pytest.raises(CudaError, match=r"CUDA.*(OUT_OF_MEMORY|out of memory)"):
        zeros(device, 8)
    driver.fail("cuMemHostAlloc", times=2, result=2)
    with pytest.raises(CudaError, match=r"CUDA.*(OUT_OF_MEMORY|out of memory)"):
        device.pinned(8)
    driver.fail("nothing")
    assert driver["device"] == before
    np.testing.assert_array_equal(np.array(zeros(device, 2)), [0, 0])


def test_a_graph_does_what_was_captured_each_time_and_nothing_before(device: Device, driver: Any) -> None:
    x, y = zeros(device, 4), zeros(device, 4)
    x[:] = np.arange(4)
    before = driver["captures"], driver["launches"]

    def work() -> None:
        device.copy(y.address, x.address, 16)
        device.clear(x.address, 8)

    graph = CudaGraph.capture(device, work)
    np.testing.assert_array_equal(np.array(x), [0, 1, 2, 3])
    with device:
        graph.replay()
    np.testing.assert_array_equal(np.array(x), [0, 0, 2, 3])
    np.testing.assert_array_equal(np.array(y), [0, 1, 2, 3])
    x[:] = 5
    with device:
        graph.replay()
    np.testing.assert_array_equal(np.array(y), [5, 5, 5, 5])
    assert (driver["captures"], driver["launches"]) == (before[0] + 1, before[1] + 2)


def test_two_graphs_over_two_slabs_hand_a_state_back_and_forth(device: Device) -> None:
    near, far = zeros(device, 4), zeros(device, 4)
    near[:] = [1, 2, 3, 4]
    pinned = device.pinned(16).view(np.float32)

    def turn(a: DeviceArray, b: DeviceArray) -> CudaGraph:
        """The state's second half becomes its first, and two new numbers its second."""

        def work() -> None:
            device.copy(b.address, a.address + 8, 8)
            device.upload(b.address + 8, pinned[:2])

        return CudaGraph.capture(device, work)

    graphs = turn(near, far), turn(far, near)
    for i in range(10):
        pinned[:2] = i, -i
        with device:
            graphs[i % 2].replay()
            device.synchronize()
    np.testing.assert_array_equal(np.array(near), [8, -8, 9, -9])


def test_a_capture_that_fails_is_ended(device: Device, driver: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        CudaGraph.capture(device, lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    with pytest.raises(CudaError):  # waiting spoils it
        CudaGraph.capture(device, device.synchronize)
    for function in ("cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"):
        driver.fail(function)
        with pytest.raises(CudaError, match=f"{function} answered"):
            CudaGraph.capture(device, lambda: None)
    assert driver["graphs"] == driver["executables"] == 0
    x = zeros(device, 3)  # would be refused during a capture
    graph = CudaGraph.capture(device, lambda: device.clear(x.address, 12))
    x[:] = 1
    with device:
        graph.replay()
    assert not np.array(x).any()


def test_a_copy_beyond_an_allocation_is_an_error(device: Device) -> None:
    """Of the driver for tests: what the other tests stand on. Afterwards the context is spoilt, so in a process of its own."""
    code = """
import ctypes, os, sys
sys.setdlopenflags(os.RTLD_LAZY)
ctypes.CDLL(os.environ["POSEMOE_HOST_DRIVER"], mode=ctypes.RTLD_GLOBAL)
from posemoe_edge.runtime.cuda.array import zeros
from posemoe_edge.runtime.cuda.driver import CudaError
from posemoe_edge.runtime.cuda.open import open_device
device = open_device(os.environ["POSEMOE_CUDA"])
x = zeros(device, 4)
try:
    with device:
        device.copy(x.address, x.address + 8, 16)
        device.synchronize()
except CudaError as error:
    print("refused", error)
    os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("refused CUDA"), done.stderr


@pytest.mark.parametrize("foreign", [Interface, DLPack])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bool", "uint8"])
def test_arrays_of_other_libraries_are_used_in_place(device: Device, driver: Any, foreign: Any, dtype: str) -> None:
    theirs = zeros(device, (3, 2), dtype)
    copies = driver["uploads"] + driver["downloads"] + driver["moves"]
    ours = as_device_array(device, foreign(theirs))
    assert is_on_device(foreign(theirs)) and driver["uploads"] + driver["downloads"] + driver["moves"] == copies
    assert (ours.address, ours.shape, ours.dtype) == (theirs.address, theirs.shape, theirs.dtype)
    theirs[1:] = np.ones((2, 2), dtype)
    np.testing.assert_array_equal(np.array(ours), np.array(theirs))
    assert as_device_array(device, ours) is ours


@pytest.mark.parametrize("more", [{"stream": 2}, {"stream": None}, {"version": 2}, {"stream": 1}])
def test_pending_work_of_the_owner_comes_first_without_a_wait(device: Device, driver: Any, more: dict[str, Any]) -> None:
    x = zeros(device, 3)
    as_device_array(device, Interface(x, **more))
    foreign = DLPack(x)
    as_device_array(device, foreign)
    assert foreign.streams == [device.stream]


def test_memory_that_is_not_dense_or_not_on_the_gpu_is_refused(device: Device) -> None:
    x = zeros(device, (4, 2))
    assert as_device_array(device, Interface(x, strides=(8, 4))).shape == (4, 2)
    with pytest.raises(UsageError, match="strides of"):
        as_device_array(device, Interface(x, strides=(4, 16)))
    with pytest.raises(UsageError, match=r"device 1:0.*the first GPU, 2:0"):
        as_device_array(device, DLPack(x, device_type=1))
    with pytest.raises(UsageError, match=r"device 2:1.*the first GPU, 2:0"):
        as_device_array(device, DLPack(x, device_id=1))
    assert not is_on_device(np.zeros(3)) and not is_on_device([1, 2]) and not is_on_device(DLPack(x, device_type=1))


def test_an_array_that_its_library_does_not_export_is_refused(device: Device) -> None:
    class Learning(DLPack):
        """As a tensor of torch whose gradient is wanted, which answers like this."""

        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad")

        def __dlpack__(self, *, stream: int) -> Any:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")

    assert is_on_device(Learning(zeros(device, 3)))
    with pytest.raises(UsageError, match=r"require gradient.*x.detach\(\)"):
        as_device_array(device, Learning(zeros(device, 3)))


def test_an_array_of_another_device_object_is_used_in_place(device: Device) -> None:
    other = open_device(device.package)
    x = zeros(other, 3)
    x[:] = 7
    ours = as_device_array(device, x)
    assert ours.device is device and ours.address == x.address and as_device_array(other, x) is x
    np.testing.assert_array_equal(np.array(ours), [7, 7, 7])
    other.close()


def test_a_closed_device_orders_no_stream(device: Device) -> None:
    x = zeros(device, 3)
    lent = DLPack(x)
    interface = Interface(x)
    device.close()
    for each in (lent, interface):
        with pytest.raises(UsageError, match="the model is closed"):
            as_device_array(device, each)
    assert not lent.streams


def test_other_libraries_read_our_arrays(device: Device) -> None:
    x = zeros(device, (2, 3))
    told = x[1].__cuda_array_interface__
    assert told["data"] == (x.address + 12, False) and told["shape"] == (3,) and told["typestr"] == "<f4"
    assert told["stream"] == device.stream
