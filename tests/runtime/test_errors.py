"""Errors for packages that are missing."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from posemoe_edge.runtime import errors
from posemoe_edge.runtime.errors import missing_extra

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

# Packages that an extra installs without naming them: package -> the dependency of the extra that needs it.
INDIRECT = {"lz4": "rosbags"}


@pytest.fixture
def machine_without_torch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One with Linux, on which PyTorch is not installed."""
    monkeypatch.setattr(errors, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    return monkeypatch


@pytest.mark.parametrize("extra", ["export", "train"])
def test_an_extra_with_pytorch_comes_with_the_command_for_its_cpu_build(
    extra: str, machine_without_torch: pytest.MonkeyPatch
) -> None:
    error = missing_extra("onnx", extra, "exporting")
    assert error.what.startswith("exporting needs the package onnx, which is not installed (")
    assert "pip install torch --index-url" in error.what and "\n" not in error.what
    assert error.run == f'pip install "posemoe-edge[{extra}]"'


def test_another_extra_says_nothing_of_pytorch(machine_without_torch: pytest.MonkeyPatch) -> None:
    assert "torch" not in str(missing_extra("onnxruntime", "cpu", "running"))


def test_where_pytorch_is_installed_or_comes_without_cuda_nothing_is_said_of_its_builds(
    machine_without_torch: pytest.MonkeyPatch,
) -> None:
    machine_without_torch.setattr(sys, "platform", "darwin")
    assert "CUDA" not in str(missing_extra("torch", "export", "exporting"))
    machine_without_torch.setattr(sys, "platform", "linux")
    machine_without_torch.setattr(errors, "find_spec", lambda name: object())
    assert "CUDA" not in str(missing_extra("onnx", "export", "exporting"))


def calls_of_missing_extra() -> Iterator[tuple[str, str | None, str]]:
    """Where ``missing_extra`` is called, with which package (None where it is not a literal) and which extra."""
    for layer in ("edge", "export", "calib", "runtime"):
        for path in sorted((ROOT / layer).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "missing_extra":
                    package, extra = node.args[:2]
                    if isinstance(extra, ast.Constant):
                        name = str(package.value) if isinstance(package, ast.Constant) else None
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", name, str(extra.value)


def package_name(requirement: str) -> str:
    """Of "ray[data]>=2.40": ray."""
    match = re.match(r"[\w.-]+", requirement)
    assert match
    return match[0].lower()


def test_every_error_names_an_extra_that_installs_the_package() -> None:
    calls = list(calls_of_missing_extra())
    assert len(calls) > 30
    installed = {extra: {package_name(requirement) for requirement in lines} for extra, lines in EXTRAS.items()}
    wrong = [
        place
        for place, package, extra in calls
        if extra not in EXTRAS or (package and INDIRECT.get(package, package).lower() not in installed[extra])
    ]
    assert wrong == []


def test_every_extra_that_a_message_or_page_spells_out_exists() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    modules = [path for layer in ("edge", "export", "calib", "runtime") for path in (ROOT / layer).rglob("*.py")]
    for path in [*pages, *modules]:
        for names in re.findall(r"posemoe-edge\[([a-z,-]+)\]", path.read_text()):
            assert set(names.split(",")) <= set(EXTRAS), path
