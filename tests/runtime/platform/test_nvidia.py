"""The GPU's attributes, from a stand-in for libcuda with six functions in C."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from posemoe_edge.runtime import MissingError
from posemoe_edge.runtime.platform.nvidia import QUERIES, Gpu, ask_nvidia_smi, find_gpu

DRIVER = """
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return %(init)d; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return %(device)d; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Orin", length); return device != 7; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)16 << 30; return device != 7; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 18;
    return device != 7;
}
"""


@pytest.fixture
def driver(tmp_path: Path) -> Callable[..., str]:
    """driver(init=100): the path of a libcuda whose functions return these results."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")

    def build(*, init: int = 0, device: int = 0) -> str:
        source, library = tmp_path / "cuda.c", tmp_path / f"libcuda.{init}.{device}.so"
        source.write_text(DRIVER % {"init": init, "device": device})
        subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        return str(library)

    return build


def test_the_first_gpu_is_described(driver: Callable[..., str]) -> None:
    assert find_gpu(driver()) == Gpu(name="Orin", capability="sm87", cuda="12.6", memory_bytes=16 << 30, integrated=True)


def test_an_absent_driver_is_a_missing_error() -> None:
    with pytest.raises(MissingError, match=r"no NVIDIA driver is installed \(libnone\.so was not found\)"):
        find_gpu("libnone.so")


@pytest.mark.parametrize(("results", "function"), [({"init": 100}, "cuInit"), ({"device": 101}, "cuDeviceGet")])
def test_a_driver_without_a_gpu_is_an_error_with_the_failed_call(
    results: dict[str, int], function: str, driver: Callable[..., str]
) -> None:
    with pytest.raises(MissingError, match=rf"shows no GPU \({function} answered 10[01]\)"):
        find_gpu(driver(**results))


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """nvidia_smi("echo ..."): replaces nvidia-smi on the PATH by this shell script."""

    def write(script: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return write


def test_values_of_nvidia_smi_get_our_names(nvidia_smi: Callable[[str], None]) -> None:
    nvidia_smi(f'[ "$1" = "--query-gpu={",".join(QUERIES.values())}" ] && echo "580.82.07, 1980, 2520, 320.00, Enabled"')
    assert ask_nvidia_smi() == {
        "driver": "580.82.07",
        "clock_mhz": "1980",
        "most_mhz": "2520",
        "power_limit_w": "320.00",
        "persistence": "Enabled",
    }


@pytest.mark.parametrize("script", ["exit 9", "echo NVIDIA-SMI has failed", "exec nowhere"])
def test_a_failing_nvidia_smi_gives_none(script: str, nvidia_smi: Callable[[str], None]) -> None:
    nvidia_smi(script)
    assert ask_nvidia_smi() is None


def test_a_machine_without_nvidia_smi_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_nvidia_smi() is None
