"""Keypoints as lines of JSON: a wrong line costs itself alone."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from posemoe_edge.runtime.errors import SourceError
from posemoe_edge.runtime.pose.keypoints import ImageSize
from posemoe_edge.runtime.pose.skeleton import COCO17, H36M17
from posemoe_edge.runtime.sources import People, open_source
from posemoe_edge.runtime.sources.jsonl import JsonLinesSource

POINTS = np.random.default_rng(1).uniform(0, 480, (17, 3)).round(3)


def line(**changes: Any) -> str:
    record: dict[str, Any] = {"t_s": 0.5, "people": {"7": POINTS.tolist()}, "width_px": 640, "height_px": 480}
    record.update(changes)
    return json.dumps({key: value for key, value in record.items() if value != "absent"})


def read(path: Path, *, frames: int | None = None) -> list[People]:
    with open_source(f"jsonl:{path}", frames=frames) as source:
        assert not source.pictures
        return [item for item in source if isinstance(item, People)]


def test_people_come_back_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"
    normalised = line(t_s=1, people={"0": POINTS.tolist(), "12": POINTS.tolist()}, width_px="absent", height_px="absent")
    file.write_text("\n".join([line(), "", normalised, line(t_s=2, skeleton="h36m17"), line(t_s=3, people={})]))
    first, second, third, nobody = read(file)
    assert first.t_s == 0.5 and first.arrived_s is None and list(first.keypoints) == [7]
    keypoints = first.keypoints[7]
    assert keypoints.skeleton == COCO17 and keypoints.size == ImageSize(640, 480)
    np.testing.assert_array_equal(keypoints.points, POINTS)
    assert list(second.keypoints) == [0, 12] and second.keypoints[12].size is None
    assert third.keypoints[7].skeleton == H36M17 and dict(nobody.keypoints) == {} and nobody.t_s == 3
    assert len(read(file, frames=2)) == 2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("\\xff\\xfe", "not JSON"),
        ("[1, 2]", "a list"),
        (line(t_s="absent"), "t_s is None"),
        (line(t_s=float("nan")), "t_s is nan"),
        (line(t_s=10**400), "t_s is"),
        (line(t_s=True), "t_s is True"),
        (line(t_s="0.5"), "t_s is '0.5'"),
        (line(people="absent"), "no people"),
        (line(people=[]), "no people"),
        (line(people={"me": POINTS.tolist()}), "the person 'me' has an id that is none; expected a whole number"),
        (line(people={"01": POINTS.tolist()}), "the person '01'"),
        (line(people={"9" * 5000: POINTS.tolist()}), "at most 18 digits"),
        (line(people={"0": POINTS[:16].tolist()}), "shape (16, 3)"),
        (line(people={"0": [[1, 2, 3], [1]]}), "17 times"),
        (line(people={"0": [["a", "b", "c"]] * 17}), "not numbers"),
        (line(people={"0": None}), "not numbers"),
        (line(people={"0": [["1", None, 1]] * 17}), "not numbers"),
        (line(people={"0": [[10**400, 1, 1]] * 17}), "not numbers"),
        (line(skeleton="coco18"), "the skeleton 'coco18'"),
        (line(skeleton=[]), "the skeleton []"),
        (line(width_px=0), "0"),
        (line(height_px="absent"), "height_px is None"),
        (line(width=640), "did you mean width_px"),
        ('{"t_s": 0, "people": {}, "skeleton": "' + "x" * 3_000_000 + '"}', "not JSON"),
    ],
)
def test_a_wrong_line_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: str, reason: str) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text(f"{line(t_s=1)}\n{wrong}\n{line(t_s=2)}\n")
    source = JsonLinesSource(file)
    with caplog.at_level(logging.WARNING):
        assert [people.t_s for people in source] == [1, 2]
    assert source.refused == 1
    first, last = caplog.messages
    assert "line 2 is left out" in first and reason in first and len(first) < 1000
    assert last.endswith("1 of 3 lines were left out")


def test_one_person_of_a_line_who_is_wrong_costs_the_others_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, good = tmp_path / "people.jsonl", POINTS.tolist()
    unknown = [[None, *good[0][1:]], *good[1:]]
    file.write_text(line(people={"0": good, "1": unknown, "2": [[10**400, 0, 0], *good[1:]], "3": good[:5], "4a": good}))
    source = JsonLinesSource(file)
    (people,) = source
    assert list(people.keypoints) == [0, 1] and (source.refused, source.refused_people) == (0, 3)
    assert np.isnan(people.keypoints[1].points[0, 0]) and np.isfinite(people.keypoints[1].points).sum() == 50
    assert "a person in line 1 is left out: the person '2' has keypoints that are not numbers" in caplog.messages[0]
    assert "the person '3' has" in caplog.messages[1] and "the person '4a' has an id that is none" in caplog.messages[2]
    assert caplog.messages[3].endswith("people of other lines who were left out: 3")


def test_many_wrong_lines_fill_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text("?\n" * 1000 + line())
    source = JsonLinesSource(file)
    assert len(list(source)) == 1 and source.refused == 1000
    assert len(caplog.messages) == 11 and caplog.messages[-1].endswith("1000 of 1001 lines were left out")


@pytest.mark.parametrize("text", ["", "?\n", "\n\n"])
def test_lines_without_keypoints_are_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text(text)
    with pytest.raises(SourceError, match=r"(has no keypoints in .* lines|is empty|is blank.*); expected \{\"t_s\""):
        list(JsonLinesSource(file))


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file .*absent\.jsonl"):
        open_source(f"jsonl:{tmp_path / 'absent.jsonl'}")
    with pytest.raises(SourceError, match="cannot be read"):
        list(open_source(f"jsonl:{tmp_path}"))


def test_the_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO(f"{line()}\n".encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    before_s = time.monotonic()
    (people,) = open_source("jsonl:-")
    assert isinstance(people, People) and people.arrived_s is not None
    assert before_s <= people.arrived_s <= time.monotonic()
    assert not stdin.buffer.closed
