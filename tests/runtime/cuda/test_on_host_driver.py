"""The GPU code without a GPU: each test file of ``device/`` runs in its own process, on a driver that uses host memory.

The packages are real: cuda-bindings, and pycuda where it could be built. libcuda is ``host_driver.c``, and TensorRT is
``device/host_tensorrt.py``, which runs the graph in ONNX Runtime. The tests therefore cover our part: order, addresses,
parities, captures, what is released. They do not cover kernels, races and timing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
PYCUDA = Path(__file__).parents[3] / ".venv" / ".pycuda"  # in its own folder, so that the other tests run without pycuda
PACKAGES = ("cuda-bindings", "pycuda")
KINDS = ("retention", "dssm", "gated", "retention-chunk", "lookahead-chunk", "attention")


@pytest.fixture(scope="session")
def host_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``host_driver.c``, compiled to a library with the driver's name."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build host_driver.c with")
    library = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", f"-Wl,-soname,{library.name}"]
    subprocess.run([compiler, *flags, "-o", str(library), str(FOLDER / "host_driver.c"), "-ldl"], check=True, timeout=120)
    return library


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("tests", sorted((FOLDER / "device").glob("test_*.py")), ids=lambda path: path.stem)
def test_the_gpu_tests_pass_on_host_memory(
    tests: Path, package: str, host_driver: Path, artefact_of: Callable[[str], Path]
) -> None:
    if package == "pycuda" and not (PYCUDA / "pycuda").is_dir():
        pytest.skip("no pycuda: `make test` builds it where CUDA's compiler nvcc is")
    artefacts = {artefact_of(kind).parent for kind in KINDS}
    assert len(artefacts) == 1
    environment = {"POSEMOE_HOST_DRIVER": host_driver, "POSEMOE_CUDA": package, "POSEMOE_ARTEFACTS": artefacts.pop()}
    if package == "pycuda":
        environment["PYTHONPATH"] = PYCUDA
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tests)],
        env=os.environ | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-2000:]
    assert re.search(r"^\d+ passed in|^\.+ +\[100%\]$", process.stdout, re.MULTILINE) and "skipped" not in process.stdout
