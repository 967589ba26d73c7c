"""calibrate, and the precisions of export that need it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from posemoe_edge.calib.graph import layers as layers_module
from posemoe_edge.calib.quantize import calibrate, precision_choice, sources
from posemoe_edge.edge.cli import calibrate_verb, export_verb
from posemoe_edge.runtime import load
from posemoe_edge.runtime.artefact.manifest import check_file, read_manifest

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less motion than people would calibrate and check on, and 18 of the 59 layers: the verb does with each what it does."""

    def some(model: Any) -> tuple[Any, ...]:
        return tuple(layer for layer in layers_module.find_layers(model) if layer.name.startswith("encoder.0.expert_2d."))

    monkeypatch.setattr(sources, "find_layers", some)
    monkeypatch.setattr(precision_choice, "launch_ms", partial(precision_choice.launch_ms, rounds=20))
    monkeypatch.setattr(calibrate, "SENSITIVITY_FRAMES", 5)
    monkeypatch.setattr(calibrate_verb, "CHECK_STREAMS", 1)
    monkeypatch.setattr(calibrate_verb, "CHECK_FRAMES", 30)
    monkeypatch.setattr(export_verb, "CHECK_STREAMS", 1)
    monkeypatch.setattr(export_verb, "CHECK_FRAMES", 50)
    monkeypatch.setattr(export_verb, "STREAMS", 1)
    monkeypatch.setattr(export_verb, "FRAMES", 100)


def test_a_budget_makes_a_mix_and_says_what_each_layer_costs(
    run_cli: Call, copied_artefact: Path, write_motion_file: Callable[..., Path], make_walker_clip: Callable[..., Any]
) -> None:
    motion = write_motion_file(
        [make_walker_clip(split, 60, seed=i, split=split) for i, split in enumerate(("train", "val", "test"))]
    )
    said = run_cli("calibrate", copied_artefact, "--data", motion, "--streams", 1, "--frames", 100, "--budget-mm", 3, "--json")
    assert said.code == 0
    assert said.json["budget"]["mean_mm"] == 3 and said.json["budget"]["p99_mm"] == 15
    assert {clip for stream in said.json["motion"]["streams"] for clip in stream["clips"]} == {"train"}
    assert {clip for stream in said.json["check_motion"]["streams"] for clip in stream["clips"]} == {"val"}
    worst = max(said.json["layers"], key=lambda layer: layer["sensitivity_mm"])
    assert worst["name"] in said.err and f"{worst['sensitivity_mm']:.3f} mm" in said.err
    assert "A processor without VNNI runs INT8 slower than FP32" in said.err
    assert f"Next: posemoe-edge verify {copied_artefact} --precision mixed --mean-mm 3 --data {motion}" in said.err
    assert set(said.json["bytes"]) == {"fp32", "fp16", "int8", "mixed"}


def test_without_motion_capture_it_takes_walkers_and_says_so(run_cli: Call, copied_artefact: Path) -> None:
    said = run_cli("calibrate", copied_artefact, "--streams", 2, "--frames", 100, "--precision", "int8w", "--json")
    assert said.code == 0 and "no --data: procedural walkers instead of real motion" in said.err
    assert said.json["motion"]["kind"] == "procedural walkers" and said.json["check_motion"] is None
    assert load(copied_artefact, precision="int8w").graph.precision == "int8w"


def test_an_artefact_without_fp16_is_left_alone(run_cli: Call, copy_artefact: Callable[[str], Path]) -> None:
    folder = copy_artefact("dssm")
    before = sorted(folder.iterdir())
    said = run_cli("calibrate", folder, "--streams", 1, "--frames", 100)
    assert said.code == 4 and "has no fp16 graph to calibrate" in said.err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("precision", ["int8", "int8w"])
def test_export_calibrates_too(
    precision: str, run_cli: Call, workdir: Path, zoo: Path, tiny_presets: None, cached_trace: None
) -> None:
    said = run_cli("export", "tiny-retention", "--untrained", "--precision", precision, "--out", "made", "--json")
    assert said.code == 0 and said.json["choice"] is None
    manifest = read_manifest(workdir / "made")
    assert {precision, "fp32"} <= {graph.precision for graph in manifest.graphs}
    for name in manifest.files:
        check_file(workdir / "made", manifest, name)
    assert load(workdir / "made").graph.precision == "fp32", "nothing else was preferred"


def test_auto_keeps_the_fastest_within_the_budget_and_says_why(
    run_cli: Call, workdir: Path, zoo: Path, tiny_presets: None, cached_trace: None
) -> None:
    said = run_cli(
        "export", "tiny-retention", "--untrained", "--precision", "auto", "--budget-mm", 5, "--out", "made", "--json"
    )
    assert said.code == 0
    choice = said.json["choice"]
    assert {one["precision"] for one in choice["candidates"]} == {"fp32", "fp16", "int8", "mixed", "int8w"}
    allowed = [one for one in choice["candidates"] if not one["exceeded"]]
    assert choice["precision"] == min(allowed, key=lambda one: one["launch_ms"])["precision"]
    assert f"Chosen: {choice['why']}" in said.err
    manifest = read_manifest(workdir / "made")
    assert {graph.precision for graph in manifest.graphs} == {"fp32", choice["precision"]}
    assert not list((workdir / "made").glob("*.part")) and manifest.preferred == choice["precision"]
    assert load(workdir / "made").graph.precision == choice["precision"]


def test_an_interrupted_export_with_calibration_leaves_nothing(
    run_cli: Call, workdir: Path, zoo: Path, tiny_presets: None, cached_trace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_verb, "calibrate_folder", interrupt)
    said = run_cli("export", "tiny-retention", "--untrained", "--precision", "int8", "--out", "made")
    assert said.code == 130 and list(workdir.iterdir()) == []


def test_a_second_export_takes_the_calibration_with_it(
    run_cli: Call, copied_artefact: Path, zoo: Path, tiny_presets: None, cached_trace: None
) -> None:
    run_cli("calibrate", copied_artefact, "--streams", 1, "--frames", 100)
    said = run_cli("export", "tiny-retention", "--untrained", "--out", copied_artefact, "--json")
    assert said.json["precisions"] == ["fp32"]
    assert not (copied_artefact / "calibration.json").exists()
    shutil.rmtree(copied_artefact)
