"""posemoe-edge inspect --compare: which layer differs, from which side, and what it does to the pose."""

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
from posemoe_edge.runtime.artefact.manifest import read_manifest, replace_files

Call = Callable[..., Any]
QUICK = ("--after", 2, "--frames", 2, "--json")
LAYER = "encoder.0.expert_2d.feed.0.up"


@pytest.fixture
def spoilt_artefact(copied_artefact: Path) -> Path:
    """Its FP16 graph has one wrong weight."""
    manifest = read_manifest(copied_artefact)
    name = manifest.graph("fp16").file
    model = onnx.load(str(copied_artefact / name))
    node = next(node for node in model.graph.node if node.name == f"{LAYER}/MatMul")
    weight = next(weight for weight in model.graph.initializer if weight.name == node.input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float16(3), weight.name))
    replace_files(copied_artefact, manifest, {name: model.SerializeToString()})
    return copied_artefact


def test_the_layer_that_is_wrong_is_named_with_what_it_does(run_cli: Call, spoilt_artefact: Path, workdir: Path) -> None:
    said = run_cli("inspect", spoilt_artefact, "--compare", "fp16", "--tolerance", 0.05, "--picture", "layers.png", *QUICK)
    assert said.code == 0
    told = said.json
    assert told["graphs"] == {"exact": "step.fp32.onnx", "other": "step.fp16.onnx"}
    assert told["isolated_above_tolerance"]["node"] == f"{LAYER}/MatMul" and told["isolated_above_tolerance"]["isolated"] > 0.05
    assert told["effects"][0]["layer"] == LAYER
    assert [one["frame"] for one in told["launches"]] == [2, 3] and told["worst"] in told["launches"]
    nodes = [one["node"] for one in told["tensors"]]
    assert nodes.index(told["differs"]["node"]) <= nodes.index(told["above_tolerance"]["node"])
    assert f"above 5 % by itself     {LAYER}/MatMul" in said.err
    assert next(line for line in said.err.splitlines() if line.endswith(f"   {LAYER}"))
    assert f"Next: posemoe-edge verify {spoilt_artefact} --precision fp16" in said.err
    assert (workdir / "layers.png").read_bytes().startswith(b"\x89PNG")


def test_int8_graphs_are_compared_too(run_cli: Call, copied_artefact: Path) -> None:
    assert run_cli("calibrate", copied_artefact, "--frames", 100, "--streams", 1, "--json").code == 0
    told = run_cli("inspect", copied_artefact, "--compare", "int8", *QUICK).json
    assert told["isolated_above_tolerance"] and told["worst"]["max_mm"] > 0 and len(told["effects"]) > 10


def test_numbers_that_are_none_are_strict_json(run_cli: Call, copied_artefact: Path) -> None:
    manifest = read_manifest(copied_artefact)
    name = manifest.graph("fp16").file
    model = onnx.load(str(copied_artefact / name))
    bias = next(weight for weight in model.graph.initializer if weight.name.endswith("embed.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * np.nan, bias.name))
    replace_files(copied_artefact, manifest, {name: model.SerializeToString()})
    told = run_cli("inspect", copied_artefact, "--compare", "fp16", *QUICK).json
    assert told["worst"]["max_mm"] == "inf" and told["isolated_above_tolerance"]["node"] == "embed/Add"


def test_options_of_a_comparison_want_one(run_cli: Call, retention_artefact: Path) -> None:
    said = run_cli("inspect", retention_artefact, "--frames", 5, "--source", "synthetic://walk", "--json")
    assert said.code == 2 and said.json["what"] == "--source, --frames without --compare"
    said = run_cli("inspect", retention_artefact, "--compare", "fp16", "--precision", "fp16", "--json")
    assert said.code == 2 and "tensorrt" in said.json["expected"]
    for options in (
        ("--layers",),
        ("--tolerance", "nan"),
        ("--tolerance", "inf"),
        ("--picture", "no/where.png"),
        ("--picture", "it.pdf"),
    ):
        said = run_cli("inspect", retention_artefact, "--compare", "fp16", *options, "--json")
        assert said.code == 2 and options[0] in said.json["what"], options


def test_a_graph_that_is_not_there_is_exported_first(run_cli: Call, retention_artefact: Path) -> None:
    said = run_cli("inspect", retention_artefact, "--compare", "mixed", *QUICK)
    assert said.code == 4 and said.json["run"].startswith("posemoe-edge export")


def test_a_graph_that_was_changed_is_not_compared(run_cli: Call, copied_artefact: Path) -> None:
    path = copied_artefact / "step.fp16.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert run_cli("inspect", copied_artefact, "--compare", "fp16", *QUICK).code == 4


def test_frames_that_no_stream_would_take_are_left_out(
    run_cli: Call, retention_artefact: Path, workdir: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    keypoints = walker_keypoints(4).copy()
    keypoints[1, 0, 0] = np.nan
    np.savez(workdir / "one.npz", keypoints=keypoints)
    compare = ("inspect", retention_artefact, "--compare", "fp16", "--source", "kpts:one.npz", "--json")
    assert [one["frame"] for one in run_cli(*compare, "--after", 1).json["launches"]] == [1, 2]
    said = run_cli(*compare, "--after", 3)
    assert said.code == 2 and said.json["what"] == "3 frames, of which 3 go by before"
    np.savez(workdir / "none.npz", keypoints=keypoints * np.nan)
    said = run_cli(*compare[:5], "kpts:none.npz", "--json")
    assert said.code == 2 and said.json["what"].startswith("nobody is in")


def test_what_is_compared_is_what_a_stream_feeds(
    retention_artefact: Path, workdir: Path, walker_keypoints: Callable[..., np.ndarray]
) -> None:
    """Joints masked, nobody left out, a memory cleared after a long gap; then each frame with the time since the one before."""
    keypoints, t_s = walker_keypoints(12).copy(), np.cumsum([0.02] * 12)
    keypoints[3, 5, 2] = 0
    keypoints[6:8, :, 2] = 0
    t_s[9:] += 3.0
    np.savez(workdir / "one.npz", keypoints=keypoints, t_s=t_s)
    stream, fed = load(retention_artefact).stream(), []
    put = stream._slots.put
    stream._slots.put = lambda slot, *of: (fed.append(of), put(slot, *of))  # type: ignore[method-assign,func-returns-value]
    for frame, t in zip(keypoints, t_s, strict=True):
        stream.step(frame, t=float(t))
    recording = record_person(read_manifest(retention_artefact), "kpts:one.npz", 12)
    np.testing.assert_array_equal(recording.keypoints, np.stack([x for x, _, _ in fed]))
    np.testing.assert_allclose(recording.dt_s, [dt_s for _, dt_s, _ in fed], rtol=1e-6)
    assert recording.reset.tolist() == [reset for _, _, reset in fed] and recording.reset.sum() == 2 and len(fed) == 10


def test_without_a_gpu_nothing_is_begun(run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx", reason="it exists for x86-64 alone")

    def none() -> None:
        raise MissingError("no NVIDIA driver is installed", expected="a machine with a GPU")

    monkeypatch.setattr(runners, "find_gpu", none)
    said = run_cli("inspect", retention_artefact, "--compare", "tensorrt-rtx", "--picture", "no.png", *QUICK)
    assert said.code == 3 and said.json["run"] == "posemoe-edge doctor" and "NVIDIA driver" in said.json["what"]
    assert not Path("no.png").exists()


@pytest.mark.parametrize("package", ["polygraphy", "onnx"])
def test_without_a_package_the_extra_is_named(
    package: str, run_cli: Call, retention_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("posemoe_edge.calib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    said = run_cli("inspect", retention_artefact, "--compare", "fp16", *QUICK)
    assert said.code == 3 and said.json["run"] == 'pip install "posemoe-edge[inspect]"'
    assert package in said.json["what"]
