"""Opens the GPU through the Python package that is installed."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec

from .device import Device
from .driver import find_driver

log = logging.getLogger(__name__)


def open_device(package: str | None = None) -> Device:
    """The GPU, through cuda-bindings or pycuda.

    Args:
        package: "cuda-bindings" or "pycuda"; None is pycuda where the process uses it already, otherwise what is installed.

    Raises:
        MissingError: there is no driver, or neither package.
    """
    find_driver()
    if package is None:
        only_pycuda = _is_installed("pycuda") and not _is_installed("cuda.bindings")
        package = "pycuda" if only_pycuda or "pycuda.driver" in sys.modules else "cuda-bindings"
    device: Device
    if package == "pycuda":
        from .pycuda import PyCuda

        device = PyCuda()
    else:
        from .cuda_bindings import CudaBindings

        device = CudaBindings()
    log.info("%s, memory by %s", device.name, package)
    return device


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is not installed either
        return False
