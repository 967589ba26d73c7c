"""TensorRT's Python module: NVIDIA's TensorRT, or TensorRT for RTX, which is the same API without a Jetson."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ...errors import MissingError
from ...platform.jetson import read_platform
from .plan import EngineName, Machine, this_platform

OLDEST = (10, 3)
MAX_ERRORS = 3  # of the errors that the library logged

log = logging.getLogger(__name__)


def import_tensorrt(engine: EngineName) -> Any:
    """The module ``tensorrt`` or ``tensorrt_rtx``.

    Raises:
        MissingError: it is not installed, its libraries are not, or it is too old; with the command for this board.
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
    if engine == "tensorrt" and _numbers(trt.__version__) < OLDEST:
        raise MissingError(
            f"TensorRT {trt.__version__} is too old",
            expected=f"{OLDEST[0]}.{OLDEST[1]} or newer",
            run=read_platform().install(engine),
        )
    return trt


def machine(engine: EngineName, trt: Any, capability: str) -> Machine:
    """What a plan must fit to run here: this library on that GPU."""
    return Machine(engine=engine, version=trt.__version__, capability=capability, platform=this_platform())


def open_logger(trt: Any) -> Any:
    """A logger that hands on to ours and remembers the ``errors``. It must outlive all that it is given to."""

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
    """The last of what the library said before it gave up."""
    return "; ".join(errors[-MAX_ERRORS:]) or "it said nothing"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
