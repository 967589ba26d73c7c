"""PyTorch as an engine, on the processor; and on a GPU, where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from posemoe_edge.calib.measure.recording import Recording
from posemoe_edge.calib.measure.rollout import roll_out
from posemoe_edge.edge.checkpoints import load_reference
from posemoe_edge.edge.data.motion import walker_motion
from posemoe_edge.edge.torch_backend.engine import exact_fp32
from posemoe_edge.export.precision import to_fp16
from posemoe_edge.export.verify import verify
from posemoe_edge.runtime import ArtefactError, MissingError, Model, UsageError, load
from posemoe_edge.runtime.artefact.certificate import REFERENCE, Budget
from posemoe_edge.runtime.artefact.manifest import read_manifest, write_manifest
from posemoe_edge.runtime.engines import ENGINES, open_engine

SAME = 1e-6  # metres: the same operations, on memory that is aligned otherwise
REL = 1e-4  # float32 sums in another order, over a carried state
ON_GPU = 1e-4  # metres: likewise, over a rollout
FRAMES = 40
ArtefactOf = Callable[[str], Path]
Tiny = Callable[[str], Any]
Walk = Callable[..., np.ndarray]


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch sees no GPU, whether there is one or not."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def recording(folder: Path, walker_keypoints: Walk, *, seed: int = 0) -> Recording:
    """What the artefact's model takes of a walk: frames at odd times, somebody else from frame 12 on."""
    dt_s = np.random.default_rng(seed).choice([0.02, 0.04, 0.3], FRAMES).astype(np.float32)
    reset = np.isin(np.arange(FRAMES), (0, 12))
    return Recording(np.array(walker_keypoints(FRAMES, seed=seed)), dt_s, reset).for_model(read_manifest(folder))


def close_to(a: np.ndarray, b: np.ndarray, relative: float = REL) -> None:
    assert np.abs(a - b).max() <= relative * np.abs(b).max()


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """PyTorch has as many afterwards as before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("on_cpu")
class TestOnTheProcessor:
    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_a_rollout_is_the_networks_own_steps(
        self, retention_artefact: Path, tiny_lifter: Tiny, walker_keypoints: Walk, precision: Any
    ) -> None:
        model = tiny_lifter("retention") if precision == "fp32" else to_fp16(tiny_lifter("retention"))
        graph, given = read_manifest(retention_artefact).graph(precision), recording(retention_artefact, walker_keypoints)
        state, expected = model.initial_state(1), []
        with torch.no_grad():
            for t in range(FRAMES):
                x, dt, reset = (torch.from_numpy(of[t : t + 1].copy()) for of in (given.keypoints, given.dt_s, given.reset))
                y, state = model.step(x, state, dt, reset)
                expected.append(y[0].numpy())
        made = roll_out(retention_artefact / graph.file, graph, [given], engine="torch")[0]
        np.testing.assert_allclose(made, expected, atol=SAME if precision == "fp32" else 1e-3)

    @pytest.mark.parametrize(
        "kind", ["retention", "dssm", "gated", "lookahead", "3dhp", "retention-chunk", "lookahead-chunk", "attention", "centre"]
    )
    def test_every_graph_says_what_onnx_runtime_says_of_it(
        self, artefact_of: ArtefactOf, walker_keypoints: Walk, kind: str
    ) -> None:
        folder = artefact_of(kind)
        graph = read_manifest(folder).graph("fp32")
        given = [recording(folder, walker_keypoints, seed=seed) for seed in range(3)]
        ours, theirs = (roll_out(folder / graph.file, graph, given, engine=name) for name in ("torch", "onnxruntime"))
        for a, b in zip(ours, theirs, strict=True):
            close_to(a, b)

    @pytest.mark.parametrize("kind", ["retention", "gated", "lookahead-chunk", "attention"])
    def test_people_come_and_go_and_each_is_as_on_onnx_runtime(
        self, artefact_of: ArtefactOf, play_crowd: Any, kind: str
    ) -> None:
        models: list[Model] = [load(artefact_of(kind), engine=name) for name in ("torch", "onnxruntime")]
        assert [model.engine for model in models] == ["torch-cpu", "onnxruntime-cpu"]
        for poses in play_crowd(models, [], FRAMES, joins=10, leaves=25):
            for a, b in poses:
                close_to(a.xyz_m, b.xyz_m)

    @pytest.mark.parametrize("kind", ["dssm", "retention-chunk", "attention"])
    def test_a_stream_goes_back_to_where_it_was(self, artefact_of: ArtefactOf, walker_keypoints: Walk, kind: str) -> None:
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
        sides = [
            {name: np.zeros((1, *shape[1:]), dtype) for name, (dtype, shape) in side.items()}
            for side in (engine.inputs, engine.outputs)
        ]
        engine.bind(*sides)()
        sides[0]["dt"] = np.zeros(1)
        with pytest.raises(UsageError, match=r"dt of float64 \(1,\); expected float32"):
            engine.bind(*sides)

    def test_its_threads_are_the_processs(self, dssm_artefact: Path) -> None:
        for threads in (2, 1):
            load(dssm_artefact, engine="torch", threads=threads)
            assert torch.get_num_threads() == threads

    def test_it_certifies_itself(self, copied_artefact: Path) -> None:
        wide = Budget(mean_mm=10, p99_mm=50, max_mm=100, slope_mm_per_1000=100)
        recordings, motion = walker_motion(frames=60, streams=2)
        certificate = verify(copied_artefact, load_reference, recordings, motion, budget=wide, engine="torch")
        fp32, fp16 = certificate.drifts
        assert (fp32.engine, fp16.engine) == ("torch-cpu", "torch-cpu") and certificate.passed
        assert fp32.measured.max_mm < 0.01 < fp16.measured.max_mm
        model = load(copied_artefact, engine="torch")
        assert model.certificate == certificate

    def test_a_verdict_on_it_is_a_reason_not_to_run_it(self, copied_artefact: Path) -> None:
        from posemoe_edge.runtime import CheckFailedError

        narrow = Budget(mean_mm=0, p99_mm=0, max_mm=0, slope_mm_per_1000=0)
        recordings, motion = walker_motion(frames=20, streams=1)
        verify(copied_artefact, load_reference, recordings, motion, budget=narrow, engine="torch")
        with pytest.raises(CheckFailedError, match="failed its drift certificate"):
            load(copied_artefact, engine="torch", precision="fp16")


class TestWhatCannotBeRun:
    def test_bytes_and_lone_graphs_have_no_weights_beside_them(self, dssm_artefact: Path, tmp_path: Path) -> None:
        path = dssm_artefact / "step.fp32.onnx"
        with pytest.raises(UsageError, match="bytes for torch; expected a graph's file in an artefact"):
            open_engine(path.read_bytes(), engine="torch")
        lone = tmp_path / path.name
        lone.write_bytes(path.read_bytes())
        for use in (lambda: open_engine(lone, engine="torch"), lambda: load(lone, engine="torch")):
            with pytest.raises(ArtefactError, match="is a standalone graph, without reference weights"):
                use()

    def test_a_file_that_is_no_graph_of_the_artefact(self, dssm_artefact: Path) -> None:
        with pytest.raises(ArtefactError, match="no graph of its folder's manifest"):
            open_engine(dssm_artefact / "other.onnx", engine="torch")
        with pytest.raises(MissingError, match="there is no artefact at"):
            open_engine(dssm_artefact / "nowhere" / "step.fp32.onnx", engine="torch")

    def test_an_artefact_without_weights(self, copied_artefact: Path) -> None:
        manifest = read_manifest(copied_artefact)
        files = {name: record for name, record in manifest.files.items() if name != REFERENCE}
        write_manifest(copied_artefact, manifest.model_copy(update={"files": files}))
        with pytest.raises(ArtefactError, match=r"holds no reference weights.*run: posemoe-edge export tiny-retention"):
            load(copied_artefact, engine="torch")

    def test_weights_that_were_changed(self, copied_artefact: Path) -> None:
        data = bytearray((copied_artefact / REFERENCE).read_bytes())
        data[-1] ^= 1
        (copied_artefact / REFERENCE).write_bytes(data)
        with pytest.raises(ArtefactError, match="was changed"):
            load(copied_artefact, engine="torch")

    def test_weights_of_another_network(self, copied_artefact: Path, artefact_of: ArtefactOf) -> None:
        other = artefact_of("dssm")
        for name in (REFERENCE, "reference.json"):
            (copied_artefact / name).write_bytes((other / name).read_bytes())
        manifest, theirs = read_manifest(copied_artefact), read_manifest(other).files
        files = {name: theirs[name] if name.startswith("reference.") else of for name, of in manifest.files.items()}
        write_manifest(copied_artefact, manifest.model_copy(update={"files": files}))
        with pytest.raises(ArtefactError, match=r"are of another network than step\.fp32\.onnx"):
            load(copied_artefact, engine="torch")

    @pytest.mark.parametrize("precision", ["int8", "mixed", "int8w"])
    def test_a_graph_that_pytorch_has_not(self, copied_artefact: Path, precision: Any) -> None:
        manifest = read_manifest(copied_artefact)
        graphs = (manifest.graphs[0].model_copy(update={"precision": precision}),)
        write_manifest(copied_artefact, manifest.model_copy(update={"graphs": graphs}))
        with pytest.raises(UsageError, match=rf"has no {precision} graph.*expected precision fp32 or fp16"):
            load(copied_artefact, engine="torch")

    def test_without_torch_the_extra_is_named(self, dssm_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def absent(self: EntryPoint) -> Any:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

        monkeypatch.setattr(EntryPoint, "load", absent)
        with pytest.raises(MissingError, match=r"needs the package torch.*posemoe-edge\[export\]") as raised:
            load(dssm_artefact, engine="torch")
        assert raised.value.exit_code == 3
        assert load(dssm_artefact, engine="onnxruntime").engine == "onnxruntime-cpu"

    def test_without_the_entry_point_it_is_named(self, dssm_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ENGINES, "group", "posemoe_edge.nothing")
        with pytest.raises(MissingError, match="the entry point torch in the group"):
            load(dssm_artefact, engine="torch")


def test_precision_on_a_gpu_is_the_processs_own_again_afterwards() -> None:
    switches = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "tf32"
        with pytest.raises(ZeroDivisionError), exact_fp32():
            assert [switch.fp32_precision for switch in switches] == ["ieee", "ieee"]
            raise ZeroDivisionError
        assert [switch.fp32_precision for switch in switches] == ["tf32", "tf32"]
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.fp32_precision = was


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU: see tests/runtime/cuda/device/test_torch_cuda")
class TestOnAGpu:
    @pytest.mark.parametrize(
        "kind", ["retention", "dssm", "gated", "retention-chunk", "lookahead-chunk", "attention", "centre"]
    )
    def test_a_rollout_is_the_processors(
        self, artefact_of: ArtefactOf, walker_keypoints: Walk, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = artefact_of(kind)
        graph = read_manifest(folder).graph("fp32")
        given = [recording(folder, walker_keypoints, seed=seed) for seed in range(3)]
        with closing(open_engine(folder / graph.file, engine="torch")) as engine:
            assert engine.name == "torch-cuda"
            made = roll_out(engine, graph, given)
            assert engine.graphs  # type: ignore[attr-defined]  # none of them could not be captured
        for a, b in zip(made, roll_out(folder / graph.file, graph, given, engine="onnxruntime"), strict=True):
            np.testing.assert_allclose(a, b, atol=ON_GPU)

    def test_each_parity_has_one_graph(
        self, retention_artefact: Path, walker_keypoints: Walk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, replayed = [], []
        capture_end, replay = torch.cuda.CUDAGraph.capture_end, torch.cuda.CUDAGraph.replay
        monkeypatch.setattr(torch.cuda.CUDAGraph, "capture_end", lambda self: (made.append(self), capture_end(self)))
        monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda self: (replayed.append(self), replay(self)))
        model = load(retention_artefact, engine="torch", precision="fp32")
        stream = model.stream()
        for frame in walker_keypoints(8):
            stream.step(frame)
        assert len(made) == 2 and replayed == made * 3
        model.close()
