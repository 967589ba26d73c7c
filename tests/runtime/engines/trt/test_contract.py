"""What our code calls TensorRT by exists in the real bindings of every version that we name, 10.3 to 11.4.

The names are read from our source: ``trt.X``, and the attributes of what is called ``network``, ``config`` and so on there. The
bindings are NVIDIA's wheels, which `make test` downloads, loaded over empty libraries: names and parameters, no behaviour.
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

# What a variable or attribute of our code is, whatever it is called on: self._engine is an ICudaEngine, in TensorRT's words.
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
BYTES = {"plan": "IHostMemory"}  # nothing is asked of it but its bytes
MODULE = ("trt", "_trt")

# TensorRT for RTX alone has these; our code uses them for it alone.
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

GONE = {  # removed in 11.0 or before, or meaningless under strong typing
    *("EXPLICIT_BATCH", "FP16", "BF16", "INT8", "FP8", "INT4", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS"),
    *("int8_calibrator", "set_calibration_profile", "set_dynamic_range", "set_output_type", "precision", "compute_precision"),
    *("IInt8EntropyCalibrator2", "max_workspace_size", "build_engine", "max_batch_size", "num_bindings", "execute_async_v2"),
    *("device_memory_size", "create_execution_context_without_device_memory", "platform_has_fast_fp16", "supports_model"),
}


@dataclass(frozen=True)
class Use:
    """A name of TensorRT's in our code, and if it is called there, by how many places and which names."""

    place: str
    name: str
    positional: int = 0
    keywords: tuple[str, ...] = ()
    called: bool = False


def owner(node: ast.expr) -> str | None:
    """The class of what an expression is: of a variable by its name, of the module itself ''."""
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
            positional = len(call.args) - name.endswith(".__init__") if call else 0  # there, self is written out
            yield Use(place, name, positional, keywords, call is not None)


def full_name(node: ast.Attribute) -> str | None:
    """``network.get_layer`` as INetworkDefinition.get_layer, ``trt.BuilderFlag.TF32`` as BuilderFlag.TF32."""
    above = owner(node.value)
    if above is not None:
        return f"{above}.{node.attr}".lstrip(".")
    if isinstance(node.value, ast.Attribute) and owner(node.value.value) == "":
        return f"{node.value.attr}.{node.attr}"
    return None


USES = [use for path in SOURCES for use in uses(path)]


def missing(use: Use, names: dict[str, Any]) -> str | None:
    """What a version lacks of a use."""
    first, _, rest = use.name.partition(".")
    if first not in names:
        return f"{use.place}: there is no {first}"
    there = names[first]
    if rest == "__init__" or (not rest and use.called):
        overloads = there["__init__"] if isinstance(there, dict) else there
    elif not rest:
        return None
    elif rest not in there:
        return f"{use.place}: {first} has no {rest}"
    else:
        overloads = there[rest]
    if not use.called or not overloads:
        return None
    for parameters, _ in overloads:
        if use.positional + len(use.keywords) <= len(parameters) and set(use.keywords) <= set(parameters[use.positional :]):
            return None
    return f"{use.place}: {use.name} takes {overloads}, not {use.positional} and {use.keywords}"


def methods(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """What our classes override: TensorRT's class, the method, the names of its parameters."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            bases = [base.attr for base in node.bases if isinstance(base, ast.Attribute) and owner(base.value) == ""]
            for method in node.body if bases else []:
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    yield bases[0], method.name, [argument.arg for argument in method.args.args[1:]]


def kept(path: Path) -> Iterator[tuple[str, str, str]]:
    """Where a result of TensorRT's is kept: the place, the call's name, and the variable's."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
            name, target = full_name(node.value.func), node.targets[0]
            if name and isinstance(target, ast.Name | ast.Attribute):
                yield f"{path.name}:{node.lineno}", name, target.id if isinstance(target, ast.Name) else target.attr


@pytest.fixture(scope="module", params=PACKAGES)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one version offers."""
    package, version = request.param.split("==")
    if not WHEELS.is_dir():
        pytest.skip(f"no {WHEELS.relative_to(ROOT)}: `make test` downloads the bindings")
    wheels = list(WHEELS.glob(f"{package.replace('-', '_')}-{version}-*.whl"))
    assert wheels, f"{request.param} was not downloaded: rm -r {WHEELS}; make test"
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make the empty libraries with")
    folder, major = tmp_path_factory.mktemp("stubs"), version.partition(".")[0]
    for library, functions in FUNCTIONS.items():
        source, name = folder / f"{library}.c", f"lib{library}.so.{major}"
        source.write_text("".join(f"void *{function}(void){{return 0;}}\n" for function in functions.split()))
        built = ["-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run([compiler, *built], check=True)
    command = [sys.executable, bindings_probe.__file__, str(wheels[0]), str(folder), major]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["version"].startswith(version.removesuffix(".post1"))
    return dict(found)


def check(names: dict[str, Any], allowed: set[str]) -> list[str]:
    return [trouble for use in USES if use.name not in allowed if (trouble := missing(use, names))]


def test_every_name_that_we_use_is_there(bindings: dict[str, Any]) -> None:
    assert check(bindings["names"], RTX_ONLY) == []


def test_what_is_only_for_rtx_is_only_there(bindings: dict[str, Any]) -> None:
    assert not {name for name in RTX_ONLY if name.partition(".")[0] == name and name in bindings["names"]}
    assert "set_compute_capability" not in bindings["names"]["IBuilderConfig"]


def test_what_we_override_has_our_parameters(bindings: dict[str, Any]) -> None:
    found = [each for path in SOURCES for each in methods(path)]
    assert {name for _, name, _ in found} >= {"log", "phase_start", "step_complete", "phase_finish"}
    for parent, name, parameters in found:
        assert parameters in [given for given, _ in bindings["names"][parent][name]], f"{parent}.{name}"


def test_the_scan_knows_what_every_variable_is(bindings: dict[str, Any]) -> None:
    """A result that is kept under a name that the scan does not know would be used unseen."""
    names = bindings["names"]
    for place, call, variable in (each for path in SOURCES for each in kept(path)):
        first, _, rest = call.partition(".")
        if call in RTX_ONLY or first not in names:
            continue
        returned = {answer for _, answer in names[first][rest] or []} if rest else {first}
        known = {answer for answer in returned if answer in names and "__init__" in (names[answer] or {})}
        plain = {answer for answer in known if answer not in set(ROLES.values()) | set(BYTES.values())}
        assert not known - plain or (ROLES | BYTES).get(variable) in known, f"{place}: {variable} is a {known}"


def test_a_version_without_a_driver_is_told_in_our_words(bindings: dict[str, Any]) -> None:
    met = bindings["met"]
    assert met["driver"].startswith(f"TensorRT {bindings['version']} is installed and finds no GPU")
    assert met["errors"] == "an error" and met["goes_on"] == "True"


def test_every_name_is_in_tensorrt_for_rtx_too() -> None:
    tensorrt_rtx = pytest.importorskip("tensorrt_rtx", reason="it exists for x86-64 alone")

    names = bindings_probe.describe(tensorrt_rtx)
    members = set(tensorrt_rtx.ComputeCapability.__members__)
    assert {"SM86", "SM89", "SM120"} <= members
    assert check(names, {"ComputeCapability.__members__"}) == []


def test_the_scan_sees_what_it_should() -> None:
    seen = {use.name for use in USES}
    assert {"Builder", "OnnxParser", "BuilderFlag.TF32", "NetworkDefinitionCreationFlag.STRONGLY_TYPED"} <= seen
    assert {"INetworkDefinition.get_layer", "IBuilderConfig.progress_monitor", "IOptimizationProfile.set_shape"} <= seen
    assert len(seen) > 30
    absent = Use("x.py:1", "IBuilderConfig.set_memory_pool_limit", 1, ("size",), True)
    offered = {"IBuilderConfig": {"set_memory_pool_limit": [(["pool", "pool_size"], "None")], "__init__": []}}
    assert missing(absent, offered) and not missing(Use("x.py:1", absent.name, 1, ("pool_size",), True), offered)
    assert missing(Use("x.py:1", "IBuilderConfig.nothing"), offered) and missing(Use("x.py:1", "Nothing"), offered)


@pytest.mark.parametrize("path", sorted(ENGINES.glob("*.py")), ids=lambda path: path.name)
def test_nothing_is_used_that_a_version_has_dropped(path: Path) -> None:
    tree = ast.parse(path.read_text())
    words = {
        node.attr: node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) if owner(node.value) is not None
    }
    words |= {node.attr: node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and full_name(node)}
    assert not GONE & set(words)
