"""The wheel alone: it says what it is and what it lacks."""

from __future__ import annotations

from pathlib import Path

import posemoe_edge
import pytest
from environment import Environment

HEAVY = ("numpy", "pydantic", "rich", "click")


def test_the_program_says_its_version(base: Environment, tmp_path: Path) -> None:
    outcome = base.run("posemoe-edge", "--version", folder=tmp_path)
    assert (outcome.code, outcome.out.strip()) == (0, f"posemoe-edge, version {posemoe_edge.__version__}")


def test_the_package_is_the_wheels_and_importing_it_imports_nothing_else(base: Environment, tmp_path: Path) -> None:
    code = f"import sys, posemoe_edge; print(posemoe_edge.__file__, sorted(set({HEAVY!r}) & set(sys.modules)))"
    outcome = base.run(base.python, "-c", code, folder=tmp_path)
    file, _, imported = outcome.out.strip().partition(" ")
    assert Path(file).is_relative_to(base.folder) and imported == "[]", outcome.err


def test_pip_finds_no_requirement_missing(base: Environment, tmp_path: Path) -> None:
    outcome = base.run(base.python, "-m", "pip", "check", folder=tmp_path)
    assert outcome.code == 0, outcome.out


def test_presets_are_listed(base: Environment, tmp_path: Path) -> None:
    outcome = base.run("posemoe-edge", "models", "--json", folder=tmp_path)
    assert outcome.code == 0, outcome.err
    assert "frame-retention-s" in {row["name"] for row in outcome.json["models"]}


def test_the_doctor_says_that_nothing_can_run_and_what_to_install(base: Environment, tmp_path: Path) -> None:
    outcome = base.run("posemoe-edge", "doctor", "--json", folder=tmp_path)
    assert outcome.code == 3 and outcome.json["ready"] is False
    assert {name for name, extra in outcome.json["extras"].items() if extra["ok"]} == set()
    assert outcome.json["default_artefact"]["error"] is None
    assert 'pip install "posemoe-edge[cpu]"' in outcome.err and "pip install torch --index-url" in outcome.err


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("run synthetic://walk", "cpu"),
        ("export", "export"),
        ("train --data x.npz", "train"),
        ("demo", "export"),
        ("import poseretnet x.bin", "export"),
    ],
)
def test_a_command_names_the_extra_that_it_needs_first(line: str, extra: str, base: Environment, tmp_path: Path) -> None:
    for name in ("x.npz", "x.bin"):
        (tmp_path / name).touch()
    outcome = base.run("posemoe-edge", *line.split(), "--json", folder=tmp_path)
    assert outcome.code == 3, outcome.err
    assert outcome.json["run"] == f'pip install "posemoe-edge[{extra}]"' and "Traceback" not in outcome.err


@pytest.mark.parametrize(("extra", "package"), [("cpu", "onnxruntime"), ("camera", "av"), ("plot", "matplotlib")])
def test_pip_adds_an_extra_to_the_wheel_by_the_command_that_errors_print(
    extra: str, package: str, base: Environment, tmp_path: Path
) -> None:
    """Though no index may have posemoe-edge: what is installed fulfils the name."""
    outcome = base.run("pip", "install", "--dry-run", f"posemoe-edge[{extra}]", folder=tmp_path)
    assert outcome.code == 0, outcome.err
    (would_install,) = [line for line in outcome.out.splitlines() if line.startswith("Would install")]
    assert f" {package}-" in would_install and "posemoe" not in would_install
