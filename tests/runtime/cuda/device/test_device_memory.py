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
from foreign import CudaInterfaceArray, DlpackArray, GradientTensor
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
    values = rng.normal(size=(4, 3, 2)).astype(np.float32)
    x[:] = values
    np.testing.assert_array_equal(np.array(x), values)
    assert (len(x), x.shape, x.nbytes) == (4, (4, 3, 2), 96) and x.dtype == np.float32


def test_rows_are_views_that_are_copied_and_cleared_singly(device: Device) -> None:
    values = rng.normal(size=(5, 7)).astype(np.float32)
    x, y = zeros(device, values.shape), zeros(device, values.shape)
    x[:] = values
    y[1:3] = x[3:5]
    y[0] = x[-1]
    x[3] = 0
    x[1:3][1][:] = 9  # rows of rows
    expected = values.copy()
    expected[3], expected[2] = 0, 9
    np.testing.assert_array_equal(np.array(x), expected)
    np.testing.assert_array_equal(np.array(y), np.stack([values[4], values[3], values[4], 0 * values[0], 0 * values[0]]))
    assert [row.address for row in x] == [x.address + 28 * i for i in range(5)]
    with pytest.raises(AssertionError, match="with a stride"):
        x[::2]
    with pytest.raises(IndexError):
        x[5]
    with pytest.raises(AssertionError, match="converts nothing"):
        y[0] = zeros(device, (7,), np.float16)


def test_a_host_array_may_change_right_after_its_upload(device: Device) -> None:
    x, values = zeros(device, (3,)), np.ones(3, np.float32)
    x[:] = values
    values[:] = 5
    np.testing.assert_array_equal(np.array(x), np.ones(3))


@pytest.mark.parametrize("dtype", ["float16", "bool", "int64"])
def test_an_array_may_have_any_dtype(device: Device, dtype: str) -> None:
    x, values = zeros(device, (3, 3), dtype), rng.integers(0, 2, (3, 3)).astype(dtype)
    x[1:] = values[1:]
    np.testing.assert_array_equal(np.array(x)[1:], values[1:])
    assert np.array(x).dtype == np.dtype(dtype)
    assert np.array(x, dtype=np.float32).dtype == np.float32


def test_an_array_may_be_empty(device: Device) -> None:
    x = zeros(device, (0, 3))
    x[:] = 0
    assert np.array(x).shape == (0, 3) and list(x) == []


def test_memory_is_freed_with_its_last_view(device: Device, driver: Any) -> None:
    before = driver["device"], driver["pinned"]
    x, pinned = zeros(device, (4, 4)), device.pinned(64)
    row, half = x[2], pinned[32:]
    del x, pinned
    gc.collect()
    assert (driver["device"], driver["pinned"]) == (before[0] + 1, before[1] + 1)
    half[:] = 7
    row[:] = 7
    np.testing.assert_array_equal(np.array(row), np.full(4, 7))
    del row, half
    gc.collect()
    assert (driver["device"], driver["pinned"]) == before


def test_closing_frees_everything_and_later_use_is_an_error(device: Device, driver: Any) -> None:
    x, pinned, graph = zeros(device, 8), device.pinned(8), CudaGraph.capture(device, lambda: None)
    assert driver["executables"] == 1 and driver["streams"] == 1
    device.close()
    assert not any(driver[resource] for resource in ("device", "pinned", "streams", "executables", "graphs"))
    with pytest.raises(UsageError, match="the model is closed"):
        np.array(x)
    device.close()
    del x, pinned, graph


def test_a_collected_device_closes_itself(driver: Any) -> None:
    x = zeros(open_device(), 3)
    assert driver["streams"] == 1
    del x
    gc.collect()
    assert driver["streams"] == 0


def test_the_callers_context_is_current_again_after_a_call(device: Device) -> None:
    cuda, current, callers = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_void_p(0x1234)
    cuda.cuCtxPushCurrent_v2(callers)
    try:
        zeros(device, 4)[:] = 1
        cuda.cuCtxGetCurrent(ctypes.byref(current))
        assert current.value == callers.value
    finally:
        cuda.cuCtxPopCurrent_v2(ctypes.byref(current))


def test_arrays_may_be_read_and_freed_in_other_threads(device: Device) -> None:
    x = zeros(device, (2, 2))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(x.__setitem__, 0, np.ones(2)).result()
        np.testing.assert_array_equal(pool.submit(np.array, x).result(), [[1, 1], [0, 0]])
        arrays = [x]
        del x
        pool.submit(arrays.clear).result()


def test_out_of_memory_is_a_named_error_and_leaks_nothing(device: Device, driver: Any) -> None:
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


def test_a_graph_runs_the_captured_work_at_each_replay_and_not_at_capture(device: Device, driver: Any) -> None:
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


def test_two_graphs_pass_a_state_between_two_slabs(device: Device) -> None:
    even, odd = zeros(device, 4), zeros(device, 4)
    even[:] = np.array([1, 2, 3, 4], np.float32)
    pinned = device.pinned(16).view(np.float32)

    def capture_step(a: DeviceArray, b: DeviceArray) -> CudaGraph:
        """The state's second half becomes its first half, and two new numbers its second."""

        def work() -> None:
            device.copy(b.address, a.address + 8, 8)
            device.upload(b.address + 8, pinned[:2])

        return CudaGraph.capture(device, work)

    graphs = capture_step(even, odd), capture_step(odd, even)
    for i in range(10):
        pinned[:2] = i, -i
        with device:
            graphs[i % 2].replay()
            device.synchronize()
    np.testing.assert_array_equal(np.array(even), [8, -8, 9, -9])


def test_a_capture_that_fails_is_ended(device: Device, driver: Any) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        CudaGraph.capture(device, fail)
    with pytest.raises(CudaError):  # a wait invalidates the capture
        CudaGraph.capture(device, device.synchronize)
    for function in ("cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"):
        driver.fail(function)
        with pytest.raises(CudaError, match=f"{function} answered"):
            CudaGraph.capture(device, lambda: None)
    assert driver["graphs"] == driver["executables"] == 0
    x = zeros(device, 3)  # the driver refuses an allocation during a capture
    graph = CudaGraph.capture(device, lambda: device.clear(x.address, 12))
    x[:] = 1
    with device:
        graph.replay()
    assert not np.array(x).any()


def test_a_copy_beyond_an_allocation_is_an_error(device: Device) -> None:
    """Checks ``host_driver.c``. The error invalidates the context, so this test runs in its own process."""
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
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert process.stdout.startswith("refused CUDA"), process.stderr


@pytest.mark.parametrize("foreign", [CudaInterfaceArray, DlpackArray])
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


@pytest.mark.parametrize("changes", [{"stream": 2}, {"stream": None}, {"version": 2}, {"stream": 1}])
def test_pending_work_of_the_owner_runs_first_without_a_wait(device: Device, driver: Any, changes: dict[str, Any]) -> None:
    x = zeros(device, 3)
    as_device_array(device, CudaInterfaceArray(x, **changes))
    foreign = DlpackArray(x)
    as_device_array(device, foreign)
    assert foreign.streams == [device.stream]


def test_memory_that_is_not_dense_or_not_on_the_gpu_is_refused(device: Device) -> None:
    x = zeros(device, (4, 2))
    assert as_device_array(device, CudaInterfaceArray(x, strides=(8, 4))).shape == (4, 2)
    with pytest.raises(UsageError, match="strides of"):
        as_device_array(device, CudaInterfaceArray(x, strides=(4, 16)))
    with pytest.raises(UsageError, match=r"device 1:0.*the first GPU, 2:0"):
        as_device_array(device, DlpackArray(x, device_type=1))
    with pytest.raises(UsageError, match=r"device 2:1.*the first GPU, 2:0"):
        as_device_array(device, DlpackArray(x, device_id=1))
    assert not is_on_device(np.zeros(3)) and not is_on_device([1, 2]) and not is_on_device(DlpackArray(x, device_type=1))


def test_an_array_that_its_library_refuses_to_export_is_refused(device: Device) -> None:
    assert is_on_device(GradientTensor(zeros(device, 3)))
    with pytest.raises(UsageError, match=r"require gradient.*x.detach\(\)"):
        as_device_array(device, GradientTensor(zeros(device, 3)))


def test_an_array_of_another_device_object_is_used_in_place(device: Device) -> None:
    other = open_device(device.package)
    x = zeros(other, 3)
    x[:] = 7
    ours = as_device_array(device, x)
    assert ours.device is device and ours.address == x.address and as_device_array(other, x) is x
    np.testing.assert_array_equal(np.array(ours), [7, 7, 7])
    other.close()


def test_a_closed_device_refuses_arrays_of_other_libraries(device: Device) -> None:
    x = zeros(device, 3)
    by_dlpack, by_interface = DlpackArray(x), CudaInterfaceArray(x)
    device.close()
    for foreign in (by_dlpack, by_interface):
        with pytest.raises(UsageError, match="the model is closed"):
            as_device_array(device, foreign)
    assert not by_dlpack.streams


def test_other_libraries_can_read_our_arrays(device: Device) -> None:
    x = zeros(device, (2, 3))
    interface = x[1].__cuda_array_interface__
    assert interface["data"] == (x.address + 12, False) and interface["shape"] == (3,) and interface["typestr"] == "<f4"
    assert interface["stream"] == device.stream
