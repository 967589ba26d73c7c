"""Describes one version of TensorRT's Python bindings, and what our code does with it. Run it in its own process.

bindings_probe.py WHEEL STUBS MAJOR: loads empty libraries in place of TensorRT's, then the wheel's real bindings; prints JSON.
Without the libraries nothing can be built or run, but every class, method and parameter name exists.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any


def main(wheel: str, stubs: str, major: str) -> None:
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        ctypes.CDLL(str(Path(stubs) / f"lib{name}.so.{major}"), mode=ctypes.RTLD_GLOBAL)
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        sys.path.insert(0, folder)
        import tensorrt_bindings as trt

        sys.modules["tensorrt"] = trt
        print(json.dumps({"version": trt.__version__, "names": describe(trt), "behaviour": try_our_code()}))


def describe(module: Any) -> dict[str, Any]:
    """Class -> its members -> null for a value, or the signatures of a method: (parameters, return type)."""
    names: dict[str, Any] = {}
    for name, value in vars(module).items():
        if inspect.isclass(value):
            members = {
                member: signatures(getattr(value, member), member) for member in dir(value) if not member.startswith("_")
            }
            names[name] = members | {"__init__": signatures(value.__init__, "__init__")}
        elif inspect.isfunction(value):
            names[name] = [(list(inspect.signature(value).parameters), "")]
        elif callable(value):
            names[name] = signatures(value, name)
    return names


def signatures(value: Any, name: str) -> list[tuple[list[str], str]] | None:
    """The overloads that a docstring lists, without ``self``."""
    if not callable(value) or inspect.isclass(value):
        return None
    lines = [re.sub(r"^\d+\. ", "", line.strip()) for line in (value.__doc__ or "").splitlines()]
    return [split(line[len(name) + 1 :]) for line in lines if line.startswith(f"{name}(") and "*args" not in line]


def split(rest: str) -> tuple[list[str], str]:
    """``self: X, a: int = 0) -> Y`` as (["a"], "Y")."""
    depth, parts, part = 0, [], ""
    for index, letter in enumerate(rest):
        if letter in "([<{":
            depth += 1
        if letter in ")]>}" and rest[index - 1] != "-":
            if letter == ")" and depth == 0:
                break
            depth -= 1
        if letter == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    names = [re.match(r"[\s*]*(\w+)", parameter) for parameter in [*parts, part] if parameter.strip()]
    returns = re.search(r"->\s*([\w.]+)", rest[index:])
    return [name[1] for name in names if name and name[1] != "self"], returns[1].rpartition(".")[2] if returns else ""


def try_our_code() -> dict[str, str]:
    """The results and errors of our code with this version, without a driver."""
    from posemoe_edge.runtime.engines.tensorrt import builder
    from posemoe_edge.runtime.engines.tensorrt.library import import_tensorrt, open_logger
    from posemoe_edge.runtime.engines.tensorrt.progress import progress_monitor
    from posemoe_edge.runtime.errors import MissingError

    trt = import_tensorrt("tensorrt")
    logger = open_logger(trt)
    logger.log(trt.ILogger.ERROR, "an error")
    logger.log(trt.ILogger.VERBOSE, "a detail")
    monitor = progress_monitor(trt, lambda phases: None)
    monitor.phase_start("a phase", None, 2)
    continues = monitor.step_complete("a phase", 0)
    try:
        builder.open_builder(trt)
    except MissingError as error:
        return {"errors": ";".join(logger.errors), "continues": str(continues), "driver": error.what}
    return {"driver": "a builder, without a library"}


if __name__ == "__main__":
    main(*sys.argv[1:])
