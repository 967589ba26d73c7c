"""The package's face: the public names of the root, loaded when they are first used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import posemoe_edge
import pytest
from posemoe_edge import runtime

ROOT = Path(__file__).parents[1]
EXTENDABLE = ("sources", "detectors", "tracking", "sinks", "engines")  # other packages add to these


@pytest.mark.parametrize("name", posemoe_edge.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    assert getattr(posemoe_edge, name) is not None
    assert name in dir(posemoe_edge)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'posemoe_edge' has no attribute 'lod'"):
        posemoe_edge.lod  # noqa: B018


def test_the_root_exports_the_names_of_the_runtime_and_the_figures_of_notebooks() -> None:
    assert set(posemoe_edge.__all__) == {*runtime.__all__, "__version__", "plotting"}


def test_figures_are_reached_as_a_module_and_as_an_attribute_and_load_no_drawing_library() -> None:
    heavy = ["matplotlib", "plotly", "PIL", "cv2", "IPython"]
    for code in ("import posemoe_edge; m = posemoe_edge.plotting", "import posemoe_edge.plotting as m"):
        code += f"; import sys; print(m.__name__, callable(m.show), sorted(set({heavy!r}) & set(sys.modules)))"
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert process.stdout.strip() == "posemoe_edge.plotting True []"


def test_importing_the_package_imports_none_of_its_modules() -> None:
    code = (
        "import sys, posemoe_edge; print([name for name in sys.modules if name.startswith('posemoe_edge.') or name == 'numpy'])"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert process.stdout.strip() == "[]"


SCRIPTS = sorted([*(ROOT / "examples").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])


@pytest.mark.parametrize("path", SCRIPTS, ids=[str(path.relative_to(ROOT)) for path in SCRIPTS])
def test_examples_and_benchmarks_use_no_private_name(path: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    names = [f"{node.module}.{name.name}" for node in imports for name in node.names]
    assert not [name for name in names if "._" in name and not name.startswith("__future__")]


@pytest.mark.parametrize("package", ["", ".plotting", ".runtime", *(f".runtime.{name}" for name in EXTENDABLE)])
def test_a_public_package_lists_its_names(package: str) -> None:
    module = import_module(f"posemoe_edge{package}")
    assert module.__all__ and all(hasattr(module, name) for name in module.__all__)
