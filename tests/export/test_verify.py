"""Verify: a sound artefact passes, a broken one fails, and a certificate is valid only for its own artefact."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from posemoe_edge.calib.measure.batch import frames_to_compare
from posemoe_edge.calib.measure.rollout import roll_out
from posemoe_edge.edge.checkpoints import load_reference
from posemoe_edge.edge.data.motion import walker_motion
from posemoe_edge.export import verify as verify_module
from posemoe_edge.export.pytorch import lift_reference
from posemoe_edge.export.verify import frames_to_lift, verify
from posemoe_edge.runtime import ArtefactError, CheckFailedError, UsageError, load
from posemoe_edge.runtime.artefact.certificate import BatchDifference, Budget, Certificate, Drift
from posemoe_edge.runtime.artefact.files import record_file
from posemoe_edge.runtime.artefact.manifest import check_file, read_manifest, write_manifest
from posemoe_edge.runtime.engines import open_engine
from posemoe_edge.runtime.pose.skeleton import H36M17, MPI3DHP17

FRAMES = 40
LENIENT = Budget(mean_mm=10, p99_mm=50, max_mm=100, slope_mm_per_1000=100)  # random weights round worse than trained ones


@pytest.fixture(autouse=True)
def _quick_plot(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the plot, which takes longer than everything else; the fixture ``_certified`` draws it once."""
    request.getfixturevalue("_certified_template")
    monkeypatch.setattr(verify_module, "draw_certificate", lambda file, certificate: file.write(b"a plot"))


def certify(folder: Path, budget: Budget = LENIENT, *, seed: int = 0, **options: Any) -> Certificate:
    return verify(folder, load_reference, *walker_motion(frames=FRAMES, streams=2, seed=seed), budget=budget, **options)


def drift_of(certificate: Certificate, precision: str, engine: str | None = None) -> Drift:
    drift = certificate.drift(precision, engine)
    assert drift is not None
    return drift


def spoil(folder: Path, change: Callable[[np.ndarray], np.ndarray], name: str = "step.fp32.onnx") -> None:
    """Change a weight of a graph, and record the graph as it is now."""
    proto = onnx.load(folder / name)
    weight = max(proto.graph.initializer, key=lambda w: numpy_helper.to_array(w).size)
    weight.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(weight)), weight.name))
    onnx.save(proto, folder / name)
    manifest = read_manifest(folder)
    files = manifest.files | {name: record_file(folder / name)}
    write_manifest(folder, manifest.model_copy(update={"files": files}))


def change_decay(folder: Path, times: float) -> None:
    """Multiply the decay rate of the FP32 graph's state."""
    proto = onnx.load(folder / "step.fp32.onnx")
    (decay,) = (w for w in proto.graph.initializer if w.name.endswith("log_gamma"))
    decay.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(decay) * np.float32(times), decay.name))
    onnx.save(proto, folder / "step.fp32.onnx")
    spoil(folder, lambda weight: weight)


KINDS = ["retention", "dssm", "attention", "lookahead-chunk", "gated-chunk", "centre", "3dhp"]


@pytest.mark.parametrize("mixer", KINDS)
def test_an_fp32_graph_drifts_by_a_thousandth_of_its_budget(mixer: str, copy_artefact: Callable[[str], Path]) -> None:
    progress: list[int] = []
    folder = copy_artefact(mixer)
    recordings, motion = walker_motion(frames=FRAMES, streams=2)
    certificate = verify(folder, load_reference, recordings, motion, budget=LENIENT, on_progress=progress.append)
    drift = drift_of(certificate, "fp32")
    assert drift.passed and drift.measured.max_mm < 0.02 and drift.frames == FRAMES
    lifted = 2 * FRAMES * (len(certificate.drifts) + 1) + frames_to_compare(recordings) * len(certificate.drifts)
    assert sum(progress) == frames_to_lift(read_manifest(folder), recordings) == lifted
    assert drift.batch_difference is not None and drift.batch_difference.max_mm < 0.02
    assert drift.recoveries == certificate.reference_recoveries == ()  # too short to disturb
    assert load(folder).certificate == certificate


def test_a_certificate_describes_the_measurement(certified_artefact: Path) -> None:
    manifest = read_manifest(certified_artefact)
    certificate = load(certified_artefact).certificate
    assert certificate is not None
    assert certificate.preset == "tiny-retention" and certificate.motion.kind == "procedural walkers"
    assert certificate.reference.startswith("PyTorch ")
    assert certificate.reference_sha256 == manifest.files["reference.safetensors"].sha256
    for graph in manifest.graphs:
        drift = certificate.drift(graph.precision)
        assert drift is not None and drift.graph_sha256 == manifest.files[graph.file].sha256
        assert tuple(drift.per_joint_mean_mm) == tuple(drift.per_joint_max_mm) == H36M17.joints
        assert np.mean(list(drift.per_joint_mean_mm.values())) == pytest.approx(drift.measured.mean_mm)
        assert max(drift.per_joint_max_mm.values()) == drift.measured.max_mm
        assert ("half" in drift.arithmetic) == (graph.precision == "fp16") and drift.engine == "onnxruntime-cpu"
        assert drift.slope is None, "so few frames cannot tell"
        assert np.mean(drift.drift_curve_mm) == pytest.approx(drift.measured.mean_mm, rel=0.01)
        before, after = certificate.reference_accuracy, drift.accuracy
        assert before is not None and after is not None
        assert drift.measured.mpjpe_loss_mm == after.mpjpe_mm - before.mpjpe_mm
        assert abs(after.mpjpe_mm - before.mpjpe_mm) <= drift.measured.mean_mm * 2  # roots are aligned: a joint pays twice
    assert (certified_artefact / "certificate.png").read_bytes().startswith(b"\x89PNG")


def test_fp16_drifts_more_than_fp32_and_is_judged_separately(copied_artefact: Path) -> None:
    tight = Budget(mean_mm=0.01, p99_mm=0.05, max_mm=0.1, slope_mm_per_1000=0.1)
    certificate = certify(copied_artefact, tight)
    fp32, fp16 = certificate.drift("fp32"), certificate.drift("fp16")
    assert fp32 is not None and fp16 is not None
    assert fp16.measured.mean_mm > 100 * fp32.measured.mean_mm
    assert fp32.passed and not fp16.passed and not certificate.passed
    assert any("mean_mm" in reason for reason in fp16.exceeded)
    load(copied_artefact)
    with pytest.raises(CheckFailedError, match="tiny-retention fp16 failed its drift certificate: mean_mm"):
        load(copied_artefact, precision="fp16")


def test_the_smallest_budget_is_passed(copied_artefact: Path) -> None:
    first = certify(copied_artefact)
    assert all(drift.batch_difference for drift in first.drifts)
    drifts = [drift.smallest_budget for drift in first.drifts]
    most = Budget(**{field: max(getattr(drift, field) for drift in drifts) for field in Budget.model_fields})
    assert most.mpjpe_loss_mm is not None
    assert certify(copied_artefact, most).passed


def test_a_graph_that_strays_in_a_batch_fails_and_is_not_run(copied_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = BatchDifference(streams=8, frames=20, mean_mm=0.1, p99_mm=1.0, max_mm=101.0)
    monkeypatch.setattr(verify_module, "measure_batch_difference", lambda *args, **options: far)
    certificate = certify(copied_artefact)
    drift = drift_of(certificate, "fp32")
    assert not certificate.passed and drift.exceeded == ("in a batch max_mm 101 > 100",)
    assert drift.smallest_budget.max_mm == 110 and drift.measured.max_mm < 1
    with pytest.raises(CheckFailedError, match="in a batch max_mm 101 > 100"):
        load(copied_artefact)


def test_a_difference_in_a_batch_that_is_not_finite_fails(copied_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = BatchDifference(streams=8, frames=20, mean_mm=float("nan"), p99_mm=float("nan"), max_mm=float("nan"))
    monkeypatch.setattr(verify_module, "measure_batch_difference", lambda *args, **options: broken)
    drift = drift_of(certify(copied_artefact), "fp32")
    assert len(drift.exceeded) == 3 and np.isnan(drift.smallest_budget.max_mm)


def test_a_broken_graph_fails_and_is_not_run(copied_artefact: Path) -> None:
    spoil(copied_artefact, lambda weight: weight * 3)
    load(copied_artefact)  # every hash is right: only the measurement shows the error
    certificate = certify(copied_artefact)
    assert not certificate.passed and certificate.drift("fp32").exceeded  # type: ignore[union-attr]
    with pytest.raises(CheckFailedError, match="fp32 failed its drift certificate") as caught:
        load(copied_artefact)
    assert caught.value.exit_code == 1
    load(copied_artefact, allow_failed=True)
    load(copied_artefact, precision="fp16")


def test_a_state_that_decays_too_slowly_fails(copied_artefact: Path) -> None:
    """A check of single frames cannot see an error of the decay alone."""
    change_decay(copied_artefact, 0.7)
    assert not certify(copied_artefact, Budget(mean_mm=1, p99_mm=5, max_mm=20, slope_mm_per_1000=0.1)).passed


def test_a_graph_that_returns_nan_fails(copied_artefact: Path) -> None:
    spoil(copied_artefact, lambda weight: np.full_like(weight, np.nan))
    certificate = certify(copied_artefact)
    assert not certificate.passed
    with pytest.raises(CheckFailedError):
        load(copied_artefact)


def test_verifying_again_replaces_the_certificate(copied_artefact: Path) -> None:
    spoil(copied_artefact, lambda weight: weight * 3)
    assert not certify(copied_artefact).passed
    spoil(copied_artefact, lambda weight: weight / 3)
    again = certify(copied_artefact)
    assert again.passed and load(copied_artefact).certificate == again
    manifest = read_manifest(copied_artefact)
    for name in manifest.files:
        check_file(copied_artefact, manifest, name)
    assert set(manifest.files) == {path.name for path in copied_artefact.iterdir()} - {"manifest.json"}


@pytest.mark.parametrize("name", ["step.fp32.onnx", "step.fp16.onnx", "reference.safetensors", "reference.json"])
def test_a_changed_artefact_is_not_certified(copied_artefact: Path, name: str) -> None:
    with (copied_artefact / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ArtefactError, match=name):
        certify(copied_artefact)
    assert not (copied_artefact / "certificate.json").exists()


def test_an_artefact_without_reference_weights_is_not_certified(copied_artefact: Path) -> None:
    manifest = read_manifest(copied_artefact)
    files = {name: record for name, record in manifest.files.items() if not name.startswith("reference")}
    write_manifest(copied_artefact, manifest.model_copy(update={"files": files}))
    with pytest.raises(ArtefactError, match="holds no reference weights"):
        certify(copied_artefact)


@pytest.mark.parametrize("before", ["uncertified", "certified"])
@pytest.mark.parametrize(
    ("function", "call"),
    [
        ("export.verify.draw_certificate", 1),
        ("runtime.artefact.atomic.AtomicFile.commit", 1),  # the certificate is written
        ("runtime.artefact.atomic.AtomicFile.commit", 2),  # the plot, too
        ("runtime.artefact.atomic.AtomicFile.commit", 3),  # the manifest, too, and is not in its place
    ],
)
def test_an_interruption_leaves_the_artefact_as_it_was(
    copied_artefact: Path,
    certified_artefact: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    function: str,
    call: int,
) -> None:
    folder = certified_artefact if before == "certified" else copied_artefact
    place = f"posemoe_edge.{function}"
    original, calls = pkgutil.resolve_name(place), []
    files = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*args, **options)

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(place, interrupted)
        certify(folder, precisions=("fp32",))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert (load(folder).certificate is not None) == (before == "certified")
    assert certify(folder, precisions=("fp32",)).passed and load(folder).certificate is not None


def test_the_reference_carries_its_state_over_blocks(tiny_lifter: Callable[[str], Any]) -> None:
    import torch

    (recording, other), _ = walker_motion(frames=130, streams=2)  # more than one block of the reference
    recording.reset[117] = True
    model, progress = tiny_lifter("retention"), list[int]()
    state, poses = model.initial_state(1), []
    with torch.no_grad():
        for t in range(130):
            y, state = model.step(
                torch.from_numpy(recording.keypoints[t][None]),
                state,
                torch.from_numpy(recording.dt_s[t : t + 1]),
                torch.from_numpy(recording.reset[t : t + 1]),
            )
            poses.append(y[0].numpy())
    short = other.during(slice(0, 31))
    first, second = lift_reference(model, [recording, short], on_progress=progress.append)
    np.testing.assert_allclose(first, poses, atol=1e-5)
    np.testing.assert_allclose(second, lift_reference(model, [short])[0], atol=1e-5)
    assert sum(progress) == 130 + 31 and lift_reference(model, []) == []


@pytest.mark.parametrize(("chunk", "apart"), [(4, 4), (None, 1)])
def test_the_reference_of_a_lifter_with_lookahead_is_cut_at_the_graphs_chunks(
    chunk: int | None, apart: int, tiny_lifter: Callable[[str], Any]
) -> None:
    import torch

    (recording,), _ = walker_motion(frames=12, streams=1)
    model, poses = tiny_lifter("lookahead"), []
    state = model.initial_state(1)
    with torch.no_grad():
        for start in range(0, 12, apart):
            x, dt = (torch.from_numpy(a[None, start : start + apart]) for a in (recording.keypoints, recording.dt_s))
            y, state = model.chunk(x, state, dt, None)
            poses.append(y[0].numpy())
    np.testing.assert_allclose(lift_reference(model, [recording], chunk=chunk)[0], np.concatenate(poses), atol=1e-5)
    (other,) = lift_reference(model, [recording], chunk=6)
    assert np.abs(other - np.concatenate(poses)).max() > 1e-3  # they do matter


@pytest.mark.parametrize("kind", ["lookahead-chunk", "attention", "centre"])
@pytest.mark.parametrize("frames", [1, 7, 9])
def test_both_sides_lift_a_short_end_and_a_reset_alike(
    kind: str, frames: int, artefact_of: Callable[[str], Path], tiny_lifter: Callable[[str], Any]
) -> None:
    recordings, _ = walker_motion(frames=frames, streams=2)
    recordings[0].reset[frames // 2] = True
    folder = artefact_of(kind)
    graph = read_manifest(folder).graph()
    chunk = graph.frames if graph.mode == "chunk" else None
    expected = lift_reference(tiny_lifter(kind), recordings, chunk=chunk)
    assert [poses.shape for poses in expected] == [(frames, 17, 3)] * 2
    np.testing.assert_allclose(roll_out(folder / graph.file, graph, recordings), expected, atol=1e-5)


def test_the_joints_of_a_certificate_are_those_of_the_model(copy_artefact: Callable[[str], Path]) -> None:
    drift = drift_of(certify(copy_artefact("3dhp")), "fp32")
    assert tuple(drift.per_joint_mean_mm) == tuple(drift.per_joint_max_mm) == MPI3DHP17.joints


def test_a_model_of_another_skeleton_gets_and_is_judged_by_its_own_joints(
    copy_artefact: Callable[[str], Path], tiny_lifter: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rolled_out = []

    def record(*args: Any, **options: Any) -> Any:
        rolled_out.append(args[2])
        return roll_out(*args, **options)

    monkeypatch.setattr(verify_module, "roll_out", record)
    certificate = certify(copy_artefact("3dhp"))
    recordings, _ = walker_motion(frames=FRAMES, streams=2)
    names = {"head_top": "head", "neck": "thorax", "head": "nose", "pelvis": "hip"}
    order = [H36M17.joints.index(names.get(name, name)) for name in MPI3DHP17.joints]
    errors = []
    for fed, recording in zip(rolled_out[0], recordings, strict=True):
        np.testing.assert_array_equal(fed.keypoints, recording.keypoints[:, order, :2])
        (pose,) = lift_reference(tiny_lifter("3dhp"), [fed])
        pelvis = MPI3DHP17.joints.index("pelvis")
        assert recording.truth is not None
        errors.append(np.linalg.norm(pose - pose[:, pelvis, None] - recording.truth[:, order], axis=-1))
    assert certificate.reference_accuracy is not None
    assert certificate.reference_accuracy.mpjpe_mm == pytest.approx(1000 * np.mean(errors), rel=1e-4)


def test_accuracy_is_none_where_it_cannot_be_measured(copy_artefact: Callable[[str], Path]) -> None:
    """One pose for a whole window; recordings without the truth."""
    certificate = certify(copy_artefact("centre"))
    assert certificate.reference_accuracy is None and drift_of(certificate, "fp32").measured.mpjpe_loss_mm is None
    recordings, motion = walker_motion(frames=FRAMES, streams=1)
    blind = [replace(recording, truth=None) for recording in recordings]
    certificate = verify(copy_artefact("dssm"), load_reference, blind, motion)
    assert certificate.passed and drift_of(certificate, "fp32").accuracy is None


def test_a_loss_of_accuracy_exceeds_its_budget(copied_artefact: Path) -> None:
    spoil(copied_artefact, lambda weight: weight * 0.5)
    vast = Budget(mean_mm=1e9, p99_mm=1e9, max_mm=1e9, slope_mm_per_1000=1e9, mpjpe_loss_mm=-1e9)
    (reason,) = drift_of(certify(copied_artefact, vast), "fp32").exceeded
    assert reason.startswith("mpjpe_loss_mm ")


def test_disturbances_are_measured_on_both_sides(copied_artefact: Path) -> None:
    recordings, motion = walker_motion(frames=260, streams=1)
    total, progress = frames_to_lift(read_manifest(copied_artefact), recordings, ["fp32"]), list[int]()
    certificate = verify(
        copied_artefact, load_reference, recordings, motion, budget=LENIENT, precisions=["fp32"], on_progress=progress.append
    )
    assert sum(progress) == total == 2 * (260 + 4 * 260 + 160) + frames_to_compare(recordings)
    reference, graph = certificate.reference_recoveries, drift_of(certificate, "fp32").recoveries
    assert (
        [recovery.disturbance for recovery in reference]
        == [recovery.disturbance for recovery in graph]
        == ["outlier", "reset", "gap", "limb missing"]
    )
    for on_pytorch, on_graph in zip(reference, graph, strict=True):
        assert on_pytorch.peak_mm > 1 and on_graph.peak_mm == pytest.approx(on_pytorch.peak_mm, rel=1e-2)
        assert on_pytorch.drift_mean_mm is None
        assert on_graph.drift_mean_mm is not None and on_graph.drift_max_mm is not None
        assert 0 < on_graph.drift_mean_mm <= on_graph.drift_max_mm < 0.1


def test_a_graph_that_recovers_sooner_than_pytorch_is_seen(copied_artefact: Path) -> None:
    """With thirty times the decay, the graph recovers at once from an outlier that stays in PyTorch's state."""
    change_decay(copied_artefact, 30)
    recordings, motion = walker_motion(frames=260, streams=1)
    certificate = verify(copied_artefact, load_reference, recordings, motion, precisions=["fp32"])
    on_pytorch, on_graph = certificate.reference_recoveries[0], drift_of(certificate, "fp32").recoveries[0]
    assert on_pytorch.disturbance == on_graph.disturbance == "outlier"
    assert np.median(on_graph.distance_mm[50:]) < 0.3 * np.median(on_pytorch.distance_mm[50:])
    assert on_graph.recovery_frames is not None and on_pytorch.recovery_frames is None


def test_a_window_model_has_no_disturbances(attention_artefact: Path) -> None:
    manifest, (recordings, _) = read_manifest(attention_artefact), walker_motion(frames=300, streams=2)
    assert frames_to_lift(manifest, recordings) == 2 * 300 * 2 + frames_to_compare(recordings)


def test_verifying_one_graph_keeps_the_drifts_of_the_others(copied_artefact: Path) -> None:
    whole = certify(copied_artefact)
    again = certify(copied_artefact, precisions=["fp16"])
    assert again == whole
    # Kept drifts are judged by the new budget.
    strict = certify(copied_artefact, LENIENT.model_copy(update={"max_mm": 1e-9}), precisions=["fp16"])
    assert [drift.passed for drift in strict.drifts] == [False, False]
    assert drift_of(strict, "fp32").measured == drift_of(whole, "fp32").measured


def test_drifts_on_other_motion_or_of_another_graph_are_not_kept(copied_artefact: Path) -> None:
    certify(copied_artefact)
    assert [drift.precision for drift in certify(copied_artefact, seed=1, precisions=["fp32"]).drifts] == ["fp32"]
    assert len(certify(copied_artefact).drifts) == 2
    spoil(copied_artefact, lambda weight: weight * 1.01)  # the fp32 graph is another now
    assert [drift.precision for drift in certify(copied_artefact, precisions=["fp16"]).drifts] == ["fp16"]
    assert load(copied_artefact).certificate is not None


def test_a_certificate_holds_the_drifts_of_several_engines(copied_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second engine is ONNX Runtime under another name, without half rounding."""
    first, opened = certify(copied_artefact), []

    def open_graph(path: Path | bytes, *, engine: str | None) -> Any:
        opened.append(engine)
        opened_engine = open_engine(path)
        opened_engine.name = "tensorrt 11.4 sm87"
        return opened_engine

    with monkeypatch.context() as other:
        other.setattr(verify_module, "open_graph", open_graph)
        both = certify(copied_artefact, engine="tensorrt")
    assert opened == ["tensorrt", "tensorrt"]
    sides = [(drift.precision, drift.engine) for drift in both.drifts]
    assert sides == [(p, e) for p in ("fp32", "fp16") for e in ("onnxruntime-cpu", "tensorrt 11.4 sm87")]
    assert drift_of(both, "fp16") == drift_of(both, "fp16", "onnxruntime-cpu") == drift_of(first, "fp16")
    on_tensorrt = drift_of(both, "fp16", "tensorrt 11.4 sm87")
    assert (
        on_tensorrt.measured != drift_of(first, "fp16").measured
        and on_tensorrt.arithmetic == "fp16, as tensorrt 11.4 sm87 computes it"
    )
    assert both.drift("fp16", "cuda") is None
    assert certify(copied_artefact) == both  # in the other order as well


def test_an_unknown_engine_leaves_the_certificate_alone(certified_artefact: Path) -> None:
    before = load(certified_artefact).certificate
    with pytest.raises(UsageError, match=r"no engine 'tensorflow'; did you mean tensorrt\?"):
        certify(certified_artefact, engine="tensorflow")
    with pytest.raises(ArtefactError, match="has no int8 graph"):
        certify(certified_artefact, precisions=["int8"])
    assert load(certified_artefact).certificate == before


def test_a_certificate_of_an_unreadable_schema_is_replaced(certified_artefact: Path) -> None:
    path = certified_artefact / "certificate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 1}))
    manifest = read_manifest(certified_artefact)
    write_manifest(certified_artefact, manifest.model_copy(update={"files": manifest.files | {path.name: record_file(path)}}))
    with pytest.raises(ArtefactError, match=r"has schema_version 1; expected 2 or 3 or 4; run: posemoe-edge verify"):
        load(certified_artefact)
    assert len(certify(certified_artefact, precisions=["fp32"]).drifts) == 1
    load(certified_artefact)


def test_a_certificate_is_plain_json(certified_artefact: Path) -> None:
    text = (certified_artefact / "certificate.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["passed"] is True
