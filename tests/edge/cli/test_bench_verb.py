"""``posemoe-edge bench``: times, floors and a diagnosis, as text, JSON and a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]

QUICK = ("--streams", "1,2", "--seconds", "0")


def test_each_precision_and_number_of_people_is_measured(run_cli: Call, retention_artefact: Path) -> None:
    report = run_cli("bench", retention_artefact, *QUICK, "--precision", "fp32", "--precision", "fp16", "--json").json
    assert [(row["precision"], row["streams"]) for row in report["steps"]] == [
        ("fp32", 1),
        ("fp32", 2),
        ("fp16", 1),
        ("fp16", 2),
    ]
    for row in report["steps"]:
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] <= row["max_ms"]
        assert row["a_person_ms"] == pytest.approx(row["p50_ms"] / row["streams"], abs=1e-4) and row["steps"] >= 30
    assert report["machine"]["onnxruntime"] and report["machine"]["threads"] == 1
    for graph in report["graphs"]:
        assert graph["bound_by"] in ("products", "bytes", "starts") and graph["operators"] > 0
        assert set(graph["floors"]) >= {"products_ms", "bytes_ms", "starts_ms"}


def test_the_text_ends_with_what_holds_the_step_back(run_cli: Call, retention_artefact: Path, tmp_path: Path) -> None:
    picture = tmp_path / "times.png"
    result = run_cli("bench", retention_artefact, *QUICK, "--plot", picture, "--fps", 1000)
    assert "missed at 1000 Hz" in result.err and "-bound. A launch takes" in result.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Next: posemoe-edge run synthetic://walk" in result.err


@pytest.mark.parametrize("streams", ["0", "1,", "two", "1025"])
def test_numbers_of_people_that_cannot_be_are_refused(streams: str, run_cli: Call, retention_artefact: Path) -> None:
    result = run_cli("bench", retention_artefact, "--streams", streams, "--json")
    assert result.code == 2 and streams in result.json["what"]
