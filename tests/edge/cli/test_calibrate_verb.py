"""calibrate, and the precisions of export that need it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest
from posemoe_edge.calib.graph.layers import LinearLayer, find_layers
from posemoe_edge.calib.quantize import calibrate, precision_choice, sources
from posemoe_edge.edge.cli import calibrate_verb, export_verb
from posemoe_edge.runtime import load
from posemoe_edge.runtime.artefact.manifest import check_file, read_manifest

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less motion than in use, and 18 of the 59 layers: the verb does the same with each layer."""

    def some_layers(model: onnx.ModelProto) -> tuple[LinearLayer, ...]:
        return tuple(layer for layer in find_layers(model) if layer.name.startswith("encoder.0.expert_2d."))

    monkeypatch.setattr(sources, "find_layers", some_layers)
    monkeypatch.setattr(precision_choice, "launch_ms", partial(precision_choice.launch_ms, rounds=20))
    monkeypatch.setattr(calibrate, "SENSITIVITY_FRAMES", 5)
    monkeypatch.setattr(calibrate_verb, "CHECK_STREAMS", 1)
    monkeypatch.setattr(calibrate_verb, "CHECK_FRAMES", 30)
    monkeypatch.setattr(export_verb, "CHECK_STREAMS", 1)
    monkeypatch.setattr(export_verb, "CHECK_FRAMES", 50)
    monkeypatch.setattr(export_verb, "STREAMS", 1)
    monkeypatch.setattr(export_verb, "FRAMES", 100)


def test_a_budget_adds_a_mixed_graph_and_reports_each_layers_sensitivity(
    run_cli: Call, copied_artefact: Path, write_motion_file: Callable[..., Path], make_walker_clip: Callable[..., Any]
) -> None:
    motion = write_motion_file(
        [make_walker_clip(split, 60, seed=i, split=split) for i, split in enumerate(("train", "val", "test"))]
    )
    result = run_cli(
        "calibrate", copied_artefact, "--data", motion, "--streams", 1, "--frames", 100, "--budget-mm", 3, "--json"
    )
    assert result.code == 0
    assert result.json["budget"]["mean_mm"] == 3 and result.json["budget"]["p99_mm"] == 15
    assert {clip for stream in result.json["motion"]["streams"] for clip in stream["clips"]} == {"train"}
    assert {clip for stream in result.json["check_motion"]["streams"] for clip in stream["clips"]} == {"val"}
    worst = max(result.json["layers"], key=lambda layer: layer["sensitivity_mm"])
    assert worst["name"] in result.err and f"{worst['sensitivity_mm']:.3f} mm" in result.err
    assert "On a processor INT8 is slower than FP32" in result.err
    budget = "--mean-mm 3 --p99-mm 15 --max-mm 60"  # that the mixed graph was chosen by
    assert f"Next: posemoe-edge verify {copied_artefact} --precision mixed {budget} --data {motion}" in result.err
    assert set(result.json["bytes"]) == {"fp32", "fp16", "int8", "mixed"}


def test_without_motion_capture_it_warns_and_takes_walkers(run_cli: Call, copied_artefact: Path) -> None:
    result = run_cli("calibrate", copied_artefact, "--streams", 2, "--frames", 100, "--precision", "int8w", "--json")
    assert result.code == 0 and "no --data: procedural walkers instead of real motion" in result.err
    assert result.json["motion"]["kind"] == "procedural walkers" and result.json["check_motion"] is None
    assert load(copied_artefact, precision="int8w").graph.precision == "int8w"


def test_an_artefact_without_fp16_is_not_changed(run_cli: Call, copy_artefact: Callable[[str], Path]) -> None:
    folder = copy_artefact("dssm")
    before = sorted(folder.iterdir())
    result = run_cli("calibrate", folder, "--streams", 1, "--frames", 100)
    assert result.code == 4 and "has no fp16 graph to calibrate" in result.err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("precision", ["int8", "int8w"])
def test_export_calibrates_too(
    precision: str, run_cli: Call, workdir: Path, zoo: Path, tiny_presets: None, replayed_graphs: None
) -> None:
    result = run_cli("export", "tiny-retention", "--untrained", "--precision", precision, "--out", "made", "--json")
    assert result.code == 0 and result.json["choice"] is None
    manifest = read_manifest(workdir / "made")
    assert {precision, "fp32"} <= {graph.precision for graph in manifest.graphs}
    for name in manifest.files:
        check_file(workdir / "made", manifest, name)
    assert load(workdir / "made").graph.precision == "fp32", "no other precision is preferred"


def test_auto_keeps_the_fastest_within_the_budget_and_prints_why(
    run_cli: Call, workdir: Path, zoo: Path, tiny_presets: None, replayed_graphs: None
) -> None:
    result = run_cli(
        "export", "tiny-retention", "--untrained", "--precision", "auto", "--budget-mm", 5, "--out", "made", "--json"
    )
    assert result.code == 0
    assert "Next: posemoe-edge verify made --mean-mm 5 --p99-mm 25 --max-mm 100" in result.err  # which it was chosen by
    choice = result.json["choice"]
    assert {candidate["precision"] for candidate in choice["candidates"]} == {"fp32", "fp16", "int8", "mixed", "int8w"}
    allowed = [candidate for candidate in choice["candidates"] if not candidate["exceeded"]]
    assert choice["precision"] == min(allowed, key=lambda candidate: candidate["launch_ms"])["precision"]
    assert f"Chosen: {choice['why']}" in result.err
    manifest = read_manifest(workdir / "made")
    assert {graph.precision for graph in manifest.graphs} == {"fp32", choice["precision"]}
    assert not list((workdir / "made").glob("*.part")) and manifest.preferred == choice["precision"]
    assert load(workdir / "made").graph.precision == choice["precision"]


def test_an_interrupted_export_with_calibration_leaves_nothing(
    run_cli: Call, workdir: Path, zoo: Path, tiny_presets: None, replayed_graphs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_verb, "calibrate_folder", interrupt)
    result = run_cli("export", "tiny-retention", "--untrained", "--precision", "int8", "--out", "made")
    assert result.code == 130 and list(workdir.iterdir()) == []


def test_a_second_export_removes_the_calibration(
    run_cli: Call, copied_artefact: Path, zoo: Path, tiny_presets: None, replayed_graphs: None
) -> None:
    run_cli("calibrate", copied_artefact, "--streams", 1, "--frames", 100)
    result = run_cli("export", "tiny-retention", "--untrained", "--out", copied_artefact, "--json")
    assert result.json["precisions"] == ["fp32"]
    assert not (copied_artefact / "calibration.json").exists()
    shutil.rmtree(copied_artefact)
