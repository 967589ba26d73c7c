"""THIRD_PARTY.md lists what pyproject.toml names, with the licences that the packages state."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("packaging")

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "THIRD_PARTY.md").read_text()


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The functions of scripts/third_party.py."""
    return runpy.run_path(str(ROOT / "scripts" / "third_party.py"))


def rows(heading: str) -> dict[tuple[str, str], list[str]]:
    """Of the table under a heading: (first cell, second cell) -> all cells."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")]
    return {(row[0], row[1]): row for row in cells[2:]}


def test_every_requirement_of_the_package_and_its_extras_is_listed_with_its_versions(script: dict[str, Any]) -> None:
    listed = rows("Packages that posemoe-edge names") | rows("Packages for development")
    wanted = {}
    for row in script["direct"]():
        extras = f"[{','.join(sorted(row.requirement.extras))}]" if row.requirement.extras else ""
        wanted[row.requirement.name + extras, str(row.requirement.specifier)] = row
    assert set(listed) == set(wanted)
    of_users = {key: row[2] for key, row in rows("Packages that posemoe-edge names").items()}
    assert of_users == {key: ", ".join(wanted[key].extras) for key in of_users}


def test_licences_are_those_of_the_metadata(script: dict[str, Any]) -> None:
    """Of the packages that are installed here in the version that is listed."""
    found, compared = script["installed"](), 0
    for row in (rows("Packages that posemoe-edge names") | rows("Packages for development")).values():
        name, stated, version = row[0].partition("[")[0], row[-2], row[-1]
        distribution = found.get(name.lower().replace("_", "-"))
        if distribution is not None and distribution.version.partition("+")[0] == version:
            compared += 1
            assert stated == script["licence"](distribution), name
    assert compared >= 5  # the base's


def test_no_licence_is_unknown() -> None:
    assert "| unknown |" not in PAGE and "not stated" not in PAGE


def test_every_network_that_can_be_fetched_is_listed() -> None:
    from posemoe_edge.runtime.detectors.models import MODELS

    for file in {file for files in MODELS.values() for file in files}:
        assert f"| `{file.name}` |" in PAGE and str(file.package) in PAGE


def test_the_metadata_of_a_package_may_state_its_licence_in_three_ways(script: dict[str, Any], tmp_path: Path) -> None:
    forms = {
        "License-Expression: MIT OR Apache-2.0": "MIT OR Apache-2.0",
        "License: Apache 2.0": "Apache-2.0",
        "License: Copyright (c) 2001\n        and a whole text\nClassifier: License :: OSI Approved :: BSD License": "BSD",
        "Summary: nothing": "not stated in its metadata",
    }
    for n, (text, expected) in enumerate(forms.items()):
        folder = tmp_path / f"p{n}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: p{n}\nVersion: 1\n{text}\n")
        assert script["licence"](script["installed"]([tmp_path])[f"p{n}"]) == expected
