"""Positions in another unit, and keypoints that are no pixels of their picture, are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from posemoe_edge.edge.cli.import_verb import read_mapping
from posemoe_edge.edge.data.pixel_check import check_pixels
from posemoe_edge.edge.data.stature import check_stature
from posemoe_edge.runtime.errors import ArtefactError, UsageError
from posemoe_edge.runtime.sources.walker import walk_world

WALK_M = walk_world(np.arange(20) / 50)


@pytest.mark.parametrize(("per_metre", "named"), [(1000, "millimetres"), (100, "centimetres"), (1 / 0.0254, "inches")])
def test_a_person_in_another_unit_is_refused_and_the_unit_is_named(per_metre: float, named: str) -> None:
    check_stature(WALK_M, unit_m=1.0, place="a file", expected="metres", error=ArtefactError)
    check_stature(WALK_M * per_metre, unit_m=1 / per_metre, place="a file", expected="metres", error=ArtefactError)
    with pytest.raises(ArtefactError, match=rf"the person of a file would be .* m tall; it would be .* m in {named}"):
        check_stature(WALK_M * per_metre, unit_m=1.0, place="a file", expected="metres", error=ArtefactError)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.array([[0.2, -0.4], [0.9, 0.1]]), "normalised: none is larger than 0.9"),
        (np.array([[300.0, 1700.0], [500.0, 1400.0]]), "are outside of its picture of 1920 x 1080, and inside one"),
        (np.array([[-300.0, -700.0], [-500.0, 900.0]]), "100% of the keypoints"),
    ],
)
def test_keypoints_that_are_no_pixels_are_refused(points: np.ndarray, message: str) -> None:
    with pytest.raises(ArtefactError, match=message):
        check_pixels(points, width_px=1920, height_px=1080, place="a file", expected="pixels", error=ArtefactError)


def test_a_mapping_is_read_of_toml_and_json_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b'\xef\xbb\xbfhip = "Pelvis"\r\nspine = { Chest = 0.5, Belly = 0.5 }\r\n')
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"hip": "Pelvis", "spine": {"Chest": 0.5, "Belly": 0.5}}')
    expected = {"hip": "Pelvis", "spine": {"Chest": 0.5, "Belly": 0.5}}
    assert read_mapping(tmp_path / "a.toml") == read_mapping(tmp_path / "a.json") == expected
    (tmp_path / "b.json").write_text('{"hip": 3}')
    with pytest.raises(UsageError, match="hip is 3"):
        read_mapping(tmp_path / "b.json")
