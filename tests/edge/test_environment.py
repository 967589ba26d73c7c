"""What doctor looks for is what pip installs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from posemoe_edge.edge.environment import EXTRAS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", EXTRAS)
def test_an_extra_has_the_packages_that_pyproject_names(name: str) -> None:
    named = {re.split(r"[<>=!;\[ ]", requirement)[0] for requirement in PROJECT["optional-dependencies"][name]}
    assert {installed for _, installed in EXTRAS[name].packages} == named
