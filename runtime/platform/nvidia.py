"""The GPU's attributes, read from libcuda: no Python package is needed, and no context is created."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass

from ..cuda.driver import LIBCUDA, Driver
from ..errors import MissingError

MAJOR, MINOR, INTEGRATED = 75, 76, 18  # of CUdevice_attribute

# Our name -> the name of the query of nvidia-smi.
QUERIES = {
    "driver": "driver_version",
    "clock_mhz": "clocks.sm",
    "most_mhz": "clocks.max.sm",
    "power_limit_w": "power.limit",
    "persistence": "persistence_mode",
}


@dataclass(frozen=True)
class Gpu:
    """The first GPU that CUDA lists.

    Args:
        capability: the compute capability, for example sm87.
        cuda: the newest CUDA version that the driver supports.
        integrated: whether CPU and GPU share their memory.
    """

    name: str
    capability: str
    cuda: str
    memory_bytes: int
    integrated: bool


def find_gpu(library: str = LIBCUDA) -> Gpu:
    """The GPU that TensorRT will use.

    Args:
        library: the file name of libcuda.

    Raises:
        MissingError: there is no driver, or it lists no GPU.
    """
    driver = Driver(library)

    def call(function: str, *arguments: object) -> None:
        result = driver.call(function, *arguments)
        if result:
            raise MissingError(f"the NVIDIA driver shows no GPU ({function} answered {result})", expected="a GPU that works")

    version, device, value = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    call("cuInit", 0)
    call("cuDriverGetVersion", ctypes.byref(version))
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDeviceGetName", name, len(name), device)
    call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    attributes = {}
    for attribute in (MAJOR, MINOR, INTEGRATED):
        call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        attributes[attribute] = value.value
    return Gpu(
        name=name.value.decode(),
        capability=f"sm{attributes[MAJOR]}{attributes[MINOR]}",
        cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
        memory_bytes=memory.value,
        integrated=bool(attributes[INTEGRATED]),
    )


def ask_nvidia_smi() -> dict[str, str] | None:
    """Driver, clocks and power limit according to nvidia-smi; None if the tool is missing or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        process = subprocess.run(
            [tool, f"--query-gpu={','.join(QUERIES.values())}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    values = [value.strip() for value in process.stdout.partition("\n")[0].split(",")]
    if process.returncode or len(values) != len(QUERIES):
        return None
    return dict(zip(QUERIES, values, strict=True))
