"""The GPU as its driver tells it. Asks libcuda directly: no package is needed, and no context is made."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass

from ..errors import MissingError

DRIVER = "libcuda.so.1"
MAJOR, MINOR, INTEGRATED = 75, 76, 18  # of CUdevice_attribute

# What we call it -> what nvidia-smi does.
QUERIES = {
    "driver": "driver_version",
    "clock_mhz": "clocks.sm",
    "most_mhz": "clocks.max.sm",
    "power_limit_w": "power.limit",
    "persistence": "persistence_mode",
}


@dataclass(frozen=True)
class Gpu:
    """The first GPU that CUDA shows. ``capability`` is sm87; ``cuda`` the newest CUDA that its driver runs; ``integrated``
    means that memory is shared with the processor."""

    name: str
    capability: str
    cuda: str
    memory_bytes: int
    integrated: bool


def find_gpu(driver: str = DRIVER) -> Gpu:
    """The GPU that TensorRT will use.

    Raises:
        MissingError: there is no driver, or it shows no GPU.
    """
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        raise MissingError(f"no NVIDIA driver is installed ({driver} is not there)", expected="a machine with a GPU") from None

    def ask(function: str, *args: object) -> None:
        code = getattr(cuda, function)(*args)
        if code:
            raise MissingError(f"the NVIDIA driver shows no GPU ({function} answered {code})", expected="a GPU that works")

    version, device, value = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    ask("cuInit", 0)
    ask("cuDriverGetVersion", ctypes.byref(version))
    ask("cuDeviceGet", ctypes.byref(device), 0)
    ask("cuDeviceGetName", name, len(name), device)
    ask("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    attributes = {}
    for attribute in (MAJOR, MINOR, INTEGRATED):
        ask("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        attributes[attribute] = value.value
    return Gpu(
        name=name.value.decode(),
        capability=f"sm{attributes[MAJOR]}{attributes[MINOR]}",
        cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
        memory_bytes=memory.value,
        integrated=bool(attributes[INTEGRATED]),
    )


def ask_nvidia_smi() -> dict[str, str] | None:
    """What a desktop's tool says of driver, clocks and power; None where it is not there or does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, f"--query-gpu={','.join(QUERIES.values())}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    answers = [answer.strip() for answer in done.stdout.partition("\n")[0].split(",")]
    if done.returncode or len(answers) != len(QUERIES):
        return None
    return dict(zip(QUERIES, answers, strict=True))
