"""posemoe-edge inspect --compare: which layer differs, and its effect on the pose."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from posemoe_edge.calib.compare import runners
from posemoe_edge.edge.cli.inspect_compare import record_person
from posemoe_edge.runtime import MissingError, load
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact.manifest import read_manifest, replace_files

Call = Callable[..., Any]
QUICK = ("--after", 2, "--frames", 2, "--json")
LAYER = "encoder.0.expert_2d.feed.0.up"


@pytest.fixture
def spoilt_artefact(copied_artefact: Path) -> Path:
    """An artefact whose FP16 graph has one wrong weight."""
    manifest = read_manifest(copied_artefact)
    name = manifest.graph("fp16").file
    model = onnx.load(str(copied_artefact / name))
    node = next(node for node in model.graph.node if node.name == f"{LAYER}/Gemm")
    weight = next(weight for weight in model.graph.initializer if weight.name == node.input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float16(3), weight.name))
    replace_files(copied_artefact, manifest, {name: model.SerializeToString()})
    return copied_artefact


def test_the_wrong_layer_is_named_with_its_effect(run_cli: Call, spoilt_artefact: Path, workdir: Path) -> None:
    result = run_cli("inspect", spoilt_artefact, "--compare", "fp16", "--tolerance", 0.05, "--picture", "layers.png", *QUICK)
    assert result.code == 0
    report = result.json
    assert report["graphs"] == {"exact": "step.fp32.onnx", "other": "step.fp16.onnx"}
    assert (
        report["isolated_above_tolerance"]["node"] == f"{LAYER}/Gemm" and report["isolated_above_tolerance"]["isolated"] > 0.05
    )
    assert report["effects"][0]["layer"] == LAYER
    assert [launch["frame"] for launch in report["launches"]] == [2, 3] and report["worst"] in report["launches"]
    nodes = [tensor["node"] for tensor in report["tensors"]]
    assert nodes.index(report["differs"]["node"]) <= nodes.index(report["above_tolerance"]["node"])
    assert f"above 5 % by itself     {LAYER}/Gemm" in result.err
    assert next(line for line in result.err.splitlines() if line.endswith(f"   {LAYER}"))
    assert f"Next: posemoe-edge verify {spoilt_artefact} --precision fp16" in result.err
    assert (workdir / "layers.png").read_bytes().startswith(b"\x89PNG")


def test_int8_graphs_are_compared_too(run_cli: Call, copied_artefact: Path) -> None:
    assert run_cli("calibrate", copied_artefact, "--frames", 100, "--streams", 1, "--json").code == 0
    report = run_cli("inspect", copied_artefact, "--compare", "int8", *QUICK).json
    assert report["isolated_above_tolerance"] and report["worst"]["max_mm"] > 0 and len(report["effects"]) > 10


def test_nan_and_infinity_are_strict_json(run_cli: Call, copied_artefact: Path) -> None:
    manifest = read_manifest(copied_artefact)
    name = manifest.graph("fp16").file
    model = onnx.load(str(copied_artefact / name))
    bias = next(weight for weight in model.graph.initializer if weight.name == "embed/Gemm.bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * np.nan, bias.name))
    replace_files(copied_artefact, manifest, {name: model.SerializeToString()})
    report = run_cli("inspect", copied_artefact, "--compare", "fp16", *QUICK).json
    assert report["worst"]["max_mm"] == "inf" and report["isolated_above_tolerance"]["node"] == "embed/Gemm"


def test_options_of_a_comparison_need_compare(run_cli: Call, retention_artefact: Path) -> None:
    result = run_cli("inspect", retention_artefact, "--frames", 5, "--source", "synthetic://walk", "--json")
    assert result.code == 2 and result.json["what"] == "--source, --frames without --compare"
    result = run_cli("inspect", retention_artefact, "--compare", "fp16", "--precision", "fp16", "--json")
    assert result.code == 2 and "tensorrt" in result.json["expected"]
    for options in (
        ("--layers",),
        ("--tolerance", "nan"),
        ("--tolerance", "inf"),
        ("--picture", "no/where.png"),
        ("--picture", "it.pdf"),
    ):
        result = run_cli("inspect", retention_artefact, "--compare", "fp16", *options, "--json")
        assert result.code == 2 and options[0] in result.json["what"], options


def test_a_missing_graph_must_be_exported_first(run_cli: Call, retention_artefact: Path) -> None:
    result = run_cli("inspect", retention_artefact, "--compare", "mixed", *QUICK)
    assert result.code == 4 and result.json["run"].startswith("posemoe-edge export")


def test_a_changed_graph_is_not_compared(run_cli: Call, copied_artefact: Path) -> None:
    path = copied_artefact / "step.fp16.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert run_cli("inspect", copied_artefact, "--compare", "fp16", *QUICK).code == 4


def test_frames_that_a_stream_would_refuse_are_left_out(
    run_cli: Call, retention_artefact: Path, workdir: Path, walker_keypoints: Callable[..., F32]
) -> None:
    keypoints = walker_keypoints(4).copy()
    keypoints[1, 0, 0] = np.nan
    np.savez(workdir / "one.npz", keypoints=keypoints)
    compare = ("inspect", retention_artefact, "--compare", "fp16", "--source", "kpts:one.npz", "--json")
    assert [launch["frame"] for launch in run_cli(*compare, "--after", 1).json["launches"]] == [1, 2]
    result = run_cli(*compare, "--after", 3)
    assert result.code == 2 and result.json["what"] == "3 frames, of which 3 go by before"
    np.savez(workdir / "none.npz", keypoints=keypoints * np.nan)
    result = run_cli(*compare[:5], "kpts:none.npz", "--json")
    assert result.code == 2 and result.json["what"].endswith("show no person")


def test_the_compared_frames_are_those_that_a_stream_feeds(
    retention_artefact: Path, workdir: Path, walker_keypoints: Callable[..., F32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masked joints, frames without a person left out, a reset after a long gap, and each frame's time since the last."""
    keypoints, t_s = walker_keypoints(12).copy(), np.cumsum([0.02] * 12)
    keypoints[3, 5, 2] = 0
    keypoints[6:8, :, 2] = 0
    t_s[9:] += 3.0
    np.savez(workdir / "one.npz", keypoints=keypoints, t_s=t_s)
    stream = load(retention_artefact).stream()
    fed: list[tuple[F32, float, bool]] = []
    put = stream._slots.put

    def recorded_put(slot: int, keypoints: F32, dt_s: float, reset: bool) -> None:
        fed.append((keypoints, dt_s, reset))
        put(slot, keypoints, dt_s, reset)

    monkeypatch.setattr(stream._slots, "put", recorded_put)
    for frame, t in zip(keypoints, t_s, strict=True):
        stream.step(frame, t=float(t))
    recording = record_person(read_manifest(retention_artefact), "kpts:one.npz", 12)
    np.testing.assert_array_equal(recording.keypoints, np.stack([x for x, _, _ in fed]))
    np.testing.assert_allclose(recording.dt_s, [dt_s for _, dt_s, _ in fed], rtol=1e-6)
    assert recording.reset.tolist() == [reset for _, _, reset in fed] and recording.reset.sum() == 2 and len(fed) == 10


def test_without_a_gpu_the_comparison_does_not_start(
    run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="it exists for x86-64 alone")

    def none() -> None:
        raise MissingError("no NVIDIA driver is installed", expected="a machine with a GPU")

    monkeypatch.setattr(runners, "find_gpu", none)
    result = run_cli("inspect", retention_artefact, "--compare", "tensorrt-rtx", "--picture", "no.png", *QUICK)
    assert result.code == 3 and result.json["run"] == "posemoe-edge doctor" and "NVIDIA driver" in result.json["what"]
    assert not Path("no.png").exists()


@pytest.mark.parametrize("package", ["polygraphy", "onnx"])
def test_without_a_package_the_extra_is_named(
    package: str, run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("posemoe_edge.calib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    result = run_cli("inspect", retention_artefact, "--compare", "fp16", *QUICK)
    assert result.code == 3 and result.json["run"] == 'pip install "posemoe-edge[inspect]"'
    assert package in result.json["what"]
