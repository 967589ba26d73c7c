"""The GPU code without a GPU: each test file of ``device/`` runs in its own process, on a driver that uses host memory.

The packages are real: cuda-bindings, and pycuda where it could be built. libcuda is ``host_driver.c``, and TensorRT is
``device/host_tensorrt.py``, which runs the graph on ONNX Runtime. So the tests cover our part: order, addresses, parities,
captures, what is freed. They do not cover kernels, races and time.
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

HERE = Path(__file__).parent
PYCUDA = Path(__file__).parents[3] / ".venv" / ".pycuda"  # in a folder of its own: elsewhere in these tests there is none
PACKAGES = ("cuda-bindings", "pycuda")
KINDS = ("retention", "dssm", "gated", "retention-chunk", "lookahead-chunk", "attention")


@pytest.fixture(scope="session")
def host_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``host_driver.c``, compiled under the driver's name."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to make the host's driver with")
    library = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", f"-Wl,-soname,{library.name}"]
    subprocess.run([compiler, *flags, "-o", str(library), str(HERE / "host_driver.c"), "-ldl"], check=True, timeout=120)
    return library


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("tests", sorted((HERE / "device").glob("test_*.py")), ids=lambda path: path.stem)
def test_on_host_memory(tests: Path, package: str, host_driver: Path, artefact_of: Callable[[str], Path]) -> None:
    if package == "pycuda" and not (PYCUDA / "pycuda").is_dir():
        pytest.skip("no pycuda: `make test` builds it where CUDA's compiler nvcc is")
    artefacts = {artefact_of(kind).parent for kind in KINDS}
    assert len(artefacts) == 1
    given = {"POSEMOE_HOST_DRIVER": host_driver, "POSEMOE_CUDA": package, "POSEMOE_ARTEFACTS": artefacts.pop()}
    if package == "pycuda":
        given["PYTHONPATH"] = PYCUDA
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tests)],
        env=os.environ | {name: str(value) for name, value in given.items()},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"^\d+ passed in|^\.+ +\[100%\]$", done.stdout, re.MULTILINE) and "skipped" not in done.stdout
