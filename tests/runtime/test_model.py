"""Model: opened from a folder, a standalone file or a name, and shared by streams that join and leave."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike
from posemoe_edge.runtime import ArtefactError, CheckFailedError, FrameError, MissingError, Model, Stream, UsageError, load
from posemoe_edge.runtime import model as model_module
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact import locate
from posemoe_edge.runtime.artefact.certificate import CERTIFICATE
from posemoe_edge.runtime.artefact.manifest import Graph, read_manifest, replace_files, write_manifest
from posemoe_edge.runtime.artefact.precision import Precision
from posemoe_edge.runtime.engines import BoundInference, Engine, resolve
from posemoe_edge.runtime.engines.buffers import Buffers, Interface, Rows
from posemoe_edge.runtime.pose.types import Pose
from posemoe_edge.runtime.state import StepSlots

BATCH_TOLERANCE = 1e-5  # metres: the same sums, in another order for another batch size
Walk = Callable[..., F32]


class StubEngine:
    """An engine with the graph's interface that computes nothing and records whether it was closed."""

    device = None

    def __init__(self, graph: Graph, *, name: str = "onnxruntime-cpu", without: str | None = None) -> None:
        self.name, self.closed = name, False
        self.metadata: dict[str, str] = {}
        self.inputs: Interface = {
            tensor.name: (tensor.dtype, tensor.shape) for tensor in graph.inputs if tensor.name != without
        }
        self.outputs: Interface = {tensor.name: (tensor.dtype, tensor.shape) for tensor in graph.outputs}

    def zeros(self, shape: Sequence[int], dtype: DTypeLike) -> Rows:
        return np.zeros(shape, dtype)

    def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
        return lambda: None

    def close(self) -> None:
        self.closed = True


def test_a_folder_is_opened_and_the_model_names_its_engine(retention_artefact: Path) -> None:
    model = load(retention_artefact)
    assert str(model) == "tiny-retention fp32 step" and model.engine == "onnxruntime-cpu"
    assert model.latency_frames == 0 and model.state_bytes == model.manifest.state_bytes


@pytest.mark.parametrize("as_text", [False, True])
def test_a_path_may_be_text(retention_artefact: Path, as_text: bool) -> None:
    model = load(str(retention_artefact) if as_text else retention_artefact)
    assert str(model) == "tiny-retention fp32 step"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_standalone_onnx_file_carries_its_manifest(
    retention_artefact: Path, tmp_path: Path, precision: Precision, walker_keypoints: Walk
) -> None:
    standalone = Path(shutil.copy(retention_artefact / f"step.{precision}.onnx", tmp_path / "standalone.onnx"))
    model, from_folder = load(standalone), load(retention_artefact, precision=precision)
    assert model.graph == from_folder.graph and model.certificate is None
    a, b = model.stream(), from_folder.stream()
    for i, frame in enumerate(walker_keypoints(5)):
        np.testing.assert_array_equal(a.step(frame, t=i * 0.02).xyz_m, b.step(frame, t=i * 0.02).xyz_m)


def test_a_standalone_file_has_no_other_precision(retention_artefact: Path) -> None:
    with pytest.raises(ArtefactError, match="has no fp16 graph; expected one of fp32"):
        load(retention_artefact / "step.fp32.onnx", precision="fp16")


def test_an_onnx_file_without_a_manifest_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), tmp_path / "a.onnx"
    )
    with pytest.raises(ArtefactError, match="carries no manifest"):
        load(tmp_path / "a.onnx")


def test_a_shipped_artefact_is_found_by_its_name(
    retention_artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = tmp_path / "zoo"
    shutil.copytree(retention_artefact, zoo / locate.DEFAULT_MODEL)
    monkeypatch.setattr(locate, "ZOO", zoo)
    monkeypatch.chdir(tmp_path)
    assert str(load()) == str(load(locate.DEFAULT_MODEL)) == "tiny-retention fp32 step"
    with pytest.raises(MissingError, match=r"shipped one \(frame-retention-s\); run: posemoe-edge export posemoe-dssm-s"):
        load("posemoe-dssm-s")
    (zoo / "posemoe-dssm-s").mkdir()
    with pytest.raises(MissingError, match=r"shipped as weights, .*; run: posemoe-edge export posemoe-dssm-s"):
        load("posemoe-dssm-s")


@pytest.mark.parametrize("latency", [-1, 9, 100])
def test_a_latency_outside_the_window_is_refused(attention_artefact: Path, latency: int) -> None:
    with pytest.raises(UsageError, match="expected 0 to 8 in mode window"):
        load(attention_artefact, latency_frames=latency)


def test_a_step_model_has_a_fixed_latency(retention_artefact: Path) -> None:
    with pytest.raises(UsageError, match="expected 0 to 0 in mode step"):
        load(retention_artefact, latency_frames=1)


@pytest.mark.parametrize(("kind", "latency"), [("lookahead-chunk", 3), ("centre", 4)])
def test_a_model_with_lookahead_has_a_fixed_latency(kind: str, latency: int, artefact_of: Callable[[str], Path]) -> None:
    assert load(artefact_of(kind)).latency_frames == load(artefact_of(kind), latency_frames=latency).latency_frames == latency
    for other in (0, latency - 1, latency + 1):
        with pytest.raises(UsageError, match=f"a latency of {other} frames; expected {latency} to {latency} in mode"):
            load(artefact_of(kind), latency_frames=other)


@pytest.mark.parametrize("mixer", ["retention", "attention", "lookahead-chunk", "gated-chunk", "centre"])
def test_a_batch_gives_the_poses_of_single_steps(
    mixer: str, artefact_of: Callable[[str], Path], walker_keypoints: Walk
) -> None:
    batched, single = load(artefact_of(mixer)), load(artefact_of(mixer))
    batched_streams, single_streams = [[model.stream() for _ in range(4)] for model in (batched, single)]
    rng = np.random.default_rng(0)
    for i in range(30):
        present = sorted(rng.choice(4, size=rng.integers(1, 5), replace=False))  # not always adjacent slots
        frames = {j: walker_keypoints(30, seed=int(j))[i] for j in present}
        poses = batched.step_batch({batched_streams[j]: frame for j, frame in frames.items()}, t=i * 0.02)
        assert list(poses) == [batched_streams[j] for j in present]
        for j, frame in frames.items():
            pose, expected = poses[batched_streams[j]], single_streams[j].step(frame, t=i * 0.02)
            np.testing.assert_allclose(pose.xyz_m, expected.xyz_m, atol=BATCH_TOLERANCE)
            assert (pose.dt_s, pose.gap) == (expected.dt_s, expected.gap)


@pytest.fixture(scope="module")
def single_models(artefact_of: Callable[[str], Path]) -> tuple[Path, list[Model]]:
    folder = artefact_of("retention")
    return folder, [load(folder) for _ in range(8)]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    moves=st.lists(
        st.tuples(st.sampled_from(["join", "leave", "step", "step", "step", "reset"]), st.integers(0, 2**20)),
        min_size=5,
        max_size=40,
    )
)
def test_streams_that_join_and_leave_in_any_order_do_not_influence_each_other(
    moves: list[tuple[str, int]], single_models: tuple[Path, list[Model]], walker_keypoints: Walk
) -> None:
    folder, singles = single_models
    shared = load(folder)
    live: dict[Stream, tuple[Stream, int]] = {}
    seeds, t = iter(range(100)), 0.0
    for move, draw in moves:
        rng = np.random.default_rng(draw)
        chosen = [stream for stream in live if rng.random() < 0.6]
        if move == "join" and len(live) < 6:
            live[shared.stream()] = (singles[len(live)].stream(), next(seeds) % 5)
        elif move == "leave" and chosen:
            live.pop(chosen[0])[0].close()
            chosen[0].close()
        elif move == "reset" and chosen:
            chosen[0].reset()
            live[chosen[0]][0].reset()
        elif move == "step":
            t += 0.02 * float(rng.integers(1, 20))
            frames = {stream: walker_keypoints(50, seed=live[stream][1])[draw % 50] for stream in chosen}
            for stream, pose in shared.step_batch(frames, t=t).items():
                np.testing.assert_allclose(pose.xyz_m, live[stream][0].step(frames[stream], t=t).xyz_m, atol=BATCH_TOLERANCE)
    for twin, _ in live.values():
        twin.close()


def test_one_invalid_frame_refuses_the_whole_batch(retention_artefact: Path, walker_keypoints: Walk) -> None:
    model, twin = load(retention_artefact), load(retention_artefact)
    streams, twin_streams = [model.stream() for _ in range(3)], [twin.stream() for _ in range(3)]
    for i in range(4):
        model.step_batch({s: walker_keypoints(9, seed=j)[i] for j, s in enumerate(streams)}, t=i * 0.02)
        twin.step_batch({s: walker_keypoints(9, seed=j)[i] for j, s in enumerate(twin_streams)}, t=i * 0.02)
    frames = {s: walker_keypoints(9, seed=j)[4].copy() for j, s in enumerate(streams)}
    frames[streams[1]][2, 0] = np.nan
    with pytest.raises(FrameError, match="joint 2"):
        model.step_batch(frames, t=0.08)
    for i in range(5, 9):
        poses = model.step_batch({s: walker_keypoints(9, seed=j)[i] for j, s in enumerate(streams)}, t=i * 0.02)
        expected = twin.step_batch({s: walker_keypoints(9, seed=j)[i] for j, s in enumerate(twin_streams)}, t=i * 0.02)
        for a, b in zip(poses.values(), expected.values(), strict=True):
            np.testing.assert_array_equal(a.xyz_m, b.xyz_m)
            assert a.dt_s == b.dt_s


def test_streams_that_hold_and_streams_that_are_fed_share_a_batch(retention_artefact: Path, walker_keypoints: Walk) -> None:
    model = load(retention_artefact)
    a, b = model.stream(), model.stream()
    first = model.step_batch({a: walker_keypoints(1)[0], b: walker_keypoints(1, seed=1)[0]}, t=0)
    later = model.step_batch({a: np.zeros((17, 3)), b: walker_keypoints(2, seed=1)[1]}, t=0.02)
    assert (later[a].gap, later[b].gap) == ("hold", "none")
    np.testing.assert_array_equal(later[a].xyz_m, first[a].xyz_m)
    nobody = model.step_batch({a: np.zeros((17, 3)), b: np.zeros((17, 3))}, t=0.04)
    assert {pose.gap for pose in nobody.values()} == {"hold"} and model.step_batch({}, t=1) == {}


def test_growth_of_the_slab_keeps_the_states(retention_artefact: Path, walker_keypoints: Walk) -> None:
    model, alone = load(retention_artefact), load(retention_artefact).stream()
    first, others = model.stream(), []
    for i, frame in enumerate(walker_keypoints(20)):
        if i % 2:
            others.append(model.stream())  # 1, 2, 4, 8, 16 slots
            others[-1].step(walker_keypoints(1, seed=9)[0], t=i * 0.02)
        np.testing.assert_array_equal(first.step(frame, t=i * 0.02).xyz_m, alone.step(frame, t=i * 0.02).xyz_m)


def test_released_slots_are_used_again(retention_artefact: Path, walker_keypoints: Walk) -> None:
    model = load(retention_artefact)
    for _ in range(50):
        with model.stream() as stream:
            stream.step(walker_keypoints(1)[0], t=0)
    assert isinstance(model._slots, StepSlots) and model._slots._allocator.capacity == 1


def test_a_stream_of_another_model_is_refused(retention_artefact: Path, walker_keypoints: Walk) -> None:
    a, b = load(retention_artefact), load(retention_artefact)
    with pytest.raises(UsageError, match="the stream belongs to another model"):
        a.step_batch({a.stream(): walker_keypoints(1)[0], b.stream(): walker_keypoints(1)[0]}, t=0)


def test_a_closed_stream_refuses_the_whole_batch(retention_artefact: Path, walker_keypoints: Walk) -> None:
    model = load(retention_artefact)
    a, b = model.stream(), model.stream()
    b.close()
    with pytest.raises(UsageError, match="closed"):
        model.step_batch({a: walker_keypoints(1)[0], b: walker_keypoints(1)[0]}, t=0)
    assert a.step(walker_keypoints(1)[0], t=0).gap == "reset"


def test_half_precision_poses_are_near_single_precision(retention_artefact: Path, walker_keypoints: Walk) -> None:
    single, half = load(retention_artefact).stream(), load(retention_artefact, precision="fp16").stream()
    distances_m = [
        np.abs(single.step(frame, t=i * 0.02).xyz_m - half.step(frame, t=i * 0.02).xyz_m).max()
        for i, frame in enumerate(walker_keypoints(30))
    ]
    assert 0 < max(distances_m) < 0.05


def test_a_model_of_two_channels_reads_keypoints_without_scores(
    copied_artefact: Path, walker_keypoints: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[F32] = []

    class RecordingEngine(StubEngine):
        """An engine that records the keypoints of each launch."""

        def bind(self, inputs: Buffers, outputs: Buffers) -> BoundInference:
            return lambda: launched.append(inputs["keypoints"].copy())

    manifest = read_manifest(copied_artefact)
    graph = manifest.graph()
    keypoints = graph.inputs[0].model_copy(update={"shape": ("B", 17, 2)})
    graph = graph.model_copy(update={"inputs": (keypoints, *graph.inputs[1:])})
    write_manifest(copied_artefact, manifest.model_copy(update={"channels": 2, "graphs": (graph,)}))
    monkeypatch.setattr(model_module, "open_engine", lambda *args, **options: RecordingEngine(graph))
    frame = walker_keypoints(1)[0].copy()
    frame[5] = (0.7, 0.7, 0)  # score 0: the coordinates are masked too
    pose = load(copied_artefact).stream().step(frame)
    expected = frame[:, :2].copy()
    expected[5] = 0
    np.testing.assert_array_equal(launched[0][0], expected)
    np.testing.assert_array_equal(pose.score, frame[:, 2])


def test_streams_may_be_stepped_from_threads(retention_artefact: Path, walker_keypoints: Walk) -> None:
    from concurrent.futures import ThreadPoolExecutor

    model = load(retention_artefact)

    def lift(seed: int) -> list[Any]:
        with model.stream() as stream:
            return [stream.step(frame, t=i * 0.02).xyz_m for i, frame in enumerate(walker_keypoints(40, seed=seed))]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lift, range(4)))
    for seed, poses in enumerate(results):
        np.testing.assert_allclose(poses, lift(seed), atol=BATCH_TOLERANCE)


def test_an_engine_whose_interface_differs_is_closed(retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = StubEngine(read_manifest(retention_artefact).graph(), without="dt")
    monkeypatch.setattr(model_module, "open_engine", lambda *args, **options: engine)
    with pytest.raises(ArtefactError, match=r"the inputs of .* as the manifest says"):
        load(retention_artefact)
    assert engine.closed


def test_an_engine_whose_certificate_failed_is_closed(certified_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = json.loads((certified_artefact / CERTIFICATE).read_text())
    for drift in certificate["drifts"]:
        drift |= {"passed": False, "exceeded": ["max 99 mm > 1 mm"]}
    manifest = read_manifest(certified_artefact)
    replace_files(certified_artefact, manifest, {CERTIFICATE: json.dumps(certificate).encode()})
    engine = StubEngine(read_manifest(certified_artefact).graph())
    monkeypatch.setattr(model_module, "open_engine", lambda *args, **options: engine)
    with pytest.raises(CheckFailedError, match="failed its drift certificate"):
        load(certified_artefact)
    assert engine.closed
    engine.closed = False
    assert load(certified_artefact, allow_failed=True).drift and not engine.closed


def test_arguments_that_do_not_fit_open_no_engine(retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_engine(*args: object, **options: object) -> Engine:
        raise AssertionError("an engine was opened")

    monkeypatch.setattr(model_module, "open_engine", open_engine)
    with pytest.raises(UsageError, match="a latency of 1 frames"):
        load(retention_artefact, latency_frames=1)


def test_a_standalone_file_is_opened_once(retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    session = onnxruntime.InferenceSession

    def open_session(source: object, *args: object, **options: object) -> object:
        opened.append(source)
        return session(source, *args, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    path = retention_artefact / "step.fp32.onnx"
    load(path)
    assert opened == [path.read_bytes()]


def test_resolve_opens_nothing_and_says_what_load_opens(retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    selection = resolve(retention_artefact, precision="fp16")
    assert selection.path == retention_artefact / "step.fp16.onnx" and selection.graph.precision == "fp16"
    assert (selection.engine, selection.plan, selection.certificate) == ("onnxruntime", None, None)


def test_a_model_shows_preset_precision_and_engine(retention_artefact: Path) -> None:
    assert repr(load(retention_artefact)) == "Model(preset='tiny-retention', precision='fp32', engine='onnxruntime-cpu')"


def test_a_model_is_closed_at_the_end_of_its_block(retention_artefact: Path, walker_keypoints: Walk) -> None:
    with load(retention_artefact) as model, model.stream() as stream:
        stream.step(walker_keypoints(1)[0])
    with pytest.raises(UsageError, match="the model is closed"):
        model.stream()


def test_a_closed_model_lifts_nothing_more(retention_artefact: Path, walker_keypoints: Walk) -> None:
    model = load(retention_artefact)
    stream = model.stream()
    model.close()
    model.close()
    for call in (model.stream, stream.snapshot, lambda: stream.step(walker_keypoints(1)[0])):
        with pytest.raises(UsageError, match="the model is closed"):
            call()
    stream.close()


def test_a_model_cannot_be_pickled_and_says_what_can(retention_artefact: Path) -> None:
    with pytest.raises(UsageError, match=r"load\(\.\.\.\)"):
        pickle.dumps(load(retention_artefact))


def test_a_model_from_before_a_fork_is_refused_in_the_child(retention_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is pretended: a fork of a process with threads may hang it."""
    model, pid = load(retention_artefact), os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    with pytest.raises(UsageError, match="forked"):
        model.stream()


def test_step_each_gives_refusals_in_the_place_of_poses(retention_artefact: Path, walker_keypoints: Walk) -> None:
    model = load(retention_artefact)
    walks = [walker_keypoints(3, seed=seed) for seed in range(4)]
    streams, alone = [model.stream() for _ in walks], [model.stream() for _ in walks]
    model.step_each(dict(zip(streams, (walk[0] for walk in walks), strict=True)), t=0.0)
    for stream, walk in zip(alone, walks, strict=True):
        stream.step(walk[0], t=0.0)
    frames = {stream: walk[1] for stream, walk in zip(streams, walks, strict=True)} | {streams[2]: np.full((17, 3), np.nan)}
    answers = model.step_each(frames, t={streams[0]: 0.02, streams[1]: 0.0, streams[2]: 0.02, streams[3]: 0.3})
    assert [type(answers[stream]) for stream in streams] == [Pose, FrameError, FrameError, Pose]
    late = answers[streams[3]]
    assert isinstance(late, Pose) and late.gap == "decay"
    for stream, own, walk, t in zip(streams, alone, walks, (0.04, 0.04, 0.04, 0.34), strict=True):
        if stream in (streams[0], streams[3]):
            own.step(walk[1], t=t - 0.02 if stream is streams[0] else 0.3)
        pose = model.step_each({stream: walk[2]}, t=t)[stream]
        assert isinstance(pose, Pose)
        np.testing.assert_allclose(pose.xyz_m, own.step(walk[2], t=t).xyz_m, atol=1e-5)  # the refused frame left no trace


def test_step_each_launches_the_others_together_if_one_is_refused(retention_artefact: Path, walker_keypoints: Walk) -> None:
    """One bad frame among many must not cost everybody a launch of their own."""
    model = load(retention_artefact)
    streams = [model.stream() for _ in range(8)]
    launches: list[int] = []
    launch = model._slots.launch
    model._slots.launch = lambda slots: launches.append(len(slots)) or launch(slots)  # type: ignore
    frames = dict.fromkeys(streams, walker_keypoints(1)[0]) | {streams[0]: np.full((17, 3), np.nan)}
    answers = model.step_each(frames, t=0.0)
    assert launches == [7] and sum(isinstance(answer, FrameError) for answer in answers.values()) == 1


@pytest.mark.parametrize("kind", ["retention", "dssm", "gated"])
def test_some_of_many_are_lifted_in_rows_of_their_own(
    kind: str, artefact_of: Callable[[str], Path], walker_keypoints: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server the people of a launch are any of those who are held; the others must cost nothing."""
    model, alone = load(artefact_of(kind)), load(artefact_of(kind))
    assert isinstance(model._slots, StepSlots)
    rows: list[int] = []
    bind = model._engine.bind

    def counted(inputs: Buffers, outputs: Buffers) -> BoundInference:
        bound = bind(inputs, outputs)

        def launch() -> None:
            rows.append(len(inputs["keypoints"]))
            bound()

        return launch

    monkeypatch.setattr(model._engine, "bind", counted)
    walks = [walker_keypoints(30, seed=seed) for seed in range(12)]
    streams, twins = [model.stream() for _ in walks], [alone.stream() for _ in walks]
    rng, at = np.random.default_rng(1), [0] * len(walks)
    for i in range(25):
        chosen = range(12) if i == 0 else sorted(rng.choice(12, size=rng.integers(2, 7), replace=False))
        poses = model.step_each({streams[k]: walks[k][at[k]] for k in chosen}, t={streams[k]: at[k] * 0.02 for k in chosen})
        for k in chosen:
            pose = poses[streams[k]]
            assert isinstance(pose, Pose)
            expected = twins[k].step(walks[k][at[k]], t=at[k] * 0.02)
            np.testing.assert_allclose(pose.xyz_m, expected.xyz_m, atol=BATCH_TOLERANCE)
            at[k] += 1
        if max(chosen) + 1 > 1.5 * len(chosen):
            assert rows[-1] == len(chosen)
