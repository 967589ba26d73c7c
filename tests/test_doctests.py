"""Examples in docstrings are true.

pytest's ``--doctest-modules`` would import a module by the name of the checkout's folder, which need not be ``posemoe_edge``.
So modules with examples are found by their text and imported by their name; modules without any are not imported.
"""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("edge", "export", "calib", "runtime")


def modules_with_examples() -> list[str]:
    paths = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py")) if ">>> " in path.read_text()]
    return [".".join(("posemoe_edge", *path.relative_to(ROOT).with_suffix("").parts)) for path in paths]


@pytest.mark.parametrize("name", modules_with_examples())
def test_the_examples_of_a_module_are_true(name: str) -> None:
    results = doctest.testmod(import_module(name))
    assert results.attempted > 0 and results.failed == 0


def test_there_are_examples() -> None:
    assert "posemoe_edge.runtime.registry" in modules_with_examples()
