"""Where two graphs begin to differ: an error that was planted is comparison where it was planted, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from posemoe_edge.calib.compare.compare_graphs import compare_graphs
from posemoe_edge.calib.compare.comparison import Comparison, LaunchDifference
from posemoe_edge.calib.compare.instrument import inject_errors, isolate_errors
from posemoe_edge.calib.compare.matches import for_one_stream, match_tensors
from posemoe_edge.calib.compare.runners import check_ready, make_config, open_runner, read_network, select_tensorrt
from posemoe_edge.calib.measure.launch import initial_states, launch_inputs
from posemoe_edge.calib.measure.recording import Recording
from posemoe_edge.calib.quantize.calibrate import calibrate
from posemoe_edge.edge.data.motion import walker_motion
from posemoe_edge.runtime import ArtefactError, MissingError, UsageError
from posemoe_edge.runtime.artefact.manifest import Graph, Manifest, read_manifest
from posemoe_edge.runtime.artefact.precision import Precision
from posemoe_edge.runtime.cuda.gc_pause import gc_paused

FRAMES = 4
# A product with weights, one of attention, the decay and the turning of a carried state, a gate, a head.
PLANTED = (
    "encoder.0.expert_2d.feed.0.up/Gemm",
    "encoder.0.expert_depth.joint_self.out/Gemm",
    "encoder.0.expert_2d.time_self.project.own/Gemm",
    "ceka_time.expert_depth.readout/LayerNormalization",
    "encoder.0.router.gate/Gemm",
    "head_depth.1/Gemm",
    "Mul_3",
)


@pytest.fixture(scope="module")
def folder(artefact_of: Callable[[str], Path]) -> Path:
    return artefact_of("retention")


@pytest.fixture(scope="module")
def int8(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import shutil

    copy = Path(shutil.copytree(folder, tmp_path_factory.mktemp("differences") / "tiny"))
    calibrate(copy, *walker_motion(frames=100, streams=1), precisions=("int8",))
    return copy


@pytest.fixture(scope="module")
def recording(walker_keypoints: Callable[..., np.ndarray]) -> Callable[..., Recording]:
    def of(manifest: Manifest, frames: int = FRAMES) -> Recording:
        first = np.arange(frames) == 0
        return Recording(walker_keypoints(frames), np.full(frames, 0.02, np.float32), first).for_model(manifest)

    return of


def opened(folder: Path, precision: Precision) -> tuple[onnx.ModelProto, Graph]:
    graph = read_manifest(folder).graph(precision)
    return onnx.load(str(folder / graph.file)), graph


def spoilt(model: onnx.ModelProto, node: str, factor: float) -> onnx.ModelProto:
    """The graph with one node's weight scaled; other nodes that share the weight keep it as it was."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    target = next(each for each in changed.graph.node if each.name == node)
    weights = {weight.name: weight for weight in changed.graph.initializer}
    name = next(name for name in target.input if name in weights)
    sound = numpy_helper.to_array(weights[name])
    weights[name].CopyFrom(numpy_helper.from_array((factor * sound).astype(sound.dtype), name))
    for other in changed.graph.node:
        for i, taken in enumerate(other.input):
            if taken == name and other.name != node:
                other.input[i] = f"{name}.sound"
    changed.graph.initializer.append(numpy_helper.from_array(sound, f"{name}.sound"))
    return changed


@pytest.mark.parametrize("kind", ["retention", "retention-chunk", "dssm", "attention"])
def test_a_graph_does_not_differ_from_itself(
    kind: str, artefact_of: Callable[[str], Path], recording: Callable[..., Recording]
) -> None:
    model, graph = opened(artefact_of(kind), "fp32")
    comparison = compare_graphs(model, model, graph, recording(read_manifest(artefact_of(kind)), 2 * graph.frames + 1))
    assert len(comparison.launches) == {"step": 3, "chunk": 3, "window": 3}[graph.mode]
    assert len(comparison.tensors) > 100 and comparison.effects == () and comparison.first_above(0.0) is None
    assert (
        {tensor.isolated for tensor in comparison.tensors}
        == {launch.max_mm for launch in comparison.launches}
        == {launch.state for launch in comparison.launches}
        == {0.0}
    )


@pytest.mark.parametrize("node", PLANTED)
def test_an_error_is_comparison_in_the_layer_where_it_was_planted(
    node: str, folder: Path, recording: Callable[..., Recording]
) -> None:
    model, graph = opened(folder, "fp32")
    comparison = compare_graphs(model, spoilt(model, node, 1.5), graph, recording(read_manifest(folder)))
    first = comparison.first_above(0.0)
    assert first is not None and first.node == node
    assert [tensor.node for tensor in comparison.tensors if tensor.isolated] == [node]
    assert [effect.layer for effect in comparison.effects] == [node.partition("/")[0]]
    # One layer differs, so its effect is the whole difference.
    assert comparison.effects[0].max_mm == pytest.approx(comparison.worst.max_mm, rel=1e-3)
    assert comparison.effects[0].mean_mm == pytest.approx(comparison.worst.mean_mm, rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "node"),
    [
        ("retention-chunk", "encoder.0.expert_2d.time_self.out/Gemm"),
        ("dssm", "encoder.0.expert_2d.time_self.out/Gemm"),
        ("attention", "encoder.0.expert_2d.time_self.out/Gemm"),
    ],
)
def test_an_error_is_comparison_in_every_mode_and_mixer(
    kind: str, node: str, artefact_of: Callable[[str], Path], recording: Callable[..., Recording]
) -> None:
    model, graph = opened(artefact_of(kind), "fp32")
    frames = recording(read_manifest(artefact_of(kind)), graph.frames + 1)
    comparison = compare_graphs(model, spoilt(model, node, 1.5), graph, frames)
    assert [tensor.node for tensor in comparison.tensors if tensor.isolated] == [node] and comparison.worst.max_mm > 0
    assert [effect.layer for effect in comparison.effects] == [node.partition("/")[0]]


def test_half_precision_is_distinguished_from_an_error_in_it(folder: Path, recording: Callable[..., Recording]) -> None:
    """Rounding errors are small in each isolated layer: one wrong weight stands out."""
    (fp32, graph), (fp16, _) = opened(folder, "fp32"), opened(folder, "fp16")
    rounded = compare_graphs(fp32, fp16, graph, recording(read_manifest(folder)))
    assert all(tensor.isolated < 0.02 for tensor in rounded.tensors) and rounded.effects
    wrong = compare_graphs(fp32, spoilt(fp16, PLANTED[0], 1.2), graph, recording(read_manifest(folder)))
    assert [tensor.node for tensor in wrong.tensors if tensor.isolated > 0.02] == [PLANTED[0]]
    assert wrong.effects[0].layer == PLANTED[0].partition("/")[0]


def test_a_scale_that_is_wrong_is_comparison_among_int8_layers(int8: Path, recording: Callable[..., Recording]) -> None:
    (fp32, _), (int8_model, graph) = opened(int8, "fp32"), opened(int8, "int8")
    layer = "encoder.0.expert_2d.feed.0.up"
    wrong = spoilt(int8_model, f"{layer}/weight/DequantizeLinear", 2.0)
    frames = recording(read_manifest(int8))
    comparison = compare_graphs(int8_model, wrong, graph, frames)
    assert {tensor.node.partition("/")[0] for tensor in comparison.tensors if tensor.isolated} == {layer}
    # Against fp32 all of them differ; the wrong one differs more than it did, and no other layer does.
    sound, spoiled = (compare_graphs(fp32, of, graph, frames) for of in (int8_model, wrong))
    pairs = zip(sound.tensors, spoiled.tensors, strict=True)
    assert {b.node.partition("/")[0] for a, b in pairs if b.isolated > 1.01 * a.isolated} == {layer}


def test_a_smoothed_product_is_compared_after_its_bias_was_added(int8: Path) -> None:
    fp32, int8_model = opened(int8, "fp32")[0], opened(int8, "int8")[0]
    makers = {node.output[0]: node for node in int8_model.graph.node}
    matches = {match.node: makers[match.other].name for match in match_tensors(fp32, int8_model)}
    shifted = {node: matched for node, matched in matches.items() if node != matched}
    assert shifted and set(shifted.values()) == {name for name in (n.name for n in int8_model.graph.node) if "/shift/" in name}
    folded = [n for n in int8_model.graph.node if n.op_type == "LayerNormalization" and n.input[1].startswith("int8.")]
    assert folded and not {node.name for node in folded} & set(matches)
    assert not {
        match.node for match in match_tensors(int8_model, int8_model) if "Linear" in match.node or "/Cast" in match.node
    }


def test_small_errors_of_layers_add_up_to_what_the_graph_does(folder: Path, recording: Callable[..., Recording]) -> None:
    """All isolated errors at once in the exact graph give the pose of the other graph, to second order. This does not hold for
    rounding errors: the other graph rounds other numbers than the exact ones."""
    fp32, graph = opened(folder, "fp32")
    wrong = spoilt(spoilt(fp32, PLANTED[0], 1.001), PLANTED[2], 1.001)
    matches = match_tensors(fp32, wrong)
    exact_1, other_1 = for_one_stream(fp32), for_one_stream(wrong)
    frame = recording(read_manifest(folder), 1)
    (_, inputs), *_ = launch_inputs(graph, frame)
    feed = inputs | initial_states(graph, 1)
    with (
        open_runner(exact_1, [*(match.exact for match in matches), "pose"]) as run_exact,
        open_runner(other_1, ["pose"]) as run_other,
        open_runner(isolate_errors(other_1, matches), [match.other for match in matches]) as run_isolated,
    ):
        from_exact = run_exact(feed)
        isolated = run_isolated(feed | {match.exact_input: from_exact[match.exact] for match in matches})
        difference = run_other(feed)["pose"] - from_exact["pose"]
    errors = [{match.exact: isolated[match.other] - from_exact[match.exact]} for match in matches]
    with open_runner(inject_errors(fp32, errors), ["pose"]) as shifted:
        twice = {name: np.repeat(x, 2, axis=0) for name, x in feed.items()}
        shares = np.array([np.zeros(len(errors)), np.ones(len(errors))], np.float32)
        none, all_of_them = shifted(twice | {"shares": shares})["pose"]
    np.testing.assert_allclose(none, from_exact["pose"][0], atol=1e-5)
    assert np.abs(all_of_them - none - difference[0]).max() < 0.02 * np.abs(difference).max()


def test_frames_before_the_comparison_carry_the_state(folder: Path, recording: Callable[..., Recording]) -> None:
    (fp32, graph), (fp16, _) = opened(folder, "fp32"), opened(folder, "fp16")
    frames = recording(read_manifest(folder), 12)
    progress: list[int] = []
    every = compare_graphs(fp32, fp16, graph, frames)
    last = compare_graphs(fp32, fp16, graph, frames, after=10, on_progress=progress.append)
    assert progress == [1] * 12 and [launch.frame for launch in last.launches] == [10, 11]
    for launch, same in zip(last.launches, every.launches[10:], strict=True):
        expected = pytest.approx((same.mean_mm, same.max_mm, same.state), rel=1e-2)
        assert (launch.mean_mm, launch.max_mm, launch.state) == expected
    alone = compare_graphs(fp32, fp16, graph, Recording(frames.keypoints[10:], frames.dt_s[10:], frames.reset[:2]))
    assert alone.launches[0].mean_mm != pytest.approx(last.launches[0].mean_mm, rel=1e-2), "the state must have been carried"


def test_nan_is_worse_than_every_number(folder: Path, recording: Callable[..., Recording]) -> None:
    model, graph = opened(folder, "fp32")
    comparison = compare_graphs(model, spoilt(model, PLANTED[0], np.nan), graph, recording(read_manifest(folder), 1))
    first = comparison.first_above(1e9)
    assert first is not None and first.node == PLANTED[0] and comparison.worst.max_mm == float("inf")


def test_there_must_be_a_frame_to_compare(folder: Path, recording: Callable[..., Recording]) -> None:
    model, graph = opened(folder, "fp32")
    with pytest.raises(UsageError, match="4 frames, of which 4 go by before"):
        compare_graphs(model, model, graph, recording(read_manifest(folder)), after=4)


def test_without_polygraphy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polygraphy", None)
    with pytest.raises(MissingError, match="polygraphy") as caught:
        check_ready(None)
    assert caught.value.run == 'pip install "posemoe-edge[inspect]"'


def test_a_failure_of_polygraphy_is_an_artefact_error(folder: Path) -> None:
    with (
        pytest.raises(ArtefactError, match="polygraphy did not run the graph"),
        open_runner(for_one_stream(opened(folder, "fp32")[0]), ["no such tensor"]),
    ):
        pass


@pytest.fixture
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="it exists for x86-64 alone")


def test_without_a_gpu_the_doctor_is_named(rtx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from posemoe_edge.calib.compare import runners

    def none() -> None:
        raise MissingError("no NVIDIA driver is installed", expected="a machine with a GPU")

    monkeypatch.setattr(runners, "find_gpu", none)
    with pytest.raises(MissingError, match="tensorrt-rtx computes nothing here: no NVIDIA driver") as caught:
        check_ready("tensorrt-rtx")
    assert caught.value.run == "posemoe-edge doctor"


def test_without_the_cuda_runtime_the_doctor_is_named(rtx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from polygraphy import cuda
    from posemoe_edge.calib.compare import runners

    def absent() -> None:
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(runners, "find_gpu", lambda: None)
    monkeypatch.setattr(cuda, "wrapper", absent)
    with pytest.raises(MissingError, match="no CUDA runtime") as caught:
        check_ready("tensorrt-rtx")
    assert caught.value.run == "posemoe-edge doctor"


@pytest.mark.parametrize(("precision", "types"), [("fp16", {"FLOAT", "HALF"}), ("int8", {"FLOAT", "HALF"})])
def test_tensorrts_parser_accepts_both_graphs_with_every_tensor_as_an_output(
    precision: Precision, types: set[str], int8: Path, rtx: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorRT for RTX through polygraphy, as on a machine with a GPU, up to the step that needs one."""
    from polygraphy import config

    select_tensorrt(config, "tensorrt-rtx")
    model = opened(int8, precision)[0]
    matches = match_tensors(model, model)
    single = for_one_stream(model)
    names = {match.other for match in matches} | {"pose", "next_state"}
    for whole in (single, isolate_errors(single, matches)):
        _check_network(whole, names, types, rtx)
    assert capsys.readouterr().out == ""


@gc_paused()
def _check_network(whole: onnx.ModelProto, names: set[str], types: set[str], rtx: Any) -> None:
    from polygraphy.backend.onnx import ModifyOutputs
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1):
        data = ModifyOutputs(whole, outputs=sorted(names), copy=True)().SerializeToString()
        builder, network, parser = read_network(data)()
        settings = make_config("tensorrt-rtx")(builder, network)
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    assert {tensor.name for tensor in outputs} == names
    assert {tensor.dtype.name for tensor in outputs} == types
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    assert {tensor.name for tensor in inputs} == {value.name for value in whole.graph.input}
    assert all(-1 not in tuple(tensor.shape) for tensor in inputs)
    assert network.get_flag(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert not settings.get_flag(rtx.BuilderFlag.TF32)
    del parser  # it owns what the network points to


def test_one_process_has_one_tensorrt(rtx: Any) -> None:
    from polygraphy import config

    select_tensorrt(config, "tensorrt-rtx")
    import polygraphy.backend.trt  # noqa: F401

    with pytest.raises(UsageError, match="the other TensorRT"):
        select_tensorrt(config, "tensorrt")
    assert config.USE_TENSORRT_RTX


def test_the_worst_launch_is_the_one_whose_poses_are_furthest_difference() -> None:
    answers = tuple(LaunchDifference(frame, 0.1, worst, 0.0) for frame, worst in enumerate((1.0, 3.0, 2.0)))
    assert Comparison((), answers, ()).worst.frame == 1
