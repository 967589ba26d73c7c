"""The release checklist: the checks that must hold at every commit."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

CHECKLIST = Path(__file__).parents[1] / "scripts" / "release.py"


@pytest.mark.parametrize("check", ["citation_names_the_version"])
def test_a_check_of_the_release_holds(check: str) -> None:
    assert runpy.run_path(str(CHECKLIST))[check]() is None
