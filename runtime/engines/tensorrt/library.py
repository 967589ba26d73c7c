"""TensorRT's Python module: NVIDIA's TensorRT, or TensorRT for RTX, which has the same API and does not run on a Jetson."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ...errors import MissingError
from ...platform.jetson import read_platform
from ...platform.nvidia import find_gpu
from .plan import EngineName, Machine, this_platform

MIN_VERSION = (10, 3)
MAX_ERRORS = 3  # errors of TensorRT's log that an error message repeats

log = logging.getLogger(__name__)


def import_tensorrt(engine: EngineName) -> Any:
    """The module ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        MissingError: the module or its libraries are not installed, or it is too old; with the command for this platform.
    """
    try:
        if engine == "tensorrt":
            import tensorrt as trt
        else:
            import tensorrt_rtx as trt
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError)
        why = "is not installed" if absent else f"cannot be loaded ({error})"
        raise MissingError(f"the engine {engine} needs a package that {why}", run=read_platform().install(engine)) from None
    if engine == "tensorrt" and _major_minor(trt.__version__) < MIN_VERSION:
        raise MissingError(
            f"TensorRT {trt.__version__} is too old",
            expected=f"{MIN_VERSION[0]}.{MIN_VERSION[1]} or newer",
            run=read_platform().install(engine),
        )
    return trt


def this_machine(engine: EngineName) -> Machine:
    """The library, GPU and platform that a plan must have been built for to run on this machine.

    Raises:
        MissingError: there is no GPU, or the engine's package is not installed.
    """
    gpu = find_gpu()  # first: without a GPU nothing needs to be imported
    return describe_machine(engine, import_tensorrt(engine), gpu.capability)


def describe_machine(engine: EngineName, trt: Any, capability: str) -> Machine:
    """The machine with this module and a GPU of this compute capability."""
    return Machine(engine=engine, version=trt.__version__, capability=capability, platform=this_platform())


def open_logger(trt: Any) -> Any:
    """A TensorRT logger that forwards to ours and collects ``errors``. It must outlive every object created with it."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity.name.endswith("ERROR"):
                self.errors.append(msg)
            log.log({"WARNING": logging.INFO}.get(severity.name, logging.DEBUG), "%s", msg)

    return Logger()


def last_errors(errors: Sequence[str]) -> str:
    """The last errors of a logger, as one clause."""
    return "; ".join(errors[-MAX_ERRORS:]) or "it logged no error"


def _major_minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
