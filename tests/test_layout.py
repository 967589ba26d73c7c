"""The layers: imports point downwards only, and the runtime imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
LAYERS = ("edge", "export", "calib", "runtime")
MOST_LINES = 330

# Layer -> the layers that it may import. edge -> export -> calib -> runtime, and never upwards: export knows a lifter by
# the protocol in export/lifter.py, and calib knows graphs alone.
BELOW: dict[str, set[str]] = {
    "edge": {"export", "calib", "runtime"},
    "export": {"calib", "runtime"},
    "calib": {"runtime"},
    "runtime": set(),
}

# Layer -> what it may import from outside, beside the standard library.
OUTSIDE: dict[str, set[str]] = {
    "edge": {"click", "numpy", "rich", "safetensors", "torch"},
    "export": {"numpy", "onnx", "onnx_ir", "onnxscript", "onnxsim", "safetensors", "torch"},
    "calib": {"numpy", "onnx", "onnxruntime"},
    "runtime": {"numpy", "pydantic", "tomli"},
}

# The exceptions: what these modules import inside a function, when it is needed.
ON_DEMAND: dict[str, set[str]] = {
    "calib/compare/runners.py": {"polygraphy"},
    "runtime/archive/pose_parquet.py": {"pyarrow"},
    "runtime/archive/ray_workers.py": {"pyarrow", "ray"},
    "runtime/artefact/signature.py": {"cryptography"},
    "runtime/detectors/litert.py": {"ai_edge_litert"},
    "runtime/detectors/litert_prune.py": {"ai_edge_litert", "flatbuffers"},
    "runtime/detectors/region.py": {"cv2"},
    "runtime/engines/select.py": {"onnxruntime"},
    "runtime/cuda/cuda_bindings.py": {"cuda"},
    "runtime/engines/tensorrt/library.py": {"tensorrt", "tensorrt_rtx"},
    "runtime/engines/onnxruntime.py": {"onnxruntime"},
    "runtime/engines/onnxruntime_cuda.py": {"onnxruntime"},
    "runtime/cuda/pycuda.py": {"pycuda"},
    "runtime/metrics_server.py": {"prometheus_client"},
    "runtime/overlay/brush.py": {"cv2"},
    "runtime/plotting/figure.py": {"matplotlib"},
    "runtime/plotting/interactive_poses.py": {"plotly"},
    "runtime/plotting/static_poses.py": {"mpl_toolkits"},
    "runtime/plotting/table.py": {"matplotlib"},
    "runtime/pose/camera_file.py": {"yaml"},
    "runtime/ros/bag.py": {"mcap", "zstandard"},
    "runtime/ros/rclpy_node.py": {"rclpy"},
    "runtime/ros/recording.py": {"mcap", "zstandard"},
    "runtime/ros/types.py": {"rosbags"},
    "runtime/ros/zenoh_node.py": {"zenoh"},
    "runtime/serving/python_backend.py": {"triton_python_backend_utils"},
    "runtime/serving/server_url.py": {"grpc", "tritonclient"},
    "runtime/sinks/foxglove.py": {"foxglove"},
    "runtime/sinks/foxglove_scene.py": {"foxglove"},
    "runtime/sinks/png.py": {"matplotlib"},
    "runtime/sinks/rerun.py": {"rerun"},
    "runtime/sinks/rerun_scene.py": {"rerun"},
    "runtime/sinks/video.py": {"av"},
    "runtime/sinks/window.py": {"cv2"},
    "runtime/sources/gstreamer.py": {"gi"},
    "runtime/sources/opencv_capture.py": {"cv2"},
    "runtime/sources/mcap.py": {"mcap"},
    "runtime/sources/pyav.py": {"av"},
    "runtime/tracking/oks.py": {"scipy"},
}

MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
each_module = pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])


def imports(path: Path) -> Iterator[tuple[str, bool, bool]]:
    """Each import of a module, at any depth: its full name, whether it is inside a function or for types only.

    A relative one as ``posemoe_edge.layer.module``.
    """
    package = ("posemoe_edge", *path.relative_to(ROOT).parts[:-1])

    def walk(node: ast.AST, later: bool, typing: bool) -> Iterator[tuple[str, bool, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((name.name, later, typing) for name in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else ()
                module = ".".join((*base, *filter(None, [child.module])))
                for name in child.names:  # from ... import edge: a layer; from ... import __version__: the root itself
                    inside_root = module == "posemoe_edge" and name.name in LAYERS
                    yield f"{module}.{name.name}" if inside_root else module, later, typing
            inside = later or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for_types = typing or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            yield from walk(child, inside, for_types)

    yield from walk(ast.parse(path.read_text()), False, False)


def test_the_walk_sees_imports_at_any_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests below rely on it."""
    path = tmp_path / "runtime" / "sinks" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import torch.nn\nfrom ..pose import Pose\nfrom ...edge import presets\nfrom . import sink\n"
        "if TYPE_CHECKING:\n    import onnx\n"
        "def f():\n    try:\n        import cv2\n    except ImportError:\n        from posemoe_edge.export import trace\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert list(imports(path)) == [
        ("torch.nn", False, False),
        ("posemoe_edge.runtime.pose", False, False),
        ("posemoe_edge.edge", False, False),
        ("posemoe_edge.runtime.sinks", False, False),
        ("onnx", False, True),
        ("cv2", True, False),
        ("posemoe_edge.export", True, False),
    ]


@each_module
def test_arrows_point_downwards(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    imported = {name.split(".")[1] for name, _, _ in imports(path) if name.startswith("posemoe_edge.")}
    assert imported <= BELOW[layer] | {layer}


@each_module
def test_a_floor_imports_what_it_is_known_to_need(path: Path) -> None:
    layer, name = path.relative_to(ROOT).parts[0], str(path.relative_to(ROOT))
    plain = set(sys.stdlib_module_names) | {"posemoe_edge"}
    for module, later, _ in imports(path):
        top = module.partition(".")[0]
        allowed = plain | OUTSIDE[layer] | (ON_DEMAND.get(name, set()) if later else set())
        assert top in allowed, f"{module}{' inside a function' if later else ''}"


@each_module
def test_nobody_imports_a_floor_by_its_bare_name(path: Path) -> None:
    assert not {name for name, _, _ in imports(path) if name.partition(".")[0] in LAYERS}


LEAN_PARTS = {("edge", part) for part in ("cli", "data", "environment.py", "evaluation.py", "intervals.py", "preset_table.py")}
LEAN = [path for path in MODULES if path.relative_to(ROOT).parts[:2] in LEAN_PARTS]


@pytest.mark.parametrize("path", LEAN, ids=[str(path.relative_to(ROOT)) for path in LEAN])
def test_modules_of_the_command_line_import_torch_inside_functions_only(path: Path) -> None:
    """The command line and what evaluates through the runtime start without torch, in whichever layer they are."""
    part = path.relative_to(ROOT).parts
    heavy = {"torch", "onnx", "onnxsim", "safetensors", "matplotlib", "cv2"}
    lean_modules = ("cli", "data", "environment", "evaluation", "intervals", "preset_table")
    lean = ("posemoe_edge.runtime", *(f"posemoe_edge.edge.{module}" for module in lean_modules))
    surprising = {
        name
        for name, later, typing in imports(path)
        if not later and not typing and (name.partition(".")[0] in heavy or name.startswith("posemoe_edge."))
        if not name.startswith(lean)
    }
    exceptions = {
        "edge/data/motion.py": {"posemoe_edge.calib.measure.recording"}
    }  # imported by verify's motion alone, on demand
    assert surprising == exceptions.get("/".join(part), set())


@each_module
def test_a_module_is_short_and_named_after_a_thing(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}


@each_module
def test_a_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "one sentence of what"


def test_every_folder_of_modules_is_a_package_of_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for path in MODULES}
    assert sorted(listed) == sorted(["posemoe_edge", *(".".join(("posemoe_edge", *folder.parts)) for folder in folders)])
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)
    assert (ROOT / "py.typed").is_file()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("posemoe_edge.runtime", ["onnxruntime", "pydantic.v1"]),
        ("posemoe_edge.runtime.sinks", ["onnxruntime"]),
        ("posemoe_edge.runtime.sources", ["onnxruntime"]),
        ("posemoe_edge.edge.cli.main", ["onnxruntime"]),
        ("posemoe_edge.edge.cli.run_verb", ["onnxruntime"]),
        ("posemoe_edge.edge.cli.doctor_verb", ["onnxruntime"]),
        ("posemoe_edge.edge.evaluation", ["onnxruntime"]),
        ("posemoe_edge.edge.data.sequences", ["onnxruntime"]),
    ],
)
def test_importing_it_loads_nothing_heavy(module: str, absent: list[str]) -> None:
    heavy = ["torch", "onnx", "onnxsim", "safetensors", "cv2", "matplotlib", "scipy", "ai_edge_litert", *absent]
    code = f"import sys, {module}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, timeout=60)
    assert (process.stdout.strip(), process.stderr) == ("[]", "")


def test_importing_the_runtime_prints_nothing_and_starts_no_thread() -> None:
    code = "import threading, posemoe_edge.runtime; print(threading.active_count())"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, timeout=60)
    assert (process.stdout.strip(), process.stderr) == ("1", "")


def test_test_files_have_names_of_their_own() -> None:
    """Without packages, pytest knows a test module by its name alone."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
