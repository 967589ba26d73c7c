"""libcuda, called through ctypes. It is the only wrapper of the driver; ``platform.nvidia`` uses it too."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from ..errors import MissingError, PoseEdgeError

LIBCUDA = "libcuda.so.1"


class CudaError(PoseEdgeError):
    """A call to CUDA failed: out of memory, an illegal address, a kernel that aborted."""


class Driver:
    """The functions of libcuda by name. No context is created.

    Args:
        library: the file name of libcuda.

    Raises:
        MissingError: the library cannot be loaded.
    """

    def __init__(self, library: str = LIBCUDA) -> None:
        try:
            self._library = ctypes.CDLL(library)
        except OSError:
            raise MissingError(
                f"no NVIDIA driver is installed ({library} was not found)",
                expected="a machine with a GPU, or the engine onnxruntime",
                run="posemoe-edge doctor",
            ) from None

    def function(self, name: str) -> Any:
        """The ctypes function, for callers that check its result themselves."""
        return getattr(self._library, name)

    def call(self, name: str, *arguments: Any) -> int:
        """Call a function and return its CUresult unchecked; 0 is success."""
        return int(self.function(name)(*arguments))

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call a function; a result other than 0 is a ``CudaError``."""
        result = self.call(name, *arguments)
        if result:
            raise self.error(name, result)

    def error(self, name: str, result: int) -> CudaError:
        """The error for a CUresult that ``name`` returned."""
        text = ctypes.c_char_p()
        self._library.cuGetErrorName(result, ctypes.byref(text))
        return CudaError(f"CUDA: {name} answered {(text.value or b'').decode() or result}", run="posemoe-edge doctor")


@cache
def find_driver() -> Driver:
    """The driver of this machine, loaded once."""
    return Driver()
