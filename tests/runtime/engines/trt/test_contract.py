"""Every name of TensorRT that our code uses exists in the real bindings of every version that we support, 10.3 to 11.4.

The names are read from our source: ``trt.X``, and the attributes of variables named ``network``, ``config`` and so on. The
bindings are NVIDIA's wheels, which `make test` downloads, loaded with empty libraries: names and parameters, no behaviour.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bindings_probe
import pytest

ROOT = Path(__file__).parents[4]
ENGINES = ROOT / "runtime" / "engines" / "tensorrt"
SOURCES = sorted(ENGINES.glob("*.py"))
WHEELS = ROOT / ".venv" / ".bindings"
PACKAGES = (Path(__file__).parent / "bindings.txt").read_text().split()

# The TensorRT class of a variable or attribute in our code, by its name: self._engine is an ICudaEngine.
ROLES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "problem": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "tensor": "ITensor",
    "layer": "ILayer",
    "cache": "ITimingCache",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "_runtime": "Runtime",
    "_engine": "ICudaEngine",
}
BYTES = {"plan": "IHostMemory"}  # our code calls no method of it
MODULE = ("trt", "_trt")

# Only TensorRT for RTX has these names, and our code uses them only with it.
RTX_ONLY = {
    "ComputeCapability",
    "ComputeCapability.__members__",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}

# The stubs: every function of TensorRT's libraries that the bindings import.
FUNCTIONS = {
    "nvinfer": (
        "createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL getBuilderPluginRegistry "
        "getPluginRegistry"
    ),
    "nvinfer_plugin": "initLibNvInferPlugins",
    "nvonnxparser": "createNvOnnxParser_INTERNAL createNvOnnxParserRefitter_INTERNAL getNvOnnxParserVersion",
}

REMOVED = {  # removed in 11.0 or before, or meaningless under strong typing
    *("EXPLICIT_BATCH", "FP16", "BF16", "INT8", "FP8", "INT4", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"),
    *("int8_calibrator", "set_calibration_profile", "set_dynamic_range", "set_output_type", "precision", "compute_precision"),
    *("IInt8EntropyCalibrator2", "max_workspace_size", "build_engine", "max_batch_size", "num_bindings", "execute_async_v2"),
    *("device_memory_size", "create_execution_context_without_device_memory", "platform_has_fast_fp16", "supports_model"),
}


@dataclass(frozen=True)
class Use:
    """A name of TensorRT in our code; for a call, the number of positional arguments and the keywords."""

    place: str
    name: str
    positional: int = 0
    keywords: tuple[str, ...] = ()
    called: bool = False


def owner(node: ast.expr) -> str | None:
    """The TensorRT class of an expression, by its variable's name; '' for the module itself."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return "" if name in MODULE else ROLES.get(name)


def uses(path: Path) -> Iterator[Use]:
    """Every use in a file."""
    tree = ast.parse(path.read_text())
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        place = f"{path.name}:{node.lineno}"
        name = full_name(node)
        if name and name not in ("__version__",):
            call = calls.get(id(node))
            keywords = tuple(word.arg for word in call.keywords if word.arg) if call else ()
            positional = len(call.args) - name.endswith(".__init__") if call else 0  # a call of __init__ passes self
            yield Use(place, name, positional, keywords, call is not None)


def full_name(node: ast.Attribute) -> str | None:
    """``network.get_layer`` as INetworkDefinition.get_layer, ``trt.BuilderFlag.TF32`` as BuilderFlag.TF32."""
    parent = owner(node.value)
    if parent is not None:
        return f"{parent}.{node.attr}".lstrip(".")
    if isinstance(node.value, ast.Attribute) and owner(node.value.value) == "":
        return f"{node.value.attr}.{node.attr}"
    return None


USES = [use for path in SOURCES for use in uses(path)]


def missing(use: Use, names: dict[str, Any]) -> str | None:
    """How a version differs from a use, or None if it fits."""
    first, _, rest = use.name.partition(".")
    if first not in names:
        return f"{use.place}: {first} does not exist"
    members = names[first]
    if rest == "__init__" or (not rest and use.called):
        overloads = members["__init__"] if isinstance(members, dict) else members
    elif not rest:
        return None
    elif rest not in members:
        return f"{use.place}: {first} has no {rest}"
    else:
        overloads = members[rest]
    if not use.called or not overloads:
        return None
    for parameters, _ in overloads:
        if use.positional + len(use.keywords) <= len(parameters) and set(use.keywords) <= set(parameters[use.positional :]):
            return None
    return f"{use.place}: {use.name} takes {overloads}, not {use.positional} and {use.keywords}"


def methods(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """The methods that our classes override: TensorRT's class, the method, the names of its parameters."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            bases = [base.attr for base in node.bases if isinstance(base, ast.Attribute) and owner(base.value) == ""]
            for method in node.body if bases else []:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    yield bases[0], method.name, [argument.arg for argument in method.args.args[1:]]


def assignments(path: Path) -> Iterator[tuple[str, str, str]]:
    """Assignments of a TensorRT call's result: the place, the call's name, and the variable's name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
            name, target = full_name(node.value.func), node.targets[0]
            if name and isinstance(target, ast.Name | ast.Attribute):
                yield f"{path.name}:{node.lineno}", name, target.id if isinstance(target, ast.Name) else target.attr


@pytest.fixture(scope="module", params=PACKAGES)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names and the behaviour of one version."""
    package, version = request.param.split("==")
    if not WHEELS.is_dir():
        pytest.skip(f"no {WHEELS.relative_to(ROOT)}: `make test` downloads the bindings")
    wheels = list(WHEELS.glob(f"{package.replace('-', '_')}-{version}-*.whl"))
    assert wheels, f"{request.param} was not downloaded: rm -r {WHEELS}; make test"
    this_python = f"-cp{sys.version_info.major}{sys.version_info.minor}-"
    if this_python not in wheels[0].name:
        pytest.skip(f"{wheels[0].name} is for another Python than this one; `make test` downloads those of .venv's")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the empty libraries with")
    folder, major = tmp_path_factory.mktemp("stubs"), version.partition(".")[0]
    for library, functions in FUNCTIONS.items():
        source, name = folder / f"{library}.c", f"lib{library}.so.{major}"
        source.write_text("".join(f"void *{function}(void){{return 0;}}\n" for function in functions.split()))
        arguments = ["-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run([compiler, *arguments], check=True)
    command = [sys.executable, bindings_probe.__file__, str(wheels[0]), str(folder), major]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert process.returncode == 0, process.stderr
    description = json.loads(process.stdout)
    assert description["version"].startswith(version.removesuffix(".post1"))
    return dict(description)


def check(names: dict[str, Any], allowed: set[str]) -> list[str]:
    """How a version differs from our uses."""
    return [difference for use in USES if use.name not in allowed if (difference := missing(use, names))]


def test_every_name_that_we_use_exists(bindings: dict[str, Any]) -> None:
    assert check(bindings["names"], RTX_ONLY) == []


def test_names_for_rtx_do_not_exist_in_standard_tensorrt(bindings: dict[str, Any]) -> None:
    assert not {name for name in RTX_ONLY if name.partition(".")[0] == name and name in bindings["names"]}
    assert "set_compute_capability" not in bindings["names"]["IBuilderConfig"]


def test_overridden_methods_have_tensorrts_parameters(bindings: dict[str, Any]) -> None:
    overrides = [override for path in SOURCES for override in methods(path)]
    assert {name for _, name, _ in overrides} >= {"log", "phase_start", "step_complete", "phase_finish"}
    for parent, name, parameters in overrides:
        assert parameters in [expected for expected, _ in bindings["names"][parent][name]], f"{parent}.{name}"


def test_the_scan_knows_the_class_of_every_variable(bindings: dict[str, Any]) -> None:
    """The scan would miss the uses of a result that is assigned to a variable with an unknown name."""
    names = bindings["names"]
    for place, call, variable in (assignment for path in SOURCES for assignment in assignments(path)):
        first, _, rest = call.partition(".")
        if call in RTX_ONLY or first not in names:
            continue
        returned = {result for _, result in names[first][rest] or []} if rest else {first}
        known = {result for result in returned if result in names and "__init__" in (names[result] or {})}
        plain = {result for result in known if result not in set(ROLES.values()) | set(BYTES.values())}
        assert not known - plain or (ROLES | BYTES).get(variable) in known, f"{place}: {variable} is a {known}"


def test_a_version_without_a_driver_is_an_error_of_ours(bindings: dict[str, Any]) -> None:
    behaviour = bindings["behaviour"]
    assert behaviour["driver"].startswith(f"TensorRT {bindings['version']} is installed and finds no GPU")
    assert behaviour["errors"] == "an error" and behaviour["continues"] == "True"


def test_every_name_exists_in_tensorrt_for_rtx_too() -> None:
    tensorrt_rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX exists for x86-64 only")

    names = bindings_probe.describe(tensorrt_rtx)
    members = set(tensorrt_rtx.ComputeCapability.__members__)
    assert {"SM86", "SM89", "SM120"} <= members
    assert check(names, {"ComputeCapability.__members__"}) == []


def test_the_scan_finds_known_uses_and_differences() -> None:
    names = {use.name for use in USES}
    assert {"Builder", "OnnxParser", "BuilderFlag.TF32", "NetworkDefinitionCreationFlag.STRONGLY_TYPED"} <= names
    assert {"INetworkDefinition.get_layer", "IBuilderConfig.progress_monitor", "IOptimizationProfile.set_shape"} <= names
    assert len(names) > 30
    absent = Use("x.py:1", "IBuilderConfig.set_memory_pool_limit", 1, ("size",), True)
    offered = {"IBuilderConfig": {"set_memory_pool_limit": [(["pool", "pool_size"], "None")], "__init__": []}}
    assert missing(absent, offered) and not missing(Use("x.py:1", absent.name, 1, ("pool_size",), True), offered)
    assert missing(Use("x.py:1", "IBuilderConfig.nothing"), offered) and missing(Use("x.py:1", "Nothing"), offered)


@pytest.mark.parametrize("path", sorted(ENGINES.glob("*.py")), ids=lambda path: path.name)
def test_no_removed_name_is_used(path: Path) -> None:
    tree = ast.parse(path.read_text())
    attributes = {
        node.attr: node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) if owner(node.value) is not None
    }
    attributes |= {node.attr: node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and full_name(node)}
    assert not REMOVED & set(attributes)
