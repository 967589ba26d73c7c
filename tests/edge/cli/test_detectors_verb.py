"""posemoe-edge detectors: the list says what can be used here and, if not, which command changes that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.runtime.detectors import DETECTORS
from posemoe_edge.runtime.detectors.models import MODELS, POSE_DETECTION, POSE_LANDMARKS

Call = Callable[..., Any]


@pytest.fixture
def cache(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("POSEMOE_EDGE_CACHE", str(workdir / "cache"))
    return workdir / "cache"


def rows(run_cli: Call) -> dict[str, dict[str, Any]]:
    """The rows of the list by detector."""
    result = run_cli("detectors", "--json")
    assert result.code == 0
    return {row["detector"]: row for row in result.json["detectors"]}


def test_every_detector_is_listed_with_the_command_that_makes_it_ready(run_cli: Call, cache: Path) -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("ai_edge_litert")
    listed = rows(run_cli)
    assert {name.partition(":")[0] for name in listed} == set(DETECTORS) and set(MODELS) <= set(listed)
    assert [name for name, row in listed.items() if row["default"]] == ["blazepose:full"]
    assert listed["blazepose:full"]["run"] == "posemoe-edge detectors get blazepose"
    assert listed["blazepose:heavy"]["run"] == "posemoe-edge detectors get blazepose:heavy"
    assert listed["blazepose:full"]["licence"] == "Apache-2.0" and listed["blazepose:full"]["ready"] is False
    assert listed["movenet:FILE"]["ready"] is None and listed["movenet:FILE"]["run"] is None
    assert "Next: posemoe-edge detectors get blazepose" in run_cli("detectors").err and not cache.exists()


def test_a_damaged_network_is_not_ready(run_cli: Call, cache: Path) -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("ai_edge_litert")
    POSE_DETECTION.path.parent.mkdir(parents=True)
    POSE_DETECTION.path.write_bytes(b"half a network")
    assert rows(run_cli)["blazepose:lite"]["why"] == "damaged in the cache"


def test_without_its_packages_a_detector_needs_the_extra(run_cli: Call, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posemoe_edge.edge.cli.detectors_verb.extra_versions", lambda extra: {"opencv-python-headless": "5.0"})
    row = rows(run_cli)["blazepose:full"]
    assert row["why"] == "needs ai-edge-litert" and row["run"] == 'pip install "posemoe-edge[camera]"'


def test_networks_that_are_there_are_not_fetched_again(
    run_cli: Call, cache: Path, blazepose_networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # nothing can be fetched
    for file in (POSE_DETECTION, POSE_LANDMARKS["full"]):
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_bytes((blazepose_networks / file.name).read_bytes())
    result = run_cli("detectors", "get", "blazepose", "--json")
    assert result.code == 0 and [file["fetched"] for file in result.json["files"]] == [False, False]
    assert [Path(file["path"]).parent for file in result.json["files"]] == [cache / "detectors"] * 2
    assert "Apache-2.0" in result.err and "Next: posemoe-edge run camera0\n" in result.err
