"""Calibrate: INT8 graphs that appear complete in an artefact, from streams with their state carried."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from posemoe_edge.calib.graph.layers import find_layers
from posemoe_edge.calib.measure.budget import budget_for
from posemoe_edge.calib.quantize import calibrate as calibrate_module
from posemoe_edge.calib.quantize import int8_graphs
from posemoe_edge.calib.quantize.calibrate import calibrate
from posemoe_edge.calib.quantize.calibration import CALIBRATION, CALIBRATION_PLOT, read_calibration
from posemoe_edge.calib.quantize.precision_choice import choose_precision
from posemoe_edge.calib.quantize.sources import load_sources
from posemoe_edge.edge.data.motion import walker_motion
from posemoe_edge.runtime import ArtefactError, UsageError, load
from posemoe_edge.runtime.artefact.certificate import CERTIFICATE
from posemoe_edge.runtime.artefact.files import record_file
from posemoe_edge.runtime.artefact.locate import ZOO
from posemoe_edge.runtime.artefact.manifest import check_file, read_manifest, write_manifest
from posemoe_edge.runtime.artefact.precision import PRECISIONS

FRAMES = 100


def motion_to_observe(frames: int = FRAMES, seed: int = 0) -> Any:
    return walker_motion(frames=frames, streams=2, seed=seed)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_adds_graphs_that_run_and_records_how(
    calibrated_artefact: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    manifest = read_manifest(calibrated_artefact)
    assert {graph.precision for graph in manifest.graphs} == {"fp32", "fp16", "int8", "int8w", "mixed"}
    for name in manifest.files:
        check_file(calibrated_artefact, manifest, name)
    exact = load(calibrated_artefact, precision="fp32").stream()
    poses = [exact.step(frame).xyz_m for frame in walker_keypoints(20)]
    for precision in ("int8", "int8w", "mixed"):
        stream = load(calibrated_artefact, precision=precision).stream()
        drift = np.linalg.norm([stream.step(frame).xyz_m for frame in walker_keypoints(20)] - np.array(poses), axis=-1)
        assert 0 < drift.mean() < 0.1
    calibration = read_calibration(calibrated_artefact, read_manifest(calibrated_artefact))
    assert calibration is not None
    assert calibration.motion.frames == FRAMES and len(calibration.motion.streams) == 2
    assert calibration.graph_sha256 == manifest.files["step.fp32.onnx"].sha256
    assert all(layer.sensitivity_mm is not None and layer.amax > 0 for layer in calibration.layers)
    assert (calibrated_artefact / CALIBRATION_PLOT).read_bytes().startswith(b"\x89PNG")


def test_a_standalone_graph_carries_its_own_manifest(calibrated_artefact: Path) -> None:
    model = load(calibrated_artefact / "step.int8.onnx")
    assert model.graph.precision == "int8" and model.manifest.preset == read_manifest(calibrated_artefact).preset


def test_the_mixed_graph_has_the_int8_layers_of_the_record(calibrated_artefact: Path) -> None:
    calibration = read_calibration(calibrated_artefact, read_manifest(calibrated_artefact))
    assert calibration is not None
    model = onnx.load(str(calibrated_artefact / "step.mixed.onnx"))
    int8_names = {node.name.rsplit("/", 2)[0] for node in model.graph.node if node.name.endswith("weight/DequantizeLinear")}
    assert int8_names == {layer.name for layer in calibration.layers if layer.mixed_precision == "int8"}
    assert 0 < len(int8_names) < len(calibration.layers), "otherwise nothing is tested here"
    half = {w.name for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT16 and len(w.dims) == 2}
    assert half, "the others are still FP16"


def test_all_layers_are_int8_and_nothing_else(calibrated_artefact: Path) -> None:
    calibration = read_calibration(calibrated_artefact, read_manifest(calibrated_artefact))
    assert calibration is not None
    model = onnx.load(str(calibrated_artefact / "step.int8.onnx"))
    int8_weights = [w for w in model.graph.initializer if w.data_type == onnx.TensorProto.INT8 and w.dims]
    assert len(int8_weights) == len(calibration.layers)
    state = next(value for value in model.graph.input if value.name == "state")
    assert state.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_the_same_seed_makes_the_same_artefact_bit_for_bit(copied_artefact: Path, tmp_path: Path) -> None:
    import shutil

    other = Path(shutil.copytree(copied_artefact, tmp_path / "other"))
    for folder in (copied_artefact, other):
        calibrate(folder, *motion_to_observe())
    assert contents(copied_artefact) == contents(other)


def test_it_works_on_windows_and_chunks(
    artefact_of: Callable[[str], Path], copy_artefact: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tiny artefacts of these kinds have no fp16 graph.
    monkeypatch.setitem(PRECISIONS, "int8", replace(PRECISIONS["int8"], made_from="fp32"))
    for kind in ("attention", "lookahead-chunk"):
        folder = copy_artefact(kind)
        calibrate(folder, *motion_to_observe())
        model = load(folder, precision="int8")
        stream = model.stream()
        for frame in motion_to_observe(frames=20)[0][0].keypoints:
            assert np.isfinite(stream.step(frame).xyz_m).all()


def test_a_certificate_of_other_graphs_is_removed(certified_artefact: Path) -> None:
    calibrate(certified_artefact, *motion_to_observe())
    manifest = read_manifest(certified_artefact)
    assert CERTIFICATE not in manifest.files and not (certified_artefact / CERTIFICATE).exists()
    load(certified_artefact, precision="int8")


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (calibrate_module, "Observer"),
        (calibrate_module, "quantize_layers"),
        (int8_graphs, "insert_qdq"),
        (int8_graphs, "embed_manifest"),
        (int8_graphs, "commit_manifest"),
    ],
)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_artefact_as_it_was(
    module: ModuleType, function: str, error: type[BaseException], copied_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(copied_artefact)

    def break_off(*args: object, **kwargs: object) -> None:
        raise error("now")

    monkeypatch.setattr(module, function, break_off)
    with pytest.raises(error):
        calibrate(copied_artefact, *motion_to_observe())
    assert contents(copied_artefact) == before


def test_a_second_calibration_replaces_the_first(copied_artefact: Path) -> None:
    calibrate(copied_artefact, *motion_to_observe())
    first = read_manifest(copied_artefact)
    calibrate(copied_artefact, *motion_to_observe(seed=5), method="percentile")
    second = read_manifest(copied_artefact)
    assert [graph.file for graph in first.graphs] == [graph.file for graph in second.graphs]
    assert first.files["step.int8.onnx"] != second.files["step.int8.onnx"]
    assert first.files["step.fp16.onnx"] == second.files["step.fp16.onnx"]
    assert json.loads((copied_artefact / CALIBRATION).read_bytes())["method"] == "percentile"


def test_too_few_frames_are_refused(copied_artefact: Path) -> None:
    with pytest.raises(UsageError, match="40 frames of a stream to calibrate on; expected at least 100"):
        calibrate(copied_artefact, *motion_to_observe(frames=40))


def test_motion_of_another_rate_is_refused_by_a_model_without_frame_times(
    copy_artefact: Callable[[str], Path], copied_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRECISIONS, "int8", replace(PRECISIONS["int8"], made_from="fp32"))
    recordings, motion = motion_to_observe()
    slow = motion.model_copy(update={"streams": tuple(stream.model_copy(update={"fps": 30.0}) for stream in motion.streams)})
    with pytest.raises(UsageError, match="motion at 30 Hz for tiny-attention, which takes no frame times; expected 50 Hz"):
        calibrate(copy_artefact("attention"), recordings, slow)
    calibrate(copied_artefact, recordings, slow)  # this model takes frame times


def test_keypoints_that_are_not_finite_are_refused(copied_artefact: Path) -> None:
    recordings, motion = motion_to_observe()
    spoilt = recordings[1].keypoints.copy()
    spoilt[5, 3, 0] = np.nan
    with pytest.raises(UsageError, match="keypoints to calibrate on are not finite"):
        calibrate(copied_artefact, [recordings[0], replace(recordings[1], keypoints=spoilt)], motion)


def test_a_budget_needs_motion_to_check_it_on(copied_artefact: Path) -> None:
    with pytest.raises(UsageError, match="a budget needs motion to check it on"):
        calibrate(copied_artefact, *motion_to_observe(), budget=budget_for(1.0))


def test_without_an_fp16_graph_the_error_names_the_export(dssm_artefact: Path) -> None:
    with pytest.raises(ArtefactError, match=r"has no fp16 graph to calibrate.*export tiny-dssm --precision fp16 --out"):
        calibrate(dssm_artefact, *motion_to_observe())


def spoil(folder: Path, change: Callable[[onnx.ModelProto], None], precision: str = "fp32") -> None:
    """Change a graph, and record its new hash in the manifest."""
    path = folder / f"step.{precision}.onnx"
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    manifest = read_manifest(folder)
    write_manifest(folder, manifest.model_copy(update={"files": manifest.files | {path.name: record_file(path)}}))


def test_a_tensor_that_never_varies_is_refused(copied_artefact: Path) -> None:
    def still(model: onnx.ModelProto) -> None:
        norm = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
        for name in norm.input[1:]:
            weight = next(w for w in model.graph.initializer if w.name == name)
            weight.CopyFrom(numpy_helper.from_array(np.zeros(list(weight.dims), np.float32), name))

    spoil(copied_artefact, still)
    with pytest.raises(ArtefactError, match=r"the inputs of \d+ layers never vary, encoder\.0\."):
        calibrate(copied_artefact, *motion_to_observe())


def test_graphs_without_layer_names_must_be_exported_again(copied_artefact: Path) -> None:
    def unnamed(model: onnx.ModelProto) -> None:
        for i, node in enumerate(model.graph.node):
            node.name = f"node_{i}"

    spoil(copied_artefact, unnamed)
    with pytest.raises(ArtefactError, match="do not have the same layers"):
        calibrate(copied_artefact, *motion_to_observe())


def test_graphs_of_different_weights_are_refused(copied_artefact: Path) -> None:
    def other_weights(model: onnx.ModelProto) -> None:
        layer = find_layers(model)[-1]
        weight = next(item for item in model.graph.initializer if item.name == layer.weight)
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(0.1), layer.weight))

    spoil(copied_artefact, other_weights)
    with pytest.raises(ArtefactError, match="do not have the same layers"):
        calibrate(copied_artefact, *motion_to_observe())


@pytest.mark.parametrize("folder", [path.parent for path in sorted(ZOO.glob("*/step.fp16.onnx"))], ids=lambda path: path.name)
def test_a_shipped_artefact_has_the_same_layers_in_both_precisions(folder: Path) -> None:
    sources = load_sources(folder, read_manifest(folder), ["int8"])
    assert [layer.name for layer in sources.layers_in("fp32")] == [layer.name for layer in sources.layers["fp16"]]


def test_the_choice_is_the_fastest_within_the_budget(calibrated_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from posemoe_edge.calib.quantize import precision_choice as choice_module

    times = {"fp32": 3.0, "fp16": 2.5, "int8": 1.0, "mixed": 1.5, "int8w": 2.0}
    monkeypatch.setattr(choice_module, "launch_ms", lambda graphs: ({p: times[p] for p in graphs}, "a fake engine"))
    manifest, recordings = read_manifest(calibrated_artefact), motion_to_observe(frames=40, seed=2)[0]
    without_limit = choose_precision(calibrated_artefact, manifest, recordings, budget_for(1000.0))
    assert without_limit.precision == "int8" and "a fake engine" in without_limit.why and len(without_limit.candidates) == 5
    drifts = {candidate.precision: candidate.measured.mean_mm for candidate in without_limit.candidates}
    assert drifts["fp32"] == 0 < drifts["fp16"] < drifts["int8"]
    strict = choose_precision(calibrated_artefact, manifest, recordings, budget_for(drifts["fp16"] / 1000))
    assert strict.precision == "fp32"
    assert all(f"{name} drifts too far" in strict.why for name in ("fp16", "int8", "mixed", "int8w"))


def test_the_speed_is_measured_on_the_engine_itself(calibrated_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from posemoe_edge.calib.quantize import precision_choice as choice_module

    monkeypatch.setattr(choice_module, "launch_ms", partial(choice_module.launch_ms, rounds=20))
    recordings = motion_to_observe(frames=10, seed=2)[0]
    choice = choose_precision(calibrated_artefact, read_manifest(calibrated_artefact), recordings, budget_for(1000.0))
    assert {candidate.engine for candidate in choice.candidates} == {"onnxruntime-cpu"}
    assert all(candidate.launch_ms > 0 for candidate in choice.candidates)
    assert choice.precision == min(choice.candidates, key=lambda candidate: candidate.launch_ms).precision
