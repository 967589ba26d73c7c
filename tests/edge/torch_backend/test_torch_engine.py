"""PyTorch as an engine, on the CPU, and on a GPU if the machine has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from posemoe_edge.calib.measure.recording import Recording
from posemoe_edge.calib.measure.rollout import roll_out
from posemoe_edge.edge.checkpoints import load_reference
from posemoe_edge.edge.data.motion import walker_motion
from posemoe_edge.edge.torch_backend.engine import TorchEngine, exact_fp32
from posemoe_edge.export.precision import to_fp16
from posemoe_edge.export.verify import verify
from posemoe_edge.runtime import ArtefactError, CheckFailedError, MissingError, Model, UsageError, load
from posemoe_edge.runtime.arrays import F32
from posemoe_edge.runtime.artefact.certificate import REFERENCE, Budget
from posemoe_edge.runtime.artefact.manifest import read_manifest, write_manifest
from posemoe_edge.runtime.engines import ENGINES, open_engine

SAME = 1e-6  # metres: the same operations, on memory with another alignment
REL = 1e-4  # float32 sums in another order, over a carried state
GPU_TOLERANCE = 1e-4  # metres: float32 sums in another order, over a rollout
FRAMES = 40
ArtefactOf = Callable[[str], Path]
TinyLifter = Callable[[str], Any]
Walk = Callable[..., F32]


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the GPU from torch."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def recording(folder: Path, walker_keypoints: Walk, *, seed: int = 0) -> Recording:
    """A walk as input of the artefact's model: irregular frame intervals, another person from frame 12 on."""
    dt_s = np.random.default_rng(seed).choice([0.02, 0.04, 0.3], FRAMES).astype(np.float32)
    reset = np.isin(np.arange(FRAMES), (0, 12))
    return Recording(np.array(walker_keypoints(FRAMES, seed=seed)), dt_s, reset).for_model(read_manifest(folder))


def assert_close(a: NDArray[Any], b: NDArray[Any], relative: float = REL) -> None:
    """The largest difference is small relative to the largest value."""
    assert np.abs(a - b).max() <= relative * np.abs(b).max()


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Restores the number of PyTorch's threads after a test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("on_cpu")
class TestOnTheCpu:
    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_a_rollout_equals_the_networks_own_steps(
        self, retention_artefact: Path, tiny_lifter: TinyLifter, walker_keypoints: Walk, precision: Any
    ) -> None:
        model = tiny_lifter("retention") if precision == "fp32" else to_fp16(tiny_lifter("retention"))
        graph = read_manifest(retention_artefact).graph(precision)
        walk = recording(retention_artefact, walker_keypoints)
        state, expected = model.initial_state(1), []
        with torch.no_grad():
            for t in range(FRAMES):
                x, dt, reset = (torch.from_numpy(a[t : t + 1].copy()) for a in (walk.keypoints, walk.dt_s, walk.reset))
                y, state = model.step(x, state, dt, reset)
                expected.append(y[0].numpy())
        poses = roll_out(retention_artefact / graph.file, graph, [walk], engine="torch")[0]
        np.testing.assert_allclose(poses, expected, atol=SAME if precision == "fp32" else 1e-3)

    @pytest.mark.parametrize(
        "kind", ["retention", "dssm", "gated", "lookahead", "3dhp", "retention-chunk", "lookahead-chunk", "attention", "centre"]
    )
    def test_every_graph_gives_onnx_runtimes_poses(self, artefact_of: ArtefactOf, walker_keypoints: Walk, kind: str) -> None:
        folder = artefact_of(kind)
        graph = read_manifest(folder).graph("fp32")
        walks = [recording(folder, walker_keypoints, seed=seed) for seed in range(3)]
        by_torch, by_onnxruntime = (
            roll_out(folder / graph.file, graph, walks, engine=name) for name in ("torch", "onnxruntime")
        )
        for a, b in zip(by_torch, by_onnxruntime, strict=True):
            assert_close(a, b)

    @pytest.mark.parametrize("kind", ["retention", "gated", "lookahead-chunk", "attention"])
    def test_streams_that_join_and_leave_give_onnx_runtimes_poses(
        self, artefact_of: ArtefactOf, play_crowd: Any, kind: str
    ) -> None:
        models: list[Model] = [load(artefact_of(kind), engine=name) for name in ("torch", "onnxruntime")]
        assert [model.engine for model in models] == ["torch-cpu", "onnxruntime-cpu"]
        for poses in play_crowd(models, [], FRAMES, joins=10, leaves=25):
            for a, b in poses:
                assert_close(a.xyz_m, b.xyz_m)

    @pytest.mark.parametrize("kind", ["dssm", "retention-chunk", "attention"])
    def test_a_restored_stream_repeats_its_poses(self, artefact_of: ArtefactOf, walker_keypoints: Walk, kind: str) -> None:
        stream, frames = load(artefact_of(kind), engine="torch").stream(), walker_keypoints(FRAMES)
        for frame in frames[:15]:
            stream.step(frame)
        snapshot = stream.snapshot()
        first = [stream.step(frame).xyz_m for frame in frames[15:]]
        stream.reset()
        stream.step(frames[0])
        stream.restore(snapshot)
        np.testing.assert_array_equal([stream.step(frame).xyz_m for frame in frames[15:]], first)

    def test_memory_of_another_type_or_shape_is_refused(self, dssm_artefact: Path) -> None:
        engine = open_engine(dssm_artefact / "step.fp32.onnx", engine="torch")
        inputs, outputs = (
            {name: np.zeros((1, *map(int, shape[1:])), dtype) for name, (dtype, shape) in interface.items()}
            for interface in (engine.inputs, engine.outputs)
        )
        engine.bind(inputs, outputs)()
        inputs["dt"] = np.zeros(1)
        with pytest.raises(UsageError, match=r"dt of float64 \(1,\); expected float32"):
            engine.bind(inputs, outputs)

    def test_threads_are_set_for_the_process(self, dssm_artefact: Path) -> None:
        for threads in (2, 1):
            load(dssm_artefact, engine="torch", threads=threads)
            assert torch.get_num_threads() == threads

    def test_verify_certifies_the_torch_engine(self, copied_artefact: Path) -> None:
        wide_budget = Budget(mean_mm=10, p99_mm=50, max_mm=100, slope_mm_per_1000=100)
        recordings, motion = walker_motion(frames=60, streams=2)
        certificate = verify(copied_artefact, load_reference, recordings, motion, budget=wide_budget, engine="torch")
        fp32, fp16 = certificate.drifts
        assert (fp32.engine, fp16.engine) == ("torch-cpu", "torch-cpu") and certificate.passed
        assert fp32.measured.max_mm < 0.01 < fp16.measured.max_mm
        model = load(copied_artefact, engine="torch")
        assert model.certificate == certificate

    def test_a_failed_certificate_of_the_torch_engine_stops_load(self, copied_artefact: Path) -> None:
        zero_budget = Budget(mean_mm=0, p99_mm=0, max_mm=0, slope_mm_per_1000=0)
        recordings, motion = walker_motion(frames=20, streams=1)
        verify(copied_artefact, load_reference, recordings, motion, budget=zero_budget, engine="torch")
        with pytest.raises(CheckFailedError, match="failed its drift certificate"):
            load(copied_artefact, engine="torch", precision="fp16")


class TestErrors:
    def test_bytes_and_standalone_graphs_are_refused(self, dssm_artefact: Path, tmp_path: Path) -> None:
        path = dssm_artefact / "step.fp32.onnx"
        with pytest.raises(UsageError, match="bytes for torch; expected a graph's file in an artefact"):
            open_engine(path.read_bytes(), engine="torch")
        standalone = tmp_path / path.name
        standalone.write_bytes(path.read_bytes())
        for open_standalone in (lambda: open_engine(standalone, engine="torch"), lambda: load(standalone, engine="torch")):
            with pytest.raises(ArtefactError, match="is a standalone graph, without reference weights"):
                open_standalone()

    def test_a_file_that_is_no_graph_of_the_artefact_is_refused(self, dssm_artefact: Path) -> None:
        with pytest.raises(ArtefactError, match="no graph of its folder's manifest"):
            open_engine(dssm_artefact / "other.onnx", engine="torch")
        with pytest.raises(MissingError, match="there is no artefact at"):
            open_engine(dssm_artefact / "nowhere" / "step.fp32.onnx", engine="torch")

    def test_an_artefact_without_weights_is_refused(self, copied_artefact: Path) -> None:
        manifest = read_manifest(copied_artefact)
        files = {name: record for name, record in manifest.files.items() if name != REFERENCE}
        write_manifest(copied_artefact, manifest.model_copy(update={"files": files}))
        with pytest.raises(ArtefactError, match=r"holds no reference weights.*run: posemoe-edge export tiny-retention"):
            load(copied_artefact, engine="torch")

    def test_changed_weights_are_refused(self, copied_artefact: Path) -> None:
        data = bytearray((copied_artefact / REFERENCE).read_bytes())
        data[-1] ^= 1
        (copied_artefact / REFERENCE).write_bytes(data)
        with pytest.raises(ArtefactError, match="was changed"):
            load(copied_artefact, engine="torch")

    def test_weights_of_another_network_are_refused(self, copied_artefact: Path, artefact_of: ArtefactOf) -> None:
        dssm = artefact_of("dssm")
        for name in (REFERENCE, "reference.json"):
            (copied_artefact / name).write_bytes((dssm / name).read_bytes())
        manifest, dssm_files = read_manifest(copied_artefact), read_manifest(dssm).files
        files = {name: dssm_files[name] if name.startswith("reference.") else record for name, record in manifest.files.items()}
        write_manifest(copied_artefact, manifest.model_copy(update={"files": files}))
        with pytest.raises(ArtefactError, match=r"are of another network than step\.fp32\.onnx"):
            load(copied_artefact, engine="torch")

    @pytest.mark.parametrize("precision", ["int8", "mixed", "int8w"])
    def test_a_quantised_graph_is_refused(self, copied_artefact: Path, precision: Any) -> None:
        manifest = read_manifest(copied_artefact)
        graphs = (manifest.graphs[0].model_copy(update={"precision": precision}),)
        write_manifest(copied_artefact, manifest.model_copy(update={"graphs": graphs}))
        with pytest.raises(UsageError, match=rf"has no {precision} graph.*expected precision fp32 or fp16"):
            load(copied_artefact, engine="torch")

    def test_a_missing_torch_is_an_error_that_names_the_extra(
        self, dssm_artefact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(self: EntryPoint) -> Any:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

        monkeypatch.setattr(EntryPoint, "load", fail)
        with pytest.raises(MissingError, match=r"needs the package torch.*posemoe-edge\[export\]") as error:
            load(dssm_artefact, engine="torch")
        assert error.value.exit_code == 3
        assert load(dssm_artefact, engine="onnxruntime").engine == "onnxruntime-cpu"

    def test_a_missing_entry_point_is_an_error_that_names_it(
        self, dssm_artefact: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ENGINES, "group", "posemoe_edge.nothing")
        with pytest.raises(MissingError, match="the entry point torch in the group"):
            load(dssm_artefact, engine="torch")


def test_exact_fp32_restores_the_settings_of_the_process() -> None:
    cudnn: Any = torch.backends.cudnn  # its type does not declare ``conv``
    settings = torch.backends.cuda.matmul, cudnn.conv
    previous = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "tf32"
        with pytest.raises(ZeroDivisionError), exact_fp32():
            assert [setting.fp32_precision for setting in settings] == ["ieee", "ieee"]
            raise ZeroDivisionError
        assert [setting.fp32_precision for setting in settings] == ["tf32", "tf32"]
    finally:
        for setting, value in zip(settings, previous, strict=True):
            setting.fp32_precision = value


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU: see tests/runtime/cuda/device/test_torch_cuda")
class TestOnAGpu:
    @pytest.mark.parametrize(
        "kind", ["retention", "dssm", "gated", "retention-chunk", "lookahead-chunk", "attention", "centre"]
    )
    def test_a_rollout_gives_the_cpus_poses(
        self, artefact_of: ArtefactOf, walker_keypoints: Walk, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = artefact_of(kind)
        graph = read_manifest(folder).graph("fp32")
        walks = [recording(folder, walker_keypoints, seed=seed) for seed in range(3)]
        with closing(open_engine(folder / graph.file, engine="torch")) as engine:
            assert engine.name == "torch-cuda"
            poses = roll_out(engine, graph, walks)
            assert isinstance(engine, TorchEngine) and engine.graphs  # every capture succeeded
        for a, b in zip(poses, roll_out(folder / graph.file, graph, walks, engine="onnxruntime"), strict=True):
            np.testing.assert_allclose(a, b, atol=GPU_TOLERANCE)

    def test_each_parity_has_one_graph(
        self, retention_artefact: Path, walker_keypoints: Walk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        captured: list[torch.cuda.CUDAGraph] = []
        replayed: list[torch.cuda.CUDAGraph] = []
        capture_end, replay = torch.cuda.CUDAGraph.capture_end, torch.cuda.CUDAGraph.replay

        def record_capture(graph: torch.cuda.CUDAGraph) -> None:
            captured.append(graph)
            capture_end(graph)

        def record_replay(graph: torch.cuda.CUDAGraph) -> None:
            replayed.append(graph)
            replay(graph)

        monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_end", record_capture)
        monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", record_replay)
        model = load(retention_artefact, engine="torch", precision="fp32")
        stream = model.stream()
        for frame in walker_keypoints(8):
            stream.step(frame)
        assert len(captured) == 2 and replayed == captured * 3
        model.close()
